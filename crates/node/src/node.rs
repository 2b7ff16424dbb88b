//! A node: its shards, its log, its tables.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use breccia_replication::{LocalLog, LocalShard, ShardConsensus};
use breccia_ring::{Placement, PlacementError, slot_of};
use breccia_service::kv::KvService;
use breccia_service::machine::read_applied;
use breccia_service::strings::StringService;
use breccia_service::{Service, Services, ShardMachine};
use breccia_store::{
    Engine, MemoryEngine, RetentionRules, RocksEngine, RocksOptions, ShardEngine, StoreError,
};
use breccia_types::limits::MEMORY_BYTES_MIN;
use breccia_types::{
    Column, Epoch, NodeClock, NodeId, RequestError, ShardId, Slot, Table, TableOptions, Timestamp,
};
use thiserror::Error;

use crate::catalog::{Catalog, CatalogError};
use crate::config::{NodeConfig, Storage};
use crate::directory::{Directory, DirectoryError};
use crate::health::{NodeHealth, ShardHealth};
use crate::machine::{NodeMachine, Slot as MachineSlot};
use crate::maintenance::{Maintenance, Watch};

/// A node. Cheap to clone: all clones are the same node.
#[derive(Clone)]
pub struct Node(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) id: NodeId,
    pub(crate) started: Instant,
    pub(crate) started_at: Timestamp,
    pub(crate) config: Chosen,
    pub(crate) clock: Arc<NodeClock>,
    pub(crate) placement: Arc<Placement>,
    pub(crate) catalog: Catalog,
    pub(crate) shards: Vec<Shard>,
    pub(crate) health: Arc<NodeHealth>,
    pub(crate) log: LocalLog,
    pub(crate) engine: Arc<dyn Engine>,
    maintenance: Maintenance,
}

/// What was chosen, as far as status tells it.
pub(crate) struct Chosen {
    pub(crate) data_dir: Option<std::path::PathBuf>,
    pub(crate) memory_bytes: usize,
    pub(crate) fsync: breccia_replication::FsyncPolicy,
}

/// One shard on this node.
#[derive(Clone)]
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    pub(crate) engine: Arc<dyn ShardEngine>,
    pub(crate) log: LocalShard,
    pub(crate) health: Arc<ShardHealth>,
}

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
            return Err(OpenError::Memory {
                bytes: config.memory_bytes,
            });
        }
        if let Some(count) = config.shards {
            Placement::even(Epoch::new(1), count)?;
        }
        let rules = Arc::new(RetentionRules::default());
        let (id, engine) = open_engine(&config, &rules)?;
        let catalog = Catalog::open(Arc::clone(&engine), rules, config.shards)?;
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
        let floor = opened
            .iter()
            .map(|shard| shard.stamp)
            .max()
            .unwrap_or(Timestamp::MIN);
        let clock = Arc::new(NodeClock::new(config.clock, floor));
        let health = Arc::new(NodeHealth::default());
        let mut slots = BTreeMap::new();
        let mut shards = Vec::with_capacity(opened.len());
        for OpenShard {
            id,
            engine,
            health,
            machine,
            ..
        } in opened
        {
            if let Some(machine) = machine {
                slots.insert(
                    id,
                    MachineSlot {
                        machine,
                        health: Arc::clone(&health),
                    },
                );
            }
            shards.push((id, engine, health));
        }
        let machine = NodeMachine::new(
            Arc::clone(&engine),
            slots,
            Arc::clone(&health),
            config.fsync,
        );
        let log = LocalLog::start(machine, Arc::clone(&clock), config.fsync)
            .map_err(OpenError::Thread)?;
        let shards: Vec<_> = shards
            .into_iter()
            .map(|(id, engine, health)| Shard {
                id,
                engine,
                log: log.shard(id),
                health,
            })
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
        let chosen = Chosen {
            data_dir,
            memory_bytes: config.memory_bytes,
            fsync: config.fsync,
        };
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

    /// Refuses new writes, lets those that wait finish, and writes everything to files.
    pub async fn shutdown(&self) {
        self.0.health.close();
        let inner = Arc::clone(&self.0);
        let closed = tokio::task::spawn_blocking(move || {
            inner.maintenance.stop();
            inner.log.close();
            inner.engine.flush()
        });
        match closed.await {
            Ok(Ok(())) => tracing::info!("the node is closed"),
            Ok(Err(error)) => tracing::warn!(%error, "not flushed; the log will be replayed"),
            Err(error) => tracing::error!(%error, "closing failed"),
        }
    }

    /// The node's identity.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.0.id
    }

    /// The node's clock.
    #[must_use]
    pub fn clock(&self) -> &NodeClock {
        &self.0.clock
    }

    /// Which shard holds which slots.
    #[must_use]
    pub fn placement(&self) -> Arc<Placement> {
        Arc::clone(&self.0.placement)
    }

    /// Whether the node takes reads and writes.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.0.health.is_closing()
            && self.0.health.read_only().is_none()
            && self
                .0
                .shards
                .iter()
                .all(|shard| shard.health.quarantined().is_none())
    }

    /// The table of this name.
    ///
    /// # Errors
    /// [`RequestError::UnknownTable`].
    pub fn table(&self, name: &str) -> Result<Arc<Table>, RequestError> {
        self.0.catalog.get(name)
    }

    /// The table that the Redis protocol reads and writes.
    #[must_use]
    pub fn redis_table(&self) -> &Arc<Table> {
        self.0.catalog.redis()
    }

    /// All tables, by name.
    #[must_use]
    pub fn tables(&self) -> Vec<Arc<Table>> {
        self.0.catalog.list()
    }

    /// Creates a table.
    ///
    /// # Errors
    /// [`RequestError::TableExists`], [`RequestError::InvalidTable`],
    /// [`RequestError::TooManyTables`], or what writing reports.
    pub async fn create_table(
        &self,
        name: &str,
        options: TableOptions,
    ) -> Result<Arc<Table>, RequestError> {
        self.0.health.check_write(false)?;
        let name = name.to_owned();
        self.blocking(move |inner| inner.catalog.create(&name, options))
            .await
    }

    /// Notes the columns of a table's JSON values, and how its keys were made.
    ///
    /// # Errors
    /// [`RequestError::UnknownTable`], or what writing reports.
    pub async fn describe_columns(
        &self,
        name: &str,
        columns: Vec<Column>,
        key_template: Option<String>,
    ) -> Result<Arc<Table>, RequestError> {
        self.0.health.check_write(false)?;
        let name = name.to_owned();
        self.blocking(move |inner| inner.catalog.describe_columns(&name, columns, key_template))
            .await
    }

    pub(crate) fn slot(&self, table: &Table, key: &[u8]) -> Slot {
        slot_of(table.options.partition, key)
    }

    pub(crate) fn shard(&self, slot: Slot) -> Result<&Shard, RequestError> {
        let id = self.0.placement.shard_of(slot);
        let at = usize::try_from(id.get()).unwrap_or(usize::MAX);
        let missing = || RequestError::ShardUnavailable {
            shard: id,
            reason: "it is not here".into(),
        };
        let shard = self.0.shards.get(at).ok_or_else(missing)?;
        shard.health.check(id)?;
        Ok(shard)
    }

    /// Runs something that waits for the disk, off the runtime's own threads.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, RequestError> + Send + 'static,
    ) -> Result<T, RequestError> {
        let inner = Arc::clone(&self.0);
        match tokio::task::spawn_blocking(move || work(&inner)).await {
            Ok(result) => result,
            Err(error) => Err(RequestError::Internal {
                reason: error.to_string(),
            }),
        }
    }
}

impl Shard {
    /// Translates a failed read, and takes the shard out of service if it is damaged.
    pub(crate) fn on_read_error(&self, error: &StoreError) -> RequestError {
        match error {
            StoreError::Corrupt { .. } | StoreError::UnknownFormat { .. } => {
                self.health.quarantine(self.id, error.to_string());
                RequestError::ShardUnavailable {
                    shard: self.id,
                    reason: error.to_string(),
                }
            }
            error => RequestError::Storage {
                reason: error.to_string(),
            },
        }
    }

    /// Whether the shard orders writes and how many wait.
    pub(crate) fn consensus(&self) -> breccia_replication::ConsensusStatus {
        self.log.status()
    }
}

fn open_engine(
    config: &NodeConfig,
    rules: &Arc<RetentionRules>,
) -> Result<(NodeId, Arc<dyn Engine>), OpenError> {
    match &config.storage {
        Storage::Memory => Ok((
            NodeId::new(rand::random()),
            Arc::new(MemoryEngine::default()),
        )),
        Storage::Disk(path) => {
            let directory = Directory::open(path)?;
            let threads = std::thread::available_parallelism().map_or(2, usize::from);
            let options = RocksOptions {
                memory_bytes: config.memory_bytes,
                background_jobs: i32::try_from(threads.clamp(2, 16)).unwrap_or(2),
            };
            let engine = RocksEngine::open(&directory.database, &options, Arc::clone(rules))?;
            Ok((directory.node, Arc::new(engine)))
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
        opened.push(OpenShard {
            id,
            engine: shard,
            health,
            machine,
            stamp,
        });
    }
    Ok(opened)
}
