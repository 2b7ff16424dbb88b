//! The lower floor: ordered bytes per shard, written in atomic batches.

use std::path::Path;
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
    /// At once, in memory only: the write skips the engine's own log, because another log
    /// holds it and repeats it after a crash.
    ///
    /// After a crash each shard is a prefix of what was written to it, as far as its last
    /// flush at least; how far differs between the shards of one batch. A later write with
    /// another durability takes what is volatile in its shards along.
    Volatile,
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

    /// The value of a raw key in a state that a crash cannot take away any more: at least as
    /// new as the last [`flush`](Self::flush), and never newer than what a crash leaves. For
    /// keys written as [`Durability::Volatile`]; of others it may be older than that.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] or [`StoreError::Io`].
    fn get_durable(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Makes everything written to this shard so far survive a loss of power. Writes its
    /// write buffers to files and waits for that, never for compactions.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`] or [`StoreError::Io`]: what was volatile still is.
    fn flush(&self) -> Result<(), StoreError>;

    /// Writes the shard's present state to the directory `into`, which must not exist, for
    /// [`Engine::import_shard`]. What was volatile is flushed. The files share their bytes
    /// with the shard's where the file system allows it, and nothing changes them any more.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`] or [`StoreError::Io`]: `into` is not there, or is no export.
    fn export(&self, into: &Path) -> Result<(), StoreError>;

    /// The shard's present state, held fixed for as long as the snapshot lives.
    fn snapshot(&self) -> Box<dyn Reader + Send + '_>;

    /// What the shard takes.
    fn usage(&self) -> Usage;

    /// Tells the shard up to which stamp its log is durably applied. Rows that expired
    /// before it may be dropped from then on, so that entries which a crash makes the log
    /// repeat would no longer see them: with volatile writes, the stamp to give is that of
    /// the applied position as [`get_durable`](Self::get_durable) has it.
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

    /// Puts an exported shard in the place of the one that is here, if any, durably and all
    /// or nothing. Leaves the export as it is. Whoever holds the shard's old handle goes on
    /// reading its old state; its space comes back when the last one lets go. The new one
    /// has seen no [`advance_horizon`](ShardEngine::advance_horizon) yet.
    ///
    /// Nobody may write to the shard meanwhile: it would be lost.
    ///
    /// # Errors
    /// [`StoreError::BadExport`], [`StoreError::UnknownFormat`], [`StoreError::DiskFull`] or
    /// [`StoreError::Io`]: the shard is what it was. After the latter two it may turn out to
    /// be the imported one when the engine is opened again.
    fn import_shard(&self, shard: ShardId, from: &Path)
    -> Result<Arc<dyn ShardEngine>, StoreError>;

    /// Removes a shard durably. Readers are treated as by [`import_shard`](Self::import_shard).
    /// Nothing happens if it is not there. It may be created or imported again.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`] or [`StoreError::Io`]: the shard is still there, but may be
    /// gone when the engine is opened again.
    fn remove_shard(&self, shard: ShardId) -> Result<(), StoreError>;

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

    /// Gives up compactions that were asked for, and refuses more: the node is about to end.
    fn cancel_compactions(&self);

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
