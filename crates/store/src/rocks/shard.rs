//! One shard: a column family of the node's database.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use breccia_types::{ShardId, Timestamp};
use bytes::Bytes;
use parking_lot::Mutex;
use rocksdb::{BoundColumnFamily, ReadOptions, ReadTier, SnapshotWithThreadMode};

use crate::batch::{Pending, ShardBatch};
use crate::engine::{Bounds, Cursor, Lookup, Reader, ShardEngine, Usage};
use crate::error::StoreError;
use crate::retention::Horizon;
use crate::row;

use super::cursor::RocksCursor;
use super::reclaim::Expiries;
use super::{Database, options};

/// Expired bytes below which no compaction is asked for.
const RECLAIM_BYTES_MIN: u64 = 8 << 20;
/// A compaction is asked for when expired bytes are this share of the shard's files.
const RECLAIM_DIVISOR: u64 = 4;

/// A shard's column family, and what is known of it in memory.
pub struct RocksShard {
    shard: ShardId,
    // Declared before the database that it points into: fields drop in this order.
    family: Arc<BoundColumnFamily<'static>>,
    database: Arc<Database>,
    cached_only: ReadOptions,
    full: ReadOptions,
    expiries: Mutex<Expiries>,
    has_deletions: AtomicBool,
    has_deleted_ranges: AtomicBool,
    horizon: Arc<Horizon>,
}

impl RocksShard {
    pub(super) fn new(
        shard: ShardId,
        database: &Arc<Database>,
        name: &str,
        horizon: Arc<Horizon>,
    ) -> Option<Self> {
        let family = database.cf_handle(name)?;
        // SAFETY: the handle points into `database`, which this value keeps alive through
        // its own `Arc` and drops after the handle; nothing hands the handle out with a
        // life longer than `&self`.
        let family = unsafe {
            std::mem::transmute::<Arc<BoundColumnFamily<'_>>, Arc<BoundColumnFamily<'static>>>(
                family,
            )
        };
        let mut cached_only = ReadOptions::default();
        cached_only.set_read_tier(ReadTier::BlockCache);
        Some(Self {
            shard,
            family,
            database: Arc::clone(database),
            cached_only,
            full: ReadOptions::default(),
            expiries: Mutex::default(),
            has_deletions: AtomicBool::default(),
            has_deleted_ranges: AtomicBool::default(),
            horizon,
        })
    }

    pub(super) fn family(&self) -> &Arc<BoundColumnFamily<'static>> {
        &self.family
    }

    /// Remembers when a row that is about to be written expires.
    pub(super) fn note_expiry(&self, key: &[u8], stored: &[u8]) {
        if let Ok(head) = row::decode_head(stored)
            && let Some(expires_at) = head.expires_at
        {
            let bytes = u64::try_from(key.len() + stored.len()).unwrap_or(u64::MAX);
            self.expiries.lock().note(expires_at, bytes);
        }
    }

    /// Remembers that a batch that is about to be written deletes something.
    pub(super) fn note_deletions(&self, batch: &ShardBatch) {
        let has_ranges = !batch.deleted_ranges().is_empty();
        if has_ranges {
            self.has_deleted_ranges.store(true, Ordering::Relaxed);
        }
        if has_ranges || batch.rows().any(|(_, pending)| *pending == Pending::Delete) {
            self.has_deletions.store(true, Ordering::Relaxed);
        }
    }

    fn error(&self, error: &rocksdb::Error) -> StoreError {
        StoreError::from_rocks(error, "read", self.shard)
    }
}

impl Reader for RocksShard {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.database
            .get_pinned_cf_opt(&self.family, key, &self.full)
            .map(|found| found.map(|value| Bytes::copy_from_slice(&value)))
            .map_err(|error| self.error(&error))
    }

    fn multi_get(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.database
            .batched_multi_get_cf(&self.family, keys.iter(), false)
            .into_iter()
            .map(|found| {
                found
                    .map(|value| value.map(|value| Bytes::copy_from_slice(&value)))
                    .map_err(|error| self.error(&error))
            })
            .collect()
    }

    fn cursor(&self, bounds: Bounds) -> Box<dyn Cursor + '_> {
        let options = ReadOptions::default();
        Box::new(RocksCursor::new(self.shard, &self.database, &self.family, options, bounds))
    }
}

impl ShardEngine for RocksShard {
    fn shard(&self) -> ShardId {
        self.shard
    }

    fn get_cached(&self, key: &[u8]) -> Result<Lookup, StoreError> {
        match self.database.get_pinned_cf_opt(&self.family, key, &self.cached_only) {
            Ok(Some(value)) => Ok(Lookup::Found(Bytes::copy_from_slice(&value))),
            Ok(None) => Ok(Lookup::Absent),
            Err(error) if error.kind() == rocksdb::ErrorKind::Incomplete => Ok(Lookup::NotCached),
            Err(error) => Err(self.error(&error)),
        }
    }

    fn snapshot(&self) -> Box<dyn Reader + Send + '_> {
        Box::new(RocksSnapshot { shard: self, snapshot: self.database.snapshot() })
    }

    fn usage(&self) -> Usage {
        let property = |name| {
            self.database.property_int_value_cf(&self.family, name).ok().flatten().unwrap_or(0)
        };
        Usage {
            keys_estimate: property("rocksdb.estimate-num-keys"),
            disk_bytes: property("rocksdb.total-sst-files-size"),
            memory_bytes: property("rocksdb.size-all-mem-tables"),
        }
    }

    fn advance_horizon(&self, to: Timestamp) {
        self.horizon.advance(to);
    }

    fn is_worth_reclaiming(&self, now: Timestamp) -> bool {
        let usage = self.usage();
        let held = usage.disk_bytes.saturating_add(usage.memory_bytes);
        if self.has_deleted_ranges.load(Ordering::Relaxed) && held >= RECLAIM_BYTES_MIN {
            return true;
        }
        let worth = RECLAIM_BYTES_MIN.max(held / RECLAIM_DIVISOR);
        self.expiries.lock().expired_bytes(now) >= worth
    }

    fn has_deletions(&self) -> bool {
        self.has_deletions.load(Ordering::Relaxed)
    }

    fn compact(&self, range: Option<&Bounds>) {
        if range.is_none() {
            // Before the compaction: what is deleted while it runs waits for the next one.
            self.has_deletions.store(false, Ordering::Relaxed);
            self.has_deleted_ranges.store(false, Ordering::Relaxed);
            self.expiries.lock().forget_expired(self.horizon.get());
        }
        let (lower, upper) = range.map(|range| (&range.lower, &range.upper)).unzip();
        self.database.compact_range_cf_opt(&self.family, lower, upper, &options::full_compaction());
    }
}

struct RocksSnapshot<'a> {
    shard: &'a RocksShard,
    snapshot: SnapshotWithThreadMode<'a, Database>,
}

impl RocksSnapshot<'_> {
    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_snapshot(&self.snapshot);
        options
    }
}

impl Reader for RocksSnapshot<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.shard
            .database
            .get_pinned_cf_opt(&self.shard.family, key, &self.options())
            .map(|found| found.map(|value| Bytes::copy_from_slice(&value)))
            .map_err(|error| self.shard.error(&error))
    }

    fn multi_get(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, StoreError> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    fn cursor(&self, bounds: Bounds) -> Box<dyn Cursor + '_> {
        let RocksShard { shard, database, family, .. } = self.shard;
        Box::new(RocksCursor::new(*shard, database, family, self.options(), bounds))
    }
}
