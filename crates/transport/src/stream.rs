//! A stream's two ends, whatever transport carries it.
//!
//! A sender may be ahead of its receiver by [`STREAM_WINDOW_BYTES`] or
//! [`STREAM_WINDOW_MESSAGES`], whichever is less. Both limits are one: every message is
//! charged its length, but no less than a 64th of the window, and sending waits until the
//! window has room for the charge. What the receiver has taken is given back in steps of a
//! quarter of the window, so that small messages do not each cause an answer; hence no
//! message is charged more than the other three quarters, or it might wait forever.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};

use crate::transport::TransportError;

/// How far a sender may be ahead of its receiver, in bytes; one message may exceed it.
pub const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// How far a sender may be ahead of its receiver, in messages.
pub const STREAM_WINDOW_MESSAGES: u32 = 64;
/// Charges that a receiver gathers before it gives them back, in bytes.
const CREDIT_STEP: u32 = STREAM_WINDOW_BYTES / 4;

const _: () = assert!(STREAM_WINDOW_BYTES.is_multiple_of(STREAM_WINDOW_MESSAGES));
const _: () = assert!(CREDIT_STEP >= STREAM_WINDOW_BYTES / STREAM_WINDOW_MESSAGES);

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
pub struct MessageSender {
    messages: mpsc::Sender<Bytes>,
    /// `None`: only the channel's own bound holds.
    window: Option<Arc<Semaphore>>,
}

/// Receives messages, in the order in which they were sent. Dropping it tells the other side
/// that no more are wanted.
#[derive(Debug)]
pub struct MessageReceiver {
    messages: mpsc::Receiver<Result<Bytes, TransportError>>,
    receipts: Option<Receipts>,
}

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
    let (messages, outgoing) = mpsc::channel(window);
    let (incoming, receiver) = mpsc::channel(window);
    (
        Duplex {
            sender: MessageSender { messages, window: None },
            receiver: MessageReceiver { messages: receiver, receipts: None },
        },
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
        let Some(window) = &self.window else {
            return self.messages.send(message).await.map_err(|_| StreamClosed);
        };
        let room = window.acquire_many(charge(message.len())).await.map_err(|_| StreamClosed)?;
        // The channel has room for every message that the window admits.
        self.messages.try_send(message).map_err(|_| StreamClosed)?;
        room.forget();
        Ok(())
    }
}

impl MessageReceiver {
    /// The next message; `None` when the other side will send no more. Cancel-safe.
    ///
    /// # Errors
    /// [`TransportError`] if the stream was lost; nothing comes after that.
    pub async fn receive(&mut self) -> Option<Result<Bytes, TransportError>> {
        let message = self.messages.recv().await;
        if let (Some(Ok(message)), Some(receipts)) = (&message, &mut self.receipts) {
            receipts.on_taken(charge(message.len()));
        }
        message
    }
}

impl Drop for MessageReceiver {
    fn drop(&mut self) {
        if let Some(receipts) = &self.receipts {
            receipts.carrier.on_dropped();
        }
    }
}

/// What a message takes from the window, in bytes.
pub(crate) fn charge(bytes: usize) -> u32 {
    u32::try_from(bytes)
        .unwrap_or(u32::MAX)
        .clamp(STREAM_WINDOW_BYTES / STREAM_WINDOW_MESSAGES, STREAM_WINDOW_BYTES - CREDIT_STEP)
}

/// What the transport learns from a stream's receiver.
pub(crate) trait Carrier: Send + Sync {
    /// Messages were taken; their charges go back to the sender.
    fn on_taken(&self, charge: u32);
    /// The receiver is gone.
    fn on_dropped(&self);
}

/// Gathers charges on their way back to the sender.
struct Receipts {
    carrier: Arc<dyn Carrier>,
    gathered: u32,
}

impl Receipts {
    fn on_taken(&mut self, charge: u32) {
        self.gathered = self.gathered.saturating_add(charge);
        if self.gathered >= CREDIT_STEP {
            self.carrier.on_taken(std::mem::take(&mut self.gathered));
        }
    }
}

impl fmt::Debug for Receipts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipts").field("gathered", &self.gathered).finish_non_exhaustive()
    }
}

/// The transport's side of a stream's user.
pub(crate) struct Ends {
    /// Messages to be carried to the other side.
    pub(crate) outgoing: mpsc::Receiver<Bytes>,
    /// Where messages from the other side go. Has room for a whole window and an error.
    pub(crate) incoming: mpsc::Sender<Result<Bytes, TransportError>>,
    /// Room for messages to the other side, in bytes of charge. Closed with the stream.
    pub(crate) window: Arc<Semaphore>,
}

/// A stream's user and the transport's side of it.
pub(crate) fn windowed(carrier: Arc<dyn Carrier>) -> (Duplex, Ends) {
    let messages_max = STREAM_WINDOW_MESSAGES as usize;
    let window = Arc::new(Semaphore::new(STREAM_WINDOW_BYTES as usize));
    let (messages, outgoing) = mpsc::channel(messages_max);
    let (incoming, receiver) = mpsc::channel(messages_max + 1);
    let duplex = Duplex {
        sender: MessageSender { messages, window: Some(Arc::clone(&window)) },
        receiver: MessageReceiver {
            messages: receiver,
            receipts: Some(Receipts { carrier, gathered: 0 }),
        },
    };
    (duplex, Ends { outgoing, incoming, window })
}
