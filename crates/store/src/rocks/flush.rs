//! Flushes of one column family that end, whatever happens.
//!
//! With strict checks a flush that fails stops the database, and RocksDB says so to whoever
//! waits for it. With lenient checks RocksDB forgets a flush that failed, and would wait for
//! it for ever.

use std::sync::Arc;
use std::time::Duration;

use rocksdb::{BoundColumnFamily, FlushOptions};

use crate::error::StoreError;

use super::Database;
use super::wal::Checks;

const FLUSH: &str = "flush";
/// How often a flush is tried with lenient checks. Failures of other background jobs cannot be
/// told from its own, so one is not enough to give up.
const ATTEMPTS_MAX: usize = 4;
const POLL: Duration = Duration::from_millis(2);

/// Writes a family's write buffers to files, and waits for that.
pub(super) fn flush(
    database: &Database,
    family: &Arc<BoundColumnFamily<'_>>,
    checks: Checks,
) -> Result<(), StoreError> {
    let mut options = FlushOptions::default();
    options.set_allow_write_stall(true);
    options.set_wait(checks == Checks::Strict);
    for _ in 0..ATTEMPTS_MAX {
        let failures = background_failures(database);
        let asked = database.flush_cf_opt(family, &options);
        asked.map_err(|error| StoreError::from_rocks_log(&error, FLUSH))?;
        if checks == Checks::Strict {
            return Ok(());
        }
        while is_pending(database, family)? {
            if background_failures(database) != failures {
                break;
            }
            std::thread::sleep(POLL);
        }
        if !is_pending(database, family)? {
            return Ok(());
        }
    }
    let detail = "it failed again and again; RocksDB's LOG file says why".to_owned();
    Err(StoreError::Io { operation: FLUSH, detail })
}

/// Whether the family has write buffers that are full and not in files yet.
fn is_pending(
    database: &Database,
    family: &Arc<BoundColumnFamily<'_>>,
) -> Result<bool, StoreError> {
    let buffers = database.property_int_value_cf(family, "rocksdb.num-immutable-mem-table");
    let buffers = buffers.map_err(|error| StoreError::from_rocks_log(&error, FLUSH))?;
    Ok(buffers.is_some_and(|buffers| buffers > 0))
}

/// How often a flush or compaction of the database has failed.
fn background_failures(database: &Database) -> u64 {
    database.property_int_value("rocksdb.background-errors").ok().flatten().unwrap_or(0)
}
