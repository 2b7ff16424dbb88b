//! Reductions: functions that travel to every shard, and whose results are combined on the
//! way back.

use breccia_store::{StoreError, TableReader};

/// A reduction of a table's rows.
///
/// `combine` must be associative and commutative, with the partial result of an empty shard
/// as its identity: results are combined per node, and again on the way to the client, in
/// whatever grouping the cluster's shape gives.
pub trait Reduce: Send + Sync {
    /// What one shard, or several together, come to.
    type Partial: Send;

    /// Reduces the rows of one shard.
    ///
    /// # Errors
    /// What the store reports; the shard then counts as not asked.
    fn partial(&self, rows: &TableReader<'_>) -> Result<Self::Partial, StoreError>;

    /// Combines two partial results.
    fn combine(&self, left: Self::Partial, right: Self::Partial) -> Self::Partial;
}

/// How many rows there are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Count;

impl Reduce for Count {
    type Partial = u64;

    fn partial(&self, rows: &TableReader<'_>) -> Result<u64, StoreError> {
        rows.count()
    }

    fn combine(&self, left: u64, right: u64) -> u64 {
        left.saturating_add(right)
    }
}
