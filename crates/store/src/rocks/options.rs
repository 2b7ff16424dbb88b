//! How RocksDB is tuned, and how one memory budget becomes its many sizes.

use std::sync::Arc;

use rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, Cache, CompactOptions, DBCompressionType,
    DBRecoveryMode, Options, WriteBufferManager,
};

use crate::engine::MemoryUsage;
use crate::retention::{Horizon, RetentionRules};
use crate::row;

use super::filter::ExpiryFilterFactory;

const MEBIBYTE: usize = 1 << 20;
/// Of the budget, what block cache and write buffers take together; the rest is left for
/// requests in flight, table metadata and the allocator.
const CACHE_PERCENT: usize = 70;
/// Of the budget, what write buffers may take of the cache's share.
const WRITE_BUFFER_PERCENT: usize = 25;
/// The write-ahead log's files together, before write buffers are flushed to shorten them.
const WAL_BYTES_MAX: usize = 512 * MEBIBYTE;
const BLOOM_BITS_PER_KEY: f64 = 10.0;
const BLOCK_BYTES: usize = 8 << 10;
const PERIODIC_COMPACTION_SECONDS: u64 = 24 * 3_600;
/// A file in which this many of so many consecutive entries are deletions is compacted.
const DELETION_WINDOW: usize = 8_192;
const DELETION_TRIGGER: usize = 4_096;
const DELETION_RATIO: f64 = 0.5;

/// What an operator chooses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RocksOptions {
    /// Block cache and write buffers together stay below 70 % of this, in bytes.
    pub memory_bytes: usize,
    /// Threads for flushes and compactions.
    pub background_jobs: i32,
    /// What to do if there is no database.
    pub new: IfMissing,
}

/// What to do if there is no database where one is to be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IfMissing {
    /// Make one.
    #[default]
    Create,
    /// Refuse: there was one before.
    Refuse,
}

/// RocksDB's options for one database, with the cache and buffers that its families share.
pub(crate) struct Tuning {
    cache: Cache,
    write_buffers: WriteBufferManager,
    write_buffer_bytes: usize,
    background_jobs: i32,
}

impl Tuning {
    pub(crate) fn new(options: &RocksOptions) -> Self {
        let cache_bytes = options.memory_bytes / 100 * CACHE_PERCENT;
        let buffers_bytes = options.memory_bytes / 100 * WRITE_BUFFER_PERCENT;
        let cache = Cache::new_hyper_clock_cache(cache_bytes, 0);
        let write_buffers = WriteBufferManager::new_write_buffer_manager_with_cache(
            buffers_bytes,
            false,
            cache.clone(),
        );
        Self {
            cache,
            write_buffers,
            write_buffer_bytes: (buffers_bytes / 4).clamp(4 * MEBIBYTE, 64 * MEBIBYTE),
            background_jobs: options.background_jobs,
        }
    }

    /// Write buffers so large that replaying the log fills none of them, and so writes no
    /// file: for a disk without room. Beyond the memory budget, by the length of the log.
    pub(crate) fn without_flushes(options: &RocksOptions) -> Self {
        let mut tuning = Self::new(options);
        tuning.write_buffer_bytes = 2 * WAL_BYTES_MAX;
        tuning.write_buffers =
            WriteBufferManager::new_write_buffer_manager(4 * WAL_BYTES_MAX, false);
        tuning
    }

    pub(crate) fn memory(&self) -> MemoryUsage {
        let bytes = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        MemoryUsage {
            cache: bytes(self.cache.get_usage()),
            write_buffers: bytes(self.write_buffers.get_usage()),
        }
    }

    pub(crate) fn database(&self) -> Options {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_write_buffer_manager(&self.write_buffers);
        options.set_max_background_jobs(self.background_jobs);
        options.set_max_open_files(4_096);
        options.set_bytes_per_sync(MEBIBYTE as u64);
        options.set_max_total_wal_size(WAL_BYTES_MAX as u64);
        // A torn tail is what a crash leaves; damage before the tail is loss, and refused.
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        // A node whose disk is full must open, to be read and to have rows deleted.
        options.set_avoid_flush_during_recovery(true);
        // RocksDB's own flush at the end waits for ever if it fails and checks are lenient.
        options.set_avoid_flush_during_shutdown(true);
        options.set_keep_log_file_num(4);
        options.set_max_log_file_size(16 * MEBIBYTE);
        options
    }

    /// The options of a family that holds a shard's rows.
    pub(crate) fn shard_family(
        &self,
        rules: Arc<RetentionRules>,
        horizon: Arc<Horizon>,
    ) -> Options {
        let mut options = self.plain_family();
        options.set_merge_operator_associative("breccia.monoid.v1", |_key, present, operands| {
            row::merge_states(present.into_iter().chain(operands.iter()))
        });
        options.set_compaction_filter_factory(ExpiryFilterFactory::new(rules, horizon));
        options.set_periodic_compaction_seconds(PERIODIC_COMPACTION_SECONDS);
        options.add_compact_on_deletion_collector_factory(
            DELETION_WINDOW,
            DELETION_TRIGGER,
            DELETION_RATIO,
        );
        options
    }

    /// The options of any family.
    pub(crate) fn plain_family(&self) -> Options {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        table.set_block_size(BLOCK_BYTES);
        table.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        table.set_optimize_filters_for_memory(true);
        table.set_format_version(6);

        let mut options = Options::default();
        options.set_block_based_table_factory(&table);
        options.set_write_buffer_size(self.write_buffer_bytes);
        options.set_memtable_whole_key_filtering(true);
        options.set_memtable_prefix_bloom_ratio(0.05);
        options.set_level_compaction_dynamic_level_bytes(true);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_bottommost_compression_type(DBCompressionType::Zstd);
        options
    }
}

/// A compaction that rewrites every file, the last level included, so that whatever the
/// filter lets go gives its space back.
pub(crate) fn full_compaction() -> CompactOptions {
    let mut options = CompactOptions::default();
    options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
    options.set_exclusive_manual_compaction(false);
    options
}
