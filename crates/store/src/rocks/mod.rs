//! The engine on RocksDB: one database per node, one column family per shard generation.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use breccia_types::ShardId;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use rocksdb::{
    BoundColumnFamily, ColumnFamilyDescriptor, DBWithThreadMode, MultiThreaded, Options, WriteBatch,
};

use crate::batch::{Pending, ShardBatch};
use crate::claim::Claim;
use crate::engine::{Durability, Engine, MemoryUsage, ShardEngine};
use crate::error::StoreError;
use crate::retention::{Horizon, RetentionRules};

mod cursor;
mod export;
mod filter;
mod flush;
mod generation;
mod import;
mod options;
mod reclaim;
mod shard;
mod wal;
mod wal_check;

pub use options::{IfMissing, RocksOptions};
pub use shard::RocksShard;

use generation::{Family, Generation};
use options::Tuning;
use wal::{Checks, WriteAheadLog};

pub(crate) use wal_check::check_logs;

pub(crate) type Database = DBWithThreadMode<MultiThreaded>;

/// A database, and the claim on its folder, which is given up when it is closed.
pub(crate) struct Opened {
    database: Database,
    _claim: Claim,
}

impl Deref for Opened {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.database
    }
}

const NODE_FAMILY: &str = "node";

/// The shards of a node, in one RocksDB database.
///
/// Each shard is a column family named `s<shard>.g<generation>`. The node's own records lie
/// in the family `node`; the default family holds nothing, because it cannot be imported.
pub struct RocksEngine {
    // Declared before the database, so that no handle outlives it.
    shards: RwLock<BTreeMap<ShardId, Arc<RocksShard>>>,
    database: Arc<Opened>,
    tuning: Arc<Tuning>,
    rules: Arc<RetentionRules>,
    path: PathBuf,
    log: Arc<WriteAheadLog>,
    /// The last generation of each shard. Held while shards come and go.
    generations: Mutex<BTreeMap<ShardId, Generation>>,
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
        refuse_remains(path, options.new)?;
        let claim = Claim::of(path)?;
        let is_marked = wal::is_marked_damaged(path);
        let strict = if is_marked {
            None
        } else {
            let tuning = Tuning::new(options);
            match Self::open_with(&claim, path, tuning, Arc::clone(&rules), Checks::Strict) {
                Err(StoreError::DiskFull { detail }) => {
                    tracing::error!(%detail, "the disk is full: opening without writing files");
                    let tuning = Tuning::without_flushes(options);
                    return Self::open_with(&claim, path, tuning, rules, Checks::Strict);
                }
                Err(StoreError::Corrupt { shard, detail }) => Some((shard, detail)),
                opened => return opened,
            }
        };
        wal_check::check_logs(path)?;
        if let Some((_, detail)) = strict {
            tracing::error!(%detail, "a file is damaged: only its shard is to suffer");
        }
        Self::open_with(&claim, path, Tuning::new(options), rules, Checks::Lenient)
    }

    fn open_with(
        claim: &Claim,
        path: &Path,
        tuning: Tuning,
        rules: Arc<RetentionRules>,
        checks: Checks,
    ) -> Result<Self, StoreError> {
        let tuning = Arc::new(tuning);
        let mut database_options = tuning.database();
        database_options.set_paranoid_checks(checks == Checks::Strict);
        let mut horizons = BTreeMap::new();
        let mut families = Vec::new();
        for name in existing_families(&database_options, path)? {
            let family_options = match Family::parse(&name) {
                Some(family) => {
                    let horizon = Arc::new(Horizon::default());
                    horizons.insert(family, Arc::clone(&horizon));
                    tuning.shard_family(Arc::clone(&rules), horizon)
                }
                None => tuning.plain_family(),
            };
            families.push(ColumnFamilyDescriptor::new(name, family_options));
        }
        let database = Database::open_cf_descriptors(&database_options, path, families)
            .map_err(|error| open_error(&error, path))?;
        let database = Arc::new(Opened { database, _claim: claim.clone() });
        let engine = Self {
            shards: RwLock::default(),
            tuning,
            rules,
            path: path.to_owned(),
            log: Arc::new(WriteAheadLog::new(Arc::clone(&database), path, checks)),
            database,
            generations: Mutex::default(),
        };
        engine.settle(horizons)?;
        Ok(engine)
    }

    /// Whether a data directory holds a database already.
    #[must_use]
    pub fn exists(path: &Path) -> bool {
        path.join("CURRENT").exists()
    }

    fn node_family(&self) -> Result<Arc<BoundColumnFamily<'_>>, StoreError> {
        self.database.cf_handle(NODE_FAMILY).ok_or_else(|| StoreError::Io {
            operation: "open",
            detail: format!("column family {NODE_FAMILY} is missing"),
        })
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
        Ok(self.create(shard)?)
    }

    fn import_shard(
        &self,
        shard: ShardId,
        from: &Path,
    ) -> Result<Arc<dyn ShardEngine>, StoreError> {
        Ok(self.import(shard, from)?)
    }

    fn remove_shard(&self, shard: ShardId) -> Result<(), StoreError> {
        self.remove(shard)
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
        let mut opened = batches.iter().filter_map(|(shard, _)| shards.get(shard));
        if durability == Durability::Volatile {
            let written = self.log.write(&filled, durability);
            opened.for_each(|shard| shard.note_volatile());
            return written;
        }
        // The log repeats this batch after a crash, but nothing that was volatile before it:
        // the shard would not be a prefix of what was written to it.
        opened.try_for_each(|shard| if shard.is_volatile() { shard.flush() } else { Ok(()) })?;
        self.log.write(&filled, durability)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.database
            .flush_wal(true)
            .map_err(|error| StoreError::from_rocks(&error, "sync", ShardId::default()))
    }

    fn recover(&self) -> Result<(), StoreError> {
        self.log.check()?;
        self.database
            .resume()
            .map_err(|error| StoreError::from_rocks(&error, "resume", ShardId::default()))
    }

    fn flush(&self) -> Result<(), StoreError> {
        // One that cannot be flushed does not keep the others from it.
        self.shards.read().values().map(|shard| shard.flush()).fold(Ok(()), Result::and)
    }

    fn cancel_compactions(&self) {
        self.database.disable_manual_compaction();
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
        let mut batch = WriteBatch::default();
        batch.put_cf(&self.node_family()?, name, value);
        self.log.write(&batch, Durability::Synced)
    }
}

impl Drop for RocksEngine {
    fn drop(&mut self) {
        let shards = self.shards.read();
        let volatile = shards.values().filter(|shard| shard.is_volatile());
        if let Err(error) = volatile.map(|shard| shard.flush()).fold(Ok(()), Result::and) {
            tracing::warn!(%error, "not flushed: what was volatile is left to the other log");
        }
        self.database.cancel_all_background_work(true);
    }
}

/// Refuses a folder that should hold a database and does not, or holds parts of one. RocksDB
/// would make a new database there, and remove the files of the old one.
pub(crate) fn refuse_remains(path: &Path, new: IfMissing) -> Result<(), StoreError> {
    if RocksEngine::exists(path) {
        return Ok(());
    }
    let detail = match (new, first_remains(path)) {
        (_, Some(file)) => format!("{} is there, and CURRENT is not", file.display()),
        (IfMissing::Refuse, None) => format!("there is no database in {}", path.display()),
        (IfMissing::Create, None) => return Ok(()),
    };
    Err(StoreError::Missing { detail })
}

/// Some file of a database, if there is any.
fn first_remains(path: &Path) -> Option<PathBuf> {
    let files = std::fs::read_dir(path).ok()?;
    files.filter_map(Result::ok).map(|file| file.path()).find(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let is_data = file.extension().is_some_and(|end| end == "sst" || end == "log");
        is_data || name.starts_with("MANIFEST-")
    })
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
