//! A cluster in one process, and its rows.

use std::path::Path;
use std::time::{Duration, Instant};

use breccia_node::{MembershipKind, Node, NodeConfig, OpenError, Peering, ShardRole};
use breccia_store::StoreError;
use breccia_types::Table;
use breccia_types::kv::{KvReply, Scan};
use bytes::Bytes;

pub(crate) const SHARDS: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn config(path: &Path, join: &[&Node]) -> NodeConfig {
    let peering = Peering {
        listen: "127.0.0.1:0".to_owned(),
        advertise: None,
        join: join.iter().map(|node| node.peer_address()).collect(),
        zone: String::new(),
        membership: MembershipKind::default(),
    };
    NodeConfig {
        shards: join.is_empty().then_some(SHARDS),
        peering: Some(peering),
        memory_bytes: 64 << 20,
        ..NodeConfig::new(path)
    }
}

/// A cluster and the directories of its nodes.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    pub(crate) directories: Vec<tempfile::TempDir>,
}

impl Cluster {
    pub(crate) async fn start(count: usize) -> Self {
        Self::start_with(count, |_| {}).await
    }

    /// Starts a cluster of nodes whose configuration was changed.
    pub(crate) async fn start_with(count: usize, change: impl Fn(&mut NodeConfig)) -> Self {
        // Shown when a test fails, as RUST_LOG asks.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer();
        let _ = log.try_init();
        let mut cluster = Self { nodes: Vec::new(), directories: Vec::new() };
        for _ in 0..count {
            cluster.join_with(&change).await;
        }
        cluster
    }

    pub(crate) async fn join(&mut self) {
        self.join_with(&|_| {}).await;
    }

    pub(crate) async fn join_with(&mut self, change: &impl Fn(&mut NodeConfig)) {
        let directory = tempfile::tempdir().expect("a directory");
        let known: Vec<&Node> = self.nodes.iter().take(1).collect();
        let mut config = config(directory.path(), &known);
        change(&mut config);
        let node = Node::open(config).await.expect("opens");
        self.nodes.push(node);
        self.directories.push(directory);
    }

    /// Waits until every shard has so many voters and learners and a leader, on every node's
    /// word, and nothing lags.
    pub(crate) async fn settled(&self, voters: usize, learners: usize) {
        let node = self.nodes.first().expect("a node");
        wait_until("every shard has its replicas", async || {
            let overview = node.overview().await.expect("an overview");
            overview.shards.iter().all(|shard| {
                let count = |role| {
                    shard.replicas.iter().filter(|replica| replica.role == Some(role)).count()
                };
                shard.leader.is_some()
                    && count(ShardRole::Leader) + count(ShardRole::Follower) == voters
                    && count(ShardRole::Learner) == learners
                    && shard.replicas.iter().all(|replica| replica.lag == Some(0))
            })
        })
        .await;
    }

    /// Ends all nodes, at once: none waits for one that has ended.
    pub(crate) async fn shut_down(self) {
        futures::future::join_all(self.nodes.iter().map(Node::shutdown)).await;
    }
}

pub(crate) async fn wait_until(what: &str, is_so: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "never came about: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) fn key(row: u32) -> Bytes {
    format!("key-{row:05}").into_bytes().into()
}

pub(crate) async fn put(node: &Node, table: &Table, row: u32) {
    let put = table.put(key(row), Bytes::from(format!("value {row}")));
    let reply = node.write(table, put, None).await.expect("writes");
    assert!(matches!(reply, KvReply::Done { .. }), "{reply:?}");
}

pub(crate) async fn assert_rows(node: &Node, table: &Table, rows: std::ops::Range<u32>) {
    for row in rows.clone() {
        let found = node.get(table, &key(row)).await.expect("reads").expect("the row");
        assert_eq!(found.value, format!("value {row}"));
    }
    assert_eq!(node.count(table).await, Ok(u64::from(rows.end - rows.start)));
    let page = node.scan(table, Scan::default()).await.expect("scans");
    let keys: Vec<Bytes> = page.rows.into_iter().map(|row| row.key).collect();
    assert_eq!(keys, rows.map(key).collect::<Vec<_>>());
}

/// Opens a node whose directory is let go shortly.
pub(crate) async fn open_again(config: impl Fn() -> NodeConfig) -> Node {
    let began = Instant::now();
    loop {
        match Node::open(config()).await {
            Ok(node) => return node,
            Err(OpenError::Store(StoreError::InUse { .. })) if began.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("a node does not open again: {error}"),
        }
    }
}

pub(crate) fn free_address(taken: &[String]) -> String {
    loop {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("an address").to_string();
        if !taken.contains(&address) {
            return address;
        }
    }
}
