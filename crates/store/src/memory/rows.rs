//! The rows of a shard in memory, and what a crash would take away of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::batch::{Pending, ShardBatch};
use crate::engine::Durability;
use crate::error::StoreError;
use crate::row;

pub(super) type Rows = BTreeMap<Vec<u8>, Bytes>;

/// The present state, and the values that keys had when the shard was last flushed.
#[derive(Debug, Default)]
pub(super) struct States {
    present: Arc<Rows>,
    /// What each key held before the first volatile write to it since the last flush.
    undo: BTreeMap<Vec<u8>, Option<Bytes>>,
}

impl States {
    pub(super) fn new(rows: Rows) -> Self {
        Self { present: Arc::new(rows), undo: BTreeMap::new() }
    }

    /// The present state, which later writes leave alone.
    pub(super) fn present(&self) -> Arc<Rows> {
        Arc::clone(&self.present)
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.present.get(key).cloned()
    }

    pub(super) fn get_durable(&self, key: &[u8]) -> Option<Bytes> {
        self.undo.get(key).cloned().unwrap_or_else(|| self.get(key))
    }

    pub(super) fn flush(&mut self) {
        self.undo.clear();
    }

    /// Goes back to what is durable.
    pub(super) fn crash(&mut self) {
        let rows = Arc::make_mut(&mut self.present);
        for (key, value) in std::mem::take(&mut self.undo) {
            put(rows, key, value);
        }
    }

    /// Writes a batch. Unless it is volatile it takes all that is volatile along.
    pub(super) fn write(
        &mut self,
        batch: &ShardBatch,
        durability: Durability,
    ) -> Result<(), StoreError> {
        for bounds in batch.deleted_ranges() {
            let (lower, upper) = (bounds.lower.clone(), bounds.upper.clone());
            let gone: Vec<_> =
                self.present.range(lower..upper).map(|(key, _)| key.clone()).collect();
            gone.into_iter().for_each(|key| self.set(key, None));
        }
        for (key, pending) in batch.rows() {
            let value = match pending {
                Pending::Put(value) => Some(Bytes::copy_from_slice(value)),
                Pending::Delete => None,
                Pending::Merge(operands) => Some(self.merged(key, operands)?),
            };
            self.set(key.to_vec(), value);
        }
        if durability != Durability::Volatile {
            self.flush();
        }
        Ok(())
    }

    fn set(&mut self, key: Vec<u8>, value: Option<Bytes>) {
        let before = put(Arc::make_mut(&mut self.present), key.clone(), value);
        self.undo.entry(key).or_insert(before);
    }

    fn merged(&self, key: &[u8], operands: &[Vec<u8>]) -> Result<Bytes, StoreError> {
        let states = self.present.get(key).map(AsRef::as_ref).into_iter();
        row::merge_states(states.chain(operands.iter().map(Vec::as_slice)))
            .map(Bytes::from)
            .ok_or_else(|| StoreError::Io {
                operation: "merge",
                detail: "a state and an operand do not fit".to_owned(),
            })
    }
}

/// Sets or removes a key; what it held before.
fn put(rows: &mut Rows, key: Vec<u8>, value: Option<Bytes>) -> Option<Bytes> {
    match value {
        Some(value) => rows.insert(key, value),
        None => rows.remove(&key),
    }
}
