//! Generations of shards come and go: imports, removals, and what a crash leaves of them.
//!
//! An import makes its family durable, then flips the record of the node, then drops the old
//! family. So a crash leaves the old generation current or the new one, and what is not
//! current is dropped when the database is opened.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use breccia_types::ShardId;
use rocksdb::{
    Direction, ExportImportFilesMetaData, ImportColumnFamilyOptions, IteratorMode, LiveFile,
};

use crate::engine::Engine;
use crate::error::StoreError;
use crate::export::{ExportKind, ExportedFile, Manifest, io_error, sync_directory, sync_file};
use crate::retention::Horizon;

use super::RocksEngine;
use super::export::{COMPARATOR, LEVELS};
use super::generation::{Family, Generation, Plan, Replica};
use super::shard::RocksShard;

/// What the names of directories start with in which the files of an import are gathered.
const STAGING_PREFIX: &str = "import.";

impl RocksEngine {
    /// Adopts the current generations of the families in `horizons`, which are open, and
    /// drops the others.
    pub(super) fn settle(
        &self,
        mut horizons: BTreeMap<Family, Arc<Horizon>>,
    ) -> Result<(), StoreError> {
        let families: BTreeSet<_> = horizons.keys().copied().collect();
        let plan = Plan::new(&families, &self.replicas()?)?;
        for family in plan.adopt {
            let horizon = horizons.remove(&family).unwrap_or_default();
            let opened = Arc::new(self.shard_of(family, horizon)?);
            self.shards.write().insert(family.shard, opened);
        }
        for family in plan.drop {
            tracing::info!(%family, "dropping what is left of an import or a removal");
            self.drop_family(family);
        }
        *self.generations.lock() = plan.last;
        self.remove_staging().map_err(|error| io_error(&error))
    }

    /// What the records of the node say of shards.
    fn replicas(&self) -> Result<BTreeMap<ShardId, Replica>, StoreError> {
        let from = IteratorMode::From(Replica::RECORD_PREFIX.as_bytes(), Direction::Forward);
        let mut replicas = BTreeMap::new();
        for record in self.database.iterator_cf(&self.node_family()?, from) {
            let (name, value) = record
                .map_err(|error| StoreError::from_rocks(&error, "read", ShardId::default()))?;
            if !name.starts_with(Replica::RECORD_PREFIX.as_bytes()) {
                break;
            }
            if let Some(shard) = Replica::shard_of_record(&name) {
                replicas.insert(shard, Replica::decode(&value)?);
            }
        }
        Ok(replicas)
    }

    /// Creates a shard that has never been here, or has been removed.
    pub(super) fn create(&self, shard: ShardId) -> Result<Arc<RocksShard>, StoreError> {
        let mut generations = self.generations.lock();
        if let Some(opened) = self.shards.read().get(&shard) {
            return Ok(Arc::clone(opened));
        }
        let generation = generations.get(&shard).map_or(Generation::FIRST, |last| last.next());
        generations.insert(shard, generation);
        let family = Family { shard, generation };
        let created = Arc::new(
            self.create_family(family, |name, options| self.database.create_cf(name, options))?,
        );
        if generation > Generation::FIRST {
            self.put_replica(shard, Replica::Present(generation))?;
        }
        self.shards.write().insert(shard, Arc::clone(&created));
        Ok(created)
    }

    pub(super) fn import(
        &self,
        shard: ShardId,
        from: &Path,
    ) -> Result<Arc<RocksShard>, StoreError> {
        let manifest = Manifest::verify(from, (ExportKind::Rocks, shard), |manifest| {
            manifest.comparator == COMPARATOR
                && manifest.files.iter().all(|file| file.placement.level < LEVELS)
        })?;
        let mut generations = self.generations.lock();
        let last = generations.get(&shard).copied().unwrap_or(Generation::FIRST);
        let family = Family { shard, generation: last.next() };
        // Whatever happens, no family of this name is made again.
        generations.insert(shard, family.generation);
        let imported = Arc::new(self.import_family(family, &manifest, from)?);
        // If this fails the record may be there after a restart, so the family stays.
        self.put_replica(shard, Replica::Present(family.generation))?;
        let old = self.shards.write().insert(shard, Arc::clone(&imported));
        if let Some(old) = old {
            self.drop_family(old.family_name());
        }
        Ok(imported)
    }

    pub(super) fn remove(&self, shard: ShardId) -> Result<(), StoreError> {
        let generations = self.generations.lock();
        if !self.shards.read().contains_key(&shard) {
            return Ok(());
        }
        let last = generations.get(&shard).copied().unwrap_or(Generation::FIRST);
        self.put_replica(shard, Replica::Removed(last))?;
        if let Some(removed) = self.shards.write().remove(&shard) {
            self.drop_family(removed.family_name());
        }
        Ok(())
    }

    fn put_replica(&self, shard: ShardId, replica: Replica) -> Result<(), StoreError> {
        self.put_node_record(&Replica::record(shard), &replica.encode())
    }

    /// Drops a family. RocksDB keeps its files for as long as anyone holds its handle. What
    /// cannot be dropped now is dropped when the database is opened.
    fn drop_family(&self, family: Family) {
        if let Err(error) = self.database.drop_cf(&family.to_string()) {
            tracing::warn!(%family, %error, "cannot drop a column family");
        }
    }

    /// Makes a family durable from the files of an export, which it leaves where they are.
    fn import_family(
        &self,
        family: Family,
        manifest: &Manifest,
        from: &Path,
    ) -> Result<RocksShard, StoreError> {
        let staging = self.path.join(format!("{STAGING_PREFIX}{family}"));
        let staged = stage(manifest, from, &staging).map_err(|error| io_error(&error));
        let imported = staged.and_then(|()| {
            self.create_family(family, |name, options| {
                // RocksDB refuses to import nothing.
                if manifest.files.is_empty() {
                    return self.database.create_cf(name, options);
                }
                let metadata = metadata(manifest, &staging)?;
                let mut moving = ImportColumnFamilyOptions::new();
                moving.set_move_files(true);
                self.database.create_column_family_with_import(options, name, &moving, &metadata)
            })
        });
        if let Err(error) = fs::remove_dir_all(&staging) {
            tracing::warn!(%error, "the files of an import are left behind");
        }
        let imported = imported?;
        // RocksDB does not sync the directory into which it has linked the files.
        if let Err(error) = sync_directory(&self.path) {
            self.drop_family(family);
            return Err(io_error(&error));
        }
        imported.note_imported();
        Ok(imported)
    }

    fn create_family(
        &self,
        family: Family,
        create: impl FnOnce(&str, &rocksdb::Options) -> Result<(), rocksdb::Error>,
    ) -> Result<RocksShard, StoreError> {
        let horizon = Arc::new(Horizon::default());
        let options = self.tuning.shard_family(Arc::clone(&self.rules), Arc::clone(&horizon));
        create(&family.to_string(), &options)
            .map_err(|error| StoreError::from_rocks(&error, "create a shard", family.shard))?;
        self.shard_of(family, horizon)
    }

    fn shard_of(&self, family: Family, horizon: Arc<Horizon>) -> Result<RocksShard, StoreError> {
        RocksShard::new(family, (&self.log, &self.tuning), horizon)
            .ok_or(StoreError::NoSuchShard { shard: family.shard })
    }

    fn remove_staging(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(STAGING_PREFIX) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }
}

/// Gathers durable links to the files of an export, which the import will consume.
fn stage(manifest: &Manifest, from: &Path, staging: &Path) -> io::Result<()> {
    fs::create_dir(staging)?;
    let staged = manifest.paths(staging);
    for (path, staged) in manifest.paths(from).zip(staged) {
        // Over the border of a file system there are only copies.
        if fs::hard_link(&path, &staged).is_err() {
            fs::copy(&path, &staged)?;
        }
        sync_file(&staged)?;
    }
    Ok(())
}

/// What RocksDB is told of the files of an import.
fn metadata(
    manifest: &Manifest,
    directory: &Path,
) -> Result<ExportImportFilesMetaData, rocksdb::Error> {
    let files: Vec<_> = manifest.files.iter().map(|file| live_file(file, directory)).collect();
    let mut metadata = ExportImportFilesMetaData::default();
    metadata.set_db_comparator_name(&manifest.comparator);
    metadata.set_files(&files)?;
    Ok(metadata)
}

fn live_file(file: &ExportedFile, directory: &Path) -> LiveFile {
    let placement = file.placement.clone();
    LiveFile {
        column_family_name: String::new(),
        name: format!("/{}", placement.name),
        directory: directory.to_string_lossy().into_owned(),
        size: usize::try_from(file.bytes).unwrap_or(usize::MAX),
        level: i32::from(placement.level),
        start_key: Some(placement.smallest_key),
        end_key: Some(placement.largest_key),
        smallest_seqno: placement.smallest_sequence,
        largest_seqno: placement.largest_sequence,
        num_entries: placement.entries,
        num_deletions: placement.deletions,
    }
}
