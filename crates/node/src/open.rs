//! Opening a node: its directory, its databases, its cluster, its replicas, in this order.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use breccia_replication::raft::{
    Leadership, LogLimits, OpenError as ReplicaError, Replicas, ReplicasConfig, Timing,
    TrafficLimits,
};
use breccia_replication::{LogEvent, SharedLog, SharedLogOptions};
use breccia_ring::{Placement, PlacementError};
use breccia_router::reduce::METHOD as REDUCE;
use breccia_router::{Consistency, METHOD as FORWARDED, Reducer, Router};
use breccia_service::kv::KvService;
use breccia_service::machine::read_applied;
use breccia_service::meta::{ClusterState, MetaError, MetaService};
use breccia_service::strings::StringService;
use breccia_service::{Service, Services};
use breccia_store::{
    Engine, IfMissing, LogStore, MemoryEngine, MemoryLog, RetentionRules, RocksEngine, RocksLog,
    RocksLogOptions, RocksOptions, StoreError,
};
use breccia_transport::methods::MethodTaken;
use breccia_transport::tcp::{Config as TransportConfig, ListenError, Listener, Timing as Pace};
use breccia_transport::{Access, MethodTable, TcpTransport, Transport};
use breccia_types::limits::{MEMORY_BYTES_MIN, REPLICAS_MAX};
use breccia_types::{Epoch, Member, MemberStatus, NodeClock, NodeId, ShardId, Timestamp};
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::alone::Alone;
use crate::cluster::ClusterView;
use crate::config::{NodeConfig, Peering, ReduceConfig, Storage};
use crate::control::{ASK, Control, JOIN};
use crate::directory::{Directory, DirectoryError};
use crate::driver::{Driver, Nudge, Stranded};
use crate::founding::{FoundingError, found_if_new};
use crate::health::NodeHealth;
use crate::join::{JoinError, KeepInTouch, Welcome};
use crate::local::Local;
use crate::maintenance::{Maintenance, Watch};
use crate::membership::Watching;
use crate::meta::MetaLog;
use crate::node::{Chosen, Inner, Node, Shard, Tasks};
use crate::reduce::Reducing;
use crate::replica::Machines;
use crate::replicas::{HoldError, Holdings, ShardMap};
use crate::status::Reporter;
use crate::{join, members, membership};

/// How long a node waits for its shards to have leaders before it is open.
const LEADERS_WITHIN: Duration = Duration::from_secs(10);
/// How often it looks.
const LEADERS_POLL: Duration = Duration::from_millis(5);
/// How long a new node waits for what its cluster has agreed on.
const STATE_WITHIN: Duration = Duration::from_secs(60);
/// How long the logs may get before they are cut.
const LOG_LIMITS: LogLimits = LogLimits { shard_bytes_max: 64 << 20, node_bytes_max: 4 << 30 };

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
    /// A replica cannot be held.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// The number of shards is out of range.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// The number of replicas is out of range.
    #[error("{replicas} replicas are not possible; choose 1 to {REPLICAS_MAX}")]
    ReplicaCount {
        /// What was given.
        replicas: u8,
    },
    /// The address for other nodes cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The node cannot join its cluster.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The node joined, but heard nothing more.
    #[error(
        "joined cluster {cluster}, but did not hear from it within a minute; start the node again"
    )]
    Silence {
        /// The cluster.
        cluster: breccia_types::ClusterId,
    },
    /// Two parts of the node claim one method: an error of the program.
    #[error(transparent)]
    Methods(#[from] MethodTaken),
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

/// A node's databases, opened.
struct Databases {
    id: NodeId,
    incarnation: u64,
    engine: Arc<dyn Engine>,
    log: Arc<dyn LogStore>,
    /// Where snapshots lie on their way. A node in memory has a folder that goes with it.
    snapshots: PathBuf,
    temporary: Option<tempfile::TempDir>,
    directory: Option<Directory>,
}

/// How the node reaches others, and they it.
struct Network {
    transport: Arc<dyn Transport>,
    tcp: Option<TcpTransport>,
}

impl Node {
    /// Opens a node and recovers what its data directory holds. A node that is new founds a
    /// cluster, or joins the one it was told of.
    ///
    /// # Errors
    /// [`OpenError`], among them [`StoreError::InUse`] if another process has the directory.
    pub async fn open(config: NodeConfig) -> Result<Self, OpenError> {
        check(&config)?;
        let rules = Arc::new(RetentionRules::default());
        let (storage, memory_bytes) = (config.storage.clone(), config.memory_bytes);
        let for_engine = Arc::clone(&rules);
        let opened =
            tokio::task::spawn_blocking(move || open_databases(&storage, memory_bytes, for_engine));
        let databases = opened.await.map_err(|error| OpenError::Thread(error.into()))??;
        let mut opening = Opening::new(config, databases, rules)?;
        opening.found().await?;
        opening.assemble().await
    }

    /// Waits until every shard that can have a leader has one, but no longer than
    /// [`LEADERS_WITHIN`].
    async fn wait_for_leaders(&self) {
        let deadline = Instant::now() + LEADERS_WITHIN;
        let is_led = |shard: &Shard| {
            let is_known = match shard.group.leadership() {
                Leadership::Own => true,
                Leadership::Other(leader) => leader.is_some(),
                Leadership::Stopped => false,
            };
            is_known || shard.data.health.quarantined().is_some()
        };
        while !self.0.shards.load().values().all(is_led) && Instant::now() < deadline {
            tokio::time::sleep(LEADERS_POLL).await;
        }
    }
}

fn check(config: &NodeConfig) -> Result<(), OpenError> {
    if config.memory_bytes < MEMORY_BYTES_MIN {
        return Err(OpenError::Memory { bytes: config.memory_bytes });
    }
    if let Some(count) = config.shards {
        Placement::even(Epoch::new(1), count)?;
    }
    match config.replicas {
        Some(replicas) if !(1..=REPLICAS_MAX).contains(&replicas) => {
            Err(OpenError::ReplicaCount { replicas })
        }
        _ => Ok(()),
    }
}

/// A node on its way.
struct Opening {
    config: NodeConfig,
    databases: Databases,
    cluster: Arc<ClusterView>,
    member: Member,
}

impl Opening {
    fn new(
        config: NodeConfig,
        databases: Databases,
        rules: Arc<RetentionRules>,
    ) -> Result<Self, OpenError> {
        let peering = config.peering.as_ref();
        let member = Member {
            node: databases.id,
            incarnation: databases.incarnation,
            // Known once it listens.
            peer: String::new(),
            http: String::new(),
            resp: String::new(),
            zone: peering.map(|peering| peering.zone.clone()).unwrap_or_default(),
            status: MemberStatus::Active,
        };
        let cluster = Arc::new(ClusterView::new(rules)?);
        Ok(Self { config, databases, cluster, member })
    }

    /// Founds a cluster, unless the node belongs to one or is to join one.
    async fn found(&mut self) -> Result<(), OpenError> {
        let engine = Arc::clone(&self.databases.engine);
        let (founder, shards, replicas) =
            (self.member.clone(), self.config.shards, self.config.replicas);
        let joins = self.config.peering.as_ref().is_some_and(|peering| !peering.join.is_empty());
        let begun = self.databases.directory.as_ref().and_then(|directory| directory.cluster);
        let founding = tokio::task::spawn_blocking(move || {
            let meta = engine.open_shard(ShardId::META)?;
            let is_member = ClusterState::load(meta.as_ref())?.is_some();
            match (is_member, joins, begun) {
                (false, true, _) => Ok(()),
                (false, false, Some(cluster)) => {
                    Err(OpenError::Join(JoinError::Unfinished { cluster }))
                }
                _ => Ok(found_if_new(engine.as_ref(), &founder, shards, replicas)?),
            }
        });
        founding.await.map_err(|error| OpenError::Thread(error.into()))??;
        let meta = self.databases.engine.open_shard(ShardId::META)?;
        self.cluster.publish_from(meta.as_ref());
        if let Some(directory) = &mut self.databases.directory {
            directory.set_initialised()?;
            if let (Some(state), None) = (self.cluster.state(), directory.cluster) {
                directory.set_cluster(state.id)?;
            }
        }
        Ok(())
    }

    /// The transport, with nobody listening yet.
    fn network(&self) -> Network {
        if self.config.peering.is_none() {
            return Network { transport: Arc::new(Alone), tcp: None };
        }
        let begun = self.databases.directory.as_ref().and_then(|directory| directory.cluster);
        let peering = self.config.peering.as_ref();
        let host = peering.and_then(|peering| peering.advertise.clone());
        let port =
            peering.and_then(|peering| peering.listen.rsplit_once(':')).map(|(_, port)| port);
        let address = host.zip(port.filter(|port| *port != "0"));
        let tcp = TcpTransport::new(TransportConfig {
            node: self.member.node,
            incarnation: self.member.incarnation,
            cluster: self.cluster.state().map(|state| state.id).or(begun),
            address: address.map(|(host, port)| format!("{host}:{port}")).unwrap_or_default(),
            timing: Pace::default(),
        });
        Network { transport: Arc::new(tcp.clone()), tcp: Some(tcp) }
    }

    /// Puts the parts together, opens the replicas, and joins the cluster if that is to be.
    async fn assemble(mut self) -> Result<Node, OpenError> {
        let network = self.network();
        let engine = Arc::clone(&self.databases.engine);
        let clock = take_clock(&mut self.config);
        let clock = Arc::new(NodeClock::new(clock, latest_stamp(engine.as_ref())?));
        let health = Arc::new(NodeHealth::default());
        let commands_applied = Arc::new(AtomicU64::new(0));
        let services = services().with(std::mem::take(&mut self.config.services));
        let machines = Arc::new(Machines {
            engine: Arc::clone(&engine),
            services: services.clone(),
            health: Arc::clone(&health),
            cluster: Arc::clone(&self.cluster),
            commands_applied: Arc::clone(&commands_applied),
            shards: parking_lot::RwLock::default(),
        });
        let log = Arc::new(self.open_log(&health)?);
        let replicas = Replicas::new(
            Arc::clone(&log),
            ReplicasConfig {
                transport: Arc::clone(&network.transport),
                machines: Arc::clone(&machines) as _,
                clock: Arc::clone(&clock),
                apply_threads: std::thread::available_parallelism().map_or(2, usize::from),
                timing: Timing::default(),
                traffic: TrafficLimits::default(),
                snapshots: self.databases.snapshots.clone(),
                log_limits: LOG_LIMITS,
            },
        )?;
        let raft = replicas.handler();
        let shards = ShardMap::default();
        let local = Local {
            shards: Arc::clone(&shards),
            health: Arc::clone(&health),
            clock: Arc::clone(&clock),
            services,
        };
        let router = Router::new(
            self.member.node,
            Arc::new(local.clone()),
            Arc::clone(&network.transport),
            self.cluster.placements(),
            rand::random(),
        );
        let ReduceConfig { reductions, threads, fan_in } = self.config.reduce.clone();
        let reducing = Reducing::new(local.clone(), reductions, threads);
        let reducer = Reducer::new(router.clone(), Arc::new(reducing.clone()), fan_in);
        let meta = MetaLog { router: router.clone(), cluster: Arc::clone(&self.cluster) };
        let nudge = Nudge::default();
        let reporter = Arc::new(Reporter::default());
        let control = Control {
            shards: Arc::clone(&shards),
            health: Arc::clone(&health),
            welcome: Arc::new(Welcome {
                cluster: Arc::clone(&self.cluster),
                meta: meta.clone(),
                nudge: nudge.clone(),
            }),
            reporter: Arc::clone(&reporter),
        };
        let holdings = Arc::new(Holdings {
            node: self.member.node,
            cluster: Arc::clone(&self.cluster),
            engine: Arc::clone(&engine),
            log: Arc::clone(&log),
            machines,
            replicas,
            shards: Arc::clone(&shards),
            settling: tokio::sync::Mutex::default(),
        });
        let tasks =
            Tasks { stop: CancellationToken::new(), running: parking_lot::Mutex::default() };
        let mut watching = None;
        if let (Some(tcp), Some(peering)) = (&network.tcp, self.config.peering.clone()) {
            let methods = MethodTable::new()
                .serve(Replicas::METHODS, Access::Members, raft)?
                .serve(FORWARDED.0..=FORWARDED.0, Access::Members, Arc::new(router.clone()))?
                .serve(REDUCE.0..=REDUCE.0, Access::Members, Arc::new(reducer.clone()))?
                .serve(JOIN.0..=JOIN.0, Access::Anyone, Arc::new(control.clone()))?
                .serve(ASK.0..=ASK.0, Access::Members, Arc::new(control.clone()))?;
            let listener = tcp.listen(&peering.listen, Arc::new(methods)).await?;
            let address = listener.local_addr();
            self.member.peer = advertised(&peering, &listener);
            let stop = tasks.stop.clone();
            let listening = async move {
                // Ended by the transport's shutdown at the latest.
                let _ = stop.run_until_cancelled(listener.run()).await;
            };
            tasks.running.lock().push(tokio::spawn(listening));
            holdings.clean_up().await?;
            self.enter(tcp, &peering, &holdings).await?;
            if let Some(state) = self.cluster.state() {
                let (kind, join) = (peering.membership, &peering.join);
                watching = membership::start(kind, &self.member, address, &state, join).await;
            }
        } else {
            holdings.clean_up().await?;
        }
        holdings.settle().await?;

        let stranded = Stranded::default();
        let driver = Driver {
            node: self.member.node,
            cluster: Arc::clone(&self.cluster),
            shards: Arc::clone(&shards),
            meta: meta.clone(),
            transport: Arc::clone(&network.transport),
            control,
            nudge,
            stranded: Arc::clone(&stranded),
            replace_after: self.config.replace_after,
        };
        let data_dir = match self.config.storage {
            Storage::Disk(path) => Some(path),
            Storage::Memory => None,
        };
        let maintenance = Maintenance::start(Watch {
            data_dir: data_dir.clone(),
            disk_reserve_bytes: self.config.disk_reserve_bytes,
            engine: Arc::clone(&engine),
            log: Arc::clone(&log),
            shards: Arc::clone(&shards),
            health: Arc::clone(&health),
            clock: Arc::clone(&clock),
        })
        .map_err(OpenError::Thread)?;
        let redis = self.cluster.table(breccia_types::table::REDIS_TABLE);
        let config =
            Chosen { data_dir, memory_bytes: self.config.memory_bytes, fsync: self.config.fsync };
        let inner = Arc::new(Inner {
            id: self.member.node,
            started: Instant::now(),
            started_at: clock.now(),
            config,
            clock,
            redis: redis.map_err(|_| MetaError::NotFounded)?,
            cluster: self.cluster,
            shards,
            local,
            router,
            reducer,
            reducing,
            meta,
            holdings,
            transport: network.transport,
            network: network.tcp,
            member: watch::Sender::new(self.member),
            stranded,
            views: watching.as_ref().map(|watching| watching.membership.watch()),
            health,
            log,
            engine,
            commands_applied,
            maintenance,
            finding: tokio::sync::Mutex::default(),
            fencing: tokio::sync::Mutex::default(),
            tasks,
            _temporary: self.databases.temporary,
        });
        reporter.set(Arc::downgrade(&inner));
        let node = Node(inner, Consistency::Linearizable);
        node.start_tasks(driver, watching);
        node.wait_for_leaders().await;
        if node.stands_alone() && node.refresh().await.is_ok() {
            node.finish_drops().await;
        }
        // In a cluster the shards may be led elsewhere, or by nobody yet.
        let finishing =
            Node::keep_finishing_drops(Arc::downgrade(&node.0), node.0.tasks.stop.clone());
        node.0.tasks.running.lock().push(tokio::spawn(finishing));
        Ok(node)
    }

    fn open_log(&self, health: &Arc<NodeHealth>) -> Result<SharedLog, OpenError> {
        let options = SharedLogOptions {
            fsync: self.config.fsync,
            tail_bytes_max: (self.config.memory_bytes / 20).clamp(4 << 20, 64 << 20),
        };
        let failing = Arc::clone(health);
        let log = SharedLog::open(Arc::clone(&self.databases.log), &options, move |event| {
            match event {
                LogEvent::NoRoom { reason } => failing.set_read_only(reason.to_owned()),
                LogEvent::Failed { error } => {
                    failing.fail(format!("{error}; restart the node when the cause is mended"));
                }
                // Maintenance takes writes again when the data has room, too.
                _ => {}
            }
        });
        log.map_err(OpenError::Thread)
    }

    /// Makes sure that the node belongs to the cluster that it was told to join, and that it
    /// knows what that cluster has agreed on.
    async fn enter(
        &mut self,
        tcp: &TcpTransport,
        peering: &Peering,
        holdings: &Holdings,
    ) -> Result<(), OpenError> {
        if let Some(state) = self.cluster.state() {
            members::take_over(self.member.node, &state, None, &tcp.peers());
            if let Some(known) = state.members.get(&self.member.node)
                && known.peer != self.member.peer
            {
                join::check_not_copied(tcp, known.node, &known.peer).await?;
            }
            return Ok(join::check(tcp, &peering.join, state.id).await?);
        }
        let begun = self.databases.directory.as_ref().and_then(|directory| directory.cluster);
        let joined = join::join(tcp, &peering.join, &self.member, begun).await?;
        let cluster = joined.cluster;
        if let Some(directory) = &mut self.databases.directory {
            directory.set_cluster(cluster)?;
        }
        // It can only be the cluster that the transport knows already, or its first one.
        if let Err(error) = tcp.adopt(cluster) {
            tracing::debug!(%error, "the transport knows its cluster");
        }
        for member in joined.members.iter().filter(|member| member.node != self.member.node) {
            tcp.peers().set(member.node, &member.peer);
        }
        tracing::info!(%cluster, "joined; waits for what the cluster has agreed on");
        holdings.take_up(ShardId::META, joined.meta_replica).await?;
        if !self.cluster.wait_until(STATE_WITHIN, |_| true).await {
            return Err(OpenError::Silence { cluster });
        }
        Ok(())
    }
}

impl Node {
    /// Starts what runs beside the node.
    fn start_tasks(&self, driver: Driver, watching: Option<Watching>) {
        let inner = &self.0;
        let stop = || inner.tasks.stop.clone();
        let mut running = inner.tasks.running.lock();
        running.push(tokio::spawn(Arc::clone(&inner.holdings).follow(stop())));
        running.push(tokio::spawn(driver.run(stop())));
        let (meta, health) = (inner.meta.clone(), Arc::clone(&inner.health));
        let member = inner.member.subscribe();
        running.push(tokio::spawn(members::register(member, meta, health, stop())));
        if let Some(network) = &inner.network {
            let touch = KeepInTouch {
                transport: Arc::clone(&inner.transport),
                cluster: Arc::clone(&inner.cluster),
                holdings: Arc::clone(&inner.holdings),
                member: inner.member.subscribe(),
            };
            running.push(tokio::spawn(touch.run(stop())));
            let cluster = Arc::clone(&inner.cluster);
            let (peers, views) = (network.peers(), inner.views.clone());
            let following = members::follow_addresses(inner.id, cluster, peers, views, stop());
            running.push(tokio::spawn(following));
            if let Some(watching) = watching.clone() {
                let (cluster, network) = (Arc::clone(&inner.cluster), network.clone());
                let keeping = watching.keep_list(inner.id, cluster, network, stop());
                running.push(tokio::spawn(keeping));
            }
        }
        if let Some(Watching { membership, .. }) = watching {
            let (shards, member) = (Arc::clone(&inner.shards), inner.member.subscribe());
            let data_dir = inner.config.data_dir.clone();
            let telling = membership::tell(membership, shards, data_dir, member, stop());
            running.push(tokio::spawn(telling));
        }
    }
}

/// Where others reach a node that listens.
fn advertised(peering: &Peering, listener: &Listener) -> String {
    let listening = listener.local_addr();
    match &peering.advertise {
        Some(host) => format!("{host}:{}", listening.port()),
        None => listening.to_string(),
    }
}

fn take_clock(config: &mut NodeConfig) -> Box<dyn breccia_types::time::Clock> {
    std::mem::replace(&mut config.clock, Box::new(breccia_types::time::SystemClock))
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
                incarnation: 1,
                engine: Arc::new(MemoryEngine::default()),
                log: Arc::new(MemoryLog::default()),
                snapshots: temporary.path().to_owned(),
                temporary: Some(temporary),
                directory: None,
            })
        }
        Storage::Disk(path) => {
            let mut directory = Directory::open(path)?;
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
            directory.begin_run()?;
            Ok(Databases {
                id: directory.node,
                incarnation: directory.incarnation,
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

#[cfg(test)]
mod tests {
    use breccia_service::meta::MetaWrite;
    use breccia_types::TableOptions;
    use bytes::Bytes;

    use breccia_types::RequestError;
    use breccia_types::read::{KvRead, KvReadReply, ReadOperation};

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
        node.0.meta.change(&MetaWrite::BeginDrop { name: "t".to_owned() }).await.expect("begins");
        assert_eq!(node.count(&table).await, Ok(50));
        node.shutdown().await;
        drop(node);

        let node = Node::open(config()).await.expect("opens again");
        let view = KvRead { table: table.view(), operation: ReadOperation::Count };
        for shard in node.shards() {
            assert_eq!(shard.read(&view, node.clock().now()), Ok(KvReadReply::Count(0)));
        }
        let dropped = RequestError::TableDropped { id: table.id };
        assert_eq!(node.count(&table).await, Err(dropped));
        assert_eq!(node.0.cluster.state().expect("a state").dropping, []);
    }
}
