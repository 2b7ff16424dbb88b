//! One group's part of the shared log, as openraft asks for it.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

use breccia_store::LogOp;
use futures::stream::{self, Stream};
use openraft::OptionalSend;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};

use super::error::LogError;
use super::record::{self, GroupKey};
use super::writer::Shared;
use crate::raft::types::{GroupConfig, LogEntry, LogId, Vote};
use reading::{CHUNK_BYTES, read};
use state::{Append, GroupState};

mod reading;
pub(super) mod state;

/// One group's part of a [`SharedLog`](super::SharedLog). Clones see the same log.
///
/// Cancel safety: an operation whose future is dropped may or may not have been queued.
#[derive(Clone)]
pub struct GroupLog {
    shared: Arc<Shared>,
    state: Arc<GroupState>,
}

impl GroupLog {
    pub(super) const fn new(shared: Arc<Shared>, state: Arc<GroupState>) -> Self {
        Self { shared, state }
    }

    /// Which group this is.
    #[must_use]
    pub fn key(&self) -> GroupKey {
        self.state.key()
    }

    /// Bytes of the entries, for whoever decides when to purge. What was found at the start
    /// is estimated by the database; of what was appended since, a cut by a purge or a
    /// truncation is off by a quarter of a mebibyte at most.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.state.bytes()
    }

    async fn read(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<LogEntry>, LogError> {
        read(&self.state, &self.shared.store, range, bytes_max).await
    }
}

impl RaftLogReader<GroupConfig> for GroupLog {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<LogEntry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        Ok(self.read(half_open(&range), usize::MAX).await?)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<LogEntry>, io::Error> {
        Ok(self.read(start..end, CHUNK_BYTES).await?)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.state.vote()?)
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<LogEntry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let feed = Feed { log: self.clone(), wanted: half_open(&range), read: VecDeque::new() };
        stream::unfold(feed, |mut feed| async {
            let entry = feed.next().await.transpose()?;
            Some((entry.map_err(io::Error::from), feed))
        })
    }
}

impl RaftLogStorage<GroupConfig> for GroupLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<GroupConfig>, io::Error> {
        Ok(self.state.log_state()?)
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let room = self.shared.queue.room(0).await?;
        let saved = self.state.save_vote(*vote, &self.shared.queue, room)?;
        // The writer answers everything that it takes, unless it dies of a defect.
        Ok(saved.await.unwrap_or(Err(LogError::Closed))?)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        match committed {
            Some(committed) => Ok(self.state.save_committed(committed, &self.shared.queue)?),
            None => Ok(()),
        }
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.state.committed()?)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<GroupConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries.into_iter().collect();
        let key = self.state.key();
        let records: Vec<_> =
            entries.iter().map(|entry| record::entry_record(key, entry)).collect();
        match self.shared.queue.room(records.iter().map(LogOp::bytes).sum()).await {
            Ok(room) => {
                let append = Append { entries, records, callback };
                Ok(self.state.append(append, &self.shared.queue, room)?)
            }
            Err(error) => {
                callback.io_completed(Err(error.clone().into()));
                Err(error.into())
            }
        }
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let room = self.shared.queue.room(0).await?;
        Ok(self.state.truncate(last_log_id, &self.shared.queue, room)?)
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        let room = self.shared.queue.room(0).await?;
        Ok(self.state.purge(log_id, &self.shared.queue, room)?)
    }
}

/// Entries in order, read in chunks as they are asked for.
struct Feed {
    log: GroupLog,
    wanted: Range<u64>,
    read: VecDeque<LogEntry>,
}

impl Feed {
    async fn next(&mut self) -> Result<Option<LogEntry>, LogError> {
        if self.read.is_empty() && !self.wanted.is_empty() {
            self.read = self.log.read(self.wanted.clone(), CHUNK_BYTES).await?.into();
        }
        let next = self.read.pop_front();
        // Nothing is asked for again after the end or an error.
        self.wanted.start = match &next {
            Some(entry) => entry.log_id.index() + 1,
            None => self.wanted.end,
        };
        Ok(next)
    }
}

fn half_open(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}
