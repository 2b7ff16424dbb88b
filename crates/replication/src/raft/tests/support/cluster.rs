//! Nodes that can be started, crashed and cut off.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use breccia_types::time::{Clock, SystemClock};
use breccia_types::{
    Command, LogIndex, NodeClock, NodeId, ReplicaId, ServiceId, ShardId, Timestamp,
};
use bytes::Bytes;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::log::MemoryLogs;
use super::machine::{Content, ToyMachines};
use super::net::Net;
use crate::consensus::{ProposeError, ShardConsensus};
use crate::raft::{
    GroupStatus, LogLimits, RaftGroup, ReplicaChange, Replicas, ReplicasConfig, Role, Timing,
    TrafficLimits, bootstrap_position,
};

pub(crate) const SHARD: ShardId = ShardId::new(1);
/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(20);

/// Fast, but with room for a busy machine.
pub(crate) fn timing() -> Timing {
    Timing {
        heartbeat: Duration::from_millis(60),
        election_timeout_min: Duration::from_millis(300),
        election_timeout_max: Duration::from_millis(600),
        apply_stall_max: Duration::from_millis(800),
        restart_pause: Duration::from_millis(50),
    }
}

pub(crate) struct Cluster {
    pub(crate) net: Arc<Net>,
    nodes: Mutex<BTreeMap<u64, TestNode>>,
    options: Options,
}

/// In what a cluster may differ from another.
pub(crate) struct Options {
    pub(crate) timing: Timing,
    pub(crate) log_bytes_max: u64,
    /// How far the clock of node 1 is ahead.
    pub(crate) skew: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { timing: timing(), log_bytes_max: 64 << 20, skew: Duration::ZERO }
    }
}

struct Skewed(Duration);

impl Clock for Skewed {
    fn wall(&self) -> Timestamp {
        SystemClock.wall().saturating_add(self.0)
    }
}

#[derive(Clone)]
struct TestNode {
    logs: MemoryLogs,
    machines: ToyMachines,
    folder: Arc<TempDir>,
    replicas: Option<Arc<Replicas>>,
}

impl Cluster {
    /// A cluster of nodes 1 to `nodes`; node 1 holds a shard of one voter.
    pub(crate) async fn start(nodes: u64) -> Self {
        Self::start_with(nodes, Options::default()).await
    }

    pub(crate) async fn start_with(nodes: u64, options: Options) -> Self {
        let cluster = Self { net: Net::new(), nodes: Mutex::default(), options };
        for number in 1..=nodes {
            let node = TestNode {
                logs: MemoryLogs::default(),
                machines: ToyMachines::default(),
                folder: Arc::new(TempDir::new().expect("a folder")),
                replicas: None,
            };
            cluster.nodes.lock().insert(number, node);
        }
        let position = bootstrap_position(replica(1), NodeId::new(1), LogIndex::new(0));
        cluster.machines(1).begin(SHARD, replica(1), position);
        for number in 1..=nodes {
            cluster.start_node(number).await;
        }
        cluster
    }

    /// A cluster whose shard has a voter on every node.
    pub(crate) async fn with_voters(nodes: u64) -> Self {
        Self::with_voters_and(nodes, Options::default()).await
    }

    pub(crate) async fn with_voters_and(nodes: u64, options: Options) -> Self {
        let cluster = Self::start_with(nodes, options).await;
        cluster.leader().await;
        for number in 2..=nodes {
            cluster.add_voter(number).await;
        }
        cluster
    }

    fn node(&self, number: u64) -> TestNode {
        self.nodes.lock().get(&number).expect("a node").clone()
    }

    pub(crate) fn machines(&self, number: u64) -> ToyMachines {
        self.node(number).machines
    }

    pub(crate) fn content(&self, number: u64) -> Content {
        self.machines(number).content(SHARD, replica(number))
    }

    pub(crate) fn log_entries(&self, number: u64) -> usize {
        self.node(number).logs.entries(SHARD, replica(number))
    }

    pub(crate) fn folder(&self, number: u64) -> Arc<TempDir> {
        self.node(number).folder
    }

    pub(crate) fn replicas(&self, number: u64) -> Option<Arc<Replicas>> {
        self.node(number).replicas
    }

    pub(crate) fn group(&self, number: u64) -> Option<Arc<RaftGroup>> {
        self.replicas(number)?.get(SHARD)
    }

    pub(crate) fn status(&self, number: u64) -> Option<GroupStatus> {
        self.group(number).map(|group| group.group_status())
    }

    /// Starts a node, and its replica of the shard.
    pub(crate) async fn start_node(&self, number: u64) {
        let node = self.node(number);
        let id = NodeId::new(number);
        let skew = if number == 1 { self.options.skew } else { Duration::ZERO };
        let config = ReplicasConfig {
            transport: Arc::new(self.net.transport(id)),
            machines: Arc::new(node.machines),
            clock: Arc::new(NodeClock::new(Box::new(Skewed(skew)), Timestamp::MIN)),
            apply_threads: 1,
            timing: self.options.timing,
            traffic: TrafficLimits::default(),
            snapshots: node.folder.path().to_owned(),
            log_limits: LogLimits {
                shard_bytes_max: self.options.log_bytes_max,
                node_bytes_max: u64::MAX,
            },
        };
        let replicas = Arc::new(Replicas::over(node.logs, config).expect("replicas"));
        self.net.attach(id, replicas.handler());
        replicas.open(SHARD, replica(number)).await.expect("a replica");
        self.nodes.lock().get_mut(&number).expect("a node").replicas = Some(replicas);
    }

    /// Stops a node as a loss of power would.
    pub(crate) async fn crash(&self, number: u64) {
        self.net.detach(NodeId::new(number));
        let replicas = self.nodes.lock().get_mut(&number).expect("a node").replicas.take();
        if let Some(replicas) = replicas {
            replicas.close().await;
        }
        self.machines(number).lose_power();
    }

    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.nodes.lock().keys().copied().collect()
    }

    /// Cuts a node off from all others.
    pub(crate) fn isolate(&self, number: u64) {
        let others: Vec<_> = self.numbers().into_iter().filter(|n| *n != number).collect();
        let others: Vec<_> = others.into_iter().map(NodeId::new).collect();
        self.net.cut(&[NodeId::new(number)], &others);
    }

    /// The nodes whose replicas lead, by what they know.
    pub(crate) fn leaders(&self) -> Vec<u64> {
        let leads =
            |number: &u64| self.status(*number).is_some_and(|status| status.role == Role::Leader);
        self.numbers().into_iter().filter(leads).collect()
    }

    /// The node of the leader with the highest term, once a majority follows it.
    pub(crate) async fn leader(&self) -> u64 {
        let found = Mutex::new(0);
        wait_for("a leader that can read", async || {
            let leaders = self.leaders();
            let term = |number: &u64| self.status(*number).map(|status| status.term);
            let Some(number) = leaders.into_iter().max_by_key(term) else { return false };
            *found.lock() = number;
            let Some(group) = self.group(number) else { return false };
            group.read_barrier().await.is_ok()
        })
        .await;
        found.into_inner()
    }

    /// Changes the shard's replicas, at whichever leader there is.
    pub(crate) async fn change(&self, change: ReplicaChange) {
        wait_for(&format!("{change:?}"), async || {
            let Some(group) = self.group(self.leader().await) else { return false };
            let version = group.group_status().members.version;
            group.change_replicas(change.clone(), version).await.is_ok()
        })
        .await;
    }

    pub(crate) async fn add_learner(&self, number: u64) {
        let node = NodeId::new(number);
        self.change(ReplicaChange::AddLearner { replica: replica(number), node }).await;
    }

    pub(crate) async fn add_voter(&self, number: u64) {
        self.add_learner(number).await;
        self.change(ReplicaChange::Promote { replicas: [replica(number)].into() }).await;
    }

    /// Proposes one command on a node.
    pub(crate) async fn propose(&self, number: u64, text: &str) -> Result<(), ProposeError> {
        let group = self.group(number).ok_or(ProposeError::Closed)?;
        let outcomes = group.propose(vec![command(text)]).await?;
        assert_eq!(outcomes, [Ok(Bytes::copy_from_slice(text.as_bytes()))]);
        Ok(())
    }

    /// Proposes one command until it is acknowledged.
    pub(crate) async fn write(&self, text: &str) {
        wait_for(&format!("{text} is written"), async || {
            let number = self.leader().await;
            self.propose(number, text).await.is_ok()
        })
        .await;
    }

    /// Writes numbered commands until told to stop; returns those acknowledged.
    pub(crate) fn load(self: &Arc<Self>, name: &'static str) -> Load {
        let (cluster, stop) = (Arc::clone(self), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let text = format!("{name}-{number}");
                let leader = cluster.leaders().last().copied().unwrap_or(1);
                match cluster.propose(leader, &text).await {
                    Ok(()) => acknowledged.push(text),
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
            acknowledged
        });
        Load { stop, task }
    }

    /// Waits until all running replicas of these nodes hold the same.
    pub(crate) async fn agree(&self, numbers: &[u64]) -> Vec<Bytes> {
        wait_for("all replicas agree", async || {
            let contents: Vec<_> = numbers.iter().map(|n| self.content(*n).commands).collect();
            contents.windows(2).all(|pair| pair[0] == pair[1])
        })
        .await;
        self.content(numbers[0]).commands
    }
}

/// Commands that are being written in the background.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Vec<String>>,
}

impl Load {
    /// Ends it; returns what was acknowledged.
    pub(crate) async fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = tokio::time::timeout(PATIENCE, self.task).await;
        ended.expect("the load hangs").expect("the load failed")
    }
}

/// Everything acknowledged was applied, and nothing twice.
pub(crate) fn assert_once(applied: &[Bytes], acknowledged: &[String]) {
    let distinct: BTreeSet<&[u8]> = applied.iter().map(|command| &command[..]).collect();
    assert_eq!(distinct.len(), applied.len(), "something was applied twice");
    for text in acknowledged {
        assert!(distinct.contains(text.as_bytes()), "{text} is lost");
    }
}

pub(crate) const fn replica(node: u64) -> ReplicaId {
    ReplicaId::new(node * 10)
}

pub(crate) fn command(text: &str) -> Command {
    let payload = Bytes::copy_from_slice(text.as_bytes());
    Command { service: ServiceId::new(1), request_id: None, payload }
}

/// Waits until something holds.
pub(crate) async fn wait_for(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
