//! The lower floor: ordered bytes per shard, written in atomic batches.

use std::sync::Arc;

use breccia_types::{LogIndex, ShardId, Timestamp};
use bytes::Bytes;

use crate::batch::ShardBatch;
use crate::error::StoreError;

/// When a write counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Durability {
    /// When it would survive a loss of power.
    Synced,
    /// When it would survive the end of the process, but not a loss of power.
    Buffered,
}

/// A half-open range of raw keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// The smallest raw key, included.
    pub lower: Vec<u8>,
    /// The end, excluded.
    pub upper: Vec<u8>,
}

/// What a read that must not wait for the disk found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// The value.
    Found(Bytes),
    /// There is none.
    Absent,
    /// Only the disk can tell.
    NotCached,
}

/// A state of a shard: the present one, or a snapshot.
pub trait Reader {
    /// The value of a raw key.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] or [`StoreError::Io`].
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// The values of many raw keys, all at one moment.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] or [`StoreError::Io`].
    fn multi_get(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, StoreError>;

    /// A cursor over a range, standing nowhere until it is sought. It sees the state at the
    /// moment of this call, whatever is written later.
    fn cursor(&self, bounds: Bounds) -> Box<dyn Cursor + '_>;
}

/// A position in a range of raw keys.
pub trait Cursor {
    /// Goes to the first key that is not smaller than `key`.
    fn seek(&mut self, key: &[u8]);
    /// Goes to the last key that is not greater than `key`.
    fn seek_for_prev(&mut self, key: &[u8]);
    /// Goes to the first key of the range.
    fn seek_to_first(&mut self);
    /// Goes to the last key of the range.
    fn seek_to_last(&mut self);
    /// Goes one key on. Only when at an item.
    fn next(&mut self);
    /// Goes one key back. Only when at an item.
    fn prev(&mut self);
    /// The key and value where the cursor stands, or `None` beyond either end.
    fn item(&self) -> Option<(&[u8], &[u8])>;
    /// Why the cursor ended early, if it did. To be asked whenever `item` is `None`.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] or [`StoreError::Io`].
    fn status(&self) -> Result<(), StoreError>;
}

/// How far a shard's log is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// The last entry whose effects the shard holds.
    pub index: LogIndex,
    /// The latest stamp among the commands applied.
    pub stamp: Timestamp,
}

/// What a shard takes, as estimated by the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Raw keys, roughly.
    pub keys_estimate: u64,
    /// Bytes in files.
    pub disk_bytes: u64,
    /// Bytes in write buffers.
    pub memory_bytes: u64,
}

/// One shard.
pub trait ShardEngine: Reader + Send + Sync {
    /// Which shard this is.
    fn shard(&self) -> ShardId;

    /// The value of a raw key, if that can be told without waiting for the disk.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] or [`StoreError::Io`].
    fn get_cached(&self, key: &[u8]) -> Result<Lookup, StoreError>;

    /// The shard's present state, held fixed for as long as the snapshot lives.
    fn snapshot(&self) -> Box<dyn Reader + Send + '_>;

    /// What the shard takes.
    fn usage(&self) -> Usage;

    /// Tells the shard up to which stamp its log is durably applied. Rows that expired
    /// before it may be dropped from then on.
    fn advance_horizon(&self, to: Timestamp);

    /// Whether so much of the shard has expired by `now`, or a range of it been deleted,
    /// that compaction is worth it.
    fn is_worth_reclaiming(&self, now: Timestamp) -> bool;

    /// Whether anything was deleted since the last compaction that was asked for.
    fn has_deletions(&self) -> bool;

    /// Gives back the space of rows that are gone, in a range of raw keys or everywhere:
    /// rewrites the files there. May be long; reads and writes go on meanwhile.
    fn compact(&self, range: Option<&Bounds>);
}

/// Memory that an engine holds, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryUsage {
    /// The block cache, write buffers included.
    pub cache: u64,
    /// Write buffers.
    pub write_buffers: u64,
}

/// The shards of a node.
pub trait Engine: Send + Sync + 'static {
    /// Opens a shard, creating it if it is not there.
    ///
    /// # Errors
    /// [`StoreError::Io`] or [`StoreError::DiskFull`].
    fn open_shard(&self, shard: ShardId) -> Result<Arc<dyn ShardEngine>, StoreError>;

    /// The shards that are there, in order.
    fn shards(&self) -> Vec<ShardId>;

    /// Writes the batches of several shards, all or nothing.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`]: nothing was written that is visible now; whether it
    /// appears after a restart is unknown. [`StoreError::Io`], [`StoreError::NoSuchShard`].
    fn write(
        &self,
        batches: &[(ShardId, ShardBatch)],
        durability: Durability,
    ) -> Result<(), StoreError>;

    /// Makes everything written so far survive a loss of power.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`] or [`StoreError::Io`].
    fn sync(&self) -> Result<(), StoreError>;

    /// Tries to leave the state that a full disk left behind.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`] while there is no room, or [`StoreError::Io`].
    fn recover(&self) -> Result<(), StoreError>;

    /// Writes everything that is in memory to files.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`] or [`StoreError::Io`].
    fn flush(&self) -> Result<(), StoreError>;

    /// Memory held.
    fn memory(&self) -> MemoryUsage;

    /// Reads a record of the node itself, which belongs to no shard.
    ///
    /// # Errors
    /// [`StoreError::Io`] or [`StoreError::Corrupt`].
    fn get_node_record(&self, name: &str) -> Result<Option<Bytes>, StoreError>;

    /// Writes a record of the node itself, and syncs it.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`] or [`StoreError::Io`].
    fn put_node_record(&self, name: &str, value: &[u8]) -> Result<(), StoreError>;
}
