//! Three nodes that know each other.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Node;

const PATIENCE: Duration = Duration::from_secs(60);

/// Three nodes that know each other, each with its folder.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    pub(crate) folders: Vec<tempfile::TempDir>,
}

impl Cluster {
    #[track_caller]
    pub(crate) fn start() -> Self {
        let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().expect("a folder")).collect();
        let mut nodes: Vec<Node> = Vec::new();
        for folder in &folders {
            let peer = nodes.first().map(|node| node.peer.clone());
            nodes.push(start(folder.path(), peer.as_deref()));
        }
        let cluster = Self { nodes, folders };
        cluster.wait_until_whole();
        cluster
    }

    /// Waits until each shard has a leader and two followers that have all of its log.
    #[track_caller]
    pub(crate) fn wait_until_whole(&self) {
        wait_until_whole(self.nodes.first().expect("a node"));
    }

    /// Waits until each node leads a shard.
    #[track_caller]
    pub(crate) fn wait_until_each_node_leads(&self) {
        wait_for("every node leads something", || {
            let said = self.nodes.first().expect("a node").run(&["nodes", "--json"]).ok();
            let nodes: Value = serde_json::from_str(&said).expect("JSON");
            nodes.as_array().expect("nodes").iter().all(|node| node["leaders"].as_u64() > Some(0))
        });
    }
}

/// Starts a node that founds a cluster of four shards, or joins one.
#[track_caller]
pub(crate) fn start(folder: &Path, join: Option<&str>) -> Node {
    let mut args = vec!["--memory", "64MiB", "--log", "warn"];
    match join {
        Some(peer) => args.extend(["--join", peer]),
        None => args.extend(["--shards", "4"]),
    }
    Node::start_with(folder, &args)
}

/// Starts a node that was killed.
#[track_caller]
pub(crate) fn start_again(folder: &Path) -> Node {
    Node::start_with(folder, &["--memory", "64MiB", "--log", "warn"])
}

/// The shards as a node tells of them.
#[track_caller]
pub(crate) fn shards(node: &Node) -> Vec<Value> {
    let said = node.run(&["shards", "--json"]).ok();
    let shards: Value = serde_json::from_str(&said).expect("JSON");
    shards.as_array().expect("shards").clone()
}

/// Waits until each shard has a leader and two followers that have all of its log, as a node
/// sees it.
#[track_caller]
pub(crate) fn wait_until_whole(node: &Node) {
    wait_for("every shard is whole", || {
        shards(node).iter().all(|shard| {
            let replicas = shard["replicas"].as_array().expect("replicas");
            let is_whole = |replica: &&Value| {
                replica["lag"] == 0
                    && matches!(replica["role"].as_str(), Some("leader" | "follower"))
            };
            replicas.iter().filter(is_whole).count() == 3
        })
    });
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "never came about: {what}");
        std::thread::park_timeout(Duration::from_millis(100));
    }
}
