//! All replicas of a node.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use breccia_transport::{Handler, Method, Transport};
use breccia_types::{NodeClock, ReplicaId, ShardId};
use parking_lot::RwLock;

use super::compaction::{LogBudget, LogLimits};
use super::group::RaftGroup;
use super::instance::{LogOpener, LogSource, OpenError, Opener, Surroundings};
use super::log::SharedLog;
use super::machine::MachineSource;
use super::pool::ApplyPool;
use super::proposals::ByteBudget;
use super::receive::{Receiver, ReceiverHandler};
use super::shared::Shared;
use super::supervise::Supervisor;
use super::timing::Timing;
use super::transfer::{SnapshotsSent, Traffic, TrafficLimits};

/// What a node's replicas are given.
pub struct ReplicasConfig {
    /// How to reach the others.
    pub transport: Arc<dyn Transport>,
    /// Where the state machines come from.
    pub machines: Arc<dyn MachineSource>,
    /// The node's clock.
    pub clock: Arc<NodeClock>,
    /// Threads that apply entries.
    pub apply_threads: usize,
    /// The same on all nodes.
    pub timing: Timing,
    /// What snapshots may take.
    pub traffic: TrafficLimits,
    /// A folder for snapshots on their way, on the same file system as the shards. What is in
    /// it at the start is removed.
    pub snapshots: PathBuf,
    /// How long the logs may get.
    pub log_limits: LogLimits,
}

/// All replicas of a node, at most one of each shard.
pub struct Replicas {
    timing: Timing,
    clock: Arc<NodeClock>,
    opener: Arc<dyn Opener>,
    receiver: Arc<Receiver>,
    traffic: Arc<Traffic>,
    budget: Arc<ByteBudget>,
    log_budget: Arc<LogBudget>,
    groups: RwLock<BTreeMap<ShardId, Arc<RaftGroup>>>,
    /// Held while replicas come and go.
    opening: tokio::sync::Mutex<()>,
}

impl Replicas {
    /// The messages that [`Replicas::handler`] is to be given.
    pub const METHODS: std::ops::RangeInclusive<u8> = 1..=6;

    /// No replica yet, over the node's shared log.
    ///
    /// # Errors
    /// [`OpenError::Folder`], or if a thread cannot be started.
    pub fn new(log: Arc<SharedLog>, config: ReplicasConfig) -> Result<Self, OpenError> {
        Self::over(log, config)
    }

    /// No replica yet, over a source of logs.
    pub(crate) fn over(logs: impl LogSource, config: ReplicasConfig) -> Result<Self, OpenError> {
        if let Err(error) = config.timing.to_config(ShardId::default()) {
            return Err(OpenError::Timing { reason: error.to_string() });
        }
        let folder = |error: std::io::Error| OpenError::Folder { reason: error.to_string() };
        let outgoing = emptied(&config.snapshots, "outgoing").map_err(folder)?;
        let incoming = emptied(&config.snapshots, "incoming").map_err(folder)?;
        let traffic = Arc::new(Traffic::new(config.traffic));
        let receiver = Arc::new(Receiver::new(Arc::clone(&traffic), incoming));
        let around = Arc::new(Surroundings {
            transport: config.transport,
            machines: config.machines,
            clock: Arc::clone(&config.clock),
            pool: ApplyPool::start(config.apply_threads).map_err(folder)?,
            timing: config.timing,
            traffic: Arc::clone(&traffic),
            outgoing,
        });
        Ok(Self {
            timing: config.timing,
            clock: config.clock,
            opener: Arc::new(LogOpener { logs, around }),
            receiver,
            traffic,
            budget: Arc::default(),
            log_budget: LogBudget::new(config.log_limits),
            groups: RwLock::default(),
            opening: tokio::sync::Mutex::default(),
        })
    }

    /// What takes the messages of other nodes' replicas.
    #[must_use]
    pub fn handler(&self) -> Arc<dyn Handler> {
        Arc::new(ReceiverHandler(Arc::clone(&self.receiver)))
    }

    /// What went to other nodes' replicas as snapshots.
    #[must_use]
    pub fn snapshots_sent(&self) -> SnapshotsSent {
        self.traffic.sent()
    }

    /// Whether a message is for [`Replicas::handler`].
    #[must_use]
    pub fn takes(method: Method) -> bool {
        Self::METHODS.contains(&method.0)
    }

    /// Opens a replica, or makes one that was never here: empty, to be filled by its leader.
    /// One that fails to open is tried again in the background; its status says so.
    ///
    /// # Errors
    /// [`OpenError::Occupied`] if another replica of the shard is here.
    pub async fn open(
        &self,
        shard: ShardId,
        replica: ReplicaId,
    ) -> Result<Arc<RaftGroup>, OpenError> {
        let _opening = self.opening.lock().await;
        if let Some(group) = self.get(shard) {
            let present = group.replica();
            let occupied = OpenError::Occupied { replica: present };
            return if present == replica { Ok(group) } else { Err(occupied) };
        }
        let shared = Arc::new(Shared::new(
            shard,
            replica,
            self.timing,
            Arc::clone(&self.clock),
            Arc::clone(&self.budget),
        ));
        let supervisor = Supervisor {
            shared,
            opener: Arc::clone(&self.opener),
            receiver: Arc::clone(&self.receiver),
            log_budget: Arc::clone(&self.log_budget),
        };
        let (group, opened) = RaftGroup::start(supervisor).await;
        if let Err(error) = opened {
            tracing::error!(%shard, %replica, %error, "a replica cannot be opened");
        }
        let group = Arc::new(group);
        self.groups.write().insert(shard, Arc::clone(&group));
        Ok(group)
    }

    /// The node's replica of a shard.
    #[must_use]
    pub fn get(&self, shard: ShardId) -> Option<Arc<RaftGroup>> {
        self.groups.read().get(&shard).cloned()
    }

    /// All replicas, by shard.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<RaftGroup>> {
        self.groups.read().values().cloned().collect()
    }

    /// Closes a shard's replica and removes its log. Its data is the caller's to remove, and
    /// its id must never be used again.
    ///
    /// # Errors
    /// [`OpenError::Log`] if the log cannot be removed; the replica is closed all the same.
    pub async fn remove(&self, shard: ShardId) -> Result<(), OpenError> {
        let _opening = self.opening.lock().await;
        let removed = self.groups.write().remove(&shard);
        let Some(group) = removed else { return Ok(()) };
        group.close().await;
        let destroyed = self.opener.destroy(shard, group.replica()).await;
        destroyed.map_err(|error| OpenError::Log { reason: error.to_string() })
    }

    /// Closes all replicas.
    pub async fn close(&self) {
        let _opening = self.opening.lock().await;
        let groups = std::mem::take(&mut *self.groups.write());
        futures::future::join_all(groups.values().map(|group| group.close())).await;
    }
}

/// A folder without what an earlier run left in it.
fn emptied(root: &Path, name: &str) -> std::io::Result<PathBuf> {
    let folder = root.join(name);
    match std::fs::remove_dir_all(&folder) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
