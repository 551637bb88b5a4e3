//! Accepts connections: bounds their number, and closes idle and stalled ones.
//!
//! `axum::serve` sets no time limits, so this module has its own accept loop. hyper limits the time for the head of a
//! request, tokio-io-timeout that for reading a response; hyper-util ends the connections at shutdown.

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

/// The most connections at a time: a few hundred browsers with their streams. Further ones wait to be accepted.
const CONNECTIONS: usize = 4096;
/// How long a request may take to send its head, and a connection may wait for its next request.
const HEADERS: Duration = Duration::from_secs(10);
/// The most headers of a request; a browser sends about twenty.
const MAX_HEADERS: usize = 64;
/// The most bytes of a request's headers, and of the read buffer of a connection.
const BUFFER: usize = 64 << 10;
/// How long a client may take to read the next part of a response: the same as for sending the next part of a body.
const STALL: Duration = Duration::from_secs(30);
/// How long requests in flight may take after the shutdown. Most take milliseconds, and Docker kills after ten seconds.
const DRAIN: Duration = Duration::from_secs(5);
/// How long to wait before the next accept where the system has no file descriptor left: a client soon closes one, and a
/// loop without a pause would use a whole core.
const RETRY_ACCEPT: Duration = Duration::from_millis(100);

/// Serves `routes` until `shutdown`; requests in flight then have [`DRAIN`] to end.
pub(crate) async fn serve(listener: TcpListener, routes: Router, shutdown: &Shutdown) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_headers(MAX_HEADERS)
        .max_buf_size(BUFFER);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    // dropping the set at the end closes every connection that is still in it
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
                tokio::time::sleep(RETRY_ACCEPT).await;
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
    let _left = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
}

async fn serve_one(http: &http1::Builder, stream: TcpStream, routes: Router, watcher: Watcher) {
    // without TCP_NODELAY a response is only slower, so an error is ignored
    let _refused = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(STALL));
    let io = TokioIo::new(Box::pin(stream));
    let service = TowerToHyperService::new(routes.into_service());
    if let Err(error) = watcher.watch(http.serve_connection(io, service)).await {
        tracing::debug!(%error, "connection lost");
    }
}
