//! A database for a log, apart from the data: ordered bytes, written in ordered batches.
//!
//! The data's engine and the log share nothing. They would wait for each other's fsyncs and
//! write stalls, and what a slow replica reads from the log would push the data out of the
//! cache.

use bytes::Bytes;

use crate::engine::{Bounds, Durability, Usage};
use crate::error::StoreError;

mod memory;
mod reserve;
mod rocks;

pub use memory::MemoryLog;
pub use rocks::{RocksLog, RocksLogOptions};

/// One change in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogOp {
    /// Sets a key's value.
    Put {
        /// The key.
        key: Vec<u8>,
        /// The value.
        value: Vec<u8>,
    },
    /// Removes a key.
    Delete {
        /// The key.
        key: Vec<u8>,
    },
    /// Removes every key of a range. An empty range removes nothing.
    DeleteRange(Bounds),
}

impl LogOp {
    /// How many bytes of keys and values the change carries.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Put { key, value } => key.len() + value.len(),
            Self::Delete { key } => key.len(),
            Self::DeleteRange(bounds) => bounds.lower.len() + bounds.upper.len(),
        }
    }
}

/// How much one scan returns at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanLimits {
    /// Rows.
    pub rows_max: usize,
    /// Bytes of keys and values. The first row is returned even if it alone is larger.
    pub bytes_max: usize,
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Bytes,
}

/// A log's database.
pub trait LogStore: Send + Sync + 'static {
    /// Carries out changes in this order, all or nothing. What is synced includes every
    /// earlier write. A loss of power keeps a prefix of the writes, never a later one
    /// without an earlier one.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`]: the same write may be repeated after [`LogStore::recover`],
    /// and nothing else before it. [`StoreError::Io`]: whether the changes survive a restart
    /// is unknown, and must not be tried to find out by writing or syncing again.
    fn write(&self, ops: &[LogOp], durability: Durability) -> Result<(), StoreError>;

    /// Makes everything written so far survive a loss of power.
    ///
    /// # Errors
    /// As those of [`LogStore::write`].
    fn sync(&self) -> Result<(), StoreError>;

    /// The value of a key.
    ///
    /// # Errors
    /// [`StoreError::CorruptLog`] or [`StoreError::Io`].
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// The first rows of a range, in order: the rows of one moment.
    ///
    /// # Errors
    /// [`StoreError::CorruptLog`] or [`StoreError::Io`].
    fn scan(&self, bounds: &Bounds, limits: ScanLimits) -> Result<Vec<LogRow>, StoreError>;

    /// The last key of a range.
    ///
    /// # Errors
    /// [`StoreError::CorruptLog`] or [`StoreError::Io`].
    fn last_key(&self, bounds: &Bounds) -> Result<Option<Vec<u8>>, StoreError>;

    /// Bytes of keys and values in a range, as estimated by the database.
    ///
    /// # Errors
    /// [`StoreError::CorruptLog`] or [`StoreError::Io`].
    fn range_bytes(&self, bounds: &Bounds) -> Result<u64, StoreError>;

    /// Tries to leave the state that a full disk left behind. What was written before the
    /// write that failed is durable then, whatever became of the files it was in.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`] while there is no room, or [`StoreError::Io`].
    fn recover(&self) -> Result<(), StoreError>;

    /// Whether there is so little room that only what keeps the log in service should be
    /// written, until [`LogStore::recover`] succeeds.
    fn lacks_room(&self) -> bool;

    /// What the whole log takes.
    fn usage(&self) -> Usage;

    /// Writes everything that is in memory to files.
    ///
    /// # Errors
    /// As those of [`LogStore::write`].
    fn flush(&self) -> Result<(), StoreError>;
}
