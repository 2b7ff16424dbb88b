//! Opening a node: its directory, its databases, its replicas, in this order.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use breccia_replication::raft::{
    OpenError as ReplicaError, Replicas, ReplicasConfig, Role, Timing, TrafficLimits,
};
use breccia_replication::{LogEvent, SharedLog, SharedLogOptions};
use breccia_ring::{Placement, PlacementError};
use breccia_service::kv::KvService;
use breccia_service::machine::read_applied;
use breccia_service::meta::{MetaError, MetaService};
use breccia_service::strings::StringService;
use breccia_service::{Service, Services};
use breccia_store::{
    Engine, IfMissing, LogStore, MemoryEngine, MemoryLog, RetentionRules, RocksEngine, RocksLog,
    RocksLogOptions, RocksOptions, StoreError,
};
use breccia_types::limits::MEMORY_BYTES_MIN;
use breccia_types::{Epoch, NodeClock, NodeId, ReplicaId, ShardId, Timestamp};
use thiserror::Error;

use crate::alone::Alone;
use crate::cluster::ClusterView;
use crate::config::{NodeConfig, Storage};
use crate::directory::{Directory, DirectoryError};
use crate::founding::{FoundingError, found_if_new};
use crate::health::NodeHealth;
use crate::maintenance::{Maintenance, Watch};
use crate::node::{Chosen, Inner, Node, Shard};
use crate::replica::Machines;

/// How long a node waits for its shards to have leaders before it is open.
const LEADERS_WITHIN: Duration = Duration::from_secs(10);
/// How often it looks.
const LEADERS_POLL: Duration = Duration::from_millis(5);
/// Bytes of a shard's log after which it is cut.
const LOG_BYTES_MAX: u64 = 64 << 20;

/// Why a node cannot be opened. The text says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The data directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The cluster cannot be founded on what the directory holds.
    #[error(transparent)]
    Founding(#[from] FoundingError),
    /// What all nodes agree on cannot be read.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The replicas cannot be opened.
    #[error(transparent)]
    Replicas(#[from] ReplicaError),
    /// The number of shards is out of range.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// The memory budget is too small.
    #[error("a memory budget of {bytes} bytes is too small; give at least {MEMORY_BYTES_MIN}")]
    Memory {
        /// What was given.
        bytes: usize,
    },
    /// A thread could not be started, or ended before its time.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
}

/// A node's databases, opened and founded.
struct Databases {
    id: NodeId,
    engine: Arc<dyn Engine>,
    log: Arc<dyn LogStore>,
    /// Where snapshots lie on their way. A node in memory has a folder that goes with it.
    snapshots: PathBuf,
    temporary: Option<tempfile::TempDir>,
    directory: Option<Directory>,
}

impl Node {
    /// Opens a node and recovers what its data directory holds.
    ///
    /// # Errors
    /// [`OpenError`], among them [`StoreError::InUse`] if another process has the directory.
    pub async fn open(config: NodeConfig) -> Result<Self, OpenError> {
        if config.memory_bytes < MEMORY_BYTES_MIN {
            return Err(OpenError::Memory { bytes: config.memory_bytes });
        }
        if let Some(count) = config.shards {
            Placement::even(Epoch::new(1), count)?;
        }
        let rules = Arc::new(RetentionRules::default());
        let (storage, memory_bytes) = (config.storage.clone(), config.memory_bytes);
        let (for_engine, shards) = (Arc::clone(&rules), config.shards);
        let opened = tokio::task::spawn_blocking(move || {
            let databases = open_databases(&storage, memory_bytes, for_engine)?;
            found_if_new(databases.engine.as_ref(), databases.id, shards)?;
            if let (Some(directory), Storage::Disk(path)) = (&databases.directory, &storage) {
                directory.set_initialised(path)?;
            }
            Ok::<_, OpenError>(databases)
        });
        let databases = opened.await.map_err(|error| OpenError::Thread(error.into()))??;
        Self::assemble(config, databases, rules).await
    }

    async fn assemble(
        config: NodeConfig,
        databases: Databases,
        rules: Arc<RetentionRules>,
    ) -> Result<Self, OpenError> {
        let Databases { id, engine, log, snapshots, temporary, .. } = databases;
        let cluster = Arc::new(ClusterView::new(rules));
        cluster.publish_from(engine.open_shard(ShardId::META)?.as_ref());
        let state = cluster.state().ok_or(MetaError::NotFounded)?;
        let clock = Arc::new(NodeClock::new(config.clock, latest_stamp(engine.as_ref())?));
        let health = Arc::new(NodeHealth::default());
        let commands_applied = Arc::new(AtomicU64::new(0));
        let machines = Arc::new(Machines {
            engine: Arc::clone(&engine),
            services: services(),
            health: Arc::clone(&health),
            cluster: Arc::clone(&cluster),
            commands_applied: Arc::clone(&commands_applied),
            shards: parking_lot::RwLock::default(),
        });
        let options = SharedLogOptions {
            fsync: config.fsync,
            tail_bytes_max: (config.memory_bytes / 20).clamp(4 << 20, 64 << 20),
        };
        let failing = Arc::clone(&health);
        let log = SharedLog::open(log, &options, move |event| match event {
            LogEvent::NoRoom { reason } => failing.set_read_only(reason.to_owned()),
            LogEvent::Failed { error } => {
                failing.fail(format!("{error}; restart the node when the cause is mended"));
            }
            // Maintenance takes writes again when the data has room, too.
            _ => {}
        });
        let log = Arc::new(log.map_err(OpenError::Thread)?);
        let replicas = Replicas::new(
            Arc::clone(&log),
            ReplicasConfig {
                transport: Arc::new(Alone),
                machines: Arc::clone(&machines) as _,
                clock: Arc::clone(&clock),
                apply_threads: std::thread::available_parallelism().map_or(2, usize::from),
                timing: Timing::default(),
                traffic: TrafficLimits::default(),
                snapshots,
                log_bytes_max: LOG_BYTES_MAX,
            },
        )?;
        let mut shards = BTreeMap::new();
        for (shard, replica) in replicas_on(id, &state.placement, &state.meta_placement) {
            let data = machines.data(shard)?;
            shards.insert(shard, Shard { data, group: replicas.open(shard, replica).await? });
        }
        let shards = Arc::new(ArcSwap::from_pointee(shards));
        let data_dir = match config.storage {
            Storage::Disk(path) => Some(path),
            Storage::Memory => None,
        };
        let maintenance = Maintenance::start(Watch {
            data_dir: data_dir.clone(),
            disk_reserve_bytes: config.disk_reserve_bytes,
            engine: Arc::clone(&engine),
            log: Arc::clone(&log),
            shards: Arc::clone(&shards),
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
            redis: cluster
                .table(breccia_types::table::REDIS_TABLE)
                .map_err(|_| MetaError::NotFounded)?,
            placement_at_open: Arc::clone(&state.placement),
            cluster,
            shards,
            replicas,
            health,
            log,
            engine,
            commands_applied,
            maintenance,
            _temporary: temporary,
        }));
        node.wait_for_leaders().await;
        node.finish_drops().await;
        Ok(node)
    }

    /// Waits until every shard that can have a leader has one, but no longer than
    /// [`LEADERS_WITHIN`].
    async fn wait_for_leaders(&self) {
        let deadline = Instant::now() + LEADERS_WITHIN;
        let is_led = |shard: &Shard| {
            let status = shard.group.group_status();
            status.role == Role::Leader || shard.data.health.quarantined().is_some()
        };
        while !self.0.shards.load().values().all(is_led) && Instant::now() < deadline {
            tokio::time::sleep(LEADERS_POLL).await;
        }
    }
}

fn open_databases(
    storage: &Storage,
    memory_bytes: usize,
    rules: Arc<RetentionRules>,
) -> Result<Databases, OpenError> {
    match storage {
        Storage::Memory => {
            let temporary = tempfile::tempdir().map_err(OpenError::Thread)?;
            Ok(Databases {
                id: NodeId::new(rand::random()),
                engine: Arc::new(MemoryEngine::default()),
                log: Arc::new(MemoryLog::default()),
                snapshots: temporary.path().to_owned(),
                temporary: Some(temporary),
                directory: None,
            })
        }
        Storage::Disk(path) => {
            let directory = Directory::open(path)?;
            let threads = std::thread::available_parallelism().map_or(2, usize::from);
            let options = RocksOptions {
                memory_bytes,
                background_jobs: i32::try_from(threads.clamp(2, 16)).unwrap_or(2),
                new: match directory.is_initialised {
                    true => IfMissing::Refuse,
                    false => IfMissing::Create,
                },
            };
            let log_options = RocksLogOptions {
                new: if directory.has_log { IfMissing::Refuse } else { IfMissing::Create },
                write_buffer_bytes: (memory_bytes / 40).clamp(4 << 20, 64 << 20),
                ..RocksLogOptions::default()
            };
            // The log first: on a full disk it gives up its reserve, and the data needs some.
            let log = RocksLog::open(&directory.log, &log_options)?;
            let engine = RocksEngine::open(&directory.database, &options, rules)?;
            Ok(Databases {
                id: directory.node,
                engine: Arc::new(engine),
                log: Arc::new(log),
                snapshots: directory.snapshots.clone(),
                directory: Some(directory),
                temporary: None,
            })
        }
    }
}

fn services() -> Services {
    Services::new([
        Arc::new(KvService) as Arc<dyn Service>,
        Arc::new(StringService) as Arc<dyn Service>,
        Arc::new(MetaService) as Arc<dyn Service>,
    ])
}

/// The latest instant at which anything was written. A damaged shard does not say.
fn latest_stamp(engine: &dyn Engine) -> Result<Timestamp, StoreError> {
    let mut latest = Timestamp::MIN;
    for shard in engine.shards() {
        if let Ok(applied) = read_applied(engine.open_shard(shard)?.as_ref()) {
            latest = latest.max(applied.stamp);
        }
    }
    Ok(latest)
}

/// The replicas that a node holds, the meta shard's first.
fn replicas_on(node: NodeId, placement: &Placement, meta: &Placement) -> Vec<(ShardId, ReplicaId)> {
    let own =
        |shard, of: &Placement, at| of.replica_on(at, node).map(|place| (shard, place.replica));
    let meta = own(ShardId::META, meta, ShardId::new(0));
    let shards = placement.shards().filter_map(|(shard, _)| own(shard, placement, shard));
    meta.into_iter().chain(shards).collect()
}

#[cfg(test)]
mod tests {
    use breccia_service::meta::MetaWrite;
    use breccia_types::TableOptions;
    use bytes::Bytes;

    use super::*;

    #[tokio::test]
    async fn a_drop_that_the_process_did_not_live_to_finish_is_finished_at_the_next_start() {
        let data = tempfile::tempdir().expect("a directory");
        let config = || NodeConfig { memory_bytes: 64 << 20, ..NodeConfig::new(data.path()) };
        let node = Node::open(config()).await.expect("opens");
        let table = node.create_table("t", TableOptions::default()).await.expect("creates");
        for row in 0..50_u32 {
            let put = table.put(row.to_be_bytes().to_vec().into(), Bytes::from_static(b"v"));
            node.write(&table, put, None).await.expect("writes");
        }
        node.change(&MetaWrite::BeginDrop { name: "t".to_owned() }).await.expect("begins");
        assert_eq!(node.count(&table).await, Ok(50));
        node.shutdown().await;
        drop(node);

        let node = Node::open(config()).await.expect("opens again");
        assert_eq!(node.count(&table).await, Ok(0));
        assert_eq!(node.0.cluster.state().expect("a state").dropping, []);
    }
}
