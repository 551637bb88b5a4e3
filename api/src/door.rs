//! The door: takes connections, a bounded number of them, and none that only holds its place.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use autoconnect_common::Shutdown;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};

/// The most connections at a time; others wait to be taken.
const CONNECTIONS: usize = 4096;
/// How long a request may take to say what it wants, and a connection may wait for its next request.
const HEADERS: Duration = Duration::from_secs(10);
/// The most headers of a request.
const MAX_HEADERS: usize = 64;
/// The most bytes of them, and of what is read ahead of a body.
const BUFFER: usize = 64 << 10;
/// How long somebody may take to read the next part of an answer.
const STALL: Duration = Duration::from_secs(30);
/// How long what is in hand may take once we were told to stop.
const GOODBYE: Duration = Duration::from_secs(5);
/// How long we wait where the system has no connection left to give.
const BREATH: Duration = Duration::from_millis(100);

/// Serves `routes` until told to stop; then finishes what is in hand, for a little while.
pub(crate) async fn open(listener: TcpListener, routes: Router, shutdown: &Shutdown) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_headers(MAX_HEADERS)
        .max_buf_size(BUFFER);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
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
                tracing::warn!(%error, "connection not taken");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        let (http, routes, shutdown) = (http.clone(), routes.clone(), shutdown.clone());
        connections.spawn(async move {
            serve(&http, stream, routes, &shutdown).await;
            drop(place);
        });
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    let _left = tokio::time::timeout(GOODBYE, all).await;
}

async fn serve(http: &http1::Builder, stream: TcpStream, routes: Router, shutdown: &Shutdown) {
    let _slower_at_worst = stream.set_nodelay(true);
    let io = TokioIo::new(Impatient::over(stream));
    let mut connection =
        std::pin::pin!(http.serve_connection(io, TowerToHyperService::new(routes.into_service())));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection lost");
    }
}

/// A connection that breaks where the other side takes nothing of what is written for a while.
struct Impatient {
    stream: TcpStream,
    /// Runs while something waits to be written.
    waits: Option<Pin<Box<Sleep>>>,
}

impl Impatient {
    fn over(stream: TcpStream) -> Self {
        Self {
            stream,
            waits: None,
        }
    }

    /// What became of an attempt to write, or that it took too long.
    fn judge<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waits = None;
            return written;
        }
        let waits = self
            .waits
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + STALL)));
        ready!(waits.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Impatient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.judge(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
