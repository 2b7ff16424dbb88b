//! A shard's replica on this node: its data, and the state machine that its log drives.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use breccia_replication::ApplyError;
use breccia_replication::raft::{MachineSource, ReplicaMachine};
use breccia_service::{DroppedTables, Services, ShardMachine};
use breccia_store::{Durability, Engine, ShardBatch, ShardEngine, StoreError, key};
use breccia_types::{Entry, Outcome, ReplicaId, RequestError, ShardId, TableId};
use bytes::Bytes;
use parking_lot::RwLock;

use crate::cluster::ClusterView;
use crate::health::{NodeHealth, ShardHealth};

/// The name of the shard's own record that says how far its log is applied, as the log
/// itself encodes it.
const POSITION: &[u8] = b"position";

/// A shard's data on this node. Outlives its state machine, which is opened anew after a
/// failure.
pub(crate) struct ShardData {
    pub(crate) id: ShardId,
    pub(crate) health: ShardHealth,
    engine: ArcSwap<Arc<dyn ShardEngine>>,
    /// The tables that the shard was told are dropped. One is here before its rows are gone.
    dropped: ArcSwap<DroppedTables>,
}

impl ShardData {
    /// The present generation of the data.
    pub(crate) fn engine(&self) -> Arc<dyn ShardEngine> {
        Arc::clone(&self.engine.load())
    }

    /// Refuses what was read of a table that is dropped: that its rows are gone says nothing
    /// of the table which has its name now. To be asked after the rows were read.
    pub(crate) fn check_table(&self, table: TableId) -> Result<(), RequestError> {
        match self.dropped.load().contains(table) {
            true => Err(RequestError::TableDropped { id: table }),
            false => Ok(()),
        }
    }
}

/// Opens the state machines of this node's replicas.
pub(crate) struct Machines {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) services: Services,
    pub(crate) health: Arc<NodeHealth>,
    pub(crate) cluster: Arc<ClusterView>,
    pub(crate) commands_applied: Arc<AtomicU64>,
    pub(crate) shards: RwLock<BTreeMap<ShardId, Arc<ShardData>>>,
}

impl Machines {
    /// A shard's data, made empty if it is not here.
    pub(crate) fn data(&self, shard: ShardId) -> Result<Arc<ShardData>, StoreError> {
        if let Some(data) = self.shards.read().get(&shard) {
            return Ok(Arc::clone(data));
        }
        let engine = ArcSwap::from_pointee(self.engine.open_shard(shard)?);
        let (health, dropped) = (ShardHealth::default(), ArcSwap::default());
        let data = ShardData { id: shard, health, engine, dropped };
        Ok(Arc::clone(self.shards.write().entry(shard).or_insert_with(|| Arc::new(data))))
    }
}

impl Machines {
    /// Forgets a shard's data, which is to be removed.
    pub(crate) fn forget(&self, shard: ShardId) {
        self.shards.write().remove(&shard);
    }
}

impl MachineSource for Machines {
    fn open(
        &self,
        shard: ShardId,
        _replica: ReplicaId,
    ) -> Result<Box<dyn ReplicaMachine>, ApplyError> {
        let data = self.data(shard).map_err(|error| storage_failed(&error))?;
        let opened = ShardMachine::open(data.engine(), self.services.clone());
        let machine = opened.map_err(|error| on_read_error(&data, &error))?;
        data.dropped.store(Arc::new(machine.dropped().clone()));
        let replica = Replica {
            data,
            engine: Arc::clone(&self.engine),
            services: self.services.clone(),
            health: Arc::clone(&self.health),
            cluster: Arc::clone(&self.cluster),
            commands_applied: Arc::clone(&self.commands_applied),
            machine,
        };
        replica.publish();
        Ok(Box::new(replica))
    }
}

/// A replica's state machine: applies entries to the data.
struct Replica {
    data: Arc<ShardData>,
    engine: Arc<dyn Engine>,
    services: Services,
    health: Arc<NodeHealth>,
    cluster: Arc<ClusterView>,
    commands_applied: Arc<AtomicU64>,
    machine: ShardMachine,
}

impl Replica {
    /// Tells the node what all nodes agree on, if this is where it is kept.
    fn publish(&self) {
        if self.data.id == ShardId::META {
            self.cluster.publish_from(self.data.engine().as_ref());
        }
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

impl ReplicaMachine for Replica {
    fn position(&self) -> Result<Option<Bytes>, ApplyError> {
        let found = read_position(self.data.engine().as_ref());
        found.map_err(|error| on_read_error(&self.data, &error))
    }

    fn apply(
        &mut self,
        entries: Vec<Entry>,
        position: Bytes,
    ) -> Result<Vec<Vec<Outcome>>, ApplyError> {
        if let Some(reason) = self.data.health.quarantined() {
            return Err(ApplyError::Quarantined { reason });
        }
        let prepared = self.machine.prepare(&entries);
        let mut prepared = prepared.map_err(|error| on_read_error(&self.data, &error))?;
        let mut batch = std::mem::take(&mut prepared.batch);
        put_position(&mut batch, &position);
        // Before the rows are gone, so that no read takes them for rows that never were.
        if let Some(dropped) = prepared.dropped() {
            self.data.dropped.store(Arc::new(dropped.clone()));
        }
        let written = self.engine.write(&[(self.data.id, batch)], Durability::Volatile);
        written.map_err(|error| self.on_write_error(&error))?;
        let outcomes = self.machine.commit(prepared);
        let commands: usize = outcomes.iter().map(Vec::len).sum();
        let commands = u64::try_from(commands).unwrap_or(u64::MAX);
        if self.data.id != ShardId::META {
            self.commands_applied.fetch_add(commands, Ordering::Relaxed);
        }
        self.publish();
        Ok(outcomes)
    }

    fn durable_position(&mut self) -> Result<Option<Bytes>, ApplyError> {
        let engine = self.data.engine();
        engine.flush().map_err(|error| self.on_write_error(&error))?;
        let durable = engine.get_durable(&key::own(POSITION));
        durable.map_err(|error| on_read_error(&self.data, &error))
    }

    fn export(&mut self, into: &Path) -> Result<Bytes, ApplyError> {
        let engine = self.data.engine();
        // The store makes the folder itself.
        std::fs::remove_dir(into).map_err(|error| ApplyError::Storage {
            reason: format!("cannot replace {}: {error}", into.display()),
        })?;
        // What was to be written is a copy: the node's own data is as it was.
        engine.export(into).map_err(|error| storage_failed(&error))?;
        let position = self.position()?;
        position.ok_or_else(|| ApplyError::Quarantined { reason: "it was never filled".into() })
    }

    fn install(&mut self, from: &Path, position: &Bytes) -> Result<(), ApplyError> {
        let imported = self.engine.import_shard(self.data.id, from);
        let imported = imported.map_err(|error| self.on_write_error(&error))?;
        let found = read_position(imported.as_ref());
        if found.as_ref().ok().and_then(Option::as_ref) != Some(position) {
            let reason = "an installed snapshot has another position than it says".to_owned();
            return Err(ApplyError::Quarantined { reason });
        }
        let machine = ShardMachine::open(Arc::clone(&imported), self.services.clone());
        self.machine = machine.map_err(|error| on_read_error(&self.data, &error))?;
        self.data.dropped.store(Arc::new(self.machine.dropped().clone()));
        self.data.engine.store(Arc::new(imported));
        self.publish();
        Ok(())
    }
}

/// How far a shard's log is applied, as the log encodes it.
pub(crate) fn read_position(shard: &dyn ShardEngine) -> Result<Option<Bytes>, StoreError> {
    shard.get(&key::own(POSITION))
}

/// Notes how far a shard's log is applied.
pub(crate) fn put_position(batch: &mut ShardBatch, position: &Bytes) {
    batch.put(key::own(POSITION), position.to_vec());
}

fn on_read_error(data: &ShardData, error: &StoreError) -> ApplyError {
    let reason = error.to_string();
    if matches!(error, StoreError::Corrupt { .. } | StoreError::UnknownFormat { .. }) {
        data.health.quarantine(data.id, reason.clone());
        return ApplyError::Quarantined { reason };
    }
    ApplyError::Storage { reason }
}

fn storage_failed(error: &StoreError) -> ApplyError {
    ApplyError::Storage { reason: error.to_string() }
}
