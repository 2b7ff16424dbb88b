//! What an embedder chooses.

use std::path::PathBuf;
use std::time::Duration;

use breccia_replication::FsyncPolicy;
use breccia_types::limits::{DISK_RESERVE_BYTES, MEMORY_BYTES_DEFAULT};
use breccia_types::time::{Clock, JumpGuard, SystemClock};
use rustix::time::{ClockId, clock_gettime};

/// Where a node keeps its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// In this directory, which is created if it is not there.
    Disk(PathBuf),
    /// In memory only: everything is lost when the node ends.
    Memory,
}

/// What an embedder chooses when it opens a node.
pub struct NodeConfig {
    /// Where the data is.
    pub storage: Storage,
    /// How many shards a new data directory gets; `SHARDS_DEFAULT` if `None`. A directory
    /// that has data already keeps its number, and is refused if another one is asked for.
    pub shards: Option<u32>,
    /// What block cache, write buffers and everything else may take together, in bytes.
    pub memory_bytes: usize,
    /// When writes are acknowledged.
    pub fsync: FsyncPolicy,
    /// Free disk space below which writes are refused, in bytes.
    pub disk_reserve_bytes: u64,
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
            memory_bytes: MEMORY_BYTES_DEFAULT,
            fsync: FsyncPolicy::Always,
            disk_reserve_bytes: DISK_RESERVE_BYTES,
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
