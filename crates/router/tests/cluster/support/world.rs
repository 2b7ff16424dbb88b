//! The cluster: nodes 1 to 3 vote on the shard, node 4 holds no replica.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use breccia_ring::{Placement, Step};
use breccia_router::{Consistency, LocalError, LocalRole, Placed, Router, ShardRead};
use breccia_types::{
    Command, Epoch, NodeId, Outcome, ReplicaId, RequestError, RequestId, ServiceId, ShardId,
};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::network::{FakeTransport, Fault, Network};
use super::shards::{FakeShards, Log};

pub(crate) const SHARD: ShardId = ShardId::new(0);
const NODES: u64 = 4;

pub(crate) struct World {
    pub(crate) network: Arc<Network>,
    pub(crate) placement: Placement,
    nodes: BTreeMap<u64, Node>,
    log: Arc<Mutex<Log>>,
}

struct Node {
    router: Router,
    shards: Arc<FakeShards>,
    placements: watch::Sender<Placed>,
}

pub(crate) fn n(id: u64) -> NodeId {
    NodeId::new(id)
}

pub(crate) fn command(payload: &'static str) -> Command {
    let payload = Bytes::from_static(payload.as_bytes());
    Command { service: ServiceId::new(1), request_id: None, payload }
}

pub(crate) fn with_id(payload: &'static str, id: u8) -> Command {
    Command { request_id: Some(RequestId::new([id; 16])), ..command(payload) }
}

pub(crate) fn replies(texts: &[&'static str]) -> Result<Vec<Outcome>, RequestError> {
    Ok(texts.iter().map(|text| Ok(Bytes::from_static(text.as_bytes()))).collect())
}

fn read_of(consistency: Consistency) -> ShardRead {
    let request = Bytes::from_static(b"k");
    ShardRead { service: ServiceId::new(1), request, consistency }
}

/// `BRECCIA_SEED`, or one for all: decides what the routers draw.
fn seed() -> u64 {
    std::env::var("BRECCIA_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

fn placed_on_three() -> Placement {
    let learn = |id| Step::AddLearner { shard: SHARD, node: n(id) };
    let replicas = vec![ReplicaId::new(2), ReplicaId::new(3)];
    let steps = [learn(2), learn(3), Step::Promote { shard: SHARD, replicas }];
    let founded = Placement::founded_by(n(1), Epoch::new(10), 1).expect("in range");
    steps.iter().fold(founded, |placement, step| placement.after(step).expect("possible"))
}

/// No test asks for the meta shard.
fn placed(shards: Placement) -> Placed {
    let shards = Arc::new(shards);
    Placed { meta: Arc::clone(&shards), shards }
}

impl World {
    /// Nobody leads yet.
    pub(crate) fn new() -> Self {
        let (network, log) = (Arc::new(Network::default()), Arc::default());
        let placement = placed_on_three();
        let mut nodes = BTreeMap::new();
        for id in 1..=NODES {
            let shards = Arc::new(FakeShards {
                node: n(id),
                log: Arc::clone(&log),
                role: Mutex::new(match placement.replica_on(SHARD, n(id)) {
                    Some(_) => LocalRole::Follower { leader: None },
                    None => LocalRole::Absent,
                }),
                failing: Mutex::default(),
                slow: Mutex::default(),
            });
            let (placements, watching) = watch::channel(placed(placement.clone()));
            let transport = FakeTransport { node: n(id), network: Arc::downgrade(&network) };
            let transport = Arc::new(transport);
            let router = Router::new(n(id), shards.clone(), transport, watching, seed() + id);
            network.routers.lock().insert(n(id), router.clone());
            nodes.insert(id, Node { router, shards, placements });
        }
        Self { network, placement, nodes, log }
    }

    /// A world in which `leader` leads, and every replica knows it.
    pub(crate) fn led_by(leader: u64) -> Self {
        let world = Self::new();
        world.elect(leader);
        world
    }

    pub(crate) fn elect(&self, leader: u64) {
        for id in 1..=3 {
            let follower = LocalRole::Follower { leader: Some(n(leader)) };
            self.set_role(id, if id == leader { LocalRole::Leader } else { follower });
        }
    }

    /// Makes a follower believe, rightly or wrongly, that `leader` leads.
    pub(crate) fn believe(&self, follower: u64, leader: u64) {
        self.set_role(follower, LocalRole::Follower { leader: Some(n(leader)) });
    }

    pub(crate) fn set_role(&self, id: u64, role: LocalRole) {
        *self.nodes[&id].shards.role.lock() = role;
    }

    pub(crate) fn fail(&self, id: u64, error: Option<LocalError>) {
        *self.nodes[&id].shards.failing.lock() = error;
    }

    pub(crate) fn slow(&self, id: u64, by: Duration) {
        *self.nodes[&id].shards.slow.lock() = by;
    }

    pub(crate) fn place(&self, id: u64, placement: Placement) {
        self.nodes[&id].placements.send_replace(placed(placement));
    }

    pub(crate) fn router(&self, id: u64) -> &Router {
        &self.nodes[&id].router
    }

    pub(crate) fn applied(&self) -> Vec<Bytes> {
        self.log.lock().applied.clone()
    }

    pub(crate) fn cut(&self, from: u64, to: u64) {
        self.network.always(n(from), n(to), Fault::Unreachable);
    }

    /// Writes from a node, with a deadline in one second.
    pub(crate) async fn write(
        &self,
        from: u64,
        command: Command,
    ) -> Result<Vec<Outcome>, RequestError> {
        let deadline = Instant::now() + Duration::from_secs(1);
        self.router(from).write(SHARD, vec![command], deadline).await
    }

    /// Reads from a node, with a deadline in one second.
    pub(crate) async fn read(
        &self,
        from: u64,
        consistency: Consistency,
    ) -> Result<Bytes, RequestError> {
        let deadline = Instant::now() + Duration::from_secs(1);
        self.router(from).read(SHARD, read_of(consistency), deadline).await
    }

    /// Node 4 knows who leads, because it has written before.
    pub(crate) async fn acquaint(&self) {
        assert!(self.write(4, command("first")).await.is_ok());
        self.network.calls();
    }
}
