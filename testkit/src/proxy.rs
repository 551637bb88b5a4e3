//! A TCP proxy between a role and the broker, with network faults on command: [`Proxy`].
//!
//! | method | fault |
//! |---|---|
//! | [`cut`](Proxy::cut) | every connection is reset |
//! | [`refuse`](Proxy::refuse) | the same, and new ones are refused |
//! | [`freeze`](Proxy::freeze) | a partition: connections stay open, and no byte passes either way |
//! | [`slow`](Proxy::slow) | latency, and a limit of bytes per second |
//! | [`resume`](Proxy::resume) | none; bytes that were held back are sent on |

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use autoconnect_common::Shutdown;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// The most bytes that are read at a time.
const PIECE: usize = 16 << 10;
/// The most pieces that wait in one direction of a connection, 1 MiB of them, before the sender is blocked.
const PIECES: usize = 64;

/// The current faults of the network.
#[derive(Clone, Debug)]
struct Weather {
    refuses: bool,
    frozen: bool,
    delay: Duration,
    bytes_per_second: Option<u32>,
    /// Resets the current connections.
    cut: Shutdown,
}

impl Weather {
    fn fair() -> Self {
        Self {
            refuses: false,
            frozen: false,
            delay: Duration::ZERO,
            bytes_per_second: None,
            cut: Shutdown::new(),
        }
    }
}

/// A proxy before a broker, which ends when this value is dropped.
pub struct Proxy {
    uri: String,
    weather: Arc<watch::Sender<Weather>>,
    clients: Arc<Clients>,
    stop: Shutdown,
}

impl Proxy {
    /// Starts a proxy before the broker at `uri`, `amqp://user:password@host:port/vhost`.
    ///
    /// # Errors
    /// If it cannot listen.
    pub async fn before(uri: &str) -> Result<Self> {
        let (head, rest) = uri.rsplit_once('@').context("no user in the URI")?;
        let (to, vhost) = rest.split_once('/').context("no vhost in the URI")?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let proxy = Self {
            uri: format!("{head}@{}/{vhost}", listener.local_addr()?),
            weather: Arc::new(watch::Sender::new(Weather::fair())),
            clients: Arc::default(),
            stop: Shutdown::new(),
        };
        tokio::spawn(proxy.accept(listener, to.to_owned()));
        Ok(proxy)
    }

    /// The URI of the broker through this proxy.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Resets every connection; new ones are accepted.
    pub fn cut(&self) {
        self.weather.send_modify(|weather| {
            weather.cut.cancel();
            weather.cut = Shutdown::new();
        });
    }

    /// Resets every connection, and each new one as soon as it is accepted.
    pub fn refuse(&self) {
        self.weather.send_modify(|weather| weather.refuses = true);
        self.cut();
    }

    /// Holds back every byte in both directions, and the end of a connection too.
    pub fn freeze(&self) {
        self.weather.send_modify(|weather| weather.frozen = true);
    }

    /// Delays every byte by `delay` in each direction, and passes at most `bytes_per_second`.
    pub fn slow(&self, delay: Duration, bytes_per_second: Option<u32>) {
        self.weather.send_modify(|weather| {
            weather.delay = delay;
            weather.bytes_per_second = bytes_per_second;
        });
    }

    /// Ends all faults.
    pub fn resume(&self) {
        self.weather.send_modify(|weather| {
            *weather = Weather {
                cut: weather.cut.clone(),
                ..Weather::fair()
            }
        });
    }

    /// Whether the clients have closed every connection that is older than `since`.
    pub fn given_up(&self, since: Instant) -> bool {
        lock(&self.clients.since).values().all(|&own| own > since)
    }

    fn accept(&self, listener: TcpListener, to: String) -> impl Future<Output = ()> + use<> {
        let (weather, clients) = (Arc::clone(&self.weather), Arc::clone(&self.clients));
        let stop = self.stop.clone();
        let accepting = async move {
            while let Ok((client, _)) = listener.accept().await {
                let now = weather.borrow().clone();
                if now.refuses {
                    continue;
                }
                let (weather, there) = (weather.subscribe(), Client::of(&clients));
                let to = to.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = now.cut.cancelled() => {}
                        // ends when both sides have closed, or the broker cannot be reached
                        _ = carry(client, &to, weather, there) => {}
                    }
                });
            }
        };
        async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = accepting => {}
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.cancel();
        self.weather.borrow().cut.cancel();
    }
}

/// The clients with an open connection, by a number, and when each connected.
#[derive(Default)]
struct Clients {
    since: Mutex<BTreeMap<u64, Instant>>,
    last: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client with an open connection.
struct Client {
    clients: Arc<Clients>,
    number: u64,
}

impl Client {
    fn of(clients: &Arc<Clients>) -> Self {
        let number = clients.last.fetch_add(1, Ordering::Relaxed);
        lock(&clients.since).insert(number, Instant::now());
        let clients = Arc::clone(clients);
        Self { clients, number }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        lock(&self.clients.since).remove(&self.number);
    }
}

/// A piece that is being forwarded, and when it was received.
type Piece = (Instant, Vec<u8>);

async fn carry(
    client: TcpStream,
    to: &str,
    weather: watch::Receiver<Weather>,
    there: Client,
) -> Result<()> {
    let broker = TcpStream::connect(to).await?;
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    let (forth, sent) = mpsc::channel(PIECES);
    let (back, received) = mpsc::channel(PIECES);
    let listening = async {
        read(from_client, forth).await;
        drop(there);
    };
    tokio::join!(
        listening,
        write(sent, to_broker, weather.clone()),
        read(from_broker, back),
        write(received, to_client, weather),
    );
    Ok(())
}

/// Reads until the sender closes the connection or the other end is gone.
async fn read(mut from: OwnedReadHalf, pieces: mpsc::Sender<Piece>) {
    let mut buffer = vec![0; PIECE];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let piece = (Instant::now(), buffer[..read].to_vec());
        if pieces.send(piece).await.is_err() {
            return;
        }
    }
}

/// Writes each piece when the network lets it through; then closes its side, as the sender did.
async fn write(
    mut pieces: mpsc::Receiver<Piece>,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
) {
    while let Some((left, piece)) = pieces.recv().await {
        let Some((delay, pause)) = let_through(&mut weather, piece.len()).await else {
            return;
        };
        sleep_until(left + delay).await;
        sleep(pause).await;
        if let_through(&mut weather, 0).await.is_none() || to.write_all(&piece).await.is_err() {
            return;
        }
    }
    let_through(&mut weather, 0).await;
    // an error means that the other end has already closed
    let _gone = to.shutdown().await;
}

/// Waits while the network is frozen; then returns the delay of a piece of `bytes`, and how long the next one waits.
async fn let_through(
    weather: &mut watch::Receiver<Weather>,
    bytes: usize,
) -> Option<(Duration, Duration)> {
    let now = weather.wait_for(|weather| !weather.frozen).await.ok()?;
    let seconds = |rate: u32| bytes as f64 / f64::from(rate.max(1));
    let pause = now.bytes_per_second.map_or(0.0, seconds);
    Some((now.delay, Duration::from_secs_f64(pause)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An echo server, a proxy before it, and a connection through the proxy.
    async fn echo() -> Result<(Proxy, TcpStream)> {
        let server = TcpListener::bind("127.0.0.1:0").await?;
        let uri = format!("amqp://u:p@{}/v", server.local_addr()?);
        tokio::spawn(async move {
            while let Ok((mut peer, _)) = server.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = peer.split();
                    let _hung_up = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        let proxy = Proxy::before(&uri).await?;
        let stream = connect(&proxy).await?;
        Ok((proxy, stream))
    }

    async fn connect(proxy: &Proxy) -> Result<TcpStream> {
        let address = proxy.uri().trim_start_matches("amqp://u:p@");
        let address = address.trim_end_matches("/v");
        Ok(TcpStream::connect(address).await?)
    }

    async fn said(stream: &mut TcpStream, word: &[u8]) -> Result<bool> {
        stream.write_all(word).await?;
        let mut heard = vec![0; word.len()];
        let answer =
            tokio::time::timeout(Duration::from_millis(300), stream.read_exact(&mut heard));
        Ok(answer.await.is_ok_and(|read| read.is_ok() && heard == word))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_frozen_moves_again_when_it_is_resumed() -> Result<()> {
        let (proxy, mut stream) = echo().await?;
        assert!(said(&mut stream, b"one").await?);
        proxy.freeze();
        assert!(!said(&mut stream, b"two").await?);
        proxy.resume();
        let mut late = [0; 3];
        stream.read_exact(&mut late).await?;
        assert_eq!(&late, b"two");
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_is_cut_off_notices_and_may_come_back_when_it_is_let() -> Result<()> {
        let (proxy, mut stream) = echo().await?;
        assert!(said(&mut stream, b"one").await?);
        proxy.refuse();
        assert!(matches!(stream.read(&mut [0; 1]).await, Ok(0) | Err(_)));
        while !proxy.given_up(Instant::now()) {
            tokio::task::yield_now().await;
        }
        let mut refused = connect(&proxy).await?;
        assert!(!said(&mut refused, b"two").await.unwrap_or(false));
        proxy.resume();
        let mut again = connect(&proxy).await?;
        assert!(said(&mut again, b"three").await?);
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_slow_network_delays_and_holds_back() -> Result<()> {
        let (proxy, mut stream) = echo().await?;
        proxy.slow(Duration::from_millis(40), Some(1 << 20));
        let since = Instant::now();
        assert!(said(&mut stream, b"one").await?);
        assert!(since.elapsed() >= Duration::from_millis(80));
        let since = Instant::now();
        stream.write_all(&vec![7; 100 << 10]).await?;
        let mut heard = vec![0; 100 << 10];
        stream.read_exact(&mut heard).await?;
        assert!(since.elapsed() >= Duration::from_millis(90));
        Ok(())
    }
}
