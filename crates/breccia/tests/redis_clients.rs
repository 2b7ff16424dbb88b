//! The clients that people have, against three nodes: those that know Redis Cluster and those
//! that do not. `make setup` installs them.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod harness;

use std::collections::BTreeSet;
use std::process::{Command, Output};

use harness::cluster::{Cluster, shards, wait_for};

const KEYS: usize = 50;

/// Runs a program to its end, and gives what it wrote.
fn ran(program: &str, arguments: &[&str]) -> String {
    let run = Command::new(program).args(arguments).output();
    let Output { status, stdout, stderr } =
        run.unwrap_or_else(|error| panic!("{program}: {error}; `make test` installs it"));
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{program} {arguments:?} ended with {status}: {out}{err}");
    out.into_owned()
}

/// A cluster in which every node leads some slots.
fn spread_cluster() -> Cluster {
    let cluster = Cluster::start();
    wait_for("every node leads slots", || {
        let shards = shards(cluster.nodes.first().expect("a node"));
        let data = shards.iter().filter(|shard| shard["name"] != "meta");
        let leaders: BTreeSet<_> = data.filter_map(|shard| shard["leader"].as_str()).collect();
        leaders.len() == cluster.nodes.len()
    });
    cluster
}

fn port(address: &str) -> &str {
    address.rsplit_once(':').expect("a port").1
}

#[test]
fn redis_cli_reads_and_writes_through_any_node_whether_or_not_it_follows_slots() {
    let cluster = spread_cluster();
    for (at, node) in cluster.nodes.iter().enumerate() {
        let port = port(&node.resp);
        for key in 0..KEYS {
            let (plain, following) = (format!("p{at}-{key}"), format!("c{at}-{key}"));
            assert_eq!(ran("redis-cli", &["-p", port, "set", &plain, "1"]).trim(), "OK");
            let followed = ran("redis-cli", &["-c", "-p", port, "set", &following, "1"]);
            assert!(followed.trim().ends_with("OK"), "{followed}");
        }
    }
    let last = cluster.nodes.last().expect("a node");
    for at in 0..cluster.nodes.len() {
        for key in 0..KEYS {
            let port = port(&last.resp);
            let plain = ran("redis-cli", &["-p", port, "get", &format!("c{at}-{key}")]);
            let following = ran("redis-cli", &["-c", "-p", port, "get", &format!("p{at}-{key}")]);
            assert_eq!((plain.trim(), following.trim()), ("1", "1"));
        }
    }
}

#[test]
fn redis_benchmark_drives_a_cluster_and_a_single_node_of_it() {
    let cluster = spread_cluster();
    let port = port(&cluster.nodes.last().expect("a node").resp);
    let tests = ["-t", "set,get,incr", "-n", "2000", "-c", "20", "-r", "1000", "--csv"];
    for cluster_mode in [&["--cluster"][..], &[]] {
        let arguments = [&["-p", port][..], cluster_mode, &tests].concat();
        let report = ran("redis-benchmark", &arguments);
        for test in ["SET", "GET", "INCR"] {
            assert!(report.contains(&format!("\"{test}\",")), "{report}");
        }
        assert!(!report.contains("ERR") && !report.contains("MOVED"), "{report}");
    }
}

const REDIS_PY: &str = r#"
import sys
from redis.cluster import RedisCluster
from redis import Redis
host, port = sys.argv[1].rsplit(":", 1)
cluster = RedisCluster(host=host, port=int(port), decode_responses=True)
assert len(cluster.get_nodes()) == 3, cluster.get_nodes()
for key in range(300):
    assert cluster.set(f"key-{key}", key)
    assert cluster.incr(f"count-{port}-{key}") == 1
several = cluster.mget_nonatomic([f"key-{key}" for key in range(300)])  # by slot, not as asked
assert sorted(map(int, several)) == list(range(300))
with cluster.pipeline() as pipeline:
    for key in range(300):
        pipeline.get(f"key-{key}")
    assert pipeline.execute() == [str(key) for key in range(300)]
plain = Redis(host=host, port=int(port), decode_responses=True)
assert [plain.get(f"key-{key}") for key in range(300)] == [str(key) for key in range(300)]
assert plain.delete(*[f"key-{key}" for key in range(300)]) == 300
assert all(cluster.get(f"key-{key}") is None for key in range(300))
print("done")
"#;

#[test]
fn redis_py_finds_the_leaders_of_a_cluster_and_a_plain_connection_sees_the_same() {
    let cluster = spread_cluster();
    for node in &cluster.nodes {
        let said = ran("/usr/bin/python3", &["-c", REDIS_PY, &node.resp]);
        assert_eq!(said.trim(), "done");
    }
}
