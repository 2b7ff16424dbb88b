//! Opening a node: its directory, its shards, its log, in this order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use breccia_replication::{LocalLog, ShardEntry, StateMachine};
use breccia_ring::{Placement, PlacementError};
use breccia_service::kv::codec::encode_write;
use breccia_service::kv::{KvService, SERVICE_ID};
use breccia_service::machine::read_applied;
use breccia_service::strings::StringService;
use breccia_service::{Service, Services, ShardMachine};
use breccia_store::{
    Engine, IfMissing, MemoryEngine, RetentionRules, RocksEngine, RocksOptions, ShardEngine,
    StoreError,
};
use breccia_types::kv::KvWrite;
use breccia_types::limits::MEMORY_BYTES_MIN;
use breccia_types::{Command, Entry, Epoch, NodeClock, NodeId, ShardId, Timestamp};
use thiserror::Error;

use crate::catalog::{Catalog, CatalogError};
use crate::config::{NodeConfig, Storage};
use crate::directory::{Directory, DirectoryError};
use crate::health::{NodeHealth, ShardHealth};
use crate::machine::{NodeMachine, Slot as MachineSlot};
use crate::maintenance::{Maintenance, Watch};
use crate::node::{Chosen, Inner, Node, Shard};

/// Why a node cannot be opened. The text says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The data directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The catalog cannot be used.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The number of shards is out of range.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// The memory budget is too small.
    #[error("a memory budget of {bytes} bytes is too small; give at least {MEMORY_BYTES_MIN}")]
    Memory {
        /// What was given.
        bytes: usize,
    },
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
}

impl Node {
    /// Opens a node and recovers what its data directory holds. Blocks.
    ///
    /// # Errors
    /// [`OpenError`], among them [`StoreError::InUse`] if another process has the directory.
    pub fn open(config: NodeConfig) -> Result<Self, OpenError> {
        if config.memory_bytes < MEMORY_BYTES_MIN {
            return Err(OpenError::Memory { bytes: config.memory_bytes });
        }
        if let Some(count) = config.shards {
            Placement::even(Epoch::new(1), count)?;
        }
        let rules = Arc::new(RetentionRules::default());
        let (directory, engine) = open_engine(&config, &rules)?;
        let id = directory.as_ref().map_or_else(|| NodeId::new(rand::random()), |d| d.node);
        let catalog = Catalog::open(Arc::clone(&engine), rules, config.shards)?;
        if let (Some(directory), Storage::Disk(path)) = (directory, &config.storage) {
            directory.set_initialised(path)?;
        }
        let placement = Arc::new(Placement::even(Epoch::new(1), catalog.shard_count())?);
        Self::assemble(config, id, engine, catalog, placement)
    }

    fn assemble(
        config: NodeConfig,
        id: NodeId,
        engine: Arc<dyn Engine>,
        catalog: Catalog,
        placement: Arc<Placement>,
    ) -> Result<Self, OpenError> {
        let opened = open_shards(&engine, &placement)?;
        let floor = opened.iter().map(|shard| shard.stamp).max().unwrap_or(Timestamp::MIN);
        let clock = Arc::new(NodeClock::new(config.clock, floor));
        let health = Arc::new(NodeHealth::default());
        let mut slots = BTreeMap::new();
        let mut shards = Vec::with_capacity(opened.len());
        for OpenShard { id, engine, health, machine, .. } in opened {
            if let Some(machine) = machine {
                slots.insert(id, MachineSlot { machine, health: Arc::clone(&health) });
            }
            shards.push((id, engine, health));
        }
        let mut machine =
            NodeMachine::new(Arc::clone(&engine), slots, Arc::clone(&health), config.fsync);
        finish_drops(&catalog, &placement, &mut machine, &clock);
        let log = LocalLog::start(machine, Arc::clone(&clock), config.fsync)
            .map_err(OpenError::Thread)?;
        let shards: Vec<_> = shards
            .into_iter()
            .map(|(id, engine, health)| Shard { id, engine, log: log.shard(id), health })
            .collect();
        let data_dir = match config.storage {
            Storage::Disk(path) => Some(path),
            Storage::Memory => None,
        };
        let maintenance = Maintenance::start(Watch {
            data_dir: data_dir.clone(),
            disk_reserve_bytes: config.disk_reserve_bytes,
            engine: Arc::clone(&engine),
            shards: shards.clone(),
            health: Arc::clone(&health),
            clock: Arc::clone(&clock),
        })
        .map_err(OpenError::Thread)?;
        let chosen = Chosen { data_dir, memory_bytes: config.memory_bytes, fsync: config.fsync };
        let node = Self(Arc::new(Inner {
            id,
            started: Instant::now(),
            started_at: clock.now(),
            config: chosen,
            clock,
            placement,
            catalog,
            shards,
            health,
            log,
            engine,
            maintenance,
        }));
        Ok(node)
    }
}

fn open_engine(
    config: &NodeConfig,
    rules: &Arc<RetentionRules>,
) -> Result<(Option<Directory>, Arc<dyn Engine>), OpenError> {
    match &config.storage {
        Storage::Memory => Ok((None, Arc::new(MemoryEngine::default()))),
        Storage::Disk(path) => {
            let directory = Directory::open(path)?;
            let threads = std::thread::available_parallelism().map_or(2, usize::from);
            let options = RocksOptions {
                memory_bytes: config.memory_bytes,
                background_jobs: i32::try_from(threads.clamp(2, 16)).unwrap_or(2),
                new: match directory.is_initialised {
                    true => IfMissing::Refuse,
                    false => IfMissing::Create,
                },
            };
            let engine = RocksEngine::open(&directory.database, &options, Arc::clone(rules))?;
            Ok((Some(directory), Arc::new(engine)))
        }
    }
}

/// Removes the rows of tables that were being dropped when the node last ended. What fails is
/// tried again at the next start: the tables are out of the catalog in any case.
fn finish_drops(
    catalog: &Catalog,
    placement: &Placement,
    machine: &mut NodeMachine,
    clock: &NodeClock,
) {
    for table in catalog.dropping() {
        let payload = encode_write(&KvWrite::DropTable { table: table.to_ref() });
        let entries = placement.shards().map(|(shard, _)| {
            let command =
                Command { service: SERVICE_ID, request_id: None, payload: payload.clone() };
            let (index, stamp) = (machine.applied(shard).next(), clock.stamp(1));
            ShardEntry { shard, entry: Entry { index, stamp, commands: vec![command] } }
        });
        let applied = machine.apply(entries.collect());
        let failed = applied.into_iter().find_map(Result::err).map(|error| error.to_string());
        let finished = failed
            .map_or_else(|| catalog.finish_drop(table.id).map_err(|error| error.to_string()), Err);
        match finished {
            Ok(()) => tracing::info!(table = %table.name, "removed the rows of a dropped table"),
            Err(error) => tracing::warn!(table = %table.name, %error, "rows are still there"),
        }
    }
}

struct OpenShard {
    id: ShardId,
    engine: Arc<dyn ShardEngine>,
    health: Arc<ShardHealth>,
    machine: Option<ShardMachine>,
    stamp: Timestamp,
}

/// Opens every shard; one whose data is damaged is opened out of service.
fn open_shards(
    engine: &Arc<dyn Engine>,
    placement: &Placement,
) -> Result<Vec<OpenShard>, OpenError> {
    let services = Services::new([
        Arc::new(KvService) as Arc<dyn Service>,
        Arc::new(StringService) as Arc<dyn Service>,
    ]);
    let mut opened = Vec::with_capacity(placement.shard_count());
    for (id, _) in placement.shards() {
        let shard = engine.open_shard(id)?;
        let health = Arc::new(ShardHealth::default());
        let applied = read_applied(shard.as_ref());
        let machine = ShardMachine::open(Arc::clone(&shard), services.clone());
        let machine = match machine {
            Ok(machine) => Some(machine),
            Err(error @ StoreError::Corrupt { .. }) => {
                health.quarantine(id, error.to_string());
                None
            }
            Err(error) => return Err(error.into()),
        };
        let stamp = applied.map_or(Timestamp::MIN, |applied| applied.stamp);
        opened.push(OpenShard { id, engine: shard, health, machine, stamp });
    }
    Ok(opened)
}

#[cfg(test)]
mod tests {
    use breccia_types::TableOptions;
    use bytes::Bytes;

    use super::*;

    #[tokio::test]
    async fn a_drop_that_the_process_did_not_live_to_finish_is_finished_at_the_next_start() {
        let data = tempfile::tempdir().expect("a directory");
        let config = || NodeConfig { memory_bytes: 64 << 20, ..NodeConfig::new(data.path()) };
        let node = Node::open(config()).expect("opens");
        let table = node.create_table("t", TableOptions::default()).await.expect("creates");
        for row in 0..50_u32 {
            let put = table.put(row.to_be_bytes().to_vec().into(), Bytes::from_static(b"v"));
            node.write(&table, put, None).await.expect("writes");
        }
        node.0.catalog.begin_drop("t").expect("begins");
        assert_eq!(node.count(&table).await, Ok(50));
        drop(node);

        let node = Node::open(config()).expect("opens again");
        assert_eq!(node.count(&table).await, Ok(0));
        assert_eq!(node.0.catalog.dropping(), []);
    }
}
