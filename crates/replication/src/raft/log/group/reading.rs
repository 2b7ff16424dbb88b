//! A read of a group's log: from memory where memory has it, from the database before that.

use std::ops::Range;
use std::sync::Arc;

use breccia_store::{LogStore, ScanLimits};

use super::state::{GroupState, next_index};
use crate::raft::log::error::LogError;
use crate::raft::log::record::{self, GroupKey};
use crate::raft::types::LogEntry;

/// How much one look into the database returns, in bytes, unless one entry alone is larger.
pub(super) const CHUNK_BYTES: usize = 1 << 20;

/// A read under way: what it has, and what it still wants.
struct Reading {
    entries: Vec<LogEntry>,
    next: u64,
    /// Fixed at the start: what is appended meanwhile is no part of the read.
    end: u64,
    bytes_left: usize,
    truncations: u64,
}

/// How a read goes on.
enum Step {
    Finished,
    /// With entries of the database.
    Store(Range<u64>),
    /// From the start: entries were taken back since, and others may have come.
    Restart,
}

/// Entries of the database, each with its bytes.
type Found = Vec<(LogEntry, usize)>;

/// The entries of a range that the log has, up to so many bytes, but one at least if there is
/// any. Runs until no truncation interferes, that is, not longer than leaders change.
pub(super) async fn read(
    state: &GroupState,
    store: &Arc<dyn LogStore>,
    range: Range<u64>,
    bytes_max: usize,
) -> Result<Vec<LogEntry>, LogError> {
    loop {
        let mut reading = Reading::start(state, &range, bytes_max)?;
        loop {
            match reading.step(state)? {
                Step::Finished => return Ok(reading.entries),
                Step::Restart => break,
                Step::Store(wanted) => {
                    let bytes_max = reading.bytes_left.min(CHUNK_BYTES);
                    let found = look_up(state.key(), store, wanted.clone(), bytes_max).await?;
                    reading.accept(state, &wanted, found)?;
                }
            }
        }
    }
}

impl Reading {
    fn start(state: &GroupState, range: &Range<u64>, bytes_max: usize) -> Result<Self, LogError> {
        let present = state.present()?;
        Ok(Self {
            entries: Vec::new(),
            next: range.start,
            end: range.end.min(next_index(present.last.as_ref())),
            bytes_left: bytes_max,
            truncations: present.truncations,
        })
    }

    fn step(&mut self, state: &GroupState) -> Result<Step, LogError> {
        let present = state.present()?;
        if present.truncations != self.truncations {
            return Ok(Step::Restart);
        }
        if self.next < present.first {
            // Purged, perhaps since the read began. What it has would precede a gap.
            self.entries.clear();
            self.next = present.first;
        }
        if self.next >= self.end || (self.bytes_left == 0 && !self.entries.is_empty()) {
            return Ok(Step::Finished);
        }
        let in_memory = present.tail.first().unwrap_or_else(|| next_index(present.last.as_ref()));
        if self.next < in_memory {
            return Ok(Step::Store(self.next..self.end.min(in_memory)));
        }
        present.tail.copy(self.next, self.end, &mut self.bytes_left, &mut self.entries);
        Ok(Step::Finished)
    }

    /// Takes what the database had, unless the log changed under the look-up: then the next
    /// step finds that out.
    fn accept(
        &mut self,
        state: &GroupState,
        wanted: &Range<u64>,
        found: Found,
    ) -> Result<(), LogError> {
        {
            let present = state.present()?;
            if present.truncations != self.truncations || present.first > self.next {
                return Ok(());
            }
        }
        if found.is_empty() {
            return Err(LogError::Missing { group: state.key(), index: self.next });
        }
        for (entry, bytes) in found {
            if entry.log_id.index() != self.next {
                return Err(LogError::Missing { group: state.key(), index: self.next });
            }
            self.next += 1;
            self.bytes_left = self.bytes_left.saturating_sub(bytes);
            self.entries.push(entry);
        }
        if self.next < wanted.end && self.bytes_left < CHUNK_BYTES {
            // The look-up ended because the next entry does not fit.
            self.bytes_left = 0;
        }
        Ok(())
    }
}

async fn look_up(
    group: GroupKey,
    store: &Arc<dyn LogStore>,
    wanted: Range<u64>,
    bytes_max: usize,
) -> Result<Found, LogError> {
    let store = Arc::clone(store);
    let found = tokio::task::spawn_blocking(move || {
        let limits = ScanLimits { rows_max: usize::MAX, bytes_max };
        let rows = store.scan(&group.entries(wanted), limits)?;
        let decode = |row: breccia_store::LogRow| {
            let bytes = row.key.len() + row.value.len();
            Ok((record::entry_of(group, row)?, bytes))
        };
        rows.into_iter().map(decode).collect()
    });
    found.await.unwrap_or(Err(LogError::Interrupted))
}
