//! What is to be written to one shard: the last word on each raw key.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::engine::Bounds;

/// What becomes of one raw key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pending {
    /// It gets this value.
    Put(Vec<u8>),
    /// It goes.
    Delete,
    /// These operands are merged into what the shard holds, in order.
    Merge(Vec<Vec<u8>>),
}

/// The writes of one atomic batch to one shard.
///
/// Ranges are deleted first, then rows are written; a range that is deleted later takes
/// the rows pending in it away. So the order of commands needs no further record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShardBatch {
    deleted: Vec<Bounds>,
    rows: BTreeMap<Vec<u8>, Pending>,
}

impl ShardBatch {
    /// Whether nothing is to be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.deleted.is_empty() && self.rows.is_empty()
    }

    /// Sets a raw key.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.rows.insert(key, Pending::Put(value));
    }

    /// Removes a raw key.
    pub fn delete(&mut self, key: Vec<u8>) {
        self.rows.insert(key, Pending::Delete);
    }

    /// Sets what becomes of a raw key.
    pub fn set(&mut self, key: Vec<u8>, pending: Pending) {
        self.rows.insert(key, pending);
    }

    /// Removes a range of raw keys.
    pub fn delete_range(&mut self, bounds: Bounds) {
        let within = (Bound::Included(&bounds.lower), Bound::Excluded(&bounds.upper));
        if bounds.lower < bounds.upper {
            let gone: Vec<_> =
                self.rows.range::<Vec<u8>, _>(within).map(|(k, _)| k.clone()).collect();
            for key in gone {
                self.rows.remove(&key);
            }
            self.deleted.push(bounds);
        }
    }

    /// What becomes of a raw key: `None` if this batch does not touch it.
    #[must_use]
    pub fn pending(&self, key: &[u8]) -> Option<&Pending> {
        match self.rows.get(key) {
            Some(pending) => Some(pending),
            None if self.in_deleted_range(key) => Some(&Pending::Delete),
            None => None,
        }
    }

    /// Whether the key lies in a range that this batch deletes.
    #[must_use]
    pub fn in_deleted_range(&self, key: &[u8]) -> bool {
        self.deleted
            .iter()
            .any(|bounds| bounds.lower.as_slice() <= key && key < bounds.upper.as_slice())
    }

    /// The ranges to delete before the rows are written.
    #[must_use]
    pub fn deleted_ranges(&self) -> &[Bounds] {
        &self.deleted
    }

    /// The rows to write, in key order.
    pub fn rows(&self) -> impl Iterator<Item = (&[u8], &Pending)> {
        self.rows.iter().map(|(key, pending)| (key.as_slice(), pending))
    }

    /// The rows to write from `lower` on, in key order.
    pub fn rows_from(&self, lower: &[u8]) -> impl Iterator<Item = (&[u8], &Pending)> {
        self.rows
            .range::<[u8], _>((Bound::Included(lower), Bound::Unbounded))
            .map(|(key, pending)| (key.as_slice(), pending))
    }

    /// How many rows are to be written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }
}
