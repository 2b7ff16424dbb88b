//! The streams of a connection.
//!
//! Each direction of a stream ends by itself: by `end` when the sender was dropped, by
//! `stop` when the receiver was. A stream is forgotten when both have ended; what still
//! arrives for it then was on its way, and is dropped.

use std::collections::HashMap;
use std::sync::Arc;

use breccia_types::NodeId;
use bytes::Bytes;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::stream::{Carrier, Duplex, Ends, STREAM_WINDOW_BYTES, charge, windowed};
use crate::transport::{Method, TransportError};

use super::connection::Connection;
use super::frame::{Frame, Verdict};

/// What a side that keeps the rules never sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum Violation {
    #[error("the other side opened stream {id} twice")]
    OpenedTwice { id: u64 },
    #[error("the other side sent more on stream {id} than its window allows")]
    Window { id: u64 },
    #[error("the other side sent a frame that only this side may send")]
    WrongSide,
    #[error("the other side does not read what it asked for")]
    Unread,
}

#[derive(Default)]
pub(crate) struct Streams {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: HashMap<u64, Entry>,
    is_lost: bool,
}

struct Entry {
    method: Method,
    /// `None` once no more messages are taken: the other side ended, or our user left.
    incoming: Option<mpsc::Sender<Result<Bytes, TransportError>>>,
    /// Charges of messages that came and have not been given back.
    charged: u32,
    /// Room for messages to the other side.
    window: Arc<Semaphore>,
    /// Stops what carries our messages; `None` once it has ended.
    stop: Option<CancellationToken>,
}

impl Entry {
    fn is_over(&self) -> bool {
        self.incoming.is_none() && self.stop.is_none()
    }

    fn stop_sending(&mut self) {
        self.window.close();
        if let Some(stop) = self.stop.take() {
            stop.cancel();
        }
    }

    fn lose(mut self, error: TransportError) {
        self.stop_sending();
        if let Some(incoming) = self.incoming {
            // There is room for one error beyond the window. A user that left hears nothing.
            let _ = incoming.try_send(Err(error));
        }
    }
}

impl Streams {
    pub(crate) fn count(&self) -> usize {
        self.state.lock().entries.len()
    }

    pub(crate) fn on_message(&self, id: u64, body: Bytes) -> Result<(), Violation> {
        let mut state = self.state.lock();
        let Some(entry) = state.entries.get_mut(&id) else { return Ok(()) };
        let Some(incoming) = &entry.incoming else { return Ok(()) };
        entry.charged = entry.charged.saturating_add(charge(body.len()));
        if entry.charged > STREAM_WINDOW_BYTES {
            return Err(Violation::Window { id });
        }
        match incoming.try_send(Ok(body)) {
            Err(mpsc::error::TrySendError::Full(_)) => Err(Violation::Window { id }),
            // A receiver that is being dropped is about to say so.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }

    pub(crate) fn on_end(&self, id: u64) {
        self.change(id, |entry| drop(entry.incoming.take()));
    }

    pub(crate) fn on_stop(&self, id: u64) {
        self.change(id, Entry::stop_sending);
    }

    pub(crate) fn on_credit(&self, id: u64, charge: u32) -> Result<(), Violation> {
        let state = self.state.lock();
        let Some(entry) = state.entries.get(&id) else { return Ok(()) };
        let window = usize::try_from(STREAM_WINDOW_BYTES).unwrap_or(usize::MAX);
        let charge = usize::try_from(charge).unwrap_or(usize::MAX);
        if entry.window.available_permits().saturating_add(charge) > window {
            return Err(Violation::Window { id });
        }
        entry.window.add_permits(charge);
        Ok(())
    }

    pub(crate) fn on_reset(&self, id: u64, verdict: Verdict, node: NodeId) {
        let entry = self.state.lock().entries.remove(&id);
        let Some(entry) = entry else { return };
        let outcome = verdict.outcome(node, entry.method, Bytes::new());
        let error = outcome.err().unwrap_or(TransportError::Lost { node });
        entry.lose(error);
    }

    /// Ends all streams with an error, and those that are still to come.
    pub(crate) fn lose_all(&self, node: NodeId) {
        let mut state = self.state.lock();
        state.is_lost = true;
        let entries = std::mem::take(&mut state.entries);
        drop(state);
        for entry in entries.into_values() {
            entry.lose(TransportError::Lost { node });
        }
    }

    fn insert(&self, id: u64, entry: Entry) -> Result<bool, Violation> {
        let mut state = self.state.lock();
        if state.is_lost {
            return Ok(false);
        }
        match state.entries.insert(id, entry) {
            None => Ok(true),
            Some(_) => Err(Violation::OpenedTwice { id }),
        }
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Entry)) {
        let mut state = self.state.lock();
        if let Some(entry) = state.entries.get_mut(&id) {
            change(entry);
            if entry.is_over() {
                state.entries.remove(&id);
            }
        }
    }
}

impl Connection {
    /// Opens a stream to the other side. `None`: the connection was closed before.
    pub(crate) fn open_stream(self: &Arc<Self>, method: Method, header: Bytes) -> Option<Duplex> {
        let id = self.next_id();
        let (duplex, ends) = self.new_stream(id);
        let (entry, stop) = entry_of(method, &ends);
        // Our own ids are new.
        if !self.streams.insert(id, entry).unwrap_or(false) {
            return None;
        }
        self.outbox.push(Frame::Open { id, method, header });
        tokio::spawn(Arc::clone(self).carry(id, ends.outgoing, stop));
        Some(duplex)
    }

    /// Takes part in a stream that the other side has opened.
    pub(crate) fn accept_stream(
        self: &Arc<Self>,
        id: u64,
        method: Method,
    ) -> Result<Duplex, Violation> {
        let (duplex, ends) = self.new_stream(id);
        let (entry, stop) = entry_of(method, &ends);
        self.streams.insert(id, entry)?;
        tokio::spawn(Arc::clone(self).carry(id, ends.outgoing, stop));
        Ok(duplex)
    }

    fn new_stream(self: &Arc<Self>, id: u64) -> (Duplex, Ends) {
        windowed(Arc::new(StreamUser { connection: Arc::clone(self), id }))
    }

    /// Carries a stream's messages to the other side until either stops.
    async fn carry(
        self: Arc<Self>,
        id: u64,
        mut outgoing: mpsc::Receiver<Bytes>,
        stop: CancellationToken,
    ) {
        let carrying = async {
            while let Some(body) = outgoing.recv().await {
                if body.len() > self.sent_bytes_max() {
                    let verdict = Verdict::TooLarge;
                    self.streams.on_reset(id, verdict, self.peer.node);
                    return self.outbox.push(Frame::Reset { id, verdict });
                }
                let Some(room) = self.outbox.room(body.len()).await else { return };
                self.outbox.push_into(room, Frame::Message { id, body });
            }
            self.outbox.push(Frame::End { id });
            self.streams.change(id, |entry| entry.stop = None);
        };
        stop.run_until_cancelled(carrying).await;
    }
}

fn entry_of(method: Method, ends: &Ends) -> (Entry, CancellationToken) {
    let stop = CancellationToken::new();
    let entry = Entry {
        method,
        incoming: Some(ends.incoming.clone()),
        charged: 0,
        window: Arc::clone(&ends.window),
        stop: Some(stop.clone()),
    };
    (entry, stop)
}

/// Hears from a stream's receiver.
struct StreamUser {
    connection: Arc<Connection>,
    id: u64,
}

impl Carrier for StreamUser {
    fn on_taken(&self, charge: u32) {
        let streams = &self.connection.streams;
        streams.change(self.id, |entry| entry.charged = entry.charged.saturating_sub(charge));
        self.connection.outbox.push(Frame::Credit { id: self.id, charge });
    }

    fn on_dropped(&self) {
        let mut is_news = false;
        self.connection.streams.change(self.id, |entry| {
            is_news = entry.incoming.take().is_some();
        });
        if is_news {
            self.connection.outbox.push(Frame::Stop { id: self.id });
        }
    }
}
