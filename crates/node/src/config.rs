//! What an embedder chooses.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use breccia_replication::FsyncPolicy;
use breccia_service::{Reductions, Service};
use breccia_types::limits::{DISK_RESERVE_BYTES, MEMORY_BYTES_DEFAULT};
use breccia_types::time::{Clock, JumpGuard, SystemClock};
use rustix::time::{ClockId, clock_gettime};

/// How long a node may be silent before its replicas are made elsewhere, by default.
pub const REPLACE_AFTER_DEFAULT: Duration = Duration::from_secs(10 * 60);

/// Where a node keeps its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// In this directory, which is created if it is not there.
    Disk(PathBuf),
    /// In memory only: everything is lost when the node ends.
    Memory,
}

/// How a node is reached by the other nodes of its cluster, and finds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peering {
    /// Where it listens, `host:port`; port 0 takes any free one.
    pub listen: String,
    /// The host under which the others reach it, if not that where it listens.
    pub advertise: Option<String>,
    /// Nodes of the cluster to join, `host:port`. With none, a new node founds a cluster.
    pub join: Vec<String>,
    /// What the node shares failures with: a rack, a data centre. Replicas of a shard are
    /// kept in distinct zones while there are enough. Empty if there is nothing to say.
    pub zone: String,
    /// How it learns which of the others live.
    pub membership: MembershipKind,
}

/// How a node learns which of the others live. All nodes of a cluster had better agree on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MembershipKind {
    /// They tell each other, over UDP on the port of `listen`; also where they are, should
    /// all have moved at once.
    #[default]
    Gossip,
    /// By the list of members that the cluster has agreed on, and its own connections to them.
    Static,
}

/// How a node runs reductions.
#[derive(Clone, Default)]
pub struct ReduceConfig {
    /// Those that it knows. All nodes of a cluster had better know the same.
    pub reductions: Reductions,
    /// How many threads may read for them at a time; one per core if `None`.
    pub threads: Option<usize>,
    /// How many other nodes it asks at once; `REDUCE_FAN_IN` if `None`.
    pub fan_in: Option<usize>,
}

/// What an embedder chooses when it opens a node.
pub struct NodeConfig {
    /// Where the data is.
    pub storage: Storage,
    /// How many shards a new data directory gets; `SHARDS_DEFAULT` if `None`. A directory
    /// that has data already keeps its number, and is refused if another one is asked for.
    pub shards: Option<u32>,
    /// How the other nodes reach it; `None` for a node that stands alone.
    pub peering: Option<Peering>,
    /// How many replicas the shards of a new cluster are to have, while there are nodes for
    /// them; `REPLICAS_DEFAULT` if `None`. A cluster that there is already keeps its number.
    pub replicas: Option<u8>,
    /// How long a node may be silent before its replicas are made on other nodes, if there
    /// are any.
    pub replace_after: Duration,
    /// What block cache, write buffers and everything else may take together, in bytes.
    pub memory_bytes: usize,
    /// When writes are acknowledged.
    pub fsync: FsyncPolicy,
    /// Free disk space below which writes are refused, in bytes.
    pub disk_reserve_bytes: u64,
    /// Services beyond those that every node has. All nodes of a cluster had better have the
    /// same; ids below 1,000 are the project's own.
    pub services: Vec<Arc<dyn Service>>,
    /// How reductions run.
    pub reduce: ReduceConfig,
    /// Where time comes from.
    pub clock: Box<dyn Clock>,
}

impl NodeConfig {
    /// The defaults, with the data in this directory.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self::with_storage(Storage::Disk(data_dir.into()))
    }

    /// The defaults, with the data in memory.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::with_storage(Storage::Memory)
    }

    fn with_storage(storage: Storage) -> Self {
        Self {
            storage,
            shards: None,
            peering: None,
            replicas: None,
            replace_after: REPLACE_AFTER_DEFAULT,
            memory_bytes: MEMORY_BYTES_DEFAULT,
            fsync: FsyncPolicy::Always,
            disk_reserve_bytes: DISK_RESERVE_BYTES,
            services: Vec::new(),
            reduce: ReduceConfig::default(),
            clock: Box::new(JumpGuard::new(SystemClock, since_boot)),
        }
    }
}

/// The time since the machine was started, its sleep included.
fn since_boot() -> Duration {
    let since = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(since.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(since.tv_nsec).unwrap_or(0))
}
