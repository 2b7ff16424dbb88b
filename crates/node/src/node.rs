//! A node: its shards, its log, its tables, its part in the cluster.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use breccia_replication::raft::{Leadership, PeerStatus, RaftGroup};
use breccia_replication::{FsyncPolicy, SharedLog};
use breccia_ring::{Placement, slot_of};
use breccia_router::{Consistency, Reducer, Router};
use breccia_store::{Engine, StoreError};
use breccia_transport::{TcpTransport, Transport};
use breccia_types::{Member, NodeClock, NodeId, RequestError, ShardId, Slot, Table, Timestamp};
use futures::future::join_all;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cluster::ClusterView;
use crate::driver::Stranded;
use crate::health::NodeHealth;
use crate::local::Local;
use crate::maintenance::Maintenance;
use crate::membership::Views;
use crate::meta::MetaLog;
use crate::reduce::Reducing;
use crate::replica::ShardData;
use crate::replicas::{Holdings, ShardMap};

/// How long a replica may have heard no leader, or a leader no majority, before nobody is said
/// to lead: longer than an election takes.
pub(crate) const LEADERLESS_AFTER: Duration = Duration::from_secs(3);
/// How long handing over its shards may hold up a node that ends.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(3);
/// How long replies of a node that ends may take to leave.
const TRANSPORT_GRACE: Duration = Duration::from_secs(2);

/// A node. Cheap to clone: all clones are the same node. Reads through it see everything that
/// was acknowledged before they started, unless it came from [`Node::reading`].
///
/// To be ended with [`Node::shutdown`]. When the last clone is dropped without it, the node's
/// tasks end in the background, as long as the runtime is there, and let go of the data
/// directory shortly after; what was acknowledged is there all the same, and what was not may
/// or may not be.
#[derive(Clone)]
pub struct Node(pub(crate) Arc<Inner>, pub(crate) Consistency);

pub(crate) struct Inner {
    pub(crate) id: NodeId,
    pub(crate) started: Instant,
    pub(crate) started_at: Timestamp,
    pub(crate) config: Chosen,
    pub(crate) clock: Arc<NodeClock>,
    pub(crate) cluster: Arc<ClusterView>,
    pub(crate) redis: Arc<Table>,
    /// The replicas on this node, the meta shard's included.
    pub(crate) shards: ShardMap,
    pub(crate) local: Local,
    pub(crate) router: Router,
    pub(crate) reducer: Reducer,
    pub(crate) reducing: Reducing,
    pub(crate) meta: MetaLog,
    pub(crate) holdings: Arc<Holdings>,
    pub(crate) transport: Arc<dyn Transport>,
    /// The transport, unless the node stands alone.
    pub(crate) network: Option<TcpTransport>,
    /// This node as it tells the others.
    pub(crate) member: watch::Sender<Member>,
    pub(crate) stranded: Stranded,
    /// What there is to know of other nodes, if they are watched.
    pub(crate) views: Option<Views>,
    pub(crate) health: Arc<NodeHealth>,
    pub(crate) log: Arc<SharedLog>,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) commands_applied: Arc<AtomicU64>,
    pub(crate) maintenance: Maintenance,
    /// When it was last asked who leads what; held by the one who asks.
    pub(crate) finding: tokio::sync::Mutex<Option<tokio::time::Instant>>,
    /// Held by the one request that finishes drops for a table that takes an old name.
    pub(crate) fencing: tokio::sync::Mutex<()>,
    pub(crate) tasks: Tasks,
    /// Goes with the node.
    pub(crate) _temporary: Option<tempfile::TempDir>,
}

/// What runs beside the node, until it ends.
pub(crate) struct Tasks {
    pub(crate) stop: CancellationToken,
    pub(crate) running: parking_lot::Mutex<Vec<JoinHandle<()>>>,
}

impl Tasks {
    async fn end(&self) {
        self.stop.cancel();
        let running = std::mem::take(&mut *self.running.lock());
        for task in running {
            if task.await.is_err() {
                tracing::error!("a task of the node panicked");
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tasks.stop.cancel();
        // Connections hold what they serve.
        if let (Some(network), Ok(runtime)) =
            (self.network.clone(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(async move { network.shutdown(Duration::ZERO).await });
        }
    }
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
    /// Hands its shards over to other nodes where that can be done at once, refuses new
    /// writes, lets those that wait finish, and writes everything to files.
    pub async fn shutdown(&self) {
        if tokio::time::timeout(HAND_OVER_WITHIN, self.hand_over()).await.is_err() {
            tracing::info!("some shards are left without a leader until another is elected");
        }
        self.0.health.close();
        self.0.tasks.end().await;
        self.0.holdings.replicas.close().await;
        if let Some(network) = &self.0.network {
            network.shutdown(TRANSPORT_GRACE).await;
        }
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

    /// Hands the leadership of its shards to the replica of each that is furthest, where
    /// there is another that answers. The node may come to lead them again.
    pub async fn hand_over(&self) {
        let shards = self.0.shards.load_full();
        let handing = shards.values().map(async |shard| {
            let status = shard.group.group_status();
            let is_heir = |peer: &&PeerStatus| {
                peer.since_heard.is_some() && status.members.voters.contains_key(&peer.replica)
            };
            let heir =
                status.peers.iter().filter(is_heir).min_by_key(|peer| (peer.lag, peer.since_heard));
            if let (Leadership::Own, Some(heir)) = (shard.group.leadership(), heir)
                && let Err(error) = shard.group.transfer_leader(heir.replica).await
            {
                tracing::debug!(shard = %shard.id(), %error, "not handed over");
            }
        });
        join_all(handing).await;
    }

    /// Tells the cluster where clients reach this node, as `host:port`.
    pub fn announce(&self, http: String, resp: String) {
        self.0.member.send_if_modified(|member| {
            let is_new = member.http != http || member.resp != resp;
            member.http = http;
            member.resp = resp;
            is_new
        });
    }

    /// Where other nodes reach this node, as `host:port`; empty if it stands alone.
    #[must_use]
    pub fn peer_address(&self) -> String {
        self.0.member.borrow().peer.clone()
    }

    /// The nodes of the cluster, this one included, by identity.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let own = self.0.member.borrow().clone();
        let state = self.0.cluster.state();
        let known = state.iter().flat_map(|state| state.members.values());
        let mut members: Vec<_> = known.filter(|member| member.node != own.node).cloned().collect();
        members.push(own);
        members.sort_unstable_by_key(|member| member.node);
        members
    }

    /// A node of the cluster, if there is such a one.
    #[must_use]
    pub fn member(&self, node: NodeId) -> Option<Member> {
        self.0.cluster.member(node)
    }

    /// The node that leads a shard, as far as this one knows.
    #[must_use]
    pub fn leader(&self, shard: ShardId) -> Option<NodeId> {
        self.0.router.leader(shard)
    }

    /// Whether this node leads a shard.
    #[must_use]
    pub fn leads(&self, shard: ShardId) -> bool {
        self.0.shards.load().get(&shard).is_some_and(Shard::is_led_here)
    }

    /// The same node, whose reads see what this consistency promises.
    #[must_use]
    pub fn reading(&self, consistency: Consistency) -> Self {
        Self(Arc::clone(&self.0), consistency)
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
        self.0.cluster.placement()
    }

    /// Whether the node takes reads and writes: it writes, its own replicas are in service,
    /// and each of them has heard its leader, or a majority if it leads, in the last seconds.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let is_led = |shard: &Shard| {
            let is_known = match shard.group.leadership() {
                Leadership::Own => true,
                Leadership::Other(leader) => leader.is_some(),
                Leadership::Stopped => false,
            };
            let heard = shard.group.since_contact();
            is_known && heard.is_some_and(|since| since < LEADERLESS_AFTER)
        };
        !self.0.health.is_closing()
            && self.0.health.read_only().is_none()
            && self
                .0
                .shards
                .load()
                .values()
                .all(|shard| shard.data.health.quarantined().is_none() && is_led(shard))
    }

    /// Whether the node is shutting down.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.0.health.is_closing()
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
    pub(crate) fn shard_of(&self, slot: Slot) -> ShardId {
        self.0.cluster.shard_of(slot).unwrap_or_default()
    }

    /// Every shard that holds slots, in order, wherever it is.
    pub(crate) fn all_shards(&self) -> Vec<ShardId> {
        self.0.cluster.placement().shards().map(|(shard, _)| shard).collect()
    }

    /// Refuses at once what no node can do: the only replica of a shard is here and out of
    /// service.
    pub(crate) fn check_in_service(&self, shard: ShardId) -> Result<(), RequestError> {
        let shards = self.0.shards.load();
        match shards.get(&shard) {
            Some(held) if self.0.cluster.placement().replicas(shard).len() < 2 => {
                held.data.health.check(shard)
            }
            _ => Ok(()),
        }
    }

    /// The shards on this node that hold slots, in order.
    pub(crate) fn shards(&self) -> Vec<Shard> {
        let shards = self.0.shards.load();
        shards.iter().filter(|(id, _)| **id != ShardId::META).map(|(_, s)| s.clone()).collect()
    }
}

impl Shard {
    pub(crate) fn id(&self) -> ShardId {
        self.data.id
    }

    fn is_led_here(&self) -> bool {
        self.group.leadership() == Leadership::Own
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
