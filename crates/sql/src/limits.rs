//! What a query may take.

/// Rows in a batch that is handed from one operator to the next.
pub(crate) const BATCH_ROWS: usize = 8_192;
/// Bytes of rows after which a batch is full, however few they are.
pub(crate) const BATCH_BYTES: usize = 4 << 20;
/// Bytes that a stage may take in one shard, its result included.
pub(crate) const STAGE_MEMORY_BYTES: usize = 64 << 20;
/// Bytes of a query's text.
pub(crate) const QUERY_BYTES_MAX: usize = 256 << 10;
/// Plans that a node keeps, so that it need not plan a query anew for each of its shards.
pub(crate) const PLANS_KEPT: usize = 64;

/// What one query may take at the node that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory for what is gathered, joined, sorted and grouped there. A query that
    /// needs more ends with an error.
    pub memory_bytes: usize,
}

impl Default for Limits {
    /// 256 MiB.
    fn default() -> Self {
        Self { memory_bytes: 256 << 20 }
    }
}
