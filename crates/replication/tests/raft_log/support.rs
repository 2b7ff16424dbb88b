//! A log on a database, and the entries that tests put into it.

use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use breccia_replication::FsyncPolicy;
use breccia_replication::raft::log::{GroupLog, SharedLog, SharedLogOptions};
use breccia_replication::raft::types::{GroupConfig, LeaderId, LogEntry, LogId, Payload, Vote};
use breccia_store::{LogStore, MemoryLog, RocksLog, RocksLogOptions};
use breccia_types::{ReplicaId, ShardId};
use bytes::Bytes;
use openraft::EntryPayload;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use tempfile::TempDir;

pub(crate) const SHARD: ShardId = ShardId::new(3);
pub(crate) const REPLICA: ReplicaId = ReplicaId::new(7);

/// What an append is told.
pub(crate) type Flushed = std::pin::Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

pub(crate) fn open(store: &Arc<impl LogStore>, options: &SharedLogOptions) -> SharedLog {
    let store = Arc::clone(store) as Arc<dyn LogStore>;
    SharedLog::open(store, options, |event| panic!("{event:?}")).expect("starts")
}

pub(crate) fn open_default(store: &Arc<impl LogStore>) -> SharedLog {
    open(store, &SharedLogOptions::default())
}

pub(crate) fn policy(fsync: FsyncPolicy) -> SharedLogOptions {
    SharedLogOptions { fsync, ..SharedLogOptions::default() }
}

pub(crate) fn group(log: &SharedLog) -> GroupLog {
    log.group(SHARD, REPLICA).expect("loads")
}

pub(crate) fn rocks(path: &Path) -> Arc<RocksLog> {
    Arc::new(RocksLog::open(path, &RocksLogOptions::default()).expect("opens"))
}

/// A database that can be closed and opened again: what was written is still there.
pub(crate) enum Disk {
    Memory(Arc<MemoryLog>),
    Rocks(TempDir),
}

impl Disk {
    pub(crate) fn both() -> [Self; 2] {
        let directory = tempfile::tempdir().expect("a directory");
        [Self::Memory(Arc::default()), Self::Rocks(directory)]
    }

    pub(crate) fn open(&self) -> SharedLog {
        match self {
            Self::Memory(store) => open_default(store),
            Self::Rocks(directory) => open_default(&rocks(directory.path())),
        }
    }
}

pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(leader(term), index)
}

pub(crate) fn leader(term: u64) -> LeaderId {
    use openraft::vote::RaftLeaderId;
    LeaderId::new(term, REPLICA)
}

pub(crate) fn vote(term: u64) -> Vote {
    Vote::new(term, REPLICA)
}

pub(crate) fn blank(term: u64, index: u64) -> LogEntry {
    LogEntry::new_blank(log_id(term, index))
}

pub(crate) fn blanks(term: u64, indexes: std::ops::RangeInclusive<u64>) -> Vec<LogEntry> {
    indexes.map(|index| blank(term, index)).collect()
}

pub(crate) fn large(index: u64, bytes: usize) -> LogEntry {
    let fill = u8::try_from(index % 251).expect("is small");
    let payload = EntryPayload::Normal(Payload::new(Bytes::from(vec![fill; bytes])));
    LogEntry { log_id: log_id(1, index), payload }
}

/// Queues entries; awaiting what is returned waits until they are as durable as the policy
/// wants.
pub(crate) async fn submit(group: &mut GroupLog, entries: Vec<LogEntry>) -> Flushed {
    let (sender, receiver) = GroupConfig::oneshot();
    group.append(entries, IOFlushed::signal(sender)).await.expect("is queued");
    Box::pin(async move { receiver.await.expect("is told") })
}

pub(crate) async fn append(group: &mut GroupLog, entries: Vec<LogEntry>) {
    submit(group, entries).await.await.expect("is written");
}

pub(crate) async fn entries(group: &mut GroupLog) -> Vec<LogEntry> {
    group.try_get_log_entries(..).await.expect("reads")
}

pub(crate) async fn log_ids(group: &mut GroupLog) -> Vec<LogId> {
    entries(group).await.into_iter().map(|entry| entry.log_id).collect()
}

/// Terms and indexes of what the log has.
pub(crate) async fn positions(group: &mut GroupLog) -> Vec<(u64, u64)> {
    let ids = log_ids(group).await;
    ids.into_iter().map(|id| (id.committed_leader_id().term, id.index())).collect()
}

/// Waits until a condition holds, and fails if it does not within ten seconds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until the writer has done so many operations.
pub(crate) async fn written(log: &SharedLog, operations: u64) {
    use std::sync::atomic::Ordering;
    let done = || log.counters().operations.load(Ordering::Relaxed);
    eventually("operations are written", || done() >= operations).await;
}
