//! A client's socket.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How long a client that was told to end may take to read its last replies.
const LAST_REPLIES_GRACE: Duration = Duration::from_secs(1);

/// A client's socket, and the token that ends it.
pub(crate) struct Socket {
    stream: TcpStream,
    stop: CancellationToken,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, stop: CancellationToken) -> Self {
        let stopped = Box::pin(stop.clone().cancelled_owned());
        Self { stream, stop, stopped }
    }

    /// Appends what the client sent; 0 bytes at the end of the connection, from either side.
    ///
    /// # Errors
    /// If the connection broke.
    pub(crate) async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        tokio::select! {
            biased;
            read = self.stream.read_buf(buffer) => read,
            () = self.stopped.as_mut() => Ok(0),
        }
    }

    /// Sends everything. A client that reads nothing makes this wait until it is told to
    /// end, and a little longer.
    ///
    /// # Errors
    /// If the connection broke.
    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = match self.stream.try_write(bytes) {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        match bytes.get(sent..) {
            None | Some([]) => Ok(()),
            Some(rest) => {
                let too_late = too_late(self.stop.clone());
                tokio::select! {
                    written = self.stream.write_all(rest) => written,
                    () = too_late => Err(io::ErrorKind::TimedOut.into()),
                }
            }
        }
    }
}

/// When a client that was told to end has had its time.
async fn too_late(stop: CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(LAST_REPLIES_GRACE).await;
}
