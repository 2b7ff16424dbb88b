//! Logs in memory; what was appended survives a crash.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::Arc;

use breccia_types::{ReplicaId, ShardId};
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use parking_lot::Mutex;

use crate::raft::codec::entry_bytes;
use crate::raft::instance::LogSource;
use crate::raft::types::{GroupConfig, LogEntry, LogId, Vote};

const MESSAGE_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Default)]
pub(crate) struct LogData {
    entries: BTreeMap<u64, LogEntry>,
    purged: Option<LogId>,
    vote: Option<Vote>,
}

/// The logs of a node.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryLogs(Arc<Mutex<BTreeMap<(ShardId, ReplicaId), MemoryLog>>>);

#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryLog(Arc<Mutex<LogData>>);

impl MemoryLogs {
    pub(crate) fn entries(&self, shard: ShardId, replica: ReplicaId) -> usize {
        self.0.lock().get(&(shard, replica)).map_or(0, |log| log.0.lock().entries.len())
    }
}

impl LogSource for MemoryLogs {
    type Log = MemoryLog;

    async fn open(&self, shard: ShardId, replica: ReplicaId) -> io::Result<MemoryLog> {
        Ok(self.0.lock().entry((shard, replica)).or_default().clone())
    }

    async fn destroy(&self, shard: ShardId, replica: ReplicaId) -> io::Result<()> {
        self.0.lock().remove(&(shard, replica));
        Ok(())
    }
}

impl RaftLogReader<GroupConfig> for MemoryLog {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<LogEntry>> {
        Ok(self.0.lock().entries.range(range).map(|(_, entry)| entry.clone()).collect())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<LogEntry>> {
        let mut bytes = 0;
        let within = |entry: &LogEntry| {
            let fits = bytes < MESSAGE_BYTES_MAX;
            bytes += entry_bytes(entry);
            fits
        };
        let data = self.0.lock();
        Ok(data.entries.range(start..end).map(|(_, e)| e.clone()).take_while(within).collect())
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.0.lock().vote)
    }
}

impl RaftLogStorage<GroupConfig> for MemoryLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<GroupConfig>> {
        let data = self.0.lock();
        let last = data.entries.last_key_value().map(|(_, entry)| entry.log_id);
        Ok(LogState { last_purged_log_id: data.purged, last_log_id: last.or(data.purged) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.0.lock().vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<GroupConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = LogEntry> + Send,
        I::IntoIter: Send,
    {
        let entries = entries.into_iter().map(|entry| (entry.log_id.index(), entry));
        self.0.lock().entries.extend(entries);
        callback.io_completed(Ok(()));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let next = last.map_or(0, |last| last.index() + 1);
        self.0.lock().entries.split_off(&next);
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let mut data = self.0.lock();
        data.entries = data.entries.split_off(&(upto.index() + 1));
        data.purged = Some(upto);
        Ok(())
    }
}
