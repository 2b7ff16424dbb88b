//! One run of a replica: from opening its log and its machine until it is closed or fails.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use breccia_transport::Transport;
use breccia_types::{NodeClock, ReplicaId, ShardId};
use futures::future::BoxFuture;
use openraft::Raft;
use openraft::RaftMetrics;
use openraft::storage::RaftLogStorage;
use thiserror::Error;
use tokio::time::Instant;

use super::apply::ShardState;
use super::freshness::{Freshness, Run};
use super::guard::{LogAtStart, RestartGuard};
use super::log::{GroupLog, SharedLog};
use super::machine::MachineSource;
use super::network::Links;
use super::pool::{ApplyPool, MachineHandle};
use super::progress::Progress;
use super::snapshot::Exports;
use super::timing::Timing;
use super::transfer::Traffic;
use super::types::GroupConfig;
use super::vouchers::Vouchers;
use crate::consensus::ApplyError;

/// openraft's handle of a replica.
pub(crate) type ShardRaft = Raft<GroupConfig, ShardState>;

/// Where the logs of a node's replicas come from.
pub(crate) trait LogSource: Send + Sync + 'static {
    /// A replica's log.
    type Log: RaftLogStorage<GroupConfig>;

    /// Opens a replica's log, empty if it never was here.
    fn open(
        &self,
        shard: ShardId,
        replica: ReplicaId,
    ) -> impl Future<Output = io::Result<Self::Log>> + Send;

    /// Removes a closed replica's log.
    fn destroy(
        &self,
        shard: ShardId,
        replica: ReplicaId,
    ) -> impl Future<Output = io::Result<()>> + Send;

    /// Why no log is written at the moment, if they wait for room on the disk.
    fn no_room(&self) -> Option<String> {
        None
    }
}

impl LogSource for Arc<SharedLog> {
    type Log = GroupLog;

    async fn open(&self, shard: ShardId, replica: ReplicaId) -> io::Result<GroupLog> {
        let log = Self::clone(self);
        let opened = tokio::task::spawn_blocking(move || log.group(shard, replica)).await;
        opened.map_err(io::Error::other)?.map_err(io::Error::other)
    }

    async fn destroy(&self, shard: ShardId, replica: ReplicaId) -> io::Result<()> {
        SharedLog::destroy(self, shard, replica).await.map_err(io::Error::other)
    }

    fn no_room(&self) -> Option<String> {
        SharedLog::no_room(self)
    }
}

/// Why a replica cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Its state machine cannot be.
    #[error("the state machine cannot be opened: {0}")]
    Machine(#[from] ApplyError),
    /// Its log cannot be.
    #[error("the log cannot be opened: {reason}")]
    Log {
        /// What was found.
        reason: String,
    },
    /// The timing contradicts itself.
    #[error("the timing is not possible: {reason}")]
    Timing {
        /// Why.
        reason: String,
    },
    /// A folder for snapshots cannot be made.
    #[error("a folder cannot be made: {reason}")]
    Folder {
        /// Why.
        reason: String,
    },
    /// Another replica of the shard is on the node already.
    #[error("{replica} of the shard is on the node already")]
    Occupied {
        /// Which.
        replica: ReplicaId,
    },
}

/// What all replicas of a node share.
pub(crate) struct Surroundings {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) machines: Arc<dyn MachineSource>,
    pub(crate) clock: Arc<NodeClock>,
    pub(crate) pool: ApplyPool,
    pub(crate) timing: Timing,
    pub(crate) traffic: Arc<Traffic>,
    /// Where exports lie.
    pub(crate) outgoing: PathBuf,
}

/// Opens replicas and removes their logs, whatever kind of log it is.
pub(crate) trait Opener: Send + Sync + 'static {
    fn open(
        &self,
        shard: ShardId,
        replica: ReplicaId,
    ) -> BoxFuture<'_, Result<Instance, OpenError>>;

    fn destroy(&self, shard: ShardId, replica: ReplicaId) -> BoxFuture<'_, io::Result<()>>;

    /// Why no log is written at the moment, if they wait for room on the disk.
    fn no_room(&self) -> Option<String>;
}

/// The opener over one source of logs.
pub(crate) struct LogOpener<L> {
    pub(crate) logs: L,
    pub(crate) around: Arc<Surroundings>,
}

/// A running replica.
pub(crate) struct Instance {
    pub(crate) raft: ShardRaft,
    pub(crate) progress: Arc<Progress>,
    pub(crate) exports: Arc<Exports>,
    pub(crate) guard: RestartGuard,
    pub(crate) freshness: Arc<Freshness>,
    machine: MachineHandle,
    started: Instant,
    /// When a leader was last heard, in microseconds after the start; 0 is never.
    contact: AtomicU64,
}

impl<L: LogSource> LogOpener<L> {
    async fn open_replica(
        &self,
        shard: ShardId,
        replica: ReplicaId,
    ) -> Result<Instance, OpenError> {
        let around = &self.around;
        let config = around.timing.to_config(shard);
        let config = config.map_err(|error| OpenError::Timing { reason: error.to_string() })?;
        let machine = around.pool.open(Arc::clone(&around.machines), shard, replica).await?;
        let progress = Arc::new(Progress::default());
        let exports = Arc::new(Exports::new(
            shard,
            replica,
            around.outgoing.clone(),
            around.timing.reply_timeout(),
        ));
        let (clock, seen) = (Arc::clone(&around.clock), Arc::clone(&progress));
        let state = ShardState::open(machine.clone(), clock, seen, Arc::clone(&exports)).await?;
        let unreadable = |reason: String| OpenError::Log { reason };
        let opened = self.logs.open(shard, replica).await;
        let mut log = opened.map_err(|error| unreadable(error.to_string()))?;
        let held = log.get_log_state().await.map_err(|error| unreadable(error.to_string()))?;
        let is_empty = held.last_log_id.is_none() && state.is_untouched();
        let was = if is_empty { LogAtStart::Empty } else { LogAtStart::Filled };
        let vouchers = Arc::new(Vouchers::new(Arc::clone(&progress)));
        let links = Links {
            transport: Arc::clone(&around.transport),
            shard,
            replica,
            timing: around.timing,
            traffic: Arc::clone(&around.traffic),
            vouchers: Arc::clone(&vouchers),
        };
        let built = Raft::build(replica, config, links, log, state).await;
        let raft = built.map_err(|error| match progress.failed() {
            Some(failed) => OpenError::Machine(failed),
            None => unreadable(error.to_string()),
        })?;
        let guard = RestartGuard::start(around.timing.election_timeout_max, was);
        progress.on_started();
        vouchers.watch(&raft);
        let run = Run::new(rand::random());
        let freshness = Arc::new(Freshness::start(run, Arc::clone(&progress)));
        raft.run();
        let (started, contact) = (Instant::now(), AtomicU64::new(0));
        Ok(Instance { raft, progress, exports, guard, freshness, machine, started, contact })
    }
}

impl<L: LogSource> Opener for LogOpener<L> {
    fn open(
        &self,
        shard: ShardId,
        replica: ReplicaId,
    ) -> BoxFuture<'_, Result<Instance, OpenError>> {
        Box::pin(self.open_replica(shard, replica))
    }

    fn destroy(&self, shard: ShardId, replica: ReplicaId) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.logs.destroy(shard, replica))
    }

    fn no_room(&self) -> Option<String> {
        self.logs.no_room()
    }
}

impl Instance {
    /// What openraft says of the replica.
    pub(crate) fn metrics(&self) -> RaftMetrics<GroupConfig> {
        use openraft::async_runtime::watch::WatchReceiver;
        self.raft.metrics().borrow_watched().clone()
    }

    /// Notes that a leader was heard.
    pub(crate) fn on_contact(&self) {
        let micros = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.contact.fetch_max(micros.max(1), Ordering::Relaxed);
    }

    /// How long ago a leader was last heard.
    pub(crate) fn since_contact(&self) -> Option<Duration> {
        let micros = self.contact.load(Ordering::Relaxed);
        let at = Duration::from_micros(micros);
        (micros > 0).then(|| self.started.elapsed().saturating_sub(at))
    }

    /// Ends the replica. Waits for a machine that is busy.
    pub(crate) async fn close(&self) {
        self.progress.on_closing();
        self.exports.forget();
        if self.raft.shutdown().await.is_err() {
            tracing::warn!("a replica ended with a panic");
        }
        self.machine.retire().await;
    }
}
