//! The engine on RocksDB: one database per node, one column family per shard.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use breccia_types::ShardId;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use rocksdb::{
    BoundColumnFamily, ColumnFamilyDescriptor, DBWithThreadMode, FlushOptions, MultiThreaded,
    Options, WriteBatch, WriteOptions,
};

use crate::batch::{Pending, ShardBatch};
use crate::engine::{Durability, Engine, MemoryUsage, ShardEngine};
use crate::error::StoreError;
use crate::retention::{Horizon, RetentionRules};

mod cursor;
mod filter;
mod options;
mod reclaim;
mod shard;

pub use options::RocksOptions;
pub use shard::RocksShard;

pub(crate) type Database = DBWithThreadMode<MultiThreaded>;

/// Which generation of a shard's replica a column family holds. Snapshots will be imported
/// as later generations.
const GENERATION: u32 = 1;
const NODE_FAMILY: &str = "node";
/// The file that marks a database of which a background job has found a file damaged. An
/// operator removes it when the file is restored.
const DAMAGED: &str = "DAMAGED";

/// The shards of a node, in one RocksDB database.
///
/// Each shard is a column family named `s<shard>.g<generation>`. The node's own records lie
/// in the family `node`; the default family holds nothing, because it cannot be imported.
pub struct RocksEngine {
    // Declared before the database, so that no handle outlives it.
    shards: RwLock<BTreeMap<ShardId, Arc<RocksShard>>>,
    database: Arc<Database>,
    tuning: options::Tuning,
    rules: Arc<RetentionRules>,
    path: PathBuf,
    checks: Checks,
    /// Held over every write to the write-ahead log.
    log: Mutex<LogState>,
}

/// What RocksDB does when a background job meets a damaged file or a full disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checks {
    /// It stops all writes, and goes on when told to if the cause is gone.
    Strict,
    /// It goes on: a file is damaged, and its shard alone is to suffer. Chosen when a
    /// database does not open otherwise, or bears the mark [`DAMAGED`].
    Lenient,
}

/// Whether the write-ahead log may be appended to.
///
/// A write that failed may have left part of a record in the log, and what is appended after
/// it is lost when the log is replayed. With strict checks RocksDB itself refuses to append
/// until it has begun another log file; with lenient checks it would append, so nothing more
/// is written until the database is opened again.
#[derive(Debug, Clone, PartialEq, Eq)]
enum LogState {
    Whole,
    Torn { error: StoreError },
}

impl RocksEngine {
    /// Opens the database in `path`, creating it if there is none.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process has it open; [`StoreError::Io`] or
    /// [`StoreError::Corrupt`] if its log or manifest cannot be read.
    pub fn open(
        path: &Path,
        options: &RocksOptions,
        rules: Arc<RetentionRules>,
    ) -> Result<Self, StoreError> {
        if path.join(DAMAGED).exists() {
            return Self::open_with(path, options, rules, Checks::Lenient);
        }
        match Self::open_with(path, options, Arc::clone(&rules), Checks::Strict) {
            Err(StoreError::Corrupt { .. }) => {
                Self::open_with(path, options, rules, Checks::Lenient)
            }
            opened => opened,
        }
    }

    fn open_with(
        path: &Path,
        options: &RocksOptions,
        rules: Arc<RetentionRules>,
        checks: Checks,
    ) -> Result<Self, StoreError> {
        let tuning = options::Tuning::new(options);
        let mut database_options = tuning.database();
        database_options.set_paranoid_checks(checks == Checks::Strict);
        let existing = existing_families(&database_options, path)?;
        let mut horizons = BTreeMap::new();
        let mut families = Vec::new();
        for name in &existing {
            let family_options = match shard_of_family(name) {
                Some(shard) => {
                    let horizon = Arc::new(Horizon::default());
                    horizons.insert(shard, (name.clone(), Arc::clone(&horizon)));
                    tuning.shard_family(Arc::clone(&rules), horizon)
                }
                None => tuning.plain_family(),
            };
            families.push(ColumnFamilyDescriptor::new(name, family_options));
        }
        let database = Database::open_cf_descriptors(&database_options, path, families)
            .map_err(|error| open_error(&error, path))?;
        let engine = Self {
            shards: RwLock::default(),
            database: Arc::new(database),
            tuning,
            rules,
            path: path.to_owned(),
            checks,
            log: Mutex::new(LogState::Whole),
        };
        for (shard, (name, horizon)) in horizons {
            engine.adopt(shard, &name, horizon)?;
        }
        Ok(engine)
    }

    /// Whether a data directory holds a database already.
    #[must_use]
    pub fn exists(path: &Path) -> bool {
        path.join("CURRENT").exists()
    }

    fn adopt(
        &self,
        shard: ShardId,
        name: &str,
        horizon: Arc<Horizon>,
    ) -> Result<Arc<RocksShard>, StoreError> {
        let opened = RocksShard::new(shard, &self.database, name, horizon)
            .ok_or(StoreError::NoSuchShard { shard })?;
        let opened = Arc::new(opened);
        self.shards.write().insert(shard, Arc::clone(&opened));
        Ok(opened)
    }

    fn node_family(&self) -> Result<Arc<BoundColumnFamily<'_>>, StoreError> {
        self.database.cf_handle(NODE_FAMILY).ok_or_else(|| StoreError::Io {
            operation: "open",
            detail: format!("column family {NODE_FAMILY} is missing"),
        })
    }

    /// Appends to the log and the memtables, unless the log is torn.
    fn append(&self, batch: &WriteBatch, options: &WriteOptions) -> Result<(), StoreError> {
        let mut log = self.log.lock();
        if let LogState::Torn { error } = &*log {
            return Err(error.clone());
        }
        self.database.write_opt(batch, options).map_err(|error| {
            let error = StoreError::from_rocks(&error, "write", ShardId::default());
            self.on_write_error(&error, &mut log);
            error
        })
    }

    fn on_write_error(&self, error: &StoreError, log: &mut LogState) {
        if self.checks == Checks::Lenient {
            *log = LogState::Torn { error: error.clone() };
        }
        // A compaction has met a damaged file. It would again, so the next open is lenient.
        if let StoreError::Corrupt { detail, .. } = error
            && let Err(error) = std::fs::write(self.path.join(DAMAGED), detail)
        {
            tracing::error!(%error, "cannot mark the database as damaged");
        }
    }

    fn fill(
        &self,
        batches: &[(ShardId, ShardBatch)],
        shards: &BTreeMap<ShardId, Arc<RocksShard>>,
    ) -> Result<WriteBatch, StoreError> {
        let mut filled = WriteBatch::default();
        for (shard, batch) in batches {
            let opened = shards.get(shard).ok_or(StoreError::NoSuchShard { shard: *shard })?;
            let family = opened.family();
            opened.note_deletions(batch);
            for bounds in batch.deleted_ranges() {
                filled.delete_range_cf(family, &bounds.lower, &bounds.upper);
            }
            for (key, pending) in batch.rows() {
                match pending {
                    Pending::Put(value) => {
                        opened.note_expiry(key, value);
                        filled.put_cf(family, key, value);
                    }
                    Pending::Delete => filled.delete_cf(family, key),
                    Pending::Merge(operands) => {
                        for operand in operands {
                            filled.merge_cf(family, key, operand);
                        }
                    }
                }
            }
        }
        Ok(filled)
    }
}

impl Engine for RocksEngine {
    fn open_shard(&self, shard: ShardId) -> Result<Arc<dyn ShardEngine>, StoreError> {
        if let Some(opened) = self.shards.read().get(&shard) {
            return Ok(Arc::clone(opened) as Arc<dyn ShardEngine>);
        }
        let name = family_of_shard(shard);
        let horizon = Arc::new(Horizon::default());
        let options = self.tuning.shard_family(Arc::clone(&self.rules), Arc::clone(&horizon));
        self.database
            .create_cf(&name, &options)
            .map_err(|error| StoreError::from_rocks(&error, "create a shard", shard))?;
        Ok(self.adopt(shard, &name, horizon)?)
    }

    fn shards(&self) -> Vec<ShardId> {
        self.shards.read().keys().copied().collect()
    }

    fn write(
        &self,
        batches: &[(ShardId, ShardBatch)],
        durability: Durability,
    ) -> Result<(), StoreError> {
        let shards = self.shards.read();
        let filled = self.fill(batches, &shards)?;
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        self.append(&filled, &options)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.database
            .flush_wal(true)
            .map_err(|error| StoreError::from_rocks(&error, "sync", ShardId::default()))
    }

    fn recover(&self) -> Result<(), StoreError> {
        if let LogState::Torn { error } = &*self.log.lock() {
            return Err(error.clone());
        }
        self.database
            .resume()
            .map_err(|error| StoreError::from_rocks(&error, "resume", ShardId::default()))
    }

    fn flush(&self) -> Result<(), StoreError> {
        if let LogState::Torn { error } = &*self.log.lock() {
            return Err(error.clone());
        }
        let shards = self.shards.read();
        let families: Vec<_> = shards.values().map(|shard| shard.family()).collect();
        let mut options = FlushOptions::default();
        options.set_wait(true);
        for family in families {
            self.database
                .flush_cf_opt(family, &options)
                .map_err(|error| StoreError::from_rocks(&error, "flush", ShardId::default()))?;
        }
        Ok(())
    }

    fn memory(&self) -> MemoryUsage {
        self.tuning.memory()
    }

    fn get_node_record(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        let found = self.database.get_cf(&self.node_family()?, name);
        found
            .map(|value| value.map(Bytes::from))
            .map_err(|error| StoreError::from_rocks(&error, "read", ShardId::default()))
    }

    fn put_node_record(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        let mut batch = WriteBatch::default();
        batch.put_cf(&self.node_family()?, name, value);
        self.append(&batch, &options)
    }
}

impl Drop for RocksEngine {
    fn drop(&mut self) {
        self.database.cancel_all_background_work(true);
    }
}

fn existing_families(options: &Options, path: &Path) -> Result<Vec<String>, StoreError> {
    let mut names = if RocksEngine::exists(path) {
        Database::list_cf(options, path).map_err(|error| open_error(&error, path))?
    } else {
        vec![rocksdb::DEFAULT_COLUMN_FAMILY_NAME.to_owned()]
    };
    if !names.iter().any(|name| name == NODE_FAMILY) {
        names.push(NODE_FAMILY.to_owned());
    }
    Ok(names)
}

fn open_error(error: &rocksdb::Error, path: &Path) -> StoreError {
    in_use(error, path)
        .unwrap_or_else(|| StoreError::from_rocks(error, "open the database", ShardId::default()))
}

/// The error that another process has the directory open, if that is what RocksDB says.
pub(crate) fn in_use(error: &rocksdb::Error, path: &Path) -> Option<StoreError> {
    let detail: &str = error.as_ref();
    let is_locked = detail.contains("lock") && detail.contains("LOCK");
    is_locked.then(|| StoreError::InUse { path: path.display().to_string() })
}

fn family_of_shard(shard: ShardId) -> String {
    format!("s{}.g{GENERATION}", shard.get())
}

fn shard_of_family(name: &str) -> Option<ShardId> {
    let (shard, generation) = name.strip_prefix('s')?.split_once(".g")?;
    let _: u32 = generation.parse().ok()?;
    shard.parse().ok().map(ShardId::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn column_families_of_shards_are_told_from_others() {
        assert_eq!(shard_of_family(&family_of_shard(ShardId::new(12))), Some(ShardId::new(12)));
        for name in ["default", "node", "s1", "s.g1", "sx.g1", "s1.gx"] {
            assert_eq!(shard_of_family(name), None, "{name}");
        }
    }
}
