//! Cursors over one column family.

use std::sync::Arc;

use breccia_types::ShardId;
use rocksdb::{BoundColumnFamily, DBRawIteratorWithThreadMode, ReadOptions};

use crate::engine::{Bounds, Cursor};
use crate::error::StoreError;

use super::Database;

pub(super) struct RocksCursor<'a> {
    shard: ShardId,
    iterator: DBRawIteratorWithThreadMode<'a, Database>,
}

impl<'a> RocksCursor<'a> {
    /// A cursor that reads through `options`, which may name a snapshot.
    pub(super) fn new(
        shard: ShardId,
        database: &'a Database,
        family: &Arc<BoundColumnFamily<'_>>,
        mut options: ReadOptions,
        bounds: Bounds,
    ) -> Self {
        options.set_iterate_lower_bound(bounds.lower);
        options.set_iterate_upper_bound(bounds.upper);
        let iterator = database.raw_iterator_cf_opt(family, options);
        Self { shard, iterator }
    }
}

impl Cursor for RocksCursor<'_> {
    fn seek(&mut self, key: &[u8]) {
        self.iterator.seek(key);
    }

    fn seek_for_prev(&mut self, key: &[u8]) {
        self.iterator.seek_for_prev(key);
    }

    fn seek_to_first(&mut self) {
        self.iterator.seek_to_first();
    }

    fn seek_to_last(&mut self) {
        self.iterator.seek_to_last();
    }

    fn next(&mut self) {
        if self.iterator.valid() {
            self.iterator.next();
        }
    }

    fn prev(&mut self) {
        if self.iterator.valid() {
            self.iterator.prev();
        }
    }

    fn item(&self) -> Option<(&[u8], &[u8])> {
        self.iterator.item()
    }

    fn status(&self) -> Result<(), StoreError> {
        self.iterator.status().map_err(|error| StoreError::from_rocks(&error, "read", self.shard))
    }
}
