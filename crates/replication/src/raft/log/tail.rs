//! The end of a group's log in memory: what is not written yet, and what followers that keep
//! up ask for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::raft::types::LogEntry;

/// What one group keeps at most, in bytes, apart from what is not written yet.
const GROUP_BYTES_MAX: usize = 4 << 20;
/// What one group may keep even when all groups together are over their budget, in bytes.
const GROUP_BYTES_MIN: usize = 64 << 10;

/// The memory that the tails of all groups share.
#[derive(Debug)]
pub(super) struct TailBudget {
    bytes: AtomicUsize,
    bytes_max: usize,
}

impl TailBudget {
    pub(super) const fn new(bytes_max: usize) -> Self {
        Self { bytes: AtomicUsize::new(0), bytes_max }
    }

    fn is_exceeded(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.bytes_max
    }
}

/// Consecutive entries at the end of a log.
///
/// Every entry that is not written yet is in here: only written ones are evicted, from the
/// front, and the entries of a log are written in their order.
#[derive(Debug)]
pub(super) struct Tail {
    entries: VecDeque<TailEntry>,
    bytes: usize,
    budget: Arc<TailBudget>,
    /// The last append that the database has.
    written: u64,
}

#[derive(Debug)]
struct TailEntry {
    entry: LogEntry,
    bytes: usize,
    /// Which append brought it. Not its index: an index that was truncated comes again, and
    /// that its former entry was written says nothing of the present one.
    append: u64,
}

impl Tail {
    pub(super) const fn new(budget: Arc<TailBudget>) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, budget, written: 0 }
    }

    /// The index of the first entry, if there is any.
    pub(super) fn first(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.entry.log_id.index())
    }

    /// Takes in the entry after the last. Appends are numbered upwards from 1.
    pub(super) fn push(&mut self, entry: LogEntry, bytes: usize, append: u64) {
        self.bytes += bytes;
        self.budget.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.entries.push_back(TailEntry { entry, bytes, append });
    }

    /// Clones the entries of `start..end` while they fit `left` bytes, which shrinks. The
    /// first is cloned even if it does not, if `into` is empty.
    pub(super) fn copy(&self, start: u64, end: u64, left: &mut usize, into: &mut Vec<LogEntry>) {
        let skipped = self.first().and_then(|first| start.checked_sub(first));
        let Some(skipped) = skipped.and_then(|count| usize::try_from(count).ok()) else {
            return;
        };
        for entry in self.entries.range(skipped.min(self.entries.len())..) {
            if entry.entry.log_id.index() >= end || (entry.bytes > *left && !into.is_empty()) {
                return;
            }
            *left = left.saturating_sub(entry.bytes);
            into.push(entry.entry.clone());
        }
    }

    /// Everything up to this append is in the database.
    pub(super) fn on_written(&mut self, append: u64) {
        self.written = self.written.max(append);
        self.evict();
    }

    /// Forgets the entries before `end`.
    pub(super) fn purge(&mut self, end: u64) {
        while self.first().is_some_and(|first| first < end) {
            self.pop_front();
        }
    }

    /// Forgets the entries from `start` on.
    pub(super) fn truncate(&mut self, start: u64) {
        while let Some(entry) =
            self.entries.pop_back_if(|entry| entry.entry.log_id.index() >= start)
        {
            self.forget(entry.bytes);
        }
    }

    fn evict(&mut self) {
        while self.bytes > GROUP_BYTES_MIN
            && (self.bytes > GROUP_BYTES_MAX || self.budget.is_exceeded())
            && self.entries.front().is_some_and(|entry| entry.append <= self.written)
        {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.forget(entry.bytes);
        }
    }

    fn forget(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.budget.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.budget.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use breccia_types::ReplicaId;
    use openraft::entry::RaftEntry;
    use openraft::vote::RaftLeaderId;

    use super::*;
    use crate::raft::types::{LeaderId, LogId};

    fn entry(index: u64) -> LogEntry {
        LogEntry::new_blank(LogId::new(LeaderId::new(1, ReplicaId::new(1)), index))
    }

    fn tail(bytes_max: usize) -> Tail {
        Tail::new(Arc::new(TailBudget::new(bytes_max)))
    }

    fn copied(tail: &Tail, start: u64, end: u64, mut left: usize) -> Vec<u64> {
        let mut into = Vec::new();
        tail.copy(start, end, &mut left, &mut into);
        into.iter().map(|entry| entry.log_id.index()).collect()
    }

    #[test]
    fn only_what_is_written_is_evicted() {
        let mut tail = tail(0);
        for index in 1..=4 {
            tail.push(entry(index), GROUP_BYTES_MIN, index);
        }
        tail.on_written(0);
        assert_eq!(tail.first(), Some(1));
        tail.on_written(2);
        assert_eq!(tail.first(), Some(3));
        tail.on_written(4);
        assert_eq!(tail.first(), Some(4));
    }

    #[test]
    fn an_index_that_comes_again_is_not_evicted_because_its_former_entry_was_written() {
        let mut tail = tail(0);
        tail.push(entry(1), GROUP_BYTES_MIN, 1);
        tail.push(entry(2), GROUP_BYTES_MIN, 2);
        tail.truncate(1);
        tail.push(entry(1), GROUP_BYTES_MIN, 3);
        tail.push(entry(2), GROUP_BYTES_MIN, 4);
        tail.on_written(2);
        assert_eq!(tail.first(), Some(1));
    }

    #[test]
    fn a_group_keeps_its_limit_and_the_least_when_all_are_over_budget() {
        let mut roomy = tail(usize::MAX);
        let mut tight = tail(0);
        for index in 0..100 {
            roomy.push(entry(index), 1 << 20, index);
            tight.push(entry(index), 1 << 10, index);
        }
        roomy.on_written(100);
        tight.on_written(100);
        assert_eq!(roomy.bytes, GROUP_BYTES_MAX);
        assert_eq!(tight.bytes, GROUP_BYTES_MIN);
        let budget = Arc::clone(&roomy.budget);
        assert_eq!(budget.bytes.load(Ordering::Relaxed), GROUP_BYTES_MAX);
        drop(roomy);
        assert_eq!(budget.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_copy_keeps_to_its_range_and_limit_but_returns_one_entry_at_least() {
        let mut tail = tail(usize::MAX);
        for index in 5..=9 {
            tail.push(entry(index), 10, index);
        }
        assert_eq!(copied(&tail, 6, 8, 100), [6, 7]);
        assert_eq!(copied(&tail, 6, 100, 25), [6, 7]);
        assert_eq!(copied(&tail, 6, 100, 0), [6]);
        assert_eq!(copied(&tail, 4, 100, 100), [0; 0]);
        assert_eq!(copied(&tail, 10, 100, 100), [0; 0]);
        tail.purge(7);
        tail.truncate(9);
        assert_eq!(copied(&tail, 7, 100, 100), [7, 8]);
    }
}
