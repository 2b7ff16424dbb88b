//! Clusters of real processes, through every front end.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod harness;

use std::path::Path;
use std::time::{Duration, Instant};

use harness::cluster::{Cluster, shards, start, start_again, wait_for, wait_until_whole};
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

/// How much of snapshots is on its way to a node that keeps its data in this folder.
fn arriving_bytes(folder: &Path) -> u64 {
    // Folders come and go while they are looked through.
    let list = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten();
    let snapshots = list(&folder.join("data/snapshots/incoming"));
    let files = snapshots.flat_map(|snapshot| list(&snapshot.path()).collect::<Vec<_>>());
    files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

/// Waits until a snapshot is on its way, and then until so much of it has come, or all of it,
/// so that it is being installed. Whether one came.
fn wait_for_arrival(folder: &Path, bytes: u64) -> bool {
    let start = Instant::now();
    let mut seen = 0;
    while start.elapsed() < Duration::from_secs(5) {
        let now = arriving_bytes(folder);
        if now > bytes || now < seen {
            return true;
        }
        seen = now;
        std::thread::park_timeout(Duration::from_micros(300));
    }
    false
}

#[test]
fn a_node_killed_while_snapshots_fill_it_is_read_right_or_not_at_all_as_soon_as_it_is_back() {
    const KEYS: u32 = 12;
    const BALLAST: u32 = 6_144;
    let folders: Vec<_> = (0..2).map(|_| tempfile::tempdir().expect("a folder")).collect();
    let first = start(folders[0].path(), None);
    let second = start(folders[1].path(), Some(&first.peer));
    put_ballast(&first, BALLAST);
    let mut client = Connection::open(&first.resp);
    let mut write_all = |value: &str| {
        for key in 0..KEYS {
            assert_eq!(client.ask(&["SET", &format!("k{key}"), value]), "+OK");
        }
        Instant::now()
    };
    write_all("before");
    let mut address = None::<String>;
    let mut kills = 0;
    for bytes in [0, 4 << 20, u64::MAX] {
        // Each time a new node, in the place of the one before, whose copies it gets.
        let folder = tempfile::tempdir().expect("a folder");
        let start_third = |address: Option<&String>| {
            let mut args = vec!["--memory", "64MiB", "--log", "warn", "--join", &first.peer];
            args.extend(address.into_iter().flat_map(|address| ["--peer", address]));
            Node::start_with(folder.path(), &args)
        };
        let third = start_third(address.as_ref());
        let has_come = wait_for_arrival(folder.path(), bytes);
        kills += u32::from(has_come);
        address = Some(third.peer.clone());
        drop(third);
        let value = format!("after {kills} kills");
        let written = write_all(&value);
        let third = start_third(address.as_ref());
        let mut through_it = Connection::open(&third.resp);
        for key in 0..KEYS {
            assert_eq!(through_it.ask(&["GET", &format!("k{key}")]), value, "key {key}");
        }
        for key in 0..KEYS / 3 {
            let is_long_ago = written.elapsed() > Duration::from_millis(300);
            let said = third.run(&["get", "redis", &format!("k{key}"), "--stale", "300ms"]);
            assert_ne!(said.code, 1, "key {key} is there: {said:?}");
            if is_long_ago && said.code == 0 {
                assert_eq!(said.out.trim_end(), value, "key {key} is no older than it may be");
            }
        }
        wait_until_whole(&first);
    }
    assert!(kills >= 2, "the node was killed {kills} times while it was filled");
    let mut through_second = Connection::open(&second.resp);
    assert_eq!(through_second.ask(&["DBSIZE"]), format!(":{}", BALLAST + KEYS));
}

/// So many rows of 4 KiB that do not compress well.
fn put_ballast(node: &Node, rows: u32) {
    let mut client = Connection::open(&node.resp);
    let part = |row: u32, at: u32| format!("{:08x}", (row * 512 + at).wrapping_mul(2_654_435_761));
    let value = |row: u32| (0..512).map(|at| part(row, at)).collect();
    let set = |row: u32| vec!["SET".to_owned(), format!("ballast-{row}"), value(row)];
    for batch in 0..rows / 256 {
        let rows = batch * 256..(batch + 1) * 256;
        client.send(&rows.clone().map(set).collect::<Vec<_>>()).expect("sends");
        for _ in rows {
            assert_eq!(client.reply().as_deref(), Some("+OK"));
        }
    }
}
