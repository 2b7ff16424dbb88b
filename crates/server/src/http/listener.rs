//! Accepts connections, as many as there may be.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::limits::CONNECTION_IDLE_MAX;

/// What a client gets that connects while there are as many connections as there may be.
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    content-length: 57\r\n\
    retry-after: 1\r\n\
    connection: close\r\n\r\n\
    too many connections are open; try again a little later.\n";

/// A listener that closes connections above a limit at once.
pub(crate) struct BoundedListener {
    listener: TcpListener,
    free: Arc<Semaphore>,
    cut: CancellationToken,
}

impl BoundedListener {
    /// At most `connections_max` at a time; all of them break when `cut` is cancelled.
    pub(crate) fn new(
        listener: TcpListener,
        connections_max: usize,
        cut: CancellationToken,
    ) -> Self {
        Self { listener, free: Arc::new(Semaphore::new(connections_max)), cut }
    }

    /// How many more connections there may be.
    pub(crate) const fn free(&self) -> &Arc<Semaphore> {
        &self.free
    }
}

impl Listener for BoundedListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let (stream, peer) = Listener::accept(&mut self.listener).await;
            let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() else {
                tracing::warn!(%peer, "refused a connection: too many are open");
                // A new connection's send buffer is empty: this never waits.
                let _sent = stream.try_write(REFUSAL);
                continue;
            };
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%peer, %error, "a connection ended before it began");
                continue;
            }
            let cut = self.cut.clone().cancelled_owned();
            return (Connection::new(stream, cut, permit), peer);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that makes room for another when it ends, and ends when nothing has moved
/// on it for a long time.
pub(crate) struct Connection {
    stream: TcpStream,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    idle: Pin<Box<Sleep>>,
    moved_at: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    fn new(
        stream: TcpStream,
        cut: WaitForCancellationFutureOwned,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            stream,
            cut: Box::pin(cut),
            idle: Box::pin(sleep(CONNECTION_IDLE_MAX)),
            moved_at: Instant::now(),
            _permit: permit,
        }
    }

    /// Fails if the connection must end, and sees to it that its task wakes up when it must.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.cut.as_mut().poll(context).is_ready() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        // The timer is not moved at each byte, but only when it fires.
        while self.idle.as_mut().poll(context).is_ready() {
            let idle_at = self.moved_at + CONNECTION_IDLE_MAX;
            if idle_at <= Instant::now() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.idle.as_mut().reset(idle_at);
        }
        Ok(())
    }

    fn note<T>(&mut self, moved: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if moved.is_ready() {
            self.moved_at = Instant::now();
        }
        moved
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.note(read)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
