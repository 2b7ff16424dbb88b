//! The three floors that the benches compare, loaded with the same rows: raw RocksDB, the
//! store on it, and a whole node around the store.

use std::path::Path;
use std::sync::Arc;

use breccia_node::{FsyncPolicy, Node, NodeConfig};
use breccia_store::{
    Durability, Engine, IfMissing, RocksEngine, RocksOptions, ShardEngine, Transaction,
};
use breccia_types::{ShardId, Table, TableId, TableOptions, Timestamp};
use bytes::Bytes;
use rocksdb::{BlockBasedOptions, Cache, DB, DBCompressionType, Options, WriteBatch, WriteOptions};

/// Rows loaded before reads are measured.
pub const ROWS: u64 = 200_000;
/// Bytes of each value.
pub const VALUE_BYTES: usize = 100;
/// The memory budget of store and node; raw RocksDB gets the same cache and write buffers.
pub const MEMORY_BYTES: usize = 1 << 30;

/// The key of a row: 16 digits.
#[must_use]
pub fn key(row: u64) -> Bytes {
    Bytes::from(format!("{row:016}"))
}

/// A value that does not compress to nothing.
#[must_use]
pub fn value(row: u64) -> Bytes {
    let mut state = row.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..VALUE_BYTES)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            b'a' + u8::try_from(state % 26).unwrap_or(0)
        })
        .collect::<Vec<_>>()
        .into()
}

/// RocksDB by itself, with the options that the store chooses.
#[must_use]
pub fn raw(path: &Path) -> DB {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_hyper_clock_cache(MEMORY_BYTES / 10 * 7, 0));
    table.set_block_size(8 << 10);
    table.set_bloom_filter(10.0, false);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_optimize_filters_for_memory(true);
    table.set_format_version(6);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(64 << 20);
    options.set_memtable_whole_key_filtering(true);
    options.set_memtable_prefix_bloom_ratio(0.05);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_bottommost_compression_type(DBCompressionType::Zstd);
    options.set_max_background_jobs(2);
    options.set_bytes_per_sync(1 << 20);
    DB::open(&options, path).expect("raw RocksDB opens")
}

/// Loads raw RocksDB.
pub fn load_raw(db: &DB) {
    for chunk in (0..ROWS).collect::<Vec<_>>().chunks(1_000) {
        let mut batch = WriteBatch::default();
        for row in chunk {
            batch.put(key(*row), value(*row));
        }
        db.write(&batch).expect("writes");
    }
    db.flush().expect("flushes");
}

/// Write options with or without a sync.
#[must_use]
pub fn raw_writes(sync: bool) -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(sync);
    options
}

/// The store by itself: one shard.
pub struct Store {
    /// The engine.
    pub engine: RocksEngine,
    /// Its shard.
    pub shard: Arc<dyn ShardEngine>,
    /// A plain table.
    pub table: Table,
}

impl Store {
    /// Opens a store in `path`.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        let options = RocksOptions { memory_bytes: MEMORY_BYTES, background_jobs: 2, new: IfMissing::Create };
        let engine = RocksEngine::open(path, &options, Arc::default()).expect("opens");
        let shard = engine.open_shard(ShardId::new(0)).expect("a shard");
        let (id, name) = (TableId::new(16), "rows".to_owned());
        Self { engine, shard, table: Table { id, name, options: TableOptions::default() } }
    }

    /// Writes rows in one transaction.
    pub fn put(&self, rows: impl Iterator<Item = u64>, durability: Durability) {
        let mut transaction = Transaction::new(self.shard.as_ref());
        transaction.begin(Timestamp::from_micros(1));
        for row in rows {
            let table = self.table.to_ref();
            transaction.put(table, &key(row), &value(row), None).expect("puts");
        }
        let batches = [(ShardId::new(0), transaction.into_batch())];
        self.engine.write(&batches, durability).expect("writes");
    }

    /// Loads the store.
    pub fn load(&self) {
        for first in (0..ROWS).step_by(1_000) {
            self.put(first..first + 1_000, Durability::Buffered);
        }
        self.engine.flush().expect("flushes");
    }
}

/// A whole node with a plain table `rows`.
pub async fn node(path: &Path, fsync: FsyncPolicy) -> (Node, Arc<Table>) {
    let config = NodeConfig { memory_bytes: MEMORY_BYTES, fsync, ..NodeConfig::new(path) };
    let node = Node::open(config).expect("opens");
    let table = node.create_table("rows", TableOptions::default()).await.expect("creates");
    (node, table)
}

/// Loads a node.
pub async fn load_node(node: &Node, table: &Table) {
    for first in (0..ROWS).step_by(10_000) {
        let writes = (first..first + 10_000).map(|row| table.put(key(row), value(row))).collect();
        assert!(node.write_many(table, writes).await.iter().all(Result::is_ok));
    }
}
