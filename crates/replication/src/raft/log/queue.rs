//! What waits for the log's writer: bounded in bytes and operations, in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use breccia_store::LogOp;
use openraft::storage::IOFlushed;
use parking_lot::{Condvar, Mutex};
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

use super::error::LogError;
use super::group::state::GroupState;
use super::record::GroupKey;
use crate::raft::types::GroupConfig;

/// What may wait, in bytes. Whoever wants to queue more waits for room. A vote waits behind
/// everything that waits, so this must be written in far less than an election takes.
const QUEUE_BYTES_MAX: u32 = 16 << 20;
/// What an operation takes of it apart from its bytes: this bounds the operations, to 16384.
const OPERATION_BYTES: u32 = 1 << 10;
/// What one write takes from the queue, in bytes, unless a single operation is larger.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// What one write takes from the queue, in operations.
const BATCH_OPERATIONS_MAX: usize = 4_096;

/// How much an operation wants from the policy on fsyncs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    /// It survives a loss of power when it is done, whatever the policy is.
    Synced,
    /// What the policy says.
    Policy,
    /// Nothing: it may be lost, together with everything after it.
    Lazy,
}

/// Who waits for an operation.
pub(super) enum Done {
    Flushed(IOFlushed<GroupConfig>),
    Reply(oneshot::Sender<Result<(), LogError>>),
    Nobody,
}

/// One operation on the log.
pub(super) struct Operation {
    pub(super) changes: Vec<LogOp>,
    pub(super) promise: Promise,
    pub(super) done: Done,
    /// For an append: whose it is, and its number.
    pub(super) append: Option<(Arc<GroupState>, u64)>,
    pub(super) entries: u64,
}

/// Operations taken from the queue, and the room that they give back.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) operations: Vec<Operation>,
    bytes: usize,
    room: usize,
}

/// What a look into the queue found.
pub(super) enum Taken {
    Batch(Batch),
    /// Nothing came in time.
    Idle,
    /// The queue is closed and empty.
    Closed,
}

/// The permission to queue one operation.
pub(super) struct Room<'a>(SemaphorePermit<'a>);

/// The queue in front of the log's one writer.
pub(super) struct Queue {
    room: Semaphore,
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Operation, usize)>,
    /// Committed positions that wait for their group's next operation, or for idle time.
    committed: BTreeMap<GroupKey, LogOp>,
    /// Why nothing is taken in any more.
    end: Option<LogError>,
}

impl Operation {
    /// Changes for which nobody waits, and which may be lost.
    pub(super) const fn lazy(changes: Vec<LogOp>) -> Self {
        Self { changes, promise: Promise::Lazy, done: Done::Nobody, append: None, entries: 0 }
    }

    /// Changes that survive a loss of power when the reply comes.
    pub(super) fn synced(changes: Vec<LogOp>) -> (Self, oneshot::Receiver<Result<(), LogError>>) {
        let (reply, receiver) = oneshot::channel();
        let done = Done::Reply(reply);
        (Self { changes, promise: Promise::Synced, done, append: None, entries: 0 }, receiver)
    }

    fn bytes(&self) -> usize {
        self.changes.iter().map(LogOp::bytes).sum()
    }
}

impl Done {
    pub(super) fn complete(self, result: Result<(), LogError>) {
        match self {
            Self::Flushed(callback) => callback.io_completed(result.map_err(Into::into)),
            Self::Reply(reply) => {
                // Whoever waited may have gone away.
                let _ = reply.send(result);
            }
            Self::Nobody => {}
        }
    }
}

impl Batch {
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    fn push(&mut self, operation: Operation, room: usize) {
        self.bytes += operation.bytes();
        self.room += room;
        self.operations.push(operation);
    }

    fn is_full(&self, next: &Operation) -> bool {
        let bytes = self.bytes + next.bytes();
        !self.operations.is_empty()
            && (bytes > BATCH_BYTES_MAX || self.operations.len() >= BATCH_OPERATIONS_MAX)
    }
}

impl Queue {
    pub(super) fn new() -> Self {
        let room = usize::try_from(QUEUE_BYTES_MAX).unwrap_or(usize::MAX);
        Self { room: Semaphore::new(room), state: Mutex::default(), arrived: Condvar::new() }
    }

    /// Waits until an operation of so many bytes fits in. The wait ends: the writer makes
    /// room, or fails and closes the queue.
    pub(super) async fn room(&self, bytes: usize) -> Result<Room<'_>, LogError> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).saturating_add(OPERATION_BYTES);
        match self.room.acquire_many(bytes.min(QUEUE_BYTES_MAX)).await {
            Ok(permit) => Ok(Room(permit)),
            Err(_closed) => Err(self.end()),
        }
    }

    /// Queues an operation, and before it what its group left to be written with it. If it
    /// is refused whoever waits for it is told.
    pub(super) fn push(
        &self,
        group: GroupKey,
        operation: Operation,
        room: Room<'_>,
    ) -> Result<(), LogError> {
        let mut state = self.state.lock();
        if let Some(end) = state.end.clone() {
            drop(state);
            operation.done.complete(Err(end.clone()));
            return Err(end);
        }
        let was_empty = state.waiting.is_empty();
        if let Some(committed) = state.committed.remove(&group) {
            state.waiting.push_back((Operation::lazy(vec![committed]), 0));
        }
        let taken = room.0.num_permits();
        room.0.forget();
        state.waiting.push_back((operation, taken));
        drop(state);
        if was_empty {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Leaves a committed position to be written with the group's next operation, or when
    /// the writer has nothing else to do. Not before the operations that wait: a position
    /// on disk beyond the entries on disk would stop the group from starting again.
    pub(super) fn leave_committed(&self, group: GroupKey, record: LogOp) -> Result<(), LogError> {
        let mut state = self.state.lock();
        if let Some(end) = &state.end {
            return Err(end.clone());
        }
        state.committed.insert(group, record);
        Ok(())
    }

    /// Takes what waits, up to the limits of a batch. Waits for something, but no longer
    /// than `patience`.
    pub(super) fn take(&self, patience: Duration) -> Taken {
        let mut state = self.state.lock();
        if state.waiting.is_empty() && state.end.is_none() {
            let is_empty = |state: &mut State| state.waiting.is_empty() && state.end.is_none();
            self.arrived.wait_while_for(&mut state, is_empty, patience);
        }
        let mut batch = Batch::default();
        if state.waiting.is_empty() {
            let committed: Vec<_> = std::mem::take(&mut state.committed).into_values().collect();
            return match (committed.is_empty(), state.end.is_some()) {
                (true, true) => Taken::Closed,
                (true, false) => Taken::Idle,
                (false, _) => {
                    batch.push(Operation::lazy(committed), 0);
                    Taken::Batch(batch)
                }
            };
        }
        while let Some((operation, room)) =
            state.waiting.pop_front_if(|(operation, _)| !batch.is_full(operation))
        {
            batch.push(operation, room);
        }
        Taken::Batch(batch)
    }

    /// Waits until the queue is closed, but no longer than `patience`; whether it is.
    pub(super) fn wait_for_close(&self, patience: Duration) -> bool {
        let mut state = self.state.lock();
        self.arrived.wait_while_for(&mut state, |state| state.end.is_none(), patience);
        state.end.is_some()
    }

    /// Gives back the room of a batch that is written.
    pub(super) fn give_back(&self, batch: &Batch) {
        self.room.add_permits(batch.room);
    }

    /// Refuses what comes from now on; what waits is still taken.
    pub(super) fn close(&self) {
        self.state.lock().end.get_or_insert(LogError::Closed);
        self.room.close();
        self.arrived.notify_one();
    }

    /// Refuses what comes from now on, and returns what waits.
    pub(super) fn poison(&self, cause: LogError) -> Vec<Operation> {
        let mut state = self.state.lock();
        state.end = Some(cause);
        state.committed.clear();
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        self.room.close();
        waiting.into_iter().map(|(operation, _)| operation).collect()
    }

    fn end(&self) -> LogError {
        self.state.lock().end.clone().unwrap_or(LogError::Closed)
    }
}
