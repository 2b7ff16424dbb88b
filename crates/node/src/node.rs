//! A node: its shards, its log, its tables.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use arc_swap::ArcSwap;
use breccia_replication::raft::{RaftGroup, Replicas};
use breccia_replication::{FsyncPolicy, ReadError, ShardConsensus, SharedLog};
use breccia_ring::{Placement, slot_of};
use breccia_store::{Engine, StoreError};
use breccia_types::limits::REQUEST_DEADLINE_DEFAULT;
use breccia_types::{NodeClock, NodeId, RequestError, ShardId, Slot, Table, Timestamp};

use crate::cluster::ClusterView;
use crate::health::NodeHealth;
use crate::maintenance::Maintenance;
use crate::replica::ShardData;

/// A node. Cheap to clone: all clones are the same node.
///
/// To be ended with [`Node::shutdown`]. When the last clone is dropped without it, the node's
/// tasks end in the background, as long as the runtime is there, and let go of the data
/// directory shortly after; what was acknowledged is there all the same, and what was not may
/// or may not be.
#[derive(Clone)]
pub struct Node(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) id: NodeId,
    pub(crate) started: Instant,
    pub(crate) started_at: Timestamp,
    pub(crate) config: Chosen,
    pub(crate) clock: Arc<NodeClock>,
    pub(crate) cluster: Arc<ClusterView>,
    pub(crate) placement_at_open: Arc<Placement>,
    pub(crate) redis: Arc<Table>,
    /// The replicas on this node, the meta shard's included.
    pub(crate) shards: Arc<ArcSwap<BTreeMap<ShardId, Shard>>>,
    pub(crate) replicas: Replicas,
    pub(crate) health: Arc<NodeHealth>,
    pub(crate) log: Arc<SharedLog>,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) commands_applied: Arc<AtomicU64>,
    pub(crate) maintenance: Maintenance,
    /// Goes with the node.
    pub(crate) _temporary: Option<tempfile::TempDir>,
}

/// What was chosen, as far as status tells it.
pub(crate) struct Chosen {
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) memory_bytes: usize,
    pub(crate) fsync: FsyncPolicy,
}

/// One shard on this node.
#[derive(Clone)]
pub(crate) struct Shard {
    pub(crate) data: Arc<ShardData>,
    pub(crate) group: Arc<RaftGroup>,
}

impl Node {
    /// Refuses new writes, lets those that wait finish, and writes everything to files.
    pub async fn shutdown(&self) {
        self.0.health.close();
        self.0.replicas.close().await;
        let inner = Arc::clone(&self.0);
        let closed = tokio::task::spawn_blocking(move || {
            inner.maintenance.stop();
            inner.log.close();
            inner.engine.flush()
        });
        match closed.await {
            Ok(Ok(())) => tracing::info!("the node is closed"),
            Ok(Err(error)) => tracing::warn!(%error, "not flushed; the log will be replayed"),
            Err(error) => tracing::error!(%error, "closing failed"),
        }
    }

    /// The node's identity.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.0.id
    }

    /// The node's clock.
    #[must_use]
    pub fn clock(&self) -> &NodeClock {
        &self.0.clock
    }

    /// Which shard holds which slots, and which nodes hold which shard.
    #[must_use]
    pub fn placement(&self) -> Arc<Placement> {
        self.0.placement()
    }

    /// Whether the node takes reads and writes.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.0.health.is_closing()
            && self.0.health.read_only().is_none()
            && self.0.shards.load().values().all(|shard| shard.data.health.quarantined().is_none())
    }

    /// The table that the Redis protocol reads and writes.
    #[must_use]
    pub fn redis_table(&self) -> &Arc<Table> {
        &self.0.redis
    }

    pub(crate) fn slot(&self, table: &Table, key: &[u8]) -> Slot {
        slot_of(table.options.partition, key)
    }

    /// The shard that holds a slot.
    pub(crate) fn shard(&self, slot: Slot) -> Result<Shard, RequestError> {
        let id = self.0.cluster.shard_of(slot);
        self.local(id.unwrap_or_default())
    }

    /// This node's replica of a shard, if it is in service.
    pub(crate) fn local(&self, shard: ShardId) -> Result<Shard, RequestError> {
        let missing =
            || RequestError::ShardUnavailable { shard, reason: "it is not here".to_owned() };
        let found = self.0.shards.load().get(&shard).cloned().ok_or_else(missing)?;
        found.data.health.check(shard)?;
        Ok(found)
    }

    /// The shards on this node that hold slots, in order.
    pub(crate) fn shards(&self) -> Vec<Shard> {
        self.0.data_shards()
    }

    /// Runs something that waits for the disk, off the runtime's own threads.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, RequestError> + Send + 'static,
    ) -> Result<T, RequestError> {
        let inner = Arc::clone(&self.0);
        match tokio::task::spawn_blocking(move || work(&inner)).await {
            Ok(result) => result,
            Err(error) => Err(RequestError::Internal { reason: error.to_string() }),
        }
    }
}

impl Inner {
    pub(crate) fn placement(&self) -> Arc<Placement> {
        self.cluster.placement().unwrap_or_else(|| Arc::clone(&self.placement_at_open))
    }

    pub(crate) fn data_shards(&self) -> Vec<Shard> {
        let shards = self.shards.load();
        shards.iter().filter(|(id, _)| **id != ShardId::META).map(|(_, s)| s.clone()).collect()
    }
}

impl Shard {
    pub(crate) fn id(&self) -> ShardId {
        self.data.id
    }

    /// Waits until a read sees everything acknowledged before.
    pub(crate) async fn barrier(&self) -> Result<(), RequestError> {
        let shard = self.id();
        self.data.health.check(shard)?;
        let barrier = tokio::time::timeout(REQUEST_DEADLINE_DEFAULT, self.group.read_barrier());
        let passed = barrier.await.map_err(|_| RequestError::DeadlineExceeded)?;
        passed.map_err(|error| match error {
            ReadError::Busy => RequestError::Busy { shard },
            ReadError::Closed => RequestError::ShuttingDown,
            error => RequestError::ShardUnavailable { shard, reason: error.to_string() },
        })
    }

    /// Translates a failed read, and takes the shard out of service if it is damaged.
    pub(crate) fn on_read_error(&self, error: &StoreError) -> RequestError {
        match error {
            StoreError::Corrupt { .. } | StoreError::UnknownFormat { .. } => {
                self.data.health.quarantine(self.id(), error.to_string());
                RequestError::ShardUnavailable { shard: self.id(), reason: error.to_string() }
            }
            error => RequestError::Storage { reason: error.to_string() },
        }
    }
}
