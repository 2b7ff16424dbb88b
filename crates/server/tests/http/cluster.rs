//! Several nodes: what one has not heard of yet.

use breccia_node::{MembershipKind, Node, NodeConfig, Peering};
use serde_json::json;

use crate::support::Running;

/// Three nodes that serve, and their directories.
async fn three() -> (Vec<Running>, Vec<tempfile::TempDir>) {
    let (mut nodes, mut directories): (Vec<Running>, _) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let directory = tempfile::tempdir().expect("a directory");
        let peering = Peering {
            listen: "127.0.0.1:0".to_owned(),
            advertise: None,
            join: nodes.iter().take(1).map(|first| first.node.peer_address()).collect(),
            zone: String::new(),
            membership: MembershipKind::default(),
        };
        let config = NodeConfig {
            shards: nodes.is_empty().then_some(4),
            peering: Some(peering),
            memory_bytes: 64 << 20,
            ..NodeConfig::new(directory.path())
        };
        let node = Node::open(config).await.expect("opens");
        nodes.push(Running::serve(node, |config| config).await);
        directories.push(directory);
    }
    (nodes, directories)
}

/// A review found that a node which did not know yet of a drop and a new table of the same
/// name said that a row was not there, though it had been put and acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_of_a_table_made_again_is_found_through_every_node_at_once() {
    let (nodes, _directories) = three().await;
    let [first, others @ ..] = nodes.as_slice() else { panic!("three nodes") };
    first.create("t", "plain").await;
    for round in 0..10 {
        for node in others {
            // All of them know the table.
            node.put("/v1/tables/t/rows/k", b"old").await.ok();
        }
        first.delete("/v1/tables/t").await.ok();
        first.create("t", "plain").await;
        let put = format!("new {round}");
        first.put("/v1/tables/t/rows/k", put.as_bytes()).await.ok();
        for node in others {
            let raw = [("accept", "application/octet-stream")];
            let row = node.send("GET", "/v1/tables/t/rows/k", &raw, b"").await;
            assert_eq!((row.status, row.text()), (200, put.as_str()), "round {round}");
        }
    }
    // What reads many rows, and what writes.
    for (at, node) in others.iter().enumerate() {
        first.delete("/v1/tables/t").await.ok();
        first.create("t", "plain").await;
        first.put("/v1/tables/t/rows/k", b"new").await.ok();
        let other = others.get(1 - at).expect("two others");
        let keys = json!({ "keys": ["k"] });
        let found = node.post("/v1/tables/t/multi-get", &keys).await;
        assert!(found.ok()["rows"][0].is_object(), "{}", found.text());
        let rows = other.get("/v1/tables/t/rows").await.ok();
        assert_eq!(rows["rows"].as_array().map(Vec::len), Some(1), "{rows}");
        first.delete("/v1/tables/t").await.ok();
        first.create("t", "plain").await;
        other.put("/v1/tables/t/rows/k", b"newer").await.ok();
        let count = node.get("/v1/tables/t/count").await.ok();
        assert_eq!(count["rows"], 1, "{count}");
    }
    for node in &nodes {
        node.node.shutdown().await;
    }
}

/// Once a drop is acknowledged no node knows the table, nor shows it empty.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_was_dropped_is_unknown_through_every_node_at_once() {
    let (nodes, _directories) = three().await;
    let [first, others @ ..] = nodes.as_slice() else { panic!("three nodes") };
    for _ in 0..5 {
        first.create("t", "plain").await;
        for node in others {
            node.put("/v1/tables/t/rows/k", b"old").await.ok();
        }
        first.delete("/v1/tables/t").await.ok();
        let [second, third] = others else { panic!("two others") };
        second.get("/v1/tables/t/rows").await.problem(404, "unknown-table");
        third.get("/v1/tables/t/count").await.problem(404, "unknown-table");
        first.create("t", "plain").await;
        second.put("/v1/tables/t/rows/k", b"old").await.ok();
        first.delete("/v1/tables/t").await.ok();
        second.put("/v1/tables/t/rows/k", b"late").await.problem(404, "unknown-table");
        third.get("/v1/tables/t").await.problem(404, "unknown-table");
    }
    for node in &nodes {
        node.node.shutdown().await;
    }
}
