//! Calls that were sent on a connection and wait for their replies.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::transport::{Call, TransportError};

use super::connection::Connection;
use super::frame::{Frame, Verdict};
use super::outbox::Budget;

pub(crate) struct Pending {
    /// `None` once the connection is closed.
    calls: Mutex<Option<HashMap<u64, oneshot::Sender<Reply>>>>,
}

struct Reply {
    verdict: Verdict,
    body: Bytes,
}

impl Default for Pending {
    fn default() -> Self {
        Self { calls: Mutex::new(Some(HashMap::new())) }
    }
}

impl Pending {
    pub(crate) fn on_reply(&self, id: u64, verdict: Verdict, body: Bytes) {
        // Without a sender, the caller has given up.
        if let Some(sender) = self.remove(id) {
            let _ = sender.send(Reply { verdict, body });
        }
    }

    /// Ends all calls, and those that are still to come.
    pub(crate) fn lose_all(&self) {
        let lost = self.calls.lock().take();
        drop(lost);
    }

    pub(crate) fn count(&self) -> usize {
        self.calls.lock().as_ref().map_or(0, HashMap::len)
    }

    fn insert(&self, id: u64) -> Option<oneshot::Receiver<Reply>> {
        let (sender, receiver) = oneshot::channel();
        self.calls.lock().as_mut()?.insert(id, sender);
        Some(receiver)
    }

    fn remove(&self, id: u64) -> Option<oneshot::Sender<Reply>> {
        self.calls.lock().as_mut()?.remove(&id)
    }
}

impl Connection {
    /// Sends a call and waits for its reply. `None`: the connection was closed before the
    /// call could be sent.
    pub(crate) async fn call(
        self: &Arc<Self>,
        call: Call,
        deadline: Instant,
        budget: Budget,
    ) -> Option<Result<Bytes, TransportError>> {
        let node = self.peer.node;
        let bytes_max = self.sent_bytes_max();
        if call.body.len() > bytes_max {
            return Some(Err(TransportError::TooLarge { node, bytes_max }));
        }
        let id = self.next_id();
        let receiver = self.pending.insert(id)?;
        let _given_up = GivenUp { connection: self, id };
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1);
        let Call { method, body, .. } = call;
        self.metrics().calls_sent.increment();
        self.outbox.push_call(Frame::Call { id, method, timeout_ms, body }, budget);
        Some(match tokio::time::timeout_at(deadline, receiver).await {
            Ok(Ok(Reply { verdict, body })) => verdict.outcome(node, method, body),
            Ok(Err(_)) => Err(TransportError::Lost { node }),
            Err(_) => Err(TransportError::TimedOut { node }),
        })
    }
}

/// Tells the other side when a caller stops waiting before its reply came.
struct GivenUp<'a> {
    connection: &'a Connection,
    id: u64,
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        if self.connection.pending.remove(self.id).is_some() {
            self.connection.outbox.push(Frame::Cancel { id: self.id });
        }
    }
}
