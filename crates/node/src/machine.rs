//! The node's state machine: applies the entries that the log agreed on to the shards.

use std::collections::BTreeMap;
use std::sync::Arc;

use breccia_replication::{ApplyError, FsyncPolicy, ShardEntry, StateMachine};
use breccia_service::ShardMachine;
use breccia_store::{Durability, Engine, StoreError};
use breccia_types::{LogIndex, Outcome, ShardId};

use crate::health::{NodeHealth, ShardHealth};

/// Applies entries: prepares each, writes all of them in one batch, then commits each.
pub(crate) struct NodeMachine {
    engine: Arc<dyn Engine>,
    shards: BTreeMap<ShardId, Slot>,
    health: Arc<NodeHealth>,
    durability: Durability,
}

pub(crate) struct Slot {
    pub(crate) machine: ShardMachine,
    pub(crate) health: Arc<ShardHealth>,
}

impl NodeMachine {
    pub(crate) fn new(
        engine: Arc<dyn Engine>,
        shards: BTreeMap<ShardId, Slot>,
        health: Arc<NodeHealth>,
        policy: FsyncPolicy,
    ) -> Self {
        let durability = match policy {
            FsyncPolicy::Always => Durability::Synced,
            FsyncPolicy::Interval(_) | FsyncPolicy::Never => Durability::Buffered,
        };
        Self { engine, shards, health, durability }
    }

    fn prepare(&self, entry: &ShardEntry) -> Result<breccia_service::Prepared, ApplyError> {
        let missing = || ApplyError::Quarantined { reason: "it is not on this node".to_owned() };
        let slot = self.shards.get(&entry.shard).ok_or_else(missing)?;
        if let Some(reason) = slot.health.quarantined() {
            return Err(ApplyError::Quarantined { reason });
        }
        slot.machine.prepare(&entry.entry).map_err(|error| {
            if matches!(error, StoreError::Corrupt { .. } | StoreError::UnknownFormat { .. }) {
                slot.health.quarantine(entry.shard, error.to_string());
                return ApplyError::Quarantined { reason: error.to_string() };
            }
            ApplyError::Storage { reason: error.to_string() }
        })
    }

    fn on_write_error(&self, error: &StoreError) -> ApplyError {
        let reason = error.to_string();
        if let StoreError::DiskFull { .. } = error {
            let reason = format!("{reason}; free some space, and writes go on");
            self.health.set_read_only(reason.clone());
            return ApplyError::ReadOnly { reason };
        }
        self.health.fail(format!("{reason}; restart the node when the cause is mended"));
        ApplyError::Storage { reason }
    }
}

impl StateMachine for NodeMachine {
    fn apply(&mut self, entries: Vec<ShardEntry>) -> Vec<Result<Vec<Outcome>, ApplyError>> {
        let mut prepared: Vec<_> = entries.iter().map(|entry| self.prepare(entry)).collect();
        let mut batches = Vec::with_capacity(entries.len());
        for (entry, prepared) in entries.iter().zip(&mut prepared) {
            if let Ok(prepared) = prepared {
                batches.push((entry.shard, std::mem::take(&mut prepared.batch)));
            }
        }
        if !batches.is_empty()
            && let Err(error) = self.engine.write(&batches, self.durability)
        {
            let error = self.on_write_error(&error);
            return prepared
                .into_iter()
                .map(|prepared| Err(prepared.err().unwrap_or_else(|| error.clone())))
                .collect();
        }
        entries
            .iter()
            .zip(prepared)
            .map(|(entry, prepared)| {
                let prepared = prepared?;
                match self.shards.get_mut(&entry.shard) {
                    Some(slot) => Ok(slot.machine.commit(prepared)),
                    None => Ok(prepared.outcomes),
                }
            })
            .collect()
    }

    fn applied(&self, shard: ShardId) -> LogIndex {
        self.shards.get(&shard).map(|slot| slot.machine.applied().index).unwrap_or_default()
    }

    fn sync(&mut self) -> Result<(), ApplyError> {
        self.engine.sync().map_err(|error| self.on_write_error(&error))
    }
}
