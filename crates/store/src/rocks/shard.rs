//! One shard: a column family of the node's database.

use std::path::Path;
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
use super::export::count_of;
use super::generation::Family;
use super::options::Tuning;
use super::reclaim::Expiries;
use super::wal::WriteAheadLog;
use super::{Database, Opened, flush, options};

/// Expired bytes below which no compaction is asked for.
const RECLAIM_BYTES_MIN: u64 = 8 << 20;
/// A compaction is asked for when expired bytes are this share of the shard's files.
const RECLAIM_DIVISOR: u64 = 4;

/// A shard's column family, and what is known of it in memory.
pub struct RocksShard {
    name: Family,
    // Declared before the database that it points into: fields drop in this order.
    family: Arc<BoundColumnFamily<'static>>,
    database: Arc<Opened>,
    log: Arc<WriteAheadLog>,
    tuning: Arc<Tuning>,
    cached_only: ReadOptions,
    durable_only: ReadOptions,
    full: ReadOptions,
    /// Whether a write since the last flush skipped the log.
    volatile: AtomicBool,
    expiries: Mutex<Expiries>,
    has_deletions: AtomicBool,
    has_deleted_ranges: AtomicBool,
    horizon: Arc<Horizon>,
}

impl RocksShard {
    pub(super) fn new(
        name: Family,
        (log, tuning): (&Arc<WriteAheadLog>, &Arc<Tuning>),
        horizon: Arc<Horizon>,
    ) -> Option<Self> {
        let database = log.database();
        let family = database.cf_handle(&name.to_string())?;
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
        let mut durable_only = ReadOptions::default();
        durable_only.set_read_tier(ReadTier::Persisted);
        Some(Self {
            name,
            family,
            database: Arc::clone(database),
            log: Arc::clone(log),
            tuning: Arc::clone(tuning),
            cached_only,
            durable_only,
            full: ReadOptions::default(),
            volatile: AtomicBool::default(),
            expiries: Mutex::default(),
            has_deletions: AtomicBool::default(),
            has_deleted_ranges: AtomicBool::default(),
            horizon,
        })
    }

    pub(super) fn family(&self) -> &Arc<BoundColumnFamily<'static>> {
        &self.family
    }

    pub(super) const fn family_name(&self) -> Family {
        self.name
    }

    pub(super) const fn database(&self) -> &Arc<Opened> {
        &self.database
    }

    pub(super) fn tuning(&self) -> &Tuning {
        &self.tuning
    }

    /// Remembers that a batch was written that skipped the log.
    pub(super) fn note_volatile(&self) {
        self.volatile.store(true, Ordering::Release);
    }

    /// Whether something was written since the last flush that skipped the log.
    pub(super) fn is_volatile(&self) -> bool {
        self.volatile.load(Ordering::Acquire)
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

    /// Finds out whether the files that the shard was imported from hold deletions.
    pub(super) fn note_imported(&self) {
        let name = "rocksdb.aggregated-table-properties";
        let properties = self.database.property_value_cf(&self.family, name).ok().flatten();
        let properties = properties.unwrap_or_default();
        let holds = |what| count_of(&properties, what).is_some_and(|count| count > 0);
        self.has_deletions.store(holds("deletions"), Ordering::Relaxed);
        self.has_deleted_ranges.store(holds("range deletions"), Ordering::Relaxed);
    }

    fn get_with(&self, key: &[u8], options: &ReadOptions) -> Result<Option<Bytes>, StoreError> {
        self.database
            .get_pinned_cf_opt(&self.family, key, options)
            .map(|found| found.map(|value| Bytes::copy_from_slice(&value)))
            .map_err(|error| self.error(&error, "read"))
    }

    fn multi_get_with(
        &self,
        keys: &[Vec<u8>],
        options: &ReadOptions,
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.database
            .batched_multi_get_cf_opt(&self.family, keys.iter(), false, options)
            .into_iter()
            .map(|found| {
                found
                    .map(|value| value.map(|value| Bytes::copy_from_slice(&value)))
                    .map_err(|error| self.error(&error, "read"))
            })
            .collect()
    }

    fn corrupt_here(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::CorruptLog { detail } => {
                StoreError::Corrupt { shard: self.name.shard, detail }
            }
            other => other,
        }
    }

    pub(super) fn error(&self, error: &rocksdb::Error, operation: &'static str) -> StoreError {
        StoreError::from_rocks(error, operation, self.name.shard)
    }
}

impl Reader for RocksShard {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.get_with(key, &self.full)
    }

    fn multi_get(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.multi_get_with(keys, &self.full)
    }

    fn cursor(&self, bounds: Bounds) -> Box<dyn Cursor + '_> {
        let options = ReadOptions::default();
        Box::new(RocksCursor::new(self.name.shard, &self.database, &self.family, options, bounds))
    }
}

impl ShardEngine for RocksShard {
    fn shard(&self) -> ShardId {
        self.name.shard
    }

    fn get_cached(&self, key: &[u8]) -> Result<Lookup, StoreError> {
        match self.database.get_pinned_cf_opt(&self.family, key, &self.cached_only) {
            Ok(Some(value)) => Ok(Lookup::Found(Bytes::copy_from_slice(&value))),
            Ok(None) => Ok(Lookup::Absent),
            Err(error) if error.kind() == rocksdb::ErrorKind::Incomplete => Ok(Lookup::NotCached),
            Err(error) => Err(self.error(&error, "read")),
        }
    }

    fn get_durable(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.get_with(key, &self.durable_only)
    }

    fn flush(&self) -> Result<(), StoreError> {
        // A flush begins another log file, and must not do so after a torn record.
        self.log.check()?;
        // Before the flush: what is written while it runs waits for the next one.
        self.volatile.store(false, Ordering::Release);
        let flushed = flush::flush(&self.database, &self.family, self.log.checks());
        flushed.map_err(|error| {
            self.note_volatile();
            self.corrupt_here(error)
        })
    }

    fn export(&self, into: &Path) -> Result<(), StoreError> {
        self.export_to(into)
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
        self.shard.get_with(key, &self.options())
    }

    fn multi_get(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.shard.multi_get_with(keys, &self.options())
    }

    fn cursor(&self, bounds: Bounds) -> Box<dyn Cursor + '_> {
        let RocksShard { name, database, family, .. } = self.shard;
        Box::new(RocksCursor::new(name.shard, database, family, self.options(), bounds))
    }
}
