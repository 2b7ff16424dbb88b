//! The in-memory twin of the RocksDB engine, for tests and simulations.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use breccia_types::{ShardId, Timestamp};
use bytes::Bytes;
use parking_lot::RwLock;

use crate::batch::{Pending, ShardBatch};
use crate::engine::{
    Bounds, Cursor, Durability, Engine, Lookup, MemoryUsage, Reader, ShardEngine, Usage,
};
use crate::error::StoreError;
use crate::row;

type Rows = BTreeMap<Vec<u8>, Bytes>;

/// Shards in memory. Everything is lost when it is dropped.
#[derive(Debug, Default)]
pub struct MemoryEngine {
    shards: RwLock<BTreeMap<ShardId, Arc<MemoryShard>>>,
    node_records: RwLock<BTreeMap<String, Bytes>>,
}

/// One shard in memory. A state is an immutable map: a reader keeps the one it began with.
#[derive(Debug)]
pub struct MemoryShard {
    shard: ShardId,
    rows: RwLock<Arc<Rows>>,
}

#[derive(Debug)]
struct MemorySnapshot(Arc<Rows>);

struct MemoryCursor {
    rows: Arc<Rows>,
    bounds: Bounds,
    at: Option<(Vec<u8>, Bytes)>,
}

impl Engine for MemoryEngine {
    fn open_shard(&self, shard: ShardId) -> Result<Arc<dyn ShardEngine>, StoreError> {
        let mut shards = self.shards.write();
        let opened = shards
            .entry(shard)
            .or_insert_with(|| Arc::new(MemoryShard { shard, rows: RwLock::default() }));
        Ok(Arc::clone(opened) as Arc<dyn ShardEngine>)
    }

    fn shards(&self) -> Vec<ShardId> {
        self.shards.read().keys().copied().collect()
    }

    fn write(
        &self,
        batches: &[(ShardId, ShardBatch)],
        _durability: Durability,
    ) -> Result<(), StoreError> {
        let shards = self.shards.read();
        if let Some((shard, _)) = batches.iter().find(|(shard, _)| !shards.contains_key(shard)) {
            return Err(StoreError::NoSuchShard { shard: *shard });
        }
        for (shard, batch) in batches {
            if let Some(shard) = shards.get(shard) {
                shard.apply(batch)?;
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn recover(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn memory(&self) -> MemoryUsage {
        MemoryUsage::default()
    }

    fn get_node_record(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        Ok(self.node_records.read().get(name).cloned())
    }

    fn put_node_record(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.node_records.write().insert(name.to_owned(), Bytes::copy_from_slice(value));
        Ok(())
    }
}

impl MemoryShard {
    fn apply(&self, batch: &ShardBatch) -> Result<(), StoreError> {
        let mut guard = self.rows.write();
        let rows = Arc::make_mut(&mut guard);
        for bounds in batch.deleted_ranges() {
            rows.retain(|key, _| *key < bounds.lower || *key >= bounds.upper);
        }
        for (key, pending) in batch.rows() {
            match pending {
                Pending::Put(value) => {
                    rows.insert(key.to_vec(), Bytes::copy_from_slice(value));
                }
                Pending::Delete => {
                    rows.remove(key);
                }
                Pending::Merge(operands) => {
                    let states = rows.get(key).map(AsRef::as_ref).into_iter();
                    let merged =
                        row::merge_states(states.chain(operands.iter().map(Vec::as_slice)))
                            .ok_or_else(|| StoreError::Io {
                                operation: "merge",
                                detail: "a state and an operand do not fit".to_owned(),
                            })?;
                    rows.insert(key.to_vec(), merged.into());
                }
            }
        }
        Ok(())
    }

    fn state(&self) -> Arc<Rows> {
        Arc::clone(&self.rows.read())
    }
}

impl Reader for MemoryShard {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.rows.read().get(key).cloned())
    }

    fn multi_get(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let rows = self.state();
        Ok(keys.iter().map(|key| rows.get(key).cloned()).collect())
    }

    fn cursor(&self, bounds: Bounds) -> Box<dyn Cursor + '_> {
        Box::new(MemoryCursor { rows: self.state(), bounds, at: None })
    }
}

impl ShardEngine for MemoryShard {
    fn shard(&self) -> ShardId {
        self.shard
    }

    fn get_cached(&self, key: &[u8]) -> Result<Lookup, StoreError> {
        Ok(self.get(key)?.map_or(Lookup::Absent, Lookup::Found))
    }

    fn snapshot(&self) -> Box<dyn Reader + Send + '_> {
        Box::new(MemorySnapshot(self.state()))
    }

    fn usage(&self) -> Usage {
        let rows = self.state();
        let bytes: usize = rows.iter().map(|(key, value)| key.len() + value.len()).sum();
        Usage {
            keys_estimate: u64::try_from(rows.len()).unwrap_or(u64::MAX),
            disk_bytes: 0,
            memory_bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
        }
    }

    fn advance_horizon(&self, _to: Timestamp) {}

    fn is_worth_reclaiming(&self, _now: Timestamp) -> bool {
        false
    }

    fn has_deletions(&self) -> bool {
        false
    }

    fn compact(&self, _range: Option<&Bounds>) {}
}

impl Reader for MemorySnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.0.get(key).cloned())
    }

    fn multi_get(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, StoreError> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    fn cursor(&self, bounds: Bounds) -> Box<dyn Cursor + '_> {
        Box::new(MemoryCursor { rows: Arc::clone(&self.0), bounds, at: None })
    }
}

impl MemoryCursor {
    fn place(&mut self, lower: Bound<&[u8]>, upper: Bound<&[u8]>, first: bool) {
        let within_lower = match lower {
            Bound::Unbounded => Bound::Included(self.bounds.lower.as_slice()),
            bound => bound,
        };
        let within_upper = match upper {
            Bound::Unbounded => Bound::Excluded(self.bounds.upper.as_slice()),
            bound => bound,
        };
        self.at = if is_empty(within_lower, within_upper) {
            None
        } else {
            let mut range = self.rows.range::<[u8], _>((within_lower, within_upper));
            let found = if first { range.next() } else { range.next_back() };
            found
                .filter(|(key, _)| self.bounds.lower <= **key && **key < self.bounds.upper)
                .map(|(key, value)| (key.clone(), value.clone()))
        };
    }
}

/// Whether `BTreeMap::range` would panic on these bounds, or find nothing anyway.
fn is_empty(lower: Bound<&[u8]>, upper: Bound<&[u8]>) -> bool {
    match (lower, upper) {
        (Bound::Included(low), Bound::Included(high)) => low > high,
        (
            Bound::Included(low) | Bound::Excluded(low),
            Bound::Included(high) | Bound::Excluded(high),
        ) => low >= high,
        _ => false,
    }
}

impl Cursor for MemoryCursor {
    fn seek(&mut self, key: &[u8]) {
        let key = key.max(self.bounds.lower.as_slice()).to_vec();
        self.place(Bound::Included(&key), Bound::Unbounded, true);
    }

    fn seek_for_prev(&mut self, key: &[u8]) {
        if key >= self.bounds.upper.as_slice() {
            return self.seek_to_last();
        }
        let key = key.to_vec();
        self.place(Bound::Unbounded, Bound::Included(&key), false);
    }

    fn seek_to_first(&mut self) {
        self.place(Bound::Unbounded, Bound::Unbounded, true);
    }

    fn seek_to_last(&mut self) {
        self.place(Bound::Unbounded, Bound::Unbounded, false);
    }

    fn next(&mut self) {
        if let Some((key, _)) = self.at.take() {
            self.place(Bound::Excluded(&key), Bound::Unbounded, true);
        }
    }

    fn prev(&mut self) {
        if let Some((key, _)) = self.at.take() {
            self.place(Bound::Unbounded, Bound::Excluded(&key), false);
        }
    }

    fn item(&self) -> Option<(&[u8], &[u8])> {
        self.at.as_ref().map(|(key, value)| (key.as_slice(), value.as_ref()))
    }

    fn status(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
