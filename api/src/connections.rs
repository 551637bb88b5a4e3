//! Accepts connections: bounds their number, and closes idle and stalled ones.
//!
//! `axum::serve` sets no time limits, so the loop that accepts is ours; hyper limits the head of a request, tokio-io-timeout the
//! reading of an answer, hyper-util ends the connections.

use std::sync::Arc;
use std::time::Duration;

use autoconnect_common::Shutdown;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;

/// The most connections at a time, a few hundred browsers with their streams; others wait to be accepted.
const CONNECTIONS: usize = 4096;
/// How long a request may take to send its head, and a connection may wait for its next request.
const HEADERS: Duration = Duration::from_secs(10);
/// The most headers of a request; a browser sends some twenty.
const MAX_HEADERS: usize = 64;
/// The most bytes of them, and of what is read ahead of a body.
const BUFFER: usize = 64 << 10;
/// How long a client may take to read the next part of a response: the same as for sending the next part of a body.
const STALL: Duration = Duration::from_secs(30);
/// How long requests in flight may take after the shutdown: most take milliseconds, and a supervisor soon kills.
const GOODBYE: Duration = Duration::from_secs(5);
/// How long to wait where the system has no file descriptor left: a client closes one soon, and a tight loop would only
/// burn CPU.
const BREATH: Duration = Duration::from_millis(100);

/// Serves `routes` until `shutdown`; requests in flight then have [`GOODBYE`] to end.
pub(crate) async fn serve(listener: TcpListener, routes: Router, shutdown: &Shutdown) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_headers(MAX_HEADERS)
        .max_buf_size(BUFFER);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    // dropped with every connection that is left in it
    let mut connections = JoinSet::new();
    while let Some(Ok(place)) = shutdown
        .run_until_cancelled(Arc::clone(&places).acquire_owned())
        .await
    {
        while connections.try_join_next().is_some() {}
        let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await else {
            break;
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        let (http, routes, watcher) = (http.clone(), routes.clone(), graceful.watcher());
        connections.spawn(async move {
            serve_one(&http, stream, routes, watcher).await;
            drop(place);
        });
    }
    drop(listener);
    let _left = tokio::time::timeout(GOODBYE, graceful.shutdown()).await;
}

async fn serve_one(http: &http1::Builder, stream: TcpStream, routes: Router, watcher: Watcher) {
    // without it an answer is only slower
    let _refused = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(STALL));
    let io = TokioIo::new(Box::pin(stream));
    let service = TowerToHyperService::new(routes.into_service());
    if let Err(error) = watcher.watch(http.serve_connection(io, service)).await {
        tracing::debug!(%error, "connection lost");
    }
}
