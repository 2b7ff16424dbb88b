//! The log of a node that stands alone: its database's own write-ahead log.
//!
//! One writer thread serves all shards. It takes what waits, makes one entry per shard of it,
//! has all of them written in one batch with one fsync, replies, and takes what has gathered
//! meanwhile. So the more clients wait, the more of them share an fsync (group commit), and
//! a lone client waits for nobody.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use breccia_types::{Command, Entry, NodeClock, ShardId};
use parking_lot::Mutex;
use thiserror::Error;

use crate::consensus::{
    ConsensusStatus, Proposal, ProposeError, ReadBarrier, ShardConsensus, ShardEntry, StateMachine,
};
use crate::queue::{Gather, Gathered, Queue, answer, join};

/// When a write is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FsyncPolicy {
    /// When it would survive a loss of power.
    #[default]
    Always,
    /// When the operating system has it; a loss of power loses at most this much time.
    Interval(Duration),
    /// When the operating system has it, which decides when it reaches the disk.
    Never,
}

/// A policy that is none of the known ones.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown fsync policy {text:?}: use always, interval:<milliseconds> or never")]
pub struct UnknownFsyncPolicy {
    text: String,
}

/// What the log has done since it was opened.
#[derive(Debug, Default)]
pub struct LogCounters {
    /// Entries written.
    pub entries: AtomicU64,
    /// Commands in them.
    pub commands: AtomicU64,
    /// Bytes of their payloads.
    pub bytes: AtomicU64,
    /// Batches written; with the policy `always` each is one fsync.
    pub writes: AtomicU64,
    /// Fsyncs.
    pub fsyncs: AtomicU64,
    /// Microseconds spent applying and writing.
    pub busy_micros: AtomicU64,
}

/// The log of a node that stands alone.
pub struct LocalLog {
    queue: Arc<Queue>,
    counters: Arc<LogCounters>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// One shard's part of a [`LocalLog`].
#[derive(Clone)]
pub struct LocalShard {
    shard: ShardId,
    queue: Arc<Queue>,
}

impl LocalLog {
    /// Starts the writer thread.
    ///
    /// # Errors
    /// The operating system's, if no thread can be started.
    pub fn start(
        machine: impl StateMachine,
        clock: Arc<NodeClock>,
        policy: FsyncPolicy,
    ) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let counters = Arc::new(LogCounters::default());
        let writer = Writer {
            machine,
            clock,
            policy,
            queue: Arc::clone(&queue),
            counters: Arc::clone(&counters),
            synced_at: Instant::now(),
            is_dirty: false,
        };
        let abandoned = Arc::clone(&queue);
        let writer = std::thread::Builder::new().name("log-writer".into()).spawn(move || {
            // A panic is a bug of ours. Nobody must wait for a writer that is gone.
            if catch_unwind(AssertUnwindSafe(|| writer.run())).is_err() {
                tracing::error!("the log writer panicked: the node takes no writes any more");
                abandoned.abandon();
            }
        })?;
        Ok(Self { queue, counters, writer: Mutex::new(Some(writer)) })
    }

    /// One shard's log.
    #[must_use]
    pub fn shard(&self, shard: ShardId) -> LocalShard {
        LocalShard { shard, queue: Arc::clone(&self.queue) }
    }

    /// What the log has done.
    #[must_use]
    pub fn counters(&self) -> &LogCounters {
        &self.counters
    }

    /// Refuses new proposals, applies those that wait, and ends the writer. Blocks until
    /// then. A second call returns at once.
    pub fn close(&self) {
        self.queue.close();
        let writer = self.writer.lock().take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            tracing::error!("the log writer panicked");
        }
    }
}

impl Drop for LocalLog {
    fn drop(&mut self) {
        self.close();
    }
}

impl ShardConsensus for LocalShard {
    fn propose(&self, commands: Vec<Command>) -> Proposal {
        self.queue.push(self.shard, commands)
    }

    fn read_barrier(&self) -> ReadBarrier {
        // A write is visible before it is acknowledged, and there is no other replica.
        ReadBarrier::passed()
    }

    fn status(&self) -> ConsensusStatus {
        ConsensusStatus { is_leader: true, replicas: 1, waiting: self.queue.waiting(self.shard) }
    }
}

struct Writer<M> {
    machine: M,
    clock: Arc<NodeClock>,
    policy: FsyncPolicy,
    queue: Arc<Queue>,
    counters: Arc<LogCounters>,
    synced_at: Instant,
    /// Whether something was written since that is not known to survive a loss of power.
    is_dirty: bool,
}

impl<M: StateMachine> Writer<M> {
    fn run(mut self) {
        loop {
            let started = match self.queue.gather(self.patience()) {
                Gather::Closed => break,
                Gather::Idle => Instant::now(),
                Gather::Entries(gathered) => {
                    let started = Instant::now();
                    self.write(gathered);
                    started
                }
            };
            if self.is_sync_due() {
                self.sync();
            }
            let spent = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.counters.busy_micros.fetch_add(spent, Ordering::Relaxed);
        }
        if self.is_dirty {
            self.sync();
        }
    }

    /// How long to wait for entries before something written must be synced.
    fn patience(&self) -> Option<Duration> {
        match self.policy {
            FsyncPolicy::Interval(interval) if self.is_dirty => {
                Some(interval.saturating_sub(self.synced_at.elapsed()))
            }
            _ => None,
        }
    }

    fn write(&mut self, gathered: Gathered) {
        let mut entries = Vec::with_capacity(gathered.len());
        let mut replies = Vec::with_capacity(gathered.len());
        for (shard, waiting) in gathered {
            let (commands, waiting) = join(waiting);
            entries.push(self.entry(shard, commands));
            replies.push(waiting);
        }
        self.count(&entries);
        self.is_dirty = self.policy != FsyncPolicy::Always;
        let results = self.machine.apply(entries);
        for (waiting, result) in replies.into_iter().zip(results) {
            answer(waiting, result.map_err(ProposeError::Apply));
        }
    }

    fn entry(&self, shard: ShardId, commands: Vec<Command>) -> ShardEntry {
        let reserved = u32::try_from(commands.len()).unwrap_or(u32::MAX);
        let stamp = self.clock.stamp(reserved);
        let index = self.machine.applied(shard).next();
        ShardEntry { shard, entry: Entry { index, stamp, commands } }
    }

    fn count(&self, entries: &[ShardEntry]) {
        let add = |counter: &AtomicU64, count: usize| {
            counter.fetch_add(u64::try_from(count).unwrap_or(0), Ordering::Relaxed);
        };
        let commands = || entries.iter().flat_map(|entry| &entry.entry.commands);
        add(&self.counters.entries, entries.len());
        add(&self.counters.commands, commands().count());
        add(&self.counters.bytes, commands().map(|command| command.payload.len()).sum());
        add(&self.counters.writes, 1);
        add(&self.counters.fsyncs, usize::from(self.policy == FsyncPolicy::Always));
    }

    fn is_sync_due(&self) -> bool {
        match self.policy {
            FsyncPolicy::Interval(interval) => {
                self.is_dirty && self.synced_at.elapsed() >= interval
            }
            FsyncPolicy::Always | FsyncPolicy::Never => false,
        }
    }

    fn sync(&mut self) {
        self.synced_at = Instant::now();
        self.is_dirty = false;
        self.counters.fsyncs.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = self.machine.sync() {
            tracing::error!(%error, "recent writes may not survive a loss of power");
        }
    }
}

impl fmt::Display for FsyncPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("always"),
            Self::Interval(interval) => write!(f, "interval:{}", interval.as_millis()),
            Self::Never => f.write_str("never"),
        }
    }
}

impl FromStr for FsyncPolicy {
    type Err = UnknownFsyncPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownFsyncPolicy> {
        let unknown = || UnknownFsyncPolicy { text: text.to_owned() };
        match (text, text.strip_prefix("interval:")) {
            ("always", _) => Ok(Self::Always),
            ("never", _) => Ok(Self::Never),
            (_, Some(millis)) => match millis.parse() {
                Ok(millis) if millis > 0 => Ok(Self::Interval(Duration::from_millis(millis))),
                _ => Err(unknown()),
            },
            _ => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use breccia_types::time::SystemClock;
    use breccia_types::{LogIndex, Outcome, ServiceId, Timestamp};
    use bytes::Bytes;

    use super::*;
    use crate::consensus::ApplyError;

    /// A bug: it panics whatever it is given.
    struct Panics;

    impl StateMachine for Panics {
        fn apply(&mut self, _entries: Vec<ShardEntry>) -> Vec<Result<Vec<Outcome>, ApplyError>> {
            panic!("a bug")
        }

        fn applied(&self, _shard: ShardId) -> LogIndex {
            LogIndex::default()
        }

        fn sync(&mut self) -> Result<(), ApplyError> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_a_writer_that_panicked() {
        let clock = Arc::new(NodeClock::new(Box::new(SystemClock), Timestamp::MIN));
        let log = LocalLog::start(Panics, clock, FsyncPolicy::Never).expect("starts");
        let shard = log.shard(ShardId::new(0));
        let payload = Bytes::new();
        let command = Command { service: ServiceId::new(1), request_id: None, payload };
        let within = Duration::from_secs(30);
        let first = tokio::time::timeout(within, shard.propose(vec![command.clone()])).await;
        assert_eq!(first, Ok(Err(ProposeError::Unknown)));
        let later = tokio::time::timeout(within, shard.propose(vec![command])).await;
        let answers = [Ok(Err(ProposeError::Unknown)), Ok(Err(ProposeError::Closed))];
        assert!(answers.contains(&later), "{later:?}");
    }
}
