//! Clusters of real processes, through every front end.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod harness;

use std::time::{Duration, Instant};

use harness::cluster::{Cluster, shards, start_again, wait_for};
use harness::{Connection, Node, run_with};
use serde_json::Value;

#[test]
fn what_is_written_through_one_node_is_read_through_every_other() {
    let cluster = Cluster::start();
    cluster.nodes[0].run(&["table", "create", "t"]).ok();
    for (at, node) in cluster.nodes.iter().enumerate() {
        node.run(&["put", "t", &format!("key-{at}"), &format!("value {at}")]).ok();
    }
    for node in &cluster.nodes {
        for at in 0..3 {
            let row = node.run(&["get", "t", &format!("key-{at}")]).ok();
            assert_eq!(row.trim_end(), format!("value {at}"));
        }
        wait_for("a replica has the row", || {
            let stale = node.run(&["get", "t", "key-2", "--stale", "5s"]);
            stale.code == 0 && stale.out.trim_end() == "value 2"
        });
        let scanned = node.run(&["scan", "t", "--json"]).ok();
        assert_eq!(scanned.lines().count(), 3, "{scanned}");
        let mut client = Connection::open(&node.resp);
        assert_eq!(client.ask(&["SET", "counter", "5"]), "+OK");
        assert_eq!(client.ask(&["INCR", "counter"]), ":6");
    }
    let nodes: Value =
        serde_json::from_str(&cluster.nodes[2].run(&["nodes", "--json"]).ok()).expect("JSON");
    let addresses = nodes.as_array().expect("nodes").iter().map(|node| node["resp"].as_str());
    let mut addresses: Vec<_> =
        addresses.map(|resp| resp.expect("an address").to_owned()).collect();
    let mut expected: Vec<_> = cluster.nodes.iter().map(|node| node.resp.clone()).collect();
    addresses.sort_unstable();
    expected.sort_unstable();
    assert_eq!(addresses, expected);
    assert_eq!(cluster.nodes[1].run(&["doctor"]).ok().trim_end(), "no trouble found");
}

#[test]
fn a_node_killed_under_load_loses_nothing_and_the_others_serve_within_seconds() {
    let mut cluster = Cluster::start();
    let survivor = cluster.nodes[1].resp.clone();
    let mut client = Connection::open(&survivor);
    let mut longest = Duration::ZERO;
    let mut acknowledged = Vec::new();
    for row in 0..2_000 {
        if row == 500 {
            let killed = cluster.nodes.remove(0);
            killed.end_by("-KILL");
        }
        let start = Instant::now();
        let reply = client.ask(&["SET", &format!("k{row}"), &row.to_string()]);
        longest = longest.max(start.elapsed());
        if reply == "+OK" {
            acknowledged.push(row);
        }
    }
    assert!(acknowledged.len() >= 1_990, "{} of 2,000 were acknowledged", acknowledged.len());
    assert!(longest < Duration::from_secs(10), "a write took {longest:?}");
    let findings = cluster.nodes[1].run(&["doctor"]);
    assert_eq!(findings.code, 6, "{findings:?}");
    assert!(findings.out.contains("does not answer"), "{}", findings.out);
    for node in &cluster.nodes {
        let mut client = Connection::open(&node.resp);
        for row in &acknowledged {
            let reply = client.ask(&["GET", &format!("k{row}")]);
            assert_eq!(reply, row.to_string(), "row {row}");
        }
    }

    // The same node comes back by itself, without being told whom to join.
    let back = start_again(cluster.folders[0].path());
    let address = back.resp.clone();
    cluster.nodes.push(back);
    cluster.wait_until_whole();
    let mut client = Connection::open(&address);
    for row in &acknowledged {
        assert_eq!(client.ask(&["GET", &format!("k{row}")]), row.to_string(), "row {row}");
    }
}

#[test]
fn a_cluster_aware_client_is_told_where_a_slot_is_and_any_other_is_served() {
    let cluster = Cluster::start();
    cluster.wait_until_each_node_leads();
    let mut leaders = std::collections::BTreeSet::new();
    for node in &cluster.nodes {
        let mut aware = Connection::open(&node.resp);
        aware.ask(&["CLUSTER", "NODES"]);
        let mut plain = Connection::open(&node.resp);
        let mut moved = 0;
        for key in 0..40 {
            let key = format!("k{key}");
            assert_eq!(plain.ask(&["SET", &key, "v"]), "+OK");
            let reply = aware.ask(&["GET", &key]);
            if let Some(address) = reply.strip_prefix("-MOVED ").and_then(|r| r.split(' ').nth(1)) {
                moved += 1;
                leaders.insert(address.to_owned());
                let mut there = Connection::open(address);
                there.ask(&["CLUSTER", "NODES"]);
                assert_eq!(there.ask(&["GET", &key]), "v");
            } else {
                assert_eq!(reply, "v");
            }
        }
        assert!((1..40).contains(&moved), "{moved} of 40 keys are elsewhere");
    }
    assert!(leaders.len() >= 2, "{leaders:?}");
}

#[test]
fn three_nodes_in_one_process_serve_and_find_their_data_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let args = [
        "dev",
        "--nodes",
        "3",
        "--http",
        "127.0.0.1:0",
        "--resp",
        "127.0.0.1:0",
        "--memory",
        "192MiB",
    ];
    let node = Node::spawn(folder.path(), &args);
    node.run(&["table", "create", "t"]).ok();
    node.run(&["put", "t", "k", "v"]).ok();
    wait_for("three nodes hold every shard", || {
        shards(&node).iter().all(|shard| shard["replicas"].as_array().map(Vec::len) == Some(3))
    });
    assert!(node.end_by("-TERM").success());
    let node = Node::spawn(folder.path(), &args);
    assert_eq!(node.run(&["get", "t", "k"]).ok().trim_end(), "v");
    assert!(node.end_by("-TERM").success());
}

#[test]
fn a_copied_data_directory_is_refused() {
    let cluster = Cluster::start();
    let copy = tempfile::tempdir().expect("a folder");
    let from = cluster.folders[2].path().join("data");
    let copied = std::process::Command::new("cp")
        .args(["-r"])
        .arg(&from)
        .arg(copy.path())
        .status()
        .expect("copies");
    assert!(copied.success());
    for database in ["db", "log"] {
        // The lock is the other process's.
        let _ = std::fs::remove_file(copy.path().join("data").join(database).join("LOCK"));
    }
    let args = [
        "serve",
        "--data",
        "data",
        "--http",
        "127.0.0.1:0",
        "--resp",
        "127.0.0.1:0",
        "--memory",
        "64MiB",
        "--join",
        &cluster.nodes[0].peer,
    ];
    let said = run_with(copy.path(), &args, b"");
    assert_ne!(said.code, 0);
    assert!(said.err.contains("copied"), "{}", said.err);
}
