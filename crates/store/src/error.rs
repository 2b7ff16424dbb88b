//! What can go wrong in the store.

use breccia_types::ShardId;
use thiserror::Error;

use crate::export::ExportFault;

/// A failure of the store. Data that is not there is never an error.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Bytes on disk are not what was written: this shard must not be trusted any more.
    #[error("{shard} is corrupt: {detail}")]
    Corrupt {
        /// The shard.
        shard: ShardId,
        /// What the engine found.
        detail: String,
    },
    /// Bytes of the log are not what was written: no shard of this node can be trusted.
    #[error("the log is corrupt: {detail}")]
    CorruptLog {
        /// What the database found.
        detail: String,
    },
    /// A database that was there is gone, or parts of it are.
    #[error(
        "the database is missing: {detail}; mount the disk it is on or restore it from a backup, or choose another data directory"
    )]
    Missing {
        /// What was looked for.
        detail: String,
    },
    /// The disk is full.
    #[error("the disk is full: {detail}")]
    DiskFull {
        /// What the engine said.
        detail: String,
    },
    /// Reading or writing failed otherwise.
    #[error("{operation} failed: {detail}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// What the engine said.
        detail: String,
    },
    /// The shard is not on this node.
    #[error("{shard} is not on this node")]
    NoSuchShard {
        /// The shard.
        shard: ShardId,
    },
    /// The data was written by a version that this one does not read.
    #[error("{what} has format {found}; this version reads format {known}")]
    UnknownFormat {
        /// Which record.
        what: &'static str,
        /// The format byte found.
        found: u8,
        /// The format byte known.
        known: u8,
    },
    /// An export cannot be imported: one of its files is not what it should be. Nothing has
    /// changed; the export is to be fetched again.
    #[error("{file} of an export cannot be used: {fault}")]
    BadExport {
        /// The file's name.
        file: String,
        /// What is wrong with it.
        fault: ExportFault,
    },
    /// Another process has the data directory open.
    #[error("{path} is in use by another process; stop it first, or choose another data directory")]
    InUse {
        /// The directory.
        path: String,
    },
}

impl StoreError {
    pub(crate) fn from_io(error: &std::io::Error, operation: &'static str) -> Self {
        let detail = error.to_string();
        match error.kind() {
            std::io::ErrorKind::StorageFull => Self::DiskFull { detail },
            _ => Self::Io { operation, detail },
        }
    }

    pub(crate) fn from_rocks(
        error: &rocksdb::Error,
        operation: &'static str,
        shard: ShardId,
    ) -> Self {
        match Self::from_rocks_log(error, operation) {
            Self::CorruptLog { detail } => Self::Corrupt { shard, detail },
            other => other,
        }
    }

    pub(crate) fn from_rocks_log(error: &rocksdb::Error, operation: &'static str) -> Self {
        let detail = error.as_ref().to_owned();
        match error.kind() {
            rocksdb::ErrorKind::Corruption => Self::CorruptLog { detail },
            _ if detail.contains("No space left") || detail.contains("NoSpace") => {
                Self::DiskFull { detail }
            }
            _ if detail.contains("No such file") && detail.contains(".sst") => {
                Self::CorruptLog { detail }
            }
            _ => Self::Io { operation, detail },
        }
    }
}
