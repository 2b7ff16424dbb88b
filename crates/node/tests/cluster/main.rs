//! Clusters of nodes in one process, which speak over loopback.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod clocks;
mod counting;
mod flood;
mod reducing;
mod repair;
mod support;
mod tables;
mod traps;
mod watching;

use std::time::Duration;

use breccia_node::{Consistency, Node};
use breccia_types::strings::StringWrite;
use breccia_types::{NodeId, TableOptions};
use bytes::Bytes;

use support::{Cluster, SHARDS, assert_rows, config, free_address, key, put, wait_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_join_make_three_copies_and_every_node_answers_for_every_key() {
    let mut cluster = Cluster::start(1).await;
    let first = cluster.nodes.first().expect("a node").clone();
    let table = first.create_table("t", TableOptions::default()).await.expect("creates");
    for row in 0..100 {
        put(&first, &table, row).await;
    }
    cluster.join().await;
    cluster.settled(1, 1).await;
    cluster.join().await;
    cluster.settled(3, 0).await;
    for (at, node) in (0_u32..).zip(&cluster.nodes) {
        let table = node.table("t").await.expect("every node knows it");
        put(node, &table, 100 + at).await;
    }
    for node in &cluster.nodes {
        assert_rows(node, &table, 0..103).await;
    }
    wait_until("leaders are spread", async || {
        let overview = first.overview().await.expect("an overview");
        let leads = |node: NodeId| {
            overview.shards.iter().filter(|s| s.leader == Some(node) && s.shard < SHARDS).count()
        };
        overview.nodes.iter().all(|node| (1..=2).contains(&leads(node.member.node)))
    })
    .await;
    for node in &cluster.nodes {
        assert_rows(node, &table, 0..103).await;
    }
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_made_through_one_node_is_known_to_the_others_at_once() {
    let cluster = Cluster::start(3).await;
    for round in 0..10 {
        for (at, maker) in cluster.nodes.iter().enumerate() {
            let name = format!("t-{round}-{at}");
            maker.create_table(&name, TableOptions::default()).await.expect("creates");
            for node in &cluster.nodes {
                let table = node.table(&name).await.expect("known");
                put(node, &table, 1).await;
            }
        }
    }
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_ends_is_missed_by_nobody_and_catches_up_when_it_is_back() {
    let mut cluster = Cluster::start(3).await;
    cluster.settled(3, 0).await;
    let first = cluster.nodes.first().expect("a node").clone();
    let table = first.create_table("t", TableOptions::default()).await.expect("creates");
    for row in 0..50 {
        put(&first, &table, row).await;
    }
    let ended = cluster.nodes.remove(0);
    let directory = cluster.directories.remove(0);
    ended.shutdown().await;
    drop((first, ended));
    let second = cluster.nodes.first().expect("a node").clone();
    for row in 50..100 {
        put(&second, &table, row).await;
    }
    assert_rows(&second, &table, 0..100).await;
    let back = Node::open(config(directory.path(), &[&second])).await.expect("opens again");
    cluster.nodes.push(back.clone());
    cluster.settled(3, 0).await;
    assert_rows(&back, &table, 0..100).await;
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_its_directory_comes_back_as_a_new_one_at_its_address() {
    let mut cluster = Cluster::start(3).await;
    cluster.settled(3, 0).await;
    let first = cluster.nodes.first().expect("a node").clone();
    let table = first.create_table("t", TableOptions::default()).await.expect("creates");
    for row in 0..50 {
        put(&first, &table, row).await;
    }
    let lost = cluster.nodes.pop().expect("a node");
    let address = lost.peer_address();
    let old = lost.id();
    lost.shutdown().await;
    drop(lost);
    cluster.directories.pop();

    let directory = tempfile::tempdir().expect("a directory");
    let mut config = config(directory.path(), &[&first]);
    if let Some(peering) = &mut config.peering {
        peering.listen = address;
    }
    let back = Node::open(config).await.expect("joins as a new node");
    assert_ne!(back.id(), old);
    cluster.nodes.push(back.clone());
    cluster.directories.push(directory);
    cluster.settled(3, 0).await;
    wait_until("the old node is forgotten", async || {
        first.members().iter().all(|member| member.node != old)
    })
    .await;
    assert_rows(&back, &table, 0..50).await;
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_cluster_is_refused_by_the_names_of_both() {
    let one = Cluster::start(1).await;
    let other = Cluster::start(1).await;
    let stranger = other.nodes.first().expect("a node").clone();
    let directory = other.directories.first().expect("a directory");
    stranger.shutdown().await;
    let ours = stranger.overview().await.expect("an overview").cluster;
    drop((stranger, other.nodes));
    let target = one.nodes.first().expect("a node");
    let theirs = target.overview().await.expect("an overview").cluster;
    let error = Node::open(config(directory.path(), &[target])).await.err().expect("refused");
    let text = error.to_string();
    assert!(text.contains(&ours) && text.contains(&theirs), "{text}");
    one.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strings_in_flight_together_keep_their_order_through_a_node_that_leads_nothing() {
    let cluster = Cluster::start(3).await;
    cluster.settled(3, 0).await;
    for node in &cluster.nodes {
        let key = Bytes::from_static(b"order");
        let append = |value: String| StringWrite::Append { key: key.clone(), value: value.into() };
        let reset = StringWrite::Delete { keys: vec![key.clone()] };
        for reply in node.write_strings(vec![reset]).await {
            reply.expect("deletes");
        }
        for batch in 0..20 {
            let writes = (0..5).map(|at| append(format!("{},", batch * 5 + at))).collect();
            let replies: Vec<_> = node.write_strings(writes).await;
            assert!(replies.iter().all(Result::is_ok));
        }
        let row = node.get(node.redis_table(), &key).await.expect("reads").expect("a row");
        let expected: String = (0..100).map(|at| format!("{at},")).collect();
        assert_eq!(row.value, expected);
    }
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_may_be_stale_is_answered_by_a_follower_within_its_bound() {
    let cluster = Cluster::start(3).await;
    cluster.settled(3, 0).await;
    let first = cluster.nodes.first().expect("a node");
    let table = first.create_table("t", TableOptions::default()).await.expect("creates");
    put(first, &table, 1).await;
    for node in &cluster.nodes {
        let max = Duration::from_secs(5);
        let reading = node.reading(Consistency::Stale { max });
        wait_until("the row has come", async || {
            reading.get(&table, &key(1)).await.expect("reads").is_some()
        })
        .await;
    }
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_all_come_back_at_other_addresses_find_each_other_by_gossip() {
    let mut cluster = Cluster::start(3).await;
    cluster.settled(3, 0).await;
    let first = cluster.nodes.first().expect("a node").clone();
    let table = first.create_table("t", TableOptions::default()).await.expect("creates");
    put(&first, &table, 0).await;
    drop(first);
    let before: Vec<String> = cluster.nodes.iter().map(Node::peer_address).collect();
    for node in std::mem::take(&mut cluster.nodes) {
        node.shutdown().await;
    }
    // Ports are free ones again; the second and third are told of the first alone.
    let mut openings = Vec::new();
    for (at, directory) in cluster.directories.iter().enumerate() {
        let mut config = config(directory.path(), &[]);
        config.shards = None;
        if let Some(peering) = &mut config.peering {
            peering.listen = free_address(&before);
            if at > 0 {
                peering.join =
                    vec![openings.first().map(|(listen, _)| String::clone(listen)).expect("one")];
            }
            openings.push((peering.listen.clone(), tokio::spawn(Node::open(config))));
        }
    }
    for (_, opening) in openings {
        cluster.nodes.push(opening.await.expect("runs").expect("opens"));
    }
    cluster.settled(3, 0).await;
    let last = cluster.nodes.last().expect("a node");
    assert_rows(last, &table, 0..1).await;
    cluster.shut_down().await;
}
