//! What can go wrong in the shared log.

use std::io;

use breccia_store::StoreError;
use breccia_types::wire::DecodeError;
use thiserror::Error;

use super::record::{GroupKey, Record};

/// A failure of the shared log. A group that gets one is over; its replica may be made anew
/// unless the log itself is out of service, which ends the process.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LogError {
    /// A record is not what was written. An operator replaces the replica.
    #[error("{record} of {group} is corrupt: {damage}")]
    Corrupt {
        /// Whose record it is.
        group: GroupKey,
        /// Which record it is.
        record: Record,
        /// What is wrong with it.
        damage: Damage,
    },
    /// An entry that must be there is not. An operator replaces the replica.
    #[error("entry {index} of {group} is missing")]
    Missing {
        /// Whose entry it is.
        group: GroupKey,
        /// Its index.
        index: u64,
    },
    /// An operation does not fit the log: it would leave a hole, or change what was purged.
    #[error("index {index} does not fit the log of {group}, which ends at {last:?}")]
    Misplaced {
        /// Whose log it is.
        group: GroupKey,
        /// Where the operation begins.
        index: u64,
        /// The log's last index.
        last: Option<u64>,
    },
    /// The group's records were removed. Replicas are never made again under the same id.
    #[error("the log of {group} was destroyed")]
    Destroyed {
        /// Whose log it was.
        group: GroupKey,
    },
    /// The log is closed. Nothing was queued.
    #[error("the log is closed")]
    Closed,
    /// A write or sync failed, now or earlier: nothing is written any more.
    #[error("the log is out of service since a write failed: {cause}")]
    OutOfService {
        /// The first failure.
        cause: StoreError,
    },
    /// The database could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A read did not finish, because the process ends or for a defect.
    #[error("a read of the log did not finish")]
    Interrupted,
}

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Damage {
    /// There are too few bytes for any record.
    #[error("it ends too early")]
    Short,
    /// The bytes, or the key under which they lie, are not those that were written.
    #[error("its checksum does not match")]
    Checksum,
    /// The checksum is right but the version is not known.
    #[error("it has format {found}; this version reads format {known}")]
    Version {
        /// The version byte found.
        found: u8,
        /// The version byte known.
        known: u8,
    },
    /// The checksum is right but the fields are not.
    #[error(transparent)]
    Fields(#[from] DecodeError),
    /// It says of itself to be at another index.
    #[error("it says to be at index {found}")]
    Index {
        /// The index found.
        found: u64,
    },
    /// Its key is not one that this version writes.
    #[error("its key is malformed")]
    Key,
}

impl From<LogError> for io::Error {
    fn from(error: LogError) -> Self {
        let kind = match &error {
            LogError::Corrupt { .. } | LogError::Missing { .. } => io::ErrorKind::InvalidData,
            LogError::Misplaced { .. } => io::ErrorKind::InvalidInput,
            LogError::OutOfService { cause: StoreError::DiskFull { .. } } => {
                io::ErrorKind::StorageFull
            }
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
