//! A stream's two ends, whatever transport carries it.

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::transport::TransportError;

/// Both directions of a stream.
#[derive(Debug)]
pub struct Duplex {
    /// To the other side.
    pub sender: MessageSender,
    /// From the other side.
    pub receiver: MessageReceiver,
}

/// Sends messages. Dropping it tells the other side that no more will come.
#[derive(Debug, Clone)]
pub struct MessageSender(mpsc::Sender<Bytes>);

/// Receives messages, in the order in which they were sent.
#[derive(Debug)]
pub struct MessageReceiver(mpsc::Receiver<Result<Bytes, TransportError>>);

/// The stream was closed by the other side or lost; what was sent may not have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream is closed")]
pub struct StreamClosed;

/// The two ends between a user of a stream and the transport that carries it: the duplex for
/// the user, then where the transport takes messages from, and where it puts those that
/// arrive. At most `window` messages wait in each direction.
#[must_use]
pub fn duplex(
    window: usize,
) -> (Duplex, mpsc::Receiver<Bytes>, mpsc::Sender<Result<Bytes, TransportError>>) {
    let (sender, outgoing) = mpsc::channel(window);
    let (incoming, receiver) = mpsc::channel(window);
    (
        Duplex { sender: MessageSender(sender), receiver: MessageReceiver(receiver) },
        outgoing,
        incoming,
    )
}

impl MessageSender {
    /// Sends a message, once there is room for it in the stream's window. Cancel-safe:
    /// dropped before it is ready, nothing was sent.
    ///
    /// # Errors
    /// [`StreamClosed`].
    pub async fn send(&self, message: Bytes) -> Result<(), StreamClosed> {
        self.0.send(message).await.map_err(|_| StreamClosed)
    }
}

impl MessageReceiver {
    /// The next message; `None` when the other side will send no more. Cancel-safe.
    ///
    /// # Errors
    /// [`TransportError`] if the stream was lost; nothing comes after that.
    pub async fn receive(&mut self) -> Option<Result<Bytes, TransportError>> {
        self.0.recv().await
    }
}
