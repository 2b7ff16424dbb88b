//! What is known of a group's log without asking the database.

use std::sync::Arc;

use breccia_store::{LogOp, LogStore, ScanLimits};
use openraft::storage::{IOFlushed, LogState};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

use crate::raft::log::error::LogError;
use crate::raft::log::queue::{Done, Operation, Promise, Queue, Room};
use crate::raft::log::record::{self, GroupKey, Record};
use crate::raft::log::sizes::Sizes;
use crate::raft::log::tail::{Tail, TailBudget};
use crate::raft::types::{GroupConfig, LogEntry, LogId, Vote};

/// A purge of fewer entries than this, and of fewer bytes than the next, is written together
/// with a later one. Until then a restart finds its entries again, which does no harm.
const PURGE_ENTRIES_MIN: u64 = 1_000;
const PURGE_BYTES_MIN: u64 = 1 << 20;

/// A group's log as of the last operation, written or not.
///
/// Each operation joins the queue and changes the state under one lock, so that the queue
/// holds a group's operations in the order in which its state went through them.
pub(in crate::raft::log) struct GroupState {
    key: GroupKey,
    present: Mutex<Present>,
}

pub(super) struct Present {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    /// The index of the first entry, or of the one that comes next if there is none.
    pub(super) first: u64,
    /// The last entry, or the last purged if there is none.
    pub(super) last: Option<LogId>,
    pub(super) tail: Tail,
    sizes: Sizes,
    appends: u64,
    /// How often entries were taken back: a read that sees this change starts again.
    pub(super) truncations: u64,
    /// Before which index the database has purged, or has been told to.
    purged_on_disk: u64,
    /// Bytes purged that the database has not been told of.
    purged_bytes_left: u64,
    is_destroyed: bool,
}

/// Entries to append, encoded.
pub(super) struct Append {
    pub(super) entries: Vec<LogEntry>,
    pub(super) records: Vec<LogOp>,
    pub(super) callback: IOFlushed<GroupConfig>,
}

impl GroupState {
    /// Reads what the database has of a group.
    pub(in crate::raft::log) fn load(
        key: GroupKey,
        store: &dyn LogStore,
        budget: Arc<TailBudget>,
    ) -> Result<Self, LogError> {
        let get = |which| store.get(&record::key_of(key, which)).map_err(LogError::from);
        let position =
            |which| get(which)?.map(|value| record::read_position(key, which, value)).transpose();
        let vote = get(Record::Vote)?.map(|value| record::read_vote(key, value)).transpose()?;
        let committed = position(Record::Committed)?;
        let purged = position(Record::Purged)?;
        let first = first_on_disk(key, store, purged.as_ref())?;
        let last = last_on_disk(key, store)?;
        let end = last.as_ref().map_or(first, |last| last.index() + 1);
        let bytes = store.range_bytes(&key.entries(first..end))?;
        let present = Present {
            vote,
            committed,
            purged,
            first,
            last: last.or(purged),
            sizes: Sizes::restored(first, end, bytes),
            purged_on_disk: first,
            ..Present::new(Tail::new(budget))
        };
        Ok(Self { key, present: Mutex::new(present) })
    }

    /// A group of which the database is not asked.
    pub(in crate::raft::log) fn empty(key: GroupKey, budget: Arc<TailBudget>) -> Self {
        Self { key, present: Mutex::new(Present::new(Tail::new(budget))) }
    }

    pub(super) const fn key(&self) -> GroupKey {
        self.key
    }

    /// The state, unless the group was destroyed.
    pub(super) fn present(&self) -> Result<MutexGuard<'_, Present>, LogError> {
        let present = self.present.lock();
        if present.is_destroyed {
            return Err(LogError::Destroyed { group: self.key });
        }
        Ok(present)
    }

    /// Whether the group is there.
    pub(in crate::raft::log) fn check(&self) -> Result<(), LogError> {
        self.present().map(|_| ())
    }

    pub(super) fn vote(&self) -> Result<Option<Vote>, LogError> {
        Ok(self.present()?.vote)
    }

    pub(super) fn committed(&self) -> Result<Option<LogId>, LogError> {
        Ok(self.present()?.committed)
    }

    pub(super) fn log_state(&self) -> Result<LogState<GroupConfig>, LogError> {
        let present = self.present()?;
        Ok(LogState { last_purged_log_id: present.purged, last_log_id: present.last })
    }

    /// Bytes of the entries. Those that a restart found are estimated by the database.
    pub(in crate::raft::log) fn bytes(&self) -> u64 {
        self.present.lock().sizes.bytes()
    }

    /// The database has everything up to this append.
    pub(in crate::raft::log) fn on_written(&self, append: u64) {
        self.present.lock().tail.on_written(append);
    }

    /// Takes in entries and queues them. The callback is told of an error, too.
    pub(super) fn append(
        self: &Arc<Self>,
        append: Append,
        queue: &Queue,
        room: Room<'_>,
    ) -> Result<(), LogError> {
        let Append { entries, records, callback } = append;
        let checked = self
            .present()
            .and_then(|present| present.check_follows(self.key, &entries).map(|()| present));
        let mut present = match checked {
            Ok(present) => present,
            Err(error) => {
                Done::Flushed(callback).complete(Err(error.clone()));
                return Err(error);
            }
        };
        let sizes: Vec<_> = records.iter().map(LogOp::bytes).collect();
        let number = present.appends + 1;
        let operation = Operation {
            changes: records,
            promise: Promise::Policy,
            done: Done::Flushed(callback),
            append: Some((Arc::clone(self), number)),
            entries: u64::try_from(entries.len()).unwrap_or(u64::MAX),
        };
        // The writer reports the append as written by taking the lock that is held here.
        queue.push(self.key, operation, room)?;
        present.appends = number;
        for (entry, bytes) in entries.into_iter().zip(sizes) {
            present.push(entry, bytes, number);
        }
        Ok(())
    }

    /// Takes back the entries after `after`, or all.
    pub(super) fn truncate(
        &self,
        after: Option<LogId>,
        queue: &Queue,
        room: Room<'_>,
    ) -> Result<(), LogError> {
        let mut present = self.present()?;
        let start = next_index(after.as_ref());
        let end = next_index(present.last.as_ref());
        if start >= end {
            return Ok(());
        }
        if start < next_index(present.purged.as_ref()) {
            return Err(present.misplaced(self.key, start));
        }
        let changes = vec![LogOp::DeleteRange(self.key.entries(start..end))];
        queue.push(self.key, Operation::lazy(changes), room)?;
        present.truncations += 1;
        present.tail.truncate(start);
        present.sizes.truncate(start);
        present.last = if start > present.first { after } else { present.purged };
        Ok(())
    }

    /// Forgets the entries up to `upto`.
    pub(super) fn purge(&self, upto: LogId, queue: &Queue, room: Room<'_>) -> Result<(), LogError> {
        let mut present = self.present()?;
        let end = upto.index() + 1;
        if end <= next_index(present.purged.as_ref()) {
            return Ok(());
        }
        let bytes = present.purged_bytes_left + present.sizes.bytes_before(end);
        // An append that follows a purge of everything would leave a hole on disk if the
        // purge were not written before it.
        let is_worth_writing = end >= next_index(present.last.as_ref())
            || end - present.purged_on_disk >= PURGE_ENTRIES_MIN
            || bytes >= PURGE_BYTES_MIN;
        present.purged_bytes_left = bytes;
        if is_worth_writing {
            let changes = vec![
                LogOp::DeleteRange(self.key.entries(present.purged_on_disk..end)),
                record::position_record(self.key, Record::Purged, &upto),
            ];
            queue.push(self.key, Operation::lazy(changes), room)?;
            present.purged_on_disk = end;
            present.purged_bytes_left = 0;
        }
        present.purged = Some(upto);
        present.first = present.first.max(end);
        present.tail.purge(end);
        present.sizes.purge(end);
        if next_index(present.last.as_ref()) <= end {
            present.last = Some(upto);
        }
        Ok(())
    }

    /// Queues a vote; it may be given when the receiver says so.
    pub(super) fn save_vote(
        &self,
        vote: Vote,
        queue: &Queue,
        room: Room<'_>,
    ) -> Result<oneshot::Receiver<Result<(), LogError>>, LogError> {
        let mut present = self.present()?;
        let (operation, receiver) = Operation::synced(vec![record::vote_record(self.key, &vote)]);
        queue.push(self.key, operation, room)?;
        // Not when it is written: should the caller go away meanwhile, whoever opens the
        // group next must not see an older vote than the one that may be on disk.
        present.vote = Some(vote);
        Ok(receiver)
    }

    /// Remembers the committed position, and leaves it to be written some time.
    pub(super) fn save_committed(&self, committed: LogId, queue: &Queue) -> Result<(), LogError> {
        let mut present = self.present()?;
        let record = record::position_record(self.key, Record::Committed, &committed);
        queue.leave_committed(self.key, record)?;
        present.committed = Some(committed);
        Ok(())
    }

    /// Ends the group and queues the removal of its records.
    pub(in crate::raft::log) fn destroy(
        &self,
        queue: &Queue,
        room: Room<'_>,
    ) -> Result<oneshot::Receiver<Result<(), LogError>>, LogError> {
        let mut present = self.present.lock();
        let (operation, receiver) = Operation::synced(vec![LogOp::DeleteRange(self.key.records())]);
        queue.push(self.key, operation, room)?;
        present.is_destroyed = true;
        present.tail.truncate(0);
        present.sizes.truncate(0);
        Ok(receiver)
    }
}

impl Present {
    fn new(tail: Tail) -> Self {
        Self {
            vote: None,
            committed: None,
            purged: None,
            first: 0,
            last: None,
            tail,
            sizes: Sizes::default(),
            appends: 0,
            truncations: 0,
            purged_on_disk: 0,
            purged_bytes_left: 0,
            is_destroyed: false,
        }
    }

    fn push(&mut self, entry: LogEntry, bytes: usize, append: u64) {
        let index = entry.log_id.index();
        if self.last.is_none() {
            self.first = index;
        }
        self.last = Some(entry.log_id);
        self.sizes.push(index, u64::try_from(bytes).unwrap_or(u64::MAX));
        self.tail.push(entry, bytes, append);
    }

    /// Entries follow the last one without a hole. The first of an empty log may have any
    /// index.
    fn check_follows(&self, group: GroupKey, entries: &[LogEntry]) -> Result<(), LogError> {
        let mut expected = self.last.map(|last| last.index() + 1);
        for entry in entries {
            let index = entry.log_id.index();
            if expected.is_some_and(|expected| expected != index) {
                return Err(self.misplaced(group, index));
            }
            expected = Some(index + 1);
        }
        Ok(())
    }

    fn misplaced(&self, group: GroupKey, index: u64) -> LogError {
        LogError::Misplaced { group, index, last: self.last.map(|last| last.index()) }
    }
}

/// The index after a position; 0 after none.
pub(super) fn next_index(log_id: Option<&LogId>) -> u64 {
    log_id.map_or(0, |log_id| log_id.index() + 1)
}

/// The index of the first entry, or of the one that comes next. What was purged last must be
/// right before it.
fn first_on_disk(
    key: GroupKey,
    store: &dyn LogStore,
    purged: Option<&LogId>,
) -> Result<u64, LogError> {
    let limits = ScanLimits { rows_max: 1, bytes_max: 0 };
    let expected = next_index(purged);
    let Some(row) = store.scan(&key.all_entries(), limits)?.pop() else {
        return Ok(expected);
    };
    match record::index_of(key, &row.key)? {
        first if purged.is_some() && first != expected => {
            Err(LogError::Missing { group: key, index: expected })
        }
        first => Ok(first),
    }
}

fn last_on_disk(key: GroupKey, store: &dyn LogStore) -> Result<Option<LogId>, LogError> {
    let Some(last) = store.last_key(&key.all_entries())? else {
        return Ok(None);
    };
    let index = record::index_of(key, &last)?;
    let value = store.get(&last)?.ok_or(LogError::Missing { group: key, index })?;
    Ok(Some(record::read_entry(key, index, value)?.log_id))
}
