//! What a query may take.

/// Rows in a batch that is handed from one operator to the next.
pub(crate) const BATCH_ROWS: usize = 8_192;
/// Bytes of rows after which a batch is full, however few they are.
pub(crate) const BATCH_BYTES: usize = 4 << 20;
/// Bytes that a stage may take in one shard, its result included.
pub(crate) const STAGE_MEMORY_BYTES: usize = 64 << 20;
/// Bytes of rows that a shard gives at a time, where a stage is rows and there may be many.
pub(crate) const PAGE_BYTES: usize = 4 << 20;
/// So many rows are gathered at once; what may have more is gathered in pages.
pub(crate) const ROWS_AT_ONCE_MAX: usize = 1_000;
/// Shards that are paged through at the same time.
pub(crate) const SHARDS_PAGED_AT_ONCE: usize = 4;
/// Bytes of a query's text.
pub(crate) const QUERY_BYTES_MAX: usize = 256 << 10;
/// Plans that a node keeps, so that it need not plan a query anew for each of its shards.
pub(crate) const PLANS_KEPT: usize = 64;

/// What queries may take at the node that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory for what is gathered, joined, sorted and grouped there. A query that
    /// needs more ends with an error.
    pub memory_bytes: usize,
    /// Queries that run at a time. The others wait for their turn.
    pub queries_at_once: usize,
}

impl Default for Limits {
    /// Four queries of 128 MiB.
    fn default() -> Self {
        Self { memory_bytes: 128 << 20, queries_at_once: 4 }
    }
}
