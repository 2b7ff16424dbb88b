//! The log's database on RocksDB.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rocksdb::{
    BlockBasedOptions, BoundColumnFamily, Cache, ColumnFamilyDescriptor, DBCompressionType,
    DBRawIteratorWithThreadMode, DBRecoveryMode, FlushOptions, Options, Range, ReadOptions,
    SizeApproximationFlags, WriteBatch, WriteOptions,
};

use super::reserve::Reserve;
use super::{LogOp, LogRow, LogStore, ScanLimits};
use crate::claim::Claim;
use crate::engine::{Bounds, Durability, Usage};
use crate::error::StoreError;
use crate::rocks::{Database, IfMissing, check_logs, in_use, refuse_remains};

const MEBIBYTE: usize = 1 << 20;
const FAMILY: &str = "log";
const OPEN: &str = "open the log";
/// Write buffers, the active one included. Writes stall when all are full.
const WRITE_BUFFERS: i32 = 4;
/// Buffers that are flushed together: what a later one deletes never reaches a file.
const WRITE_BUFFERS_MERGED: i32 = 2;
const BLOCK_BYTES: usize = 32 << 10;

/// What an operator chooses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RocksLogOptions {
    /// One of four write buffers, in bytes. The larger, the more of the log is purged before
    /// it would be written to a file.
    pub write_buffer_bytes: usize,
    /// The block cache, in bytes. Small: replicas read the log's end, which is in memory.
    pub cache_bytes: usize,
    /// The write-ahead files together, in bytes, before buffers are flushed to shorten them.
    pub wal_bytes_max: u64,
    /// What to do if there is no log.
    pub new: IfMissing,
}

impl Default for RocksLogOptions {
    fn default() -> Self {
        Self {
            write_buffer_bytes: 64 * MEBIBYTE,
            cache_bytes: 8 * MEBIBYTE,
            wal_bytes_max: 512 * MEBIBYTE as u64,
            new: IfMissing::Create,
        }
    }
}

impl RocksLogOptions {
    /// Write buffers so large that replaying the write-ahead files fills none of them.
    fn without_flushes(&self) -> Self {
        let wal_bytes_max = usize::try_from(self.wal_bytes_max).unwrap_or(usize::MAX);
        Self { write_buffer_bytes: wal_bytes_max.saturating_mul(2), ..self.clone() }
    }
}

/// A log in a RocksDB database of its own.
pub struct RocksLog {
    database: Database,
    reserve: Reserve,
    /// Given up after the database is closed.
    _claim: Claim,
}

impl RocksLog {
    /// Opens the log in `path`. A write that a crash cut short at the very end is dropped: it
    /// was never acknowledged. On a full disk the log opens as long as its reserve lasts, and
    /// says that it [lacks room](LogStore::lacks_room).
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process has it open; [`StoreError::CorruptLog`] if
    /// something that was acknowledged cannot be read, with the file and the byte if it is
    /// known; [`StoreError::Missing`] if there is no log, or only parts of one, and there
    /// must be; [`StoreError::DiskFull`]; [`StoreError::Io`].
    pub fn open(path: &Path, options: &RocksLogOptions) -> Result<Self, StoreError> {
        if options.new == IfMissing::Refuse {
            refuse_remains(path, options.new)?;
        }
        let failed = |error: std::io::Error| StoreError::from_io(&error, OPEN);
        let claim = Claim::of(path)?;
        let reserve = Reserve::open(path).map_err(failed)?;
        let database = match open_database(path, options) {
            Err(StoreError::DiskFull { detail }) => {
                tracing::error!(%detail, "the disk is full: the log lives on its reserve");
                reserve.give_up().map_err(failed)?;
                open_database(path, &options.without_flushes())?
            }
            opened => opened?,
        };
        let log = Self { database, reserve, _claim: claim };
        match log.reserve.take() {
            Ok(()) | Err(StoreError::DiskFull { .. }) => Ok(log),
            Err(error) => Err(error),
        }
    }

    fn family(&self) -> Result<Arc<BoundColumnFamily<'_>>, StoreError> {
        self.database.cf_handle(FAMILY).ok_or_else(|| StoreError::Io {
            operation: "open the log",
            detail: format!("column family {FAMILY} is missing"),
        })
    }

    fn iterator(
        &self,
        bounds: &Bounds,
    ) -> Result<DBRawIteratorWithThreadMode<'_, Database>, StoreError> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(bounds.lower.as_slice());
        options.set_iterate_upper_bound(bounds.upper.as_slice());
        options.fill_cache(false);
        Ok(self.database.raw_iterator_cf_opt(&self.family()?, options))
    }

    fn property(&self, name: &str) -> u64 {
        let found = self
            .family()
            .ok()
            .and_then(|family| self.database.property_int_value_cf(&family, name).ok().flatten());
        found.unwrap_or(0)
    }
}

impl LogStore for RocksLog {
    fn write(&self, ops: &[LogOp], durability: Durability) -> Result<(), StoreError> {
        let family = self.family()?;
        let mut batch = WriteBatch::default();
        for op in ops {
            match op {
                LogOp::Put { key, value } => batch.put_cf(&family, key, value),
                LogOp::Delete { key } => batch.delete_cf(&family, key),
                LogOp::DeleteRange(bounds) if bounds.lower < bounds.upper => {
                    batch.delete_range_cf(&family, &bounds.lower, &bounds.upper);
                }
                LogOp::DeleteRange(_) => {}
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        self.database
            .write_opt(&batch, &options)
            .map_err(|error| log_error(&error, "write the log"))
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.database.flush_wal(true).map_err(|error| log_error(&error, "sync the log"))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.database
            .get_cf(&self.family()?, key)
            .map(|found| found.map(Bytes::from))
            .map_err(|error| log_error(&error, "read the log"))
    }

    fn scan(&self, bounds: &Bounds, limits: ScanLimits) -> Result<Vec<LogRow>, StoreError> {
        let mut rows = Vec::new();
        if bounds.lower >= bounds.upper {
            return Ok(rows);
        }
        let mut iterator = self.iterator(bounds)?;
        let mut bytes = 0;
        iterator.seek_to_first();
        while rows.len() < limits.rows_max
            && let Some((key, value)) = iterator.item()
        {
            bytes += key.len() + value.len();
            if bytes > limits.bytes_max && !rows.is_empty() {
                return Ok(rows);
            }
            rows.push(LogRow { key: key.to_vec(), value: Bytes::copy_from_slice(value) });
            iterator.next();
        }
        iterator.status().map_err(|error| log_error(&error, "read the log"))?;
        Ok(rows)
    }

    fn last_key(&self, bounds: &Bounds) -> Result<Option<Vec<u8>>, StoreError> {
        if bounds.lower >= bounds.upper {
            return Ok(None);
        }
        let mut iterator = self.iterator(bounds)?;
        iterator.seek_to_last();
        iterator.status().map_err(|error| log_error(&error, "read the log"))?;
        Ok(iterator.key().map(<[u8]>::to_vec))
    }

    fn range_bytes(&self, bounds: &Bounds) -> Result<u64, StoreError> {
        let counted =
            SizeApproximationFlags::INCLUDE_MEMTABLE | SizeApproximationFlags::INCLUDE_FILES;
        let ranges = [Range::new(&bounds.lower, &bounds.upper)];
        self.database
            .get_approximate_sizes_cf_with_flags(&self.family()?, counted, &ranges)
            .map(|sizes| sizes.into_iter().sum())
            .map_err(|error| log_error(&error, "measure the log"))
    }

    fn recover(&self) -> Result<(), StoreError> {
        // Flushes every write buffer and begins another write-ahead file, so that nothing is
        // appended behind a record that is torn, and nothing depends on a sync that failed.
        self.database.resume().map_err(|error| match error.kind() {
            // RocksDB looks for room by itself, every few seconds.
            rocksdb::ErrorKind::Busy => StoreError::DiskFull { detail: error.into_string() },
            _ => log_error(&error, "resume the log"),
        })?;
        self.reserve.take()
    }

    fn lacks_room(&self) -> bool {
        !self.reserve.is_held()
    }

    fn usage(&self) -> Usage {
        Usage {
            keys_estimate: self.property("rocksdb.estimate-num-keys"),
            disk_bytes: self.property("rocksdb.total-sst-files-size"),
            memory_bytes: self.property("rocksdb.size-all-mem-tables"),
        }
    }

    fn flush(&self) -> Result<(), StoreError> {
        let mut options = FlushOptions::default();
        options.set_wait(true);
        self.database
            .flush_cf_opt(&self.family()?, &options)
            .map_err(|error| log_error(&error, "flush the log"))
    }
}

impl Drop for RocksLog {
    fn drop(&mut self) {
        self.database.cancel_all_background_work(true);
    }
}

fn database_options(chosen: &RocksLogOptions) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // A torn tail is what a crash leaves. Damage before the tail is the loss of something
    // acknowledged: the default mode would drop all that follows it without a word.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_track_and_verify_wals_in_manifest(true);
    // A node whose disk is full must open, to be read.
    options.set_avoid_flush_during_recovery(true);
    options.set_wal_compression_type(DBCompressionType::None);
    options.set_max_total_wal_size(chosen.wal_bytes_max);
    options.set_paranoid_checks(true);
    options.set_max_background_jobs(2);
    options.set_bytes_per_sync(MEBIBYTE as u64);
    options.set_keep_log_file_num(4);
    options.set_max_log_file_size(16 * MEBIBYTE);
    options
}

fn family_options(chosen: &RocksLogOptions) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(chosen.cache_bytes));
    table.set_block_size(BLOCK_BYTES);
    table.set_format_version(6);

    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(chosen.write_buffer_bytes);
    options.set_max_write_buffer_number(WRITE_BUFFERS);
    options.set_min_write_buffer_number_to_merge(WRITE_BUFFERS_MERGED);
    options.set_target_file_size_base(chosen.write_buffer_bytes as u64);
    options.set_level_compaction_dynamic_level_bytes(true);
    // What reaches a file is purged soon; and its size is what the log says it takes.
    options.set_compression_type(DBCompressionType::None);
    options
}

fn open_database(path: &Path, options: &RocksLogOptions) -> Result<Database, StoreError> {
    // The default family holds nothing, but the largest write buffer of all families is what
    // RocksDB reserves for a write-ahead file, and wants to be free after a full disk.
    let families = [rocksdb::DEFAULT_COLUMN_FAMILY_NAME, FAMILY]
        .map(|name| ColumnFamilyDescriptor::new(name, family_options(options)));
    let opened = Database::open_cf_descriptors(&database_options(options), path, families);
    opened.map_err(|error| open_error(&error, path))
}

/// Says where the write-ahead files are damaged, if they are what RocksDB refuses.
fn open_error(error: &rocksdb::Error, path: &Path) -> StoreError {
    if let Some(in_use) = in_use(error, path) {
        return in_use;
    }
    match log_error(error, OPEN) {
        StoreError::CorruptLog { detail } => match check_logs(path) {
            Err(error @ StoreError::CorruptLog { .. }) => error,
            _ => StoreError::CorruptLog { detail },
        },
        other => other,
    }
}

fn log_error(error: &rocksdb::Error, operation: &'static str) -> StoreError {
    StoreError::from_rocks_log(error, operation)
}
