//! The in-memory twin of the RocksDB engine, for tests and simulations.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use breccia_types::{ShardId, Timestamp};
use bytes::Bytes;
use parking_lot::RwLock;

use crate::batch::ShardBatch;
use crate::engine::{
    Bounds, Cursor, Durability, Engine, Lookup, MemoryUsage, Reader, ShardEngine, Usage,
};
use crate::error::StoreError;

mod cursor;
mod export;
mod rows;

use cursor::MemoryCursor;
use rows::{Rows, States};

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
    states: RwLock<States>,
}

#[derive(Debug)]
struct MemorySnapshot(Arc<Rows>);

impl Engine for MemoryEngine {
    fn open_shard(&self, shard: ShardId) -> Result<Arc<dyn ShardEngine>, StoreError> {
        let mut shards = self.shards.write();
        let opened = shards
            .entry(shard)
            .or_insert_with(|| Arc::new(MemoryShard::new(shard, States::default())));
        Ok(Arc::clone(opened) as Arc<dyn ShardEngine>)
    }

    fn import_shard(
        &self,
        shard: ShardId,
        from: &Path,
    ) -> Result<Arc<dyn ShardEngine>, StoreError> {
        let imported = Arc::new(MemoryShard::new(shard, States::new(export::read(shard, from)?)));
        self.shards.write().insert(shard, Arc::clone(&imported));
        Ok(imported)
    }

    fn remove_shard(&self, shard: ShardId) -> Result<(), StoreError> {
        self.shards.write().remove(&shard);
        Ok(())
    }

    fn shards(&self) -> Vec<ShardId> {
        self.shards.read().keys().copied().collect()
    }

    fn write(
        &self,
        batches: &[(ShardId, ShardBatch)],
        durability: Durability,
    ) -> Result<(), StoreError> {
        let shards = self.shards.read();
        if let Some((shard, _)) = batches.iter().find(|(shard, _)| !shards.contains_key(shard)) {
            return Err(StoreError::NoSuchShard { shard: *shard });
        }
        for (shard, batch) in batches {
            if let Some(shard) = shards.get(shard) {
                shard.states.write().write(batch, durability)?;
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
        self.shards.read().values().try_for_each(|shard| shard.flush())
    }

    fn cancel_compactions(&self) {}

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

impl MemoryEngine {
    /// Loses what a loss of power would take away: what is volatile. For tests of whoever
    /// keeps a log next to the store.
    pub fn crash(&self) {
        for shard in self.shards.read().values() {
            shard.states.write().crash();
        }
    }
}

impl MemoryShard {
    fn new(shard: ShardId, states: States) -> Self {
        Self { shard, states: RwLock::new(states) }
    }

    fn state(&self) -> Arc<Rows> {
        self.states.read().present()
    }
}

impl Reader for MemoryShard {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.states.read().get(key))
    }

    fn multi_get(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let rows = self.state();
        Ok(keys.iter().map(|key| rows.get(key).cloned()).collect())
    }

    fn cursor(&self, bounds: Bounds) -> Box<dyn Cursor + '_> {
        Box::new(MemoryCursor::new(self.state(), bounds))
    }
}

impl ShardEngine for MemoryShard {
    fn shard(&self) -> ShardId {
        self.shard
    }

    fn get_cached(&self, key: &[u8]) -> Result<Lookup, StoreError> {
        Ok(self.get(key)?.map_or(Lookup::Absent, Lookup::Found))
    }

    fn get_durable(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.states.read().get_durable(key))
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.states.write().flush();
        Ok(())
    }

    fn export(&self, into: &Path) -> Result<(), StoreError> {
        self.flush()?;
        export::write(self.shard, &self.state(), into)
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
        Box::new(MemoryCursor::new(Arc::clone(&self.0), bounds))
    }
}
