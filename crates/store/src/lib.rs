//! A node's shards on RocksDB behind small traits, with an in-memory twin and one
//! conformance suite for both. The only crate that names RocksDB.
//!
//! Two floors. The lower one is the [`Engine`]: ordered bytes per shard, written in atomic
//! batches. The upper one gives bytes a meaning: [`key`] and [`row`] are the layouts,
//! [`TableReader`] reads rows, versions and scans from any state of a shard, and
//! [`Transaction`] is what a write command sees while it is applied.
//!
//! The replicated log has a database of its own: [`LogStore`].

pub mod engine;
pub mod error;

pub mod key;
pub mod row;

pub mod batch;
pub mod export;
pub mod table;
pub mod transaction;

mod claim;

pub mod log;
pub mod memory;
pub mod retention;
pub mod rocks;

pub use batch::{Pending, ShardBatch};
pub use engine::{
    Applied, Bounds, Cursor, Durability, Engine, Lookup, MemoryUsage, Reader, ShardEngine, Usage,
};
pub use error::StoreError;
pub use export::ExportFault;
pub use log::{LogOp, LogRow, LogStore, MemoryLog, RocksLog, RocksLogOptions, ScanLimits};
pub use memory::MemoryEngine;
pub use retention::RetentionRules;
pub use rocks::{IfMissing, RocksEngine, RocksOptions};
pub use row::StoredRow;
pub use table::{RowIter, RowRef, ScanRange, TableReader};
pub use transaction::{NewVersion, Transaction};
