//! The database's write-ahead log: who appends to it, and whether that is still safe.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use breccia_types::ShardId;
use parking_lot::Mutex;
use rocksdb::{WriteBatch, WriteOptions};

use crate::engine::Durability;
use crate::error::StoreError;

use super::Opened;

/// The file that marks a database of which a background job has found a file damaged. An
/// operator removes it when the file is restored.
const DAMAGED: &str = "DAMAGED";

/// What RocksDB does when a background job meets a damaged file or a full disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checks {
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

/// The way of every write into the database.
pub(super) struct WriteAheadLog {
    database: Arc<Opened>,
    path: PathBuf,
    checks: Checks,
    /// Held over every write to the log.
    state: Mutex<LogState>,
}

/// Whether a background job has found a file of this database damaged.
pub(super) fn is_marked_damaged(path: &Path) -> bool {
    path.join(DAMAGED).exists()
}

impl WriteAheadLog {
    pub(super) fn new(database: Arc<Opened>, path: &Path, checks: Checks) -> Self {
        Self { database, path: path.to_owned(), checks, state: Mutex::new(LogState::Whole) }
    }

    pub(super) const fn checks(&self) -> Checks {
        self.checks
    }

    pub(super) const fn database(&self) -> &Arc<Opened> {
        &self.database
    }

    /// Fails if the log is torn.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        match &*self.state.lock() {
            LogState::Whole => Ok(()),
            LogState::Torn { error } => Err(error.clone()),
        }
    }

    /// Writes to the memtables, and to the log before them unless the write is volatile.
    pub(super) fn write(
        &self,
        batch: &WriteBatch,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        match durability {
            Durability::Synced => options.set_sync(true),
            Durability::Buffered => options.set_sync(false),
            Durability::Volatile => {
                options.disable_wal(true);
                return self.put(batch, &options);
            }
        }
        let mut state = self.state.lock();
        if let LogState::Torn { error } = &*state {
            return Err(error.clone());
        }
        let written = self.put(batch, &options);
        if let Err(error) = &written
            && self.checks == Checks::Lenient
        {
            *state = LogState::Torn { error: error.clone() };
        }
        written
    }

    fn put(&self, batch: &WriteBatch, options: &WriteOptions) -> Result<(), StoreError> {
        let written = self.database.write_opt(batch, options);
        written.map_err(|error| {
            let error = StoreError::from_rocks(&error, "write", ShardId::default());
            self.mark_damaged(&error);
            error
        })
    }

    /// A compaction has met a damaged file. It would again, so the next open is lenient.
    fn mark_damaged(&self, error: &StoreError) {
        if let StoreError::Corrupt { detail, .. } = error
            && let Err(error) = std::fs::write(self.path.join(DAMAGED), detail)
        {
            tracing::error!(%error, "cannot mark the database as damaged");
        }
    }
}
