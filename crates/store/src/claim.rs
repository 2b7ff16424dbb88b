//! Which process has a database's folder.
//!
//! RocksDB has a lock of its own, but renames and removes the log files of whoever holds it
//! before it finds that out, and so does what looks after a folder before RocksDB does.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use crate::error::StoreError;

const FILE: &str = "CLAIM";
const OPERATION: &str = "claim the folder";

/// A folder that no other process may open. Given up with the last clone, or the process.
#[derive(Clone)]
pub(crate) struct Claim {
    /// `None` if the disk has no room even for an empty file: then RocksDB's lock must do.
    _locked: Option<Arc<File>>,
}

impl Claim {
    /// Claims a folder, and makes it if it is not there.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if it is claimed, by this process or another; [`StoreError::Io`].
    pub(crate) fn of(folder: &Path) -> Result<Self, StoreError> {
        let failed = |error: std::io::Error| StoreError::from_io(&error, OPERATION);
        fs::create_dir_all(folder).map_err(failed)?;
        let mut options = File::options();
        let file = match options.write(true).create(true).truncate(false).open(folder.join(FILE)) {
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                return Ok(Self { _locked: None });
            }
            opened => opened.map_err(failed)?,
        };
        match file.try_lock() {
            Ok(()) => Ok(Self { _locked: Some(Arc::new(file)) }),
            Err(TryLockError::WouldBlock) => {
                Err(StoreError::InUse { path: folder.display().to_string() })
            }
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}
