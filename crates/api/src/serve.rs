//! Connections: how many, how long, and how they end.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use crate::limits;

/// The bounds of connections; [`Serving::default`] takes them from [`limits`].
#[derive(Clone, Copy, Debug)]
pub struct Serving {
    /// Most connections at once. Further ones wait in the system's queue.
    pub connections_max: usize,
    /// Longest that the head of a request may take, and that a connection is idle.
    pub head_time: Duration,
    /// Longest that a client may leave an answer lying without reading any of it.
    pub write_pause: Duration,
    /// Longest that open requests are waited for at the end.
    pub drain_time: Duration,
}

impl Default for Serving {
    fn default() -> Serving {
        Serving {
            connections_max: limits::CONNECTIONS_MAX,
            head_time: limits::HEAD_TIME,
            write_pause: limits::WRITE_PAUSE,
            drain_time: limits::DRAIN_TIME,
        }
    }
}

/// Serves until told to stop; then accepts no more and waits for open requests, but not for ever.
pub async fn serve(listener: TcpListener, router: Router, serving: Serving, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(serving.connections_max));
    let open = GracefulShutdown::new();
    loop {
        let next = tokio::select! {
            () = stop.cancelled() => break,
            next = accept(&listener, &places) => next,
        };
        match next {
            Ok((stream, place)) => {
                let connection = connect(stream, router.clone(), serving);
                let connection = open.watch(connection);
                tokio::spawn(async move {
                    // A client that went away or was too slow is not our error.
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "a connection ended");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(limits::ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(serving.drain_time, open.shutdown()).await.is_err() {
        tracing::warn!("some requests were not answered within {} s and were cut off", serving.drain_time.as_secs());
    }
}

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, place))
}

type Connection = hyper::server::conn::http1::Connection<TokioIo<Patient>, TowerToHyperService<Router>>;

fn connect(stream: TcpStream, router: Router, serving: Serving) -> Connection {
    let patient = Patient { stream, pause: serving.write_pause, stalled: None };
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(serving.head_time)
        .max_header_size(limits::HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(patient), TowerToHyperService::new(router))
}

/// A connection that is given up when its client does not read for a while.
struct Patient {
    stream: TcpStream,
    pause: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let pause = self.pause;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, from);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, from);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
