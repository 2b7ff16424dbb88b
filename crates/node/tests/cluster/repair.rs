//! Nodes that are lost, replaced or damaged, and what becomes of their replicas.

use std::path::{Path, PathBuf};
use std::time::Duration;

use breccia_node::{Consistency, Node};
use breccia_types::{NodeId, Table, TableOptions};
use bytes::Bytes;

use crate::support::{Cluster, SHARDS, assert_rows, config, key, put, wait_until};

/// A cluster of so many nodes with a table of 50 rows.
async fn cluster_with_rows(count: usize) -> (Cluster, Table) {
    let cluster = Cluster::start(count).await;
    let first = cluster.nodes.first().expect("a node");
    let table = first.create_table("t", TableOptions::default()).await.expect("creates");
    for row in 0..50 {
        put(first, &table, row).await;
    }
    (cluster, Table::clone(&table))
}

/// Ends the last node, and starts one in its place with an empty directory; the old one's id.
async fn lose_directory_of_last(cluster: &mut Cluster) -> NodeId {
    let lost = cluster.nodes.pop().expect("a node");
    let (old, address) = (lost.id(), lost.peer_address());
    lost.shutdown().await;
    drop(lost);
    cluster.directories.pop();
    let directory = tempfile::tempdir().expect("a directory");
    let first = cluster.nodes.first().expect("a node");
    let mut config = config(directory.path(), &[first]);
    if let Some(peering) = &mut config.peering {
        peering.listen = address;
    }
    let back = Node::open(config).await.expect("joins as a new node");
    assert_ne!(back.id(), old);
    cluster.nodes.push(back);
    cluster.directories.push(directory);
    old
}

async fn is_forgotten(node: &Node, old: NodeId) {
    wait_until("the old node is forgotten", async || {
        node.members().iter().all(|member| member.node != old)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_node_that_lost_its_directory_does_not_keep_a_third_from_making_three_copies() {
    let (mut cluster, table) = cluster_with_rows(2).await;
    cluster.settled(1, 1).await;
    let old = lose_directory_of_last(&mut cluster).await;
    cluster.join().await;
    cluster.settled(3, 0).await;
    let first = cluster.nodes.first().expect("a node");
    is_forgotten(first, old).await;
    assert_rows(first, &table, 0..50).await;
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_loses_its_directory_again_before_its_copies_are_made_is_made_whole() {
    let (mut cluster, table) = cluster_with_rows(3).await;
    cluster.settled(3, 0).await;
    let mut old = Vec::new();
    for _ in 0..3 {
        old.push(lose_directory_of_last(&mut cluster).await);
    }
    cluster.settled(3, 0).await;
    let first = cluster.nodes.first().expect("a node");
    for old in old {
        is_forgotten(first, old).await;
    }
    assert_rows(first, &table, 0..50).await;
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_room_on_its_disk_leads_no_shard_and_every_node_takes_writes() {
    let mut cluster = Cluster::start(2).await;
    cluster.join_with(&|config| config.disk_reserve_bytes = u64::MAX).await;
    cluster.settled(3, 0).await;
    let full = cluster.nodes.last().expect("a node");
    wait_until("the others share the leaders", async || {
        let overview = full.overview().await.expect("an overview");
        let leaders = overview.shards.iter().filter(|shard| shard.shard < SHARDS);
        let leaders: Vec<_> = leaders.map(|shard| shard.leader).collect();
        let counts = cluster
            .nodes
            .iter()
            .map(|node| leaders.iter().filter(|leader| **leader == Some(node.id())).count());
        full.status().read_only.is_some() && counts.collect::<Vec<_>>() == [2, 2, 0]
    })
    .await;
    let table = full.create_table("t", TableOptions::default()).await.expect("creates");
    for row in 0..50 {
        put(full, &table, row).await;
    }
    cluster.shut_down().await;
}

/// A removal while the node is away, and its return.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_replicas_were_replaced_while_it_was_away_finds_back() {
    let mut cluster = Cluster::start_with(4, |config| {
        config.replace_after = Duration::from_secs(2);
    })
    .await;
    let first = cluster.nodes.first().expect("a node").clone();
    wait_until("every shard has three voters", async || {
        let overview = first.overview().await.expect("an overview");
        overview.shards.iter().all(|shard| {
            shard.replicas.iter().filter(|held| held.votes).count() == 3
                && shard.replicas.iter().all(|held| held.lag == Some(0))
        })
    })
    .await;
    let table = first.create_table("t", TableOptions::default()).await.expect("creates");
    for row in 0..50 {
        put(&first, &table, row).await;
    }
    // The second node votes on the meta shard: the third made voters of both.
    let away = cluster.nodes.remove(1);
    let directory = cluster.directories.remove(1);
    let id = away.id();
    away.shutdown().await;
    drop(away);
    wait_until("the others do without it", async || {
        let overview = first.overview().await.expect("an overview");
        overview.shards.iter().all(|shard| shard.replicas.iter().all(|held| held.node != id))
    })
    .await;
    for row in 50..100 {
        put(&first, &table, row).await;
    }
    let back = Node::open(config(directory.path(), &[&first])).await.expect("opens again");
    cluster.nodes.push(back.clone());
    cluster.directories.push(directory);
    wait_until("it holds what is placed on it now", async || {
        let overview = first.overview().await.expect("an overview");
        let placed = overview.shards.iter().flat_map(|shard| &shard.replicas);
        let mut held = placed.filter(|held| held.node == id).peekable();
        held.peek().is_some() && held.all(|held| held.lag == Some(0) && held.trouble.is_none())
    })
    .await;
    // It follows what is agreed on from now on, too.
    let late = first.create_table("late", TableOptions::default()).await.expect("creates");
    let known = back.table("late").await.expect("known");
    assert_eq!(known.id, late.id);
    assert_rows(&back, &table, 0..100).await;
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_file_is_damaged_is_made_anew_and_the_others_serve() {
    let mut cluster = Cluster::start(3).await;
    cluster.settled(3, 0).await;
    let first = cluster.nodes.first().expect("a node").clone();
    let table = first.create_table("t", TableOptions::default()).await.expect("creates");
    let value = |row: u32| Bytes::from(vec![u8::try_from(row % 251).expect("small"); 2_000]);
    for row in 0..400 {
        first.write(&table, table.put(key(row), value(row)), None).await.expect("writes");
    }
    let damaged = cluster.nodes.pop().expect("a node");
    let directory = cluster.directories.last().expect("a directory").path().to_owned();
    damaged.shutdown().await;
    drop(damaged);
    flip_a_byte(&largest_file(&directory.join("db")));
    let before = first.overview().await.expect("an overview").epoch;
    let back = Node::open(config(&directory, &[&first])).await.expect("opens");
    cluster.nodes.push(back.clone());
    wait_until("the damage is found", async || {
        let reading = back.reading(Consistency::Stale { max: Duration::from_secs(60) });
        for row in 0..400 {
            // Answered by another replica, or an error: never wrong.
            if let Ok(found) = reading.get(&table, &key(row)).await {
                assert_eq!(found.expect("the row").value, value(row));
            }
        }
        first.overview().await.expect("an overview").epoch > before
    })
    .await;
    cluster.settled(3, 0).await;
    wait_until("nothing is out of service", async || {
        let overview = first.overview().await.expect("an overview");
        overview.shards.iter().flat_map(|shard| &shard.replicas).all(|held| held.trouble.is_none())
    })
    .await;
    let reading = back.reading(Consistency::Stale { max: Duration::from_secs(60) });
    for row in 0..400 {
        let found = reading.get(&table, &key(row)).await.expect("reads").expect("the row");
        assert_eq!(found.value, value(row));
    }
    cluster.shut_down().await;
}

/// The largest of a database's files of rows.
fn largest_file(database: &Path) -> PathBuf {
    let files = std::fs::read_dir(database).expect("lists");
    let files = files.map(|file| file.expect("a file").path());
    let files = files.filter(|file| file.extension().is_some_and(|found| found == "sst"));
    files.max_by_key(|file| file.metadata().map_or(0, |file| file.len())).expect("a file")
}

fn flip_a_byte(file: &Path) {
    let mut bytes = std::fs::read(file).expect("reads");
    *bytes.get_mut(1_000).expect("a large file") ^= 0x55;
    std::fs::write(file, bytes).expect("writes");
}

/// Five nodes would vote on what is agreed on then, and one of them is not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_join_although_one_before_them_ended_while_it_joined() {
    let mut cluster = Cluster::start(3).await;
    cluster.settled(3, 0).await;
    let first = cluster.nodes.first().expect("a node").clone();
    let directory = tempfile::tempdir().expect("a directory");
    let joining = tokio::spawn(Node::open(config(directory.path(), &[&first])));
    while first.members().len() < 4 {
        assert!(!joining.is_finished(), "it is a member before it has joined");
        tokio::task::yield_now().await;
    }
    joining.abort();
    wait_until("a copy of what is agreed on is placed on it", async || {
        let overview = first.overview().await.expect("an overview");
        overview.shards.last().expect("the meta shard").replicas.len() == 4
    })
    .await;
    for _ in 0..3 {
        let joining = tokio::time::timeout(Duration::from_secs(15), cluster.join());
        joining.await.expect("joins although another node is away");
    }
    cluster.shut_down().await;
}

/// As when its port for clients was taken: it has joined, and is never heard of again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_joined_and_died_at_once_does_not_keep_the_shards_from_three_voters() {
    let (mut cluster, table) = cluster_with_rows(1).await;
    cluster.join().await;
    let ghost = cluster.nodes.pop().expect("a node");
    ghost.shutdown().await;
    drop(ghost);
    cluster.join().await;
    cluster.join().await;
    cluster.settled(3, 0).await;
    let first = cluster.nodes.first().expect("a node");
    assert_rows(first, &table, 0..50).await;
    cluster.shut_down().await;
}
