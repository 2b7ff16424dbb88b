//! How the node stands: for people, for programs, and for the operator's conscience.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{OnceLock, Weak};

use breccia_replication::raft::{GroupHealth, GroupStatus, Role};
use breccia_router::{Consistency, RouterMetrics};
use breccia_types::{NodeId, ShardId};
use serde::{Deserialize, Serialize};

use crate::node::{Inner, Node, Shard};

/// A node and its shards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The node's identity.
    pub node: NodeId,
    /// The same, 40 hexadecimal digits.
    pub id: String,
    /// Which run of the node this is: grows at every start.
    pub incarnation: u64,
    /// The program's version.
    pub version: String,
    /// When the node was opened, in microseconds since 1970.
    pub started_at_micros: i64,
    /// For how long it has been open, in seconds.
    pub uptime_seconds: u64,
    /// Where the data is; `None` if in memory.
    pub data_dir: Option<String>,
    /// When writes are acknowledged.
    pub fsync: String,
    /// Whether the node takes reads and writes.
    pub ready: bool,
    /// Why the node takes no writes, if it takes none.
    pub read_only: Option<String>,
    /// How many tables there are.
    pub tables: usize,
    /// Memory.
    pub memory: MemoryStatus,
    /// The shards that it holds, by id; the meta shard is not among them.
    pub shards: Vec<ShardStatus>,
    /// The meta shard; `None` if the node holds no replica of it yet.
    pub meta: Option<ShardStatus>,
    /// The shards that cannot be repaired as things stand, if this node leads the meta shard.
    #[serde(default)]
    pub stranded: Vec<StrandedShard>,
}

/// A shard that cannot be repaired as things stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrandedShard {
    /// Its id.
    pub shard: u32,
    /// What stands in the way.
    pub reason: String,
}

/// What the node's memory budget goes to, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryStatus {
    /// The budget.
    pub budget_bytes: usize,
    /// The block cache, write buffers included.
    pub cache_bytes: u64,
    /// Write buffers.
    pub write_buffer_bytes: u64,
}

/// What a node is to a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShardRole {
    /// It orders the shard's writes.
    Leader,
    /// It receives the shard's log, and votes.
    Follower,
    /// It receives the shard's log and does not vote.
    Learner,
    /// Its replica does not run.
    Stopped,
}

impl ShardRole {
    /// Its name, for people and programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Learner => "learner",
            Self::Stopped => "stopped",
        }
    }
}

/// One replica of a shard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShardStatus {
    /// The shard's id.
    pub shard: u32,
    /// Its first slot.
    pub slot_first: u16,
    /// Its last slot.
    pub slot_last: u16,
    /// What this node is to it.
    pub role: ShardRole,
    /// The node that leads it, as far as this one knows.
    pub leader: Option<NodeId>,
    /// The term of its log.
    pub term: u64,
    /// How many replicas vote.
    pub voters: usize,
    /// How many replicas only receive the log.
    pub learners: usize,
    /// The last entry of its log here.
    pub last_index: u64,
    /// The last entry applied here.
    pub applied: u64,
    /// How long ago this replica heard from its leader, or a leader from a majority, in
    /// milliseconds.
    pub heard_millis_ago: Option<u64>,
    /// Rows and versions, roughly.
    pub rows_estimate: u64,
    /// Bytes in files.
    pub disk_bytes: u64,
    /// Bytes in write buffers.
    pub memory_bytes: u64,
    /// Commands that wait for the log.
    pub waiting: usize,
    /// Why the replica is out of service, if it is.
    pub quarantined: Option<String>,
    /// What else is wrong with the replica, if anything.
    pub trouble: Option<String>,
}

/// Tells how the node stands, once it is open.
#[derive(Default)]
pub(crate) struct Reporter(OnceLock<Weak<Inner>>);

impl Reporter {
    pub(crate) fn set(&self, node: Weak<Inner>) {
        // It is set once, when the node is open.
        let _ = self.0.set(node);
    }

    /// How the node stands. May wait for the disk. `None` if it is not open, or closed.
    pub(crate) fn status(&self) -> Option<NodeStatus> {
        let node = self.0.get()?.upgrade()?;
        Some(Node(node, Consistency::Linearizable).status())
    }
}

/// What the node has done since it was opened.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct NodeMetrics {
    /// Log entries written.
    pub entries: u64,
    /// Commands applied.
    pub commands: u64,
    /// Bytes written to the log.
    pub bytes: u64,
    /// Batches written.
    pub writes: u64,
    /// Fsyncs of the log.
    pub fsyncs: u64,
    /// Microseconds that the log's writer was busy.
    pub writer_busy_micros: u64,
    /// Snapshots of shards that were begun to be sent to other nodes.
    pub snapshots_sent: u64,
    /// Bytes of their files that were sent.
    pub snapshot_bytes_sent: u64,
}

impl Node {
    /// How the node stands. May wait for the disk.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        let inner = &self.0;
        let memory = inner.engine.memory();
        let shards = inner.shards.load_full();
        NodeStatus {
            node: inner.id,
            id: inner.id.to_cluster_name(),
            incarnation: inner.member.borrow().incarnation,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at_micros: inner.started_at.as_micros(),
            uptime_seconds: inner.started.elapsed().as_secs(),
            data_dir: inner.config.data_dir.as_ref().map(|path| path.display().to_string()),
            fsync: inner.config.fsync.to_string(),
            ready: self.is_ready(),
            read_only: inner.health.read_only(),
            tables: inner.cluster.tables().len(),
            memory: MemoryStatus {
                budget_bytes: inner.config.memory_bytes,
                cache_bytes: memory.cache,
                write_buffer_bytes: memory.write_buffers,
            },
            meta: shards.get(&ShardId::META).map(|meta| self.shard_status(meta)),
            shards: self.shards().iter().map(|shard| self.shard_status(shard)).collect(),
            stranded: self.stranded(),
        }
    }

    fn stranded(&self) -> Vec<StrandedShard> {
        let stranded = self.0.stranded.lock();
        let stranded = stranded.iter();
        let told = |(shard, stuck): (&ShardId, &breccia_ring::Stuck)| StrandedShard {
            shard: shard.get(),
            reason: stuck.to_string(),
        };
        stranded.map(told).collect()
    }

    fn shard_status(&self, shard: &Shard) -> ShardStatus {
        let usage = shard.data.engine().usage();
        let group = shard.group.group_status();
        let slots = self.0.cluster.placement().slot_range(shard.id()).unwrap_or(0..=0);
        let millis = |age: std::time::Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        ShardStatus {
            shard: shard.id().get(),
            slot_first: *slots.start(),
            slot_last: *slots.end(),
            role: role_of(&group),
            leader: group.leader.map(|leader| leader.node),
            term: group.term,
            voters: group.members.voters.len(),
            learners: group.members.learners.len(),
            last_index: group.last_index.get(),
            applied: group.applied.get(),
            heard_millis_ago: group.since_contact.map(millis),
            rows_estimate: usage.keys_estimate,
            disk_bytes: usage.disk_bytes,
            memory_bytes: usage.memory_bytes,
            waiting: group.waiting,
            quarantined: shard.data.health.quarantined(),
            trouble: trouble_of(&group.health),
        }
    }

    /// What the node has done since it was opened.
    #[must_use]
    pub fn metrics(&self) -> NodeMetrics {
        let counters = self.0.log.counters();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let snapshots = self.0.holdings.replicas.snapshots_sent();
        NodeMetrics {
            entries: read(&counters.entries),
            commands: read(&self.0.commands_applied),
            bytes: read(&counters.bytes),
            writes: read(&counters.writes),
            fsyncs: read(&counters.fsyncs),
            writer_busy_micros: read(&counters.busy_micros),
            snapshots_sent: snapshots.count,
            snapshot_bytes_sent: snapshots.bytes,
        }
    }

    /// Where the node's requests ran since it was opened.
    #[must_use]
    pub fn router_metrics(&self) -> RouterMetrics {
        self.0.router.metrics()
    }
}

fn role_of(group: &GroupStatus) -> ShardRole {
    match group.role {
        Role::Leader => ShardRole::Leader,
        Role::Follower | Role::Candidate => ShardRole::Follower,
        Role::Learner => ShardRole::Learner,
        Role::Stopped => ShardRole::Stopped,
    }
}

/// What is wrong with a replica, in words.
fn trouble_of(health: &GroupHealth) -> Option<String> {
    match health {
        GroupHealth::Running | GroupHealth::Closed => None,
        GroupHealth::NoRoom { reason } => Some(format!("waits for room: {reason}")),
        GroupHealth::Stalled => Some("does not apply what a majority has".to_owned()),
        GroupHealth::Restarting { reason, failures } => {
            Some(format!("is started again after {failures} failures: {reason}"))
        }
        GroupHealth::Quarantined { reason } => Some(format!("was given up: {reason}")),
        other => Some(format!("{other:?}")),
    }
}
