//! Opens one connection: TCP, TLS, and the AMQP handshake, each with a timeout.
//!
//! Every connection has a second handle of its socket, its [`SocketKiller`], because closing a frozen connection by AMQP
//! takes forever.

use std::net::{Shutdown as Direction, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lapin::tcp::{AsyncTcpStream, TLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::failure::Failure;

/// How long the TCP connection, and then the TLS handshake, may take.
const REACH: Duration = Duration::from_secs(8);
/// How long the login may take: RabbitMQ itself ends a connection that is not logged in after 10 s (`handshake_timeout`), and one that
/// has just started leaves some without an answer.
const GREET: Duration = Duration::from_secs(10);

/// A second handle of a connection's socket, to cut it in any state.
#[derive(Default)]
pub(super) struct SocketKiller {
    socket: OnceLock<TcpStream>,
    killed: AtomicBool,
}

impl SocketKiller {
    pub(super) fn kill(&self) {
        self.killed.store(true, Ordering::SeqCst);
        if let Some(socket) = self.socket.get() {
            // a closed socket is what is wanted
            let _gone = socket.shutdown(Direction::Both);
        }
    }

    /// Keeps a handle of `socket`, unless the caller has given up.
    fn hold(&self, socket: &impl AsFd) -> std::io::Result<()> {
        let handle = TcpStream::from(socket.as_fd().try_clone_to_owned()?);
        let _first = self.socket.set(handle);
        if self.killed.load(Ordering::SeqCst) {
            return Err(std::io::Error::other("nobody waits for this connection"));
        }
        Ok(())
    }
}

/// Kills the socket of a connection that is not open in time, or whose caller has given up.
pub(super) struct Unfinished(Option<Arc<SocketKiller>>);

impl Unfinished {
    /// The connection is open: leaves its socket to the holder of the killer.
    pub(super) fn finish(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(killer) = &self.0 {
            killer.kill();
        }
    }
}

/// A connection, and the killer of its socket; the socket is killed with `unfinished` unless that is finished.
pub(super) struct Connected {
    pub(super) connection: Connection,
    pub(super) killer: Arc<SocketKiller>,
    pub(super) unfinished: Unfinished,
}

/// Connects to the broker at `uri` under `name`, trusting the authorities of `trusted`.
pub(super) async fn connect(
    uri: &AMQPUri,
    trusted: Option<&str>,
    name: String,
) -> Result<Connected, Failure> {
    let killer = Arc::new(SocketKiller::default());
    let unfinished = Unfinished(Some(Arc::clone(&killer)));
    let runtime = lapin::runtime::default_runtime()?;
    let reached = async {
        let AMQPUri {
            scheme, authority, ..
        } = uri;
        let host = (authority.host.as_str(), authority.port);
        let addresses: Vec<_> = tokio::net::lookup_host(host).await?.collect();
        let stream = AsyncTcpStream::connect(&runtime, addresses).await?;
        if let AsyncTcpStream::Plain(socket) = &stream {
            killer.hold(socket.get_ref())?;
        }
        if *scheme == AMQPScheme::AMQP {
            return Ok(stream);
        }
        let config = TLSConfig {
            identity: None,
            cert_chain: trusted,
        };
        match stream.into_tls(&authority.host, config).await? {
            AsyncTcpStream::Plain(_) => Err(no_tls()),
            stream => Ok(stream),
        }
    };
    let slow = |_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut));
    let reached = timeout(REACH, reached).await.unwrap_or_else(slow);
    let stream = reached.map_err(|error| Failure::of(&error.into()))?;
    // lapin leaks tasks where it fails to connect by itself: hand it a connected stream
    let stream = Mutex::new(Some(stream));
    let greeting = Connection::connector(
        uri.clone(),
        runtime,
        async move |_, _| {
            let stream = stream.lock().await.take();
            Ok(stream.ok_or_else(|| std::io::Error::other("the connection was lost"))?)
        },
        ConnectionProperties::default().with_connection_name(name.into()),
    );
    let silent = |_| {
        let why = format!("no answer within {} s", GREET.as_secs());
        Err(Failure::Away(why))
    };
    let greeted = timeout(GREET, greeting).await;
    let greeted = greeted.map(|greeted| greeted.map_err(|error| Failure::greeting(&error)));
    Ok(Connected {
        connection: greeted.unwrap_or_else(silent)?,
        killer,
        unfinished,
    })
}

/// The error of a build without TLS, which would otherwise send passwords in the clear.
fn no_tls() -> std::io::Error {
    let why = "this program was built without TLS";
    std::io::Error::new(std::io::ErrorKind::InvalidData, why)
}
