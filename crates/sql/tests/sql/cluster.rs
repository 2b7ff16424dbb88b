//! Queries at three nodes while leaders move and a node is lost: the answer is the naive one,
//! or a request for another try.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use breccia_functions::Modules;
use breccia_node::{MembershipKind, Node, NodeConfig, Peering};
use breccia_service::reduce::Reductions;
use breccia_sql::{SqlError, with_stages};
use breccia_types::Actor;
use serde_json::{Value, json};

use crate::support::{as_json, batches, filled, flight_options, flights, rows, sql};

const PATIENCE: Duration = Duration::from_secs(60);
const ROWS: usize = 300;

async fn open(path: &Path, join: Option<&Node>) -> Node {
    let peering = Peering {
        listen: "127.0.0.1:0".to_owned(),
        advertise: None,
        join: join.iter().map(|node| node.peer_address()).collect(),
        zone: String::new(),
        membership: MembershipKind::default(),
    };
    let mut config = NodeConfig {
        shards: join.is_none().then_some(4),
        peering: Some(peering),
        memory_bytes: 64 << 20,
        ..NodeConfig::new(path)
    };
    config.reduce.reductions = with_stages(Reductions::default(), Modules::new());
    Node::open(config).await.expect("opens")
}

/// Three nodes with flights on each.
async fn cluster() -> (Vec<Node>, Vec<tempfile::TempDir>) {
    let directories: Vec<_> = (0..3).map(|_| tempfile::tempdir().expect("one")).collect();
    let mut nodes: Vec<Node> = Vec::new();
    for directory in &directories {
        nodes.push(open(directory.path(), nodes.first()).await);
    }
    filled(&nodes[0], "flights", flight_options(), &flights(ROWS)).await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let overview = nodes[0].overview().await.expect("an overview");
        let is_whole = overview.shards.iter().all(|shard| {
            shard.leader.is_some()
                && shard.replicas.len() == nodes.len()
                && shard.replicas.iter().all(|replica| replica.lag == Some(0))
        });
        if is_whole {
            return (nodes, directories);
        }
        assert!(Instant::now() < deadline, "the replicas are not made");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

const QUERIES: [&str; 4] = [
    "select count(*) as n, sum(cast(distance as bigint)) as miles from flights",
    "select carrier, count(*) as n, max(delay) as longest from flights group by carrier
     order by carrier",
    "select _key, distance from flights order by distance desc, _key limit 7",
    "select a.carrier, count(*) as n from flights a join flights b on a._key = b._key
     where b.origin = 'JFK' group by a.carrier order by a.carrier",
];

/// The answer at a node, or `None` if it was a matter of another try.
async fn answer(node: &Node, query: &str) -> Option<Vec<Value>> {
    match batches(&sql(node), query).await {
        Ok(found) => Some(as_json(&found)),
        Err(SqlError::Request(error)) if error.actor() == Actor::Retry => None,
        Err(error) => panic!("{query}: {error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_are_answered_right_or_not_at_all_while_leaders_move_and_a_node_is_lost() {
    let (mut nodes, _directories) = cluster().await;
    let mut expected = Vec::new();
    for query in QUERIES {
        expected.push(rows(&sql(&nodes[1]), query).await);
    }
    assert_eq!(expected[0][0]["n"], json!(ROWS));
    let stop = Arc::new(AtomicBool::new(false));
    let (moved, stopped) = (nodes.clone(), Arc::clone(&stop));
    let moving = tokio::spawn(async move {
        let mut moves = 0;
        while !stopped.load(Ordering::Relaxed) {
            moved[moves % moved.len()].hand_over().await;
            moves += 1;
        }
    });
    let mut right = 0;
    for round in 0..40 {
        let (query, expected) = (QUERIES[round % 4], &expected[round % 4]);
        if let Some(found) = answer(&nodes[round % 3], query).await {
            assert_eq!(&found, expected, "{query}");
            right += 1;
        }
    }
    assert!(right >= 20, "only {right} of 40 queries were answered");
    stop.store(true, Ordering::Relaxed);
    moving.await.expect("moves");

    let lost = nodes.remove(0);
    lost.shutdown().await;
    drop(lost);
    let deadline = Instant::now() + PATIENCE;
    for (query, expected) in QUERIES.iter().zip(&expected) {
        loop {
            match answer(&nodes[0], query).await {
                Some(found) => {
                    assert_eq!(&found, expected, "{query}");
                    break;
                }
                None => assert!(Instant::now() < deadline, "the others do not answer"),
            }
        }
    }
    futures::future::join_all(nodes.iter().map(Node::shutdown)).await;
}
