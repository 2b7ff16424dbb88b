//! Calls and streams that a connection's other side has asked for, while they run here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use crate::transport::{Access, Handler, Method, Refusal};

use super::connection::Connection;
use super::frame::{Frame, Verdict};
use super::handshake::Standing;
use super::limits::{
    CALL_BYTES_CHARGED_MIN, CALL_BYTES_PER_PEER_MAX, FRAME_BODY_BYTES_MAX,
    STREAMS_PER_CONNECTION_MAX,
};
use super::streams::Violation;

pub(crate) struct Served {
    /// `None` once the connection is closed.
    running: Mutex<Option<HashMap<u64, AbortHandle>>>,
    /// Room for bodies of calls, in bytes.
    room: Arc<Semaphore>,
}

/// What a call takes of its peer's budget, in bytes.
pub(crate) fn call_charge(body_bytes: usize) -> u32 {
    u32::try_from(body_bytes.max(CALL_BYTES_CHARGED_MIN)).unwrap_or(u32::MAX)
}

impl Default for Served {
    fn default() -> Self {
        Self {
            running: Mutex::new(Some(HashMap::new())),
            room: Arc::new(Semaphore::new(CALL_BYTES_PER_PEER_MAX)),
        }
    }
}

impl Served {
    /// Stops serving a call that the other side has given up.
    pub(crate) fn drop_call(&self, id: u64) {
        if let Some(task) = self.remove(id) {
            task.abort();
        }
    }

    /// Stops serving everything, and what is still to come.
    pub(crate) fn drop_all(&self) {
        let running = self.running.lock().take();
        for task in running.into_iter().flat_map(HashMap::into_values) {
            task.abort();
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.running.lock().as_ref().map_or(0, HashMap::len)
    }

    fn spawn(&self, id: u64, task: impl Future<Output = ()> + Send + 'static) {
        let mut running = self.running.lock();
        // Under the lock, so that the task cannot end before it is known.
        if let Some(running) = running.as_mut() {
            running.insert(id, tokio::spawn(task).abort_handle());
        }
    }

    fn remove(&self, id: u64) -> Option<AbortHandle> {
        self.running.lock().as_mut()?.remove(&id)
    }
}

impl Connection {
    pub(crate) fn on_call(
        self: &Arc<Self>,
        id: u64,
        handler: &Arc<dyn Handler>,
        method: Method,
        (body, timeout): (Bytes, Duration),
    ) {
        self.metrics().calls_received.increment();
        let refuse = |verdict| self.outbox.push(Frame::Reply { id, verdict, body: Bytes::new() });
        if let Err(verdict) = self.admit(handler.as_ref(), method) {
            return refuse(verdict);
        }
        let room = Arc::clone(&self.served.room).try_acquire_many_owned(call_charge(body.len()));
        let Ok(room) = room else { return refuse(Verdict::Busy) };
        let unanswered = Unanswered { connection: Arc::clone(self), id };
        let handler = Arc::clone(handler);
        let working = self.working();
        self.served.spawn(id, async move {
            let _working = working;
            let connection = Arc::clone(&unanswered.connection);
            let answering = async {
                let reply = handler.on_call(connection.peer, method, body).await;
                connection.reply(id, reply).await;
                drop(room);
            };
            // After that the caller has gone; what is said then is for nobody.
            if tokio::time::timeout(timeout, answering).await.is_err() {
                connection.served.remove(id);
            }
            drop(unanswered);
        });
    }

    async fn reply(&self, id: u64, reply: Result<Bytes, Refusal>) {
        let (verdict, body) = match reply {
            Ok(body) => (Verdict::Done, body),
            Err(Refusal(body)) => (Verdict::Refused, body),
        };
        let (verdict, body) = if body.len() > FRAME_BODY_BYTES_MAX {
            (Verdict::TooLarge, Bytes::new())
        } else {
            (verdict, body)
        };
        if let Some(room) = self.outbox.room(body.len()).await
            && self.served.remove(id).is_some()
        {
            self.outbox.push_into(room, Frame::Reply { id, verdict, body });
        }
    }

    pub(crate) fn on_open(
        self: &Arc<Self>,
        id: u64,
        handler: &Arc<dyn Handler>,
        method: Method,
        header: Bytes,
    ) -> Result<(), Violation> {
        let admitted = self.admit(handler.as_ref(), method).and_then(|()| {
            let is_full = self.streams.count() >= STREAMS_PER_CONNECTION_MAX;
            if is_full { Err(Verdict::Busy) } else { Ok(()) }
        });
        if let Err(verdict) = admitted {
            self.outbox.push(Frame::Reset { id, verdict });
            return Ok(());
        }
        let duplex = self.accept_stream(id, method)?;
        let (connection, handler) = (Arc::clone(self), Arc::clone(handler));
        self.served.spawn(id, async move {
            // Dropped however the handler ends.
            let ended = Ended { connection, id };
            handler.on_open(ended.connection.peer, method, header, duplex).await;
        });
        Ok(())
    }

    fn admit(&self, handler: &dyn Handler, method: Method) -> Result<(), Verdict> {
        if self.is_closing() {
            return Err(Verdict::Closing);
        }
        match (handler.access(method), self.standing) {
            (Access::Nobody, _) => Err(Verdict::NotServed),
            (Access::Members, Standing::Strangers) => Err(Verdict::NotAMember),
            (Access::Members, Standing::Members) | (Access::Anyone, _) => Ok(()),
        }
    }
}

/// Answers for a handler that panicked.
struct Unanswered {
    connection: Arc<Connection>,
    id: u64,
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        let Self { connection, id } = self;
        if connection.served.remove(*id).is_some() {
            let failed = Frame::Reply { id: *id, verdict: Verdict::Failed, body: Bytes::new() };
            connection.outbox.push(failed);
        }
    }
}

/// Forgets a stream's task when it ends.
struct Ended {
    connection: Arc<Connection>,
    id: u64,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.connection.served.remove(self.id);
    }
}
