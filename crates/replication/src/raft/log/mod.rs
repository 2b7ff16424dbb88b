//! The one log of a node, shared by all its Raft groups.
//!
//! An fsync costs the same whether one group waits for it or all do. So one thread writes for
//! all of them: it takes what waits in the queue, writes it as one batch with one fsync, tells
//! those who waited, in order, and takes what has gathered meanwhile. Votes take the same way,
//! since a vote must never overtake the entries before it.
//!
//! A group's entries are in memory from the moment of their append until they are written,
//! and longer if there is room. Reads come from there; only a follower that lags makes its
//! leader read the database.
//!
//! On a full disk the writer waits for room and repeats what it was writing; who waits goes on
//! waiting. Any other write or sync that fails is the end: everyone who waits is told,
//! everything later is refused, and the process should be restarted. Nothing can be said of
//! what is on disk then, except by reading it again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use breccia_store::{LogStore, ScanLimits};
use breccia_types::{ReplicaId, ShardId};
use parking_lot::Mutex;

use crate::fsync::FsyncPolicy;
use group::state::GroupState;
use queue::Queue;
use tail::TailBudget;
use writer::Shared;

mod error;
mod group;
mod queue;
mod record;
mod sizes;
mod tail;
mod writer;

pub use error::{Damage, LogError};
pub use group::GroupLog;
pub use record::{GroupKey, Record};
pub use writer::{LogEvent, SharedLogCounters};

/// What an operator chooses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedLogOptions {
    /// When an append counts as durable. A vote is always synced: forgetting one could elect
    /// two leaders in one term.
    pub fsync: FsyncPolicy,
    /// What the ends of all groups' logs may take in memory, in bytes. Beyond it each group
    /// still keeps 64 KiB and what is not written yet.
    pub tail_bytes_max: usize,
}

impl Default for SharedLogOptions {
    fn default() -> Self {
        Self { fsync: FsyncPolicy::Always, tail_bytes_max: 64 << 20 }
    }
}

/// The log of a node.
pub struct SharedLog {
    shared: Arc<Shared>,
    budget: Arc<TailBudget>,
    groups: Mutex<BTreeMap<GroupKey, Arc<GroupState>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl SharedLog {
    /// Starts the writer thread, which tells `on_event` what happens to the log.
    ///
    /// # Errors
    /// The operating system's, if no thread can be started.
    pub fn open(
        store: Arc<dyn LogStore>,
        options: &SharedLogOptions,
        on_event: impl FnMut(LogEvent<'_>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            store,
            queue: Queue::new(),
            counters: SharedLogCounters::default(),
            no_room: Mutex::default(),
        });
        let writer = writer::start(Arc::clone(&shared), options.fsync, Box::new(on_event))?;
        Ok(Self {
            shared,
            budget: Arc::new(TailBudget::new(options.tail_bytes_max)),
            groups: Mutex::default(),
            writer: Mutex::new(Some(writer)),
        })
    }

    /// One group's log, empty if it is not there. Reads the database the first time: not for
    /// a thread that must not wait.
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Missing`], [`LogError::Store`] or
    /// [`LogError::Destroyed`].
    pub fn group(&self, shard: ShardId, replica: ReplicaId) -> Result<GroupLog, LogError> {
        let state = self.state(GroupKey { shard, replica })?;
        state.check()?;
        Ok(GroupLog::new(Arc::clone(&self.shared), state))
    }

    /// Removes all records of a group, for good: a replica is never made again under the same
    /// id. Every later operation on the group fails.
    ///
    /// # Errors
    /// [`LogError::Closed`] or [`LogError::OutOfService`]: whether the records are still
    /// there after a restart is unknown.
    pub async fn destroy(&self, shard: ShardId, replica: ReplicaId) -> Result<(), LogError> {
        let key = GroupKey { shard, replica };
        let room = self.shared.queue.room(0).await?;
        let state = Arc::clone(
            self.groups
                .lock()
                .entry(key)
                .or_insert_with(|| Arc::new(GroupState::empty(key, Arc::clone(&self.budget)))),
        );
        let destroyed = state.destroy(&self.shared.queue, room)?;
        destroyed.await.unwrap_or(Err(LogError::Closed))
    }

    /// The groups that have records in the database, in order. Reads the database.
    ///
    /// # Errors
    /// [`LogError::Store`], or [`LogError::Corrupt`] if a key is none of the log's.
    pub fn groups(&self) -> Result<Vec<GroupKey>, LogError> {
        let mut found = Vec::new();
        let mut from = GroupKey::of(&[0; 12]);
        while let Some(start) = from {
            let limits = ScanLimits { rows_max: 1, bytes_max: 0 };
            let Some(row) = self.shared.store.scan(&start.onward(), limits)?.pop() else {
                break;
            };
            let group = GroupKey::of(&row.key)
                .ok_or_else(|| start.corrupt(Record::Unknown, Damage::Key))?;
            found.push(group);
            from = group.next();
        }
        Ok(found)
    }

    /// Bytes of the entries of each group that was asked for since the start.
    #[must_use]
    pub fn sizes(&self) -> Vec<(GroupKey, u64)> {
        self.groups.lock().iter().map(|(key, state)| (*key, state.bytes())).collect()
    }

    /// Why the log waits for room on the disk, if it does.
    #[must_use]
    pub fn no_room(&self) -> Option<String> {
        self.shared.no_room.lock().clone()
    }

    /// What the log has done.
    #[must_use]
    pub fn counters(&self) -> &SharedLogCounters {
        &self.shared.counters
    }

    /// Refuses new operations, writes and syncs those that wait, and ends the writer. Blocks
    /// until then. The database stays open while any [`GroupLog`] is left. A second call
    /// returns at once.
    pub fn close(&self) {
        self.shared.queue.close();
        let writer = self.writer.lock().take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            tracing::error!("the writer of the log panicked");
        }
    }

    fn state(&self, key: GroupKey) -> Result<Arc<GroupState>, LogError> {
        // Held while the database is read, so that a group has one state and no other.
        let mut groups = self.groups.lock();
        if let Some(state) = groups.get(&key) {
            return Ok(Arc::clone(state));
        }
        let store = self.shared.store.as_ref();
        let state = Arc::new(GroupState::load(key, store, Arc::clone(&self.budget))?);
        groups.insert(key, Arc::clone(&state));
        Ok(state)
    }
}

impl Drop for SharedLog {
    fn drop(&mut self) {
        self.close();
    }
}
