//! Reads the broker's addresses, and writes them without their passwords.
//!
//! No message made here, and nothing derived from [`Address`] by `Debug` or `Display`, holds a password. No part of an
//! unreadable address is written: any part may be the password.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use lapin::uri::{AMQPScheme, AMQPUri};

use crate::message::MAX_NAME;

/// Seconds between heartbeats. lapin checks twice in that time and gives up after two missed ones, so a frozen broker is
/// noticed after 16 to 20 seconds.
const HEARTBEAT: u16 = 8;

/// The files in which common systems keep their trusted certificates.
const SYSTEM_CERTIFICATES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// The address of a broker, and the account there.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) uri: AMQPUri,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = &self.uri.authority;
        let user = &authority.userinfo.username;
        let vhost = self.uri.vhost.replace('/', "%2f");
        write!(
            f,
            "{}://{user}:***@{}:{}/{vhost}",
            self.uri.scheme, authority.host, authority.port
        )
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The addresses, and the certificates to trust where one of them asks for TLS.
pub(super) fn read_all(
    uris: &[String],
    ca: Option<&Path>,
) -> Result<(Vec<Address>, Option<String>), String> {
    if uris.is_empty() {
        return Err("no broker address is given".to_owned());
    }
    let addresses = uris
        .iter()
        .map(|uri| read(uri))
        .collect::<Result<Vec<_>, _>>()?;
    let tls = addresses
        .iter()
        .any(|address| address.uri.scheme == AMQPScheme::AMQPS);
    let trusted = if tls { Some(certificates(ca)?) } else { None };
    Ok((addresses, trusted))
}

/// The addresses in a file, with commas between them.
pub(super) fn read_file(
    file: &Path,
    ca: Option<&Path>,
) -> Result<(Vec<Address>, Option<String>), String> {
    let at = |error: String| format!("{}: {error}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| at(error.to_string()))?;
    let uris: Vec<String> = text.split(',').map(|uri| uri.trim().to_owned()).collect();
    read_all(&uris, ca).map_err(at)
}

/// One address. The parser's own messages may quote the password, so they are not passed on.
fn read(text: &str) -> Result<Address, String> {
    let unreadable = || {
        "the broker address is not of the form amqp://user:password@host:port/vhost, where user, password and vhost \
         write @ as %40, / as %2F, : as %3A, ? as %3F, # as %23 and % as %25"
            .to_owned()
    };
    // The parser takes `amqp://u:p@ss/word@host` for the host `ss`: what follows the first `/` would be shown.
    if !is_plain(text.trim()) {
        return Err(unreadable());
    }
    let mut uri: AMQPUri = text.trim().parse().map_err(|_| unreadable())?;
    if uri.authority.host.is_empty() {
        return Err(unreadable());
    }
    if let Some(host) = bracketed_host(text) {
        uri.authority.host = host;
    }
    uri.query.heartbeat = uri
        .query
        .heartbeat
        .filter(|seconds| (1..=HEARTBEAT).contains(seconds))
        .or(Some(HEARTBEAT));
    let address = Address { uri };
    let user = &address.uri.authority.userinfo;
    if address.uri.vhost.len() > MAX_NAME || user.username.len() > MAX_NAME {
        return Err(format!(
            "the broker address {}… has a user or virtual host over {MAX_NAME} bytes",
            address.to_string().chars().take(40).collect::<String>()
        ));
    }
    if user.username == "guest" && user.password == "guest" && !is_loopback(&address) {
        return Err(format!(
            "{address}: guest is for this machine only; give the broker a user of its own"
        ));
    }
    Ok(address)
}

/// Whether only the part before the first `/`, `?` or `#` after the scheme can hold a user and a password.
fn is_plain(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else {
        return false;
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let vhost = path.split_once('?').map_or(path, |(vhost, _)| vhost);
    let vhost = vhost.strip_prefix('/').unwrap_or(vhost);
    !text.contains(|c: char| c.is_whitespace() || c.is_control())
        && !path.contains(['@', '#'])
        && !vhost.contains(['/', ':'])
        && host
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-._:[]%".contains(c))
}

/// The host of `amqp://user:password@[::1]:5672/`, which the parser takes for `localhost`.
fn bracketed_host(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let inner = host.strip_prefix('[')?.split_once(']')?.0;
    Some(inner.to_owned())
}

fn is_loopback(address: &Address) -> bool {
    let host = &address.uri.authority.host;
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// The text of the certificates to trust: those of `ca` alone, or else the system's.
fn certificates(ca: Option<&Path>) -> Result<String, String> {
    let Some(path) = ca else {
        return SYSTEM_CERTIFICATES
            .iter()
            .find_map(|path| std::fs::read_to_string(path).ok())
            .ok_or_else(|| {
                "amqps:// needs certificates to trust, and this system has none; name a file of them".to_owned()
            });
    };
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("certificates {}: {error}", path.display()))?;
    if text.contains("-----BEGIN CERTIFICATE-----") {
        Ok(text)
    } else {
        Err(format!(
            "certificates {}: expected at least one PEM certificate, found none",
            path.display()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_without_its_password() {
        let address = read("amqp://lyon:s%40cret@broker:5673/sales").expect("valid");
        assert_eq!(address.to_string(), "amqp://lyon:***@broker:5673/sales");
        assert!(!format!("{address:?}").contains("cret"));
        assert_eq!(
            read("amqp://a:b@h").expect("valid").to_string(),
            "amqp://a:***@h:5672/%2f"
        );
    }

    #[test]
    fn what_is_no_address_is_refused_without_quoting_it() {
        for bad in [
            "",
            "broker",
            "http://u:secret@h/",
            "amqp:u:secret",
            "amqp://u:secret@h:port/",
            "amqp://u:secret@h:99999/",
            "amqp://u:sec@ret/secret@host:5672/v",
            "amqp://user:p@secret/w:rd",
            "amqp://u:secret/1@host/v",
            "amqp://u:12/secret@host/v",
            "amqp://u:12?secret@host/v",
            "amqp://u:12#secret@host/v",
            "amqp://u:12#secret",
            "amqp://u:p@12/secret:x",
            "amqp://u:p@h/secret/x",
            "amqp://u:sec ret@h/secret",
            "amqp://u:sec\nret@h/secret",
            "amqp://u:sec\tret@h/secret",
            "amqp://u:s@secret^x/v",
            "amqp://u:s@secret{x/v",
            "amqp://secret\\@h:x/",
            "amqp:///secret@h/",
            "amqp://:secret@/v",
            "amqps//u:secret@h/v",
            "://u:secret@h/v",
            "amqp://u:%ff%fesecret@h/v",
            "amqp://u:secret@h/%ff%fe",
            "amqp://u:secret@[::1/v",
        ] {
            let error = read(bad).expect_err(bad);
            assert!(
                error.starts_with("the broker address is not of the form amqp://user:"),
                "{bad}: {error}"
            );
            assert!(
                !error.contains("secret") && !error.contains("12"),
                "{error}"
            );
        }
        assert!(read_all(&[], None).is_err());
    }

    #[test]
    fn what_is_escaped_or_harmless_is_read_and_its_password_not_written() {
        for (good, password) in [
            ("amqp://user:p%40ss%2Fw%3Ard@host:5672/v", "p@ss/w:rd"),
            ("amqp://user:p@ss@host/v", "p@ss"),
            ("amqp://user:p:ss@host/v", "p:ss"),
            ("amqp://user:100%25@host/%2f", "100%"),
            ("amqp://user:p$s*(!)@host/v?heartbeat=3", "p$s*(!)"),
        ] {
            let address = read(good).expect(good);
            assert_eq!(address.uri.authority.userinfo.password, password);
            let shown = format!("{address} {address:?}");
            assert!(shown.starts_with("amqp://user:***@host:5672/"), "{shown}");
            assert!(
                !shown.contains(password) && !shown.contains("p@ss"),
                "{shown}"
            );
        }
    }

    #[test]
    fn a_file_of_addresses_is_read_each_time_and_named_where_it_cannot_be() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "amqp://u:secret@a, amqp://u:secret@b\n").expect("written");
        let (addresses, _) = read_file(file.path(), None).expect("two addresses");
        assert_eq!(addresses.len(), 2);
        for bad in ["", "amqp://u:secret@a,", "secret"] {
            std::fs::write(file.path(), bad).expect("written");
            let error = read_file(file.path(), None).expect_err(bad);
            let name = file.path().display().to_string();
            assert!(
                error.starts_with(&name) && !error.contains("secret"),
                "{error}"
            );
        }
        assert!(read_file(Path::new("/nonexistent/uri"), None).is_err());
    }

    #[test]
    fn guest_stays_on_this_machine() {
        for here in [
            "amqp://guest:guest@localhost",
            "amqp://127.0.0.1",
            "amqp://[::1]:5672",
        ] {
            assert!(read(here).is_ok(), "{here}");
        }
        for off in [
            "amqp://guest:guest@broker/",
            "amqp://10.0.0.1",
            "amqp://[fe80::1]/",
        ] {
            assert!(read(off).is_err(), "{off}");
        }
    }

    #[test]
    fn an_ipv6_host_is_not_taken_for_this_machine() {
        let address = read("amqp://u:p@[2001:db8::7]:5673/").expect("valid");
        assert_eq!(address.uri.authority.host, "2001:db8::7");
    }

    #[test]
    fn a_heartbeat_is_always_on_and_never_slower_than_ours() {
        for (asked, got) in [
            ("", 8),
            ("?heartbeat=0", 8),
            ("?heartbeat=60", 8),
            ("?heartbeat=3", 3),
        ] {
            let address = read(&format!("amqp://u:p@h/v{asked}")).expect("valid");
            assert_eq!(address.uri.query.heartbeat, Some(got), "{asked}");
        }
    }

    #[test]
    fn a_certificate_file_must_hold_certificates() {
        let uris = ["amqps://u:p@h/".to_owned()];
        let missing = read_all(&uris, Some(Path::new("/nonexistent/ca.pem")));
        assert!(
            missing
                .expect_err("missing")
                .contains("/nonexistent/ca.pem")
        );
        let not_one = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let error = read_all(&uris, Some(Path::new(not_one))).expect_err("no certificate");
        assert!(
            error.contains("expected at least one PEM certificate"),
            "{error}"
        );
    }
}
