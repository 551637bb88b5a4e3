//! Lists exchanges and queues through RabbitMQ's management API: AMQP has no command that lists them.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use autoconnect_common::broker::part::{Part, What};
use autoconnect_common::broker::rabbitmq::Account;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper::http::uri::{Scheme, Uri};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

use crate::trouble::Trouble;

/// How long an answer may take. A broker with thousands of queues needs a second or two; 30 seconds leave room for a loaded
/// one.
const ANSWER: Duration = Duration::from_secs(30);
/// The longest answer that is read, in bytes: enough for a hundred thousand names.
const MOST: usize = 16 << 20;
/// The port of the management API in RabbitMQ's default configuration.
const PORT: u16 = 15672;

/// Where the management API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Management {
    host: String,
    port: u16,
    /// The path before `/api`.
    path: String,
}

impl FromStr for Management {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected an address as in http://localhost:15672";
        let uri: Uri = text.parse().map_err(|_| EXPECTED)?;
        let authority = uri.authority().ok_or(EXPECTED)?;
        let plain = uri.scheme() == Some(&Scheme::HTTP) && uri.query().is_none();
        if !plain || authority.as_str().contains('@') {
            return Err(EXPECTED);
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let here = host.parse().map(|ip: IpAddr| ip.is_loopback());
        if host != "localhost" && here != Ok(true) {
            return Err(
                "expected an address of this machine, because the password is sent unencrypted: forward a port \
                 with ssh, as in ssh -L 15672:localhost:15672 BROKER",
            );
        }
        Ok(Self {
            host,
            port: authority.port_u16().unwrap_or(PORT),
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

/// A queue or an exchange, as the API lists it.
#[derive(Deserialize)]
struct Listed {
    name: String,
}

impl Management {
    /// Every exchange and queue of the account's virtual host whose name is one that a cluster declares.
    pub(crate) async fn parts(&self, account: &Account) -> Result<Vec<Part>, Trouble> {
        let mut parts = Vec::new();
        for (what, listing) in [(What::Queue, "queues"), (What::Exchange, "exchanges")] {
            let listed = tokio::time::timeout(ANSWER, self.list(listing, account)).await;
            let listed = listed.unwrap_or_else(|_| {
                let seconds = ANSWER.as_secs();
                Err(format!("no answer within {seconds} seconds"))
            });
            let listed = listed.map_err(|why| {
                let Self { host, port, .. } = self;
                Trouble::Failed(format!("the management API at {host}:{port}: {why}"))
            })?;
            let ours = |each: &Listed| Part::of_name(what, &each.name);
            parts.extend(listed.iter().filter_map(ours));
        }
        Ok(parts)
    }

    async fn list(&self, listing: &str, account: &Account) -> Result<Vec<Listed>, String> {
        let said = |error: &dyn std::error::Error| error.to_string();
        let host = (self.host.as_str(), self.port);
        let stream = TcpStream::connect(host).await.map_err(|e| said(&e))?;
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (mut requests, connection) = shaken.map_err(|e| said(&e))?;
        let Account {
            user,
            password,
            vhost,
        } = account;
        let login = STANDARD.encode(format!("{user}:{}", password.expose()));
        let (path, vhost) = (&self.path, escaped(vhost));
        let request = Request::get(format!("{path}/api/{listing}/{vhost}?columns=name"))
            .header(header::HOST, &self.host)
            .header(header::AUTHORIZATION, format!("Basic {login}"))
            .body(Empty::<Bytes>::new())
            .map_err(|e| said(&e))?;
        // `requests` is moved in and dropped at the end, which closes the connection and ends `connection`
        let asking = async move {
            let response = requests.send_request(request).await.map_err(|e| said(&e))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MOST).collect().await;
            Ok::<_, String>((status, body.map_err(|e| e.to_string())?.to_bytes()))
        };
        let (answer, _ended) = tokio::join!(asking, connection);
        match answer? {
            (StatusCode::OK, body) => serde_json::from_slice(&body).map_err(|e| said(&e)),
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => Err(format!(
                "user {user} may not list queues: it needs the tag monitoring and rights in the virtual host"
            )),
            (status, _) => Err(format!("it answered {status}")),
        }
    }
}

/// Percent-encodes a name as one segment of a path.
fn escaped(name: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    name.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_of_this_machine_is_taken_and_a_name_stays_one_segment() {
        for (text, host, port, path) in [
            ("http://localhost", "localhost", 15672, ""),
            ("http://127.0.0.1:80/", "127.0.0.1", 80, ""),
            ("http://[::1]:15672/rabbit/", "::1", 15672, "/rabbit"),
        ] {
            let expected = Management {
                host: host.to_owned(),
                port,
                path: path.to_owned(),
            };
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in [
            "",
            "localhost:15672",
            "https://localhost",
            "http://user:secret@localhost",
            "http://localhost/?a=b",
            "http://rabbit.example:15672",
            "http://10.0.0.1:15672",
        ] {
            let refused = text.parse::<Management>().expect_err(text);
            assert!(refused.starts_with("expected an address"), "{refused}");
        }
        assert_eq!(escaped("/"), "%2F");
        assert_eq!(escaped("a b/../é"), "a%20b%2F%2E%2E%2F%C3%A9");
    }
}
