//! What other distributed stores stumbled over: each test is one of their failures.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use breccia_monoid::{Monoid, Presented, present};
use breccia_node::{Node, NodeConfig, ReplicaOverview};
use breccia_ring::slot_of;
use breccia_types::kv::{KvReply, Scan};
use breccia_types::{NodeId, RequestError, RequestId, ShardId, Table, TableKind, TableOptions};
use bytes::Bytes;
use parking_lot::Mutex;

use crate::counting::Counting;
use crate::flood::Flood;
use crate::support::{Cluster, SHARDS, config, open_again, wait_until};

/// The shard of a key.
fn shard_of(node: &Node, table: &Table, key: &[u8]) -> ShardId {
    node.placement().shard_of(slot_of(table.options.partition, key))
}

async fn plain_table(cluster: &Cluster) -> Table {
    let first = cluster.nodes.first().expect("a node");
    Table::clone(&*first.create_table("t", TableOptions::default()).await.expect("creates"))
}

/// So many rows of 4 KiB, so that a copy of a shard takes a while.
async fn put_ballast(node: &Node, table: &Table, rows: u32) {
    let ballast = |row: u32| {
        let bytes: Vec<u8> = (0..1024).flat_map(|_| rand::random::<u32>().to_be_bytes()).collect();
        table.put(format!("ballast-{row}").into(), bytes.into())
    };
    for written in node.write_many(table, (0..rows).map(ballast).collect()).await {
        written.expect("writes");
    }
}

/// The numbers are read as they must be through every node.
async fn assert_numbers(nodes: &[Node], table: &Table, numbers: &[(Bytes, u64)]) {
    for node in nodes {
        for (key, number) in numbers {
            let row = node.get(table, key).await.expect("reads").expect("the row");
            assert_eq!(row.value, number.to_string(), "{key:?} through {}", node.id());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_that_move_while_they_are_read_are_read_right_through_every_node() {
    let mut cluster = Cluster::start(3).await;
    cluster.settled(3, 0).await;
    let table = plain_table(&cluster).await;
    let first = cluster.nodes.first().expect("a node").clone();
    put_ballast(&first, &table, 4_000).await;
    let counting = Counting::start(&table, &cluster.nodes).await;
    cluster.join().await;
    let fourth = cluster.nodes.last().expect("a node").clone();
    counting.enter_by(&fourth);
    wait_until("replicas have moved to the fourth node, and the old ones are let go", async || {
        let overview = first.overview().await.expect("an overview");
        let held = |node: NodeId| {
            let of = overview.nodes.iter().find(|of| of.member.node == node);
            of.and_then(|of| of.status.as_ref()).map_or(0, |status| status.shards.len())
        };
        let shards = overview.shards.iter().filter(|shard| shard.shard < SHARDS);
        let are_whole = shards.clone().all(|shard| {
            shard.replicas.iter().filter(|held| held.votes && held.lag == Some(0)).count() == 3
                && shard.replicas.len() == 3
        });
        let held_by_all: usize = cluster.nodes.iter().map(|node| held(node.id())).sum();
        are_whole && held(fourth.id()) > 0 && held_by_all == 3 * SHARDS as usize
    })
    .await;
    let reads = |id: NodeId| counting.tally().reads.get(&id).copied().unwrap_or(0);
    let before: BTreeMap<_, _> =
        cluster.nodes.iter().map(|node| (node.id(), reads(node.id()))).collect();
    wait_until("numbers were read through every node since", async || {
        before.iter().all(|(node, before)| reads(*node) >= before + 100)
    })
    .await;
    let (numbers, tally) = counting.end().await;
    assert_numbers(&cluster.nodes, &table, &numbers).await;
    assert!(tally.stale_reads > 0);
    assert!(tally.errors.len() <= 10, "{:?}", tally.errors);
    assert!(tally.longest < Duration::from_secs(10), "a write took {:?}", tally.longest);
    cluster.shut_down().await;
}

/// Ends a node of the cluster in order, and starts it again.
async fn restart(cluster: &mut Cluster, at: usize, counts: &mut SnapshotsSent, flood: &Flood) {
    let node = cluster.nodes.remove(at);
    flood.leave(node.id());
    node.shutdown().await;
    counts.ended(&node);
    drop(node);
    let written = flood.acknowledged();
    wait_until("it has missed some megabytes", async || flood.acknowledged() > written + 1_000)
        .await;
    let known = cluster.nodes.first().expect("a node").clone();
    let directory = cluster.directories.get(at).expect("a directory").path().to_owned();
    let back = open_again(|| config(&directory, &[&known])).await;
    flood.enter_by(&back);
    cluster.nodes.insert(at, back);
}

/// The snapshots that were sent, by nodes that run and by runs that have ended.
#[derive(Default)]
struct SnapshotsSent {
    count: u64,
    bytes: u64,
}

impl SnapshotsSent {
    fn ended(&mut self, node: &Node) {
        let metrics = node.metrics();
        self.count += metrics.snapshots_sent;
        self.bytes += metrics.snapshot_bytes_sent;
    }

    fn with(&self, nodes: &[Node]) -> (u64, u64) {
        let running = nodes.iter().map(Node::metrics);
        running.fold((self.count, self.bytes), |(count, bytes), metrics| {
            (count + metrics.snapshots_sent, bytes + metrics.snapshot_bytes_sent)
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_restarted_one_after_the_other_in_a_flood_are_caught_up_without_a_snapshot() {
    let mut cluster = Cluster::start(3).await;
    cluster.settled(3, 0).await;
    let table = plain_table(&cluster).await;
    put_ballast(cluster.nodes.first().expect("a node"), &table, 500).await;
    let mut counts = SnapshotsSent::default();
    let before = counts.with(&cluster.nodes);
    assert!(before.0 >= u64::from(SHARDS), "new replicas are filled by snapshots, and counted");
    let flood = Flood::start(&table, &cluster.nodes);
    for at in 0..3 {
        let written = flood.acknowledged();
        restart(&mut cluster, at, &mut counts, &flood).await;
        wait_until("the flood goes on", async || flood.acknowledged() > written + 200).await;
        let back = cluster.nodes.get(at).expect("a node");
        wait_until("the node is not far behind any more", async || {
            let overview = back.overview().await.expect("an overview");
            let mut replicas = overview.shards.iter().flat_map(|shard| &shard.replicas);
            replicas.all(|held| held.lag.is_some_and(|lag| lag < 100))
        })
        .await;
    }
    let acknowledged = flood.end().await;
    cluster.settled(3, 0).await;
    assert_eq!(counts.with(&cluster.nodes), before, "snapshots and their bytes");
    for node in &cluster.nodes {
        let mut found = BTreeSet::new();
        let mut scan = Scan { prefix: Bytes::from_static(b"flood-"), ..Scan::default() };
        loop {
            let page = node.scan(&table, scan.clone()).await.expect("scans");
            found.extend(page.rows.into_iter().map(|row| row.key));
            scan.cursor = page.cursor;
            if scan.cursor.is_none() {
                break;
            }
        }
        let lost: Vec<_> = acknowledged.difference(&found).take(5).collect();
        assert!(lost.is_empty(), "{} lacks {lost:?}", node.id());
    }
    cluster.shut_down().await;
}

/// A row that counts what was merged into it.
struct Counted {
    table: Table,
    key: Bytes,
}

impl Counted {
    async fn merge_one(&self, node: &Node, id: Option<RequestId>) -> Result<KvReply, RequestError> {
        let one = Monoid::Count.parse_operand(b"1").expect("an operand");
        node.write(&self.table, self.table.merge(self.key.clone(), one.into()), id).await
    }

    async fn count(&self, node: &Node) -> u64 {
        let row = node.get(&self.table, &self.key).await.expect("reads").expect("a row");
        match present(&row.value).expect("a count") {
            Presented::Count(count) => count,
            other => panic!("{other:?} is no count"),
        }
    }

    /// The node that leads the row's shard, and two that do not.
    async fn nodes(&self, cluster: &Cluster) -> (Node, Node, Node) {
        let found = Mutex::new(None);
        wait_until("one node leads the row's shard", async || {
            let leads = |node: &&Node| node.leads(shard_of(node, &self.table, &self.key));
            let (leaders, others): (Vec<_>, Vec<_>) = cluster.nodes.iter().partition(leads);
            if let ([leader], [one, other]) = (&leaders[..], &others[..]) {
                *found.lock() = Some(((*leader).clone(), (*one).clone(), (*other).clone()));
            }
            found.lock().is_some()
        })
        .await;
        found.into_inner().expect("found")
    }
}

async fn counted(cluster: &Cluster, key: &'static str) -> Counted {
    let first = cluster.nodes.first().expect("a node");
    let kind = TableKind::Monoid(Monoid::Count);
    let options = TableOptions { kind, ..TableOptions::default() };
    let table = first.create_table(key, options).await.expect("creates");
    Counted { table: Table::clone(&table), key: Bytes::from_static(key.as_bytes()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_given_up_at_one_node_and_sent_again_through_another_is_applied_once() {
    const ROUNDS: u64 = 100;
    let cluster = Cluster::start(3).await;
    cluster.settled(3, 0).await;
    let once = counted(&cluster, "once").await;
    let control = counted(&cluster, "control").await;
    let (_, one, other) = once.nodes(&cluster).await;
    let mut given_up = 0;
    for round in 0..ROUNDS {
        let id = RequestId::new(rand::random());
        // Long enough to be sent, and often too short to be answered.
        let patience = Duration::from_micros(round * 40);
        let first_try = tokio::time::timeout(patience, once.merge_one(&one, Some(id))).await;
        given_up += u64::from(first_try.is_err());
        once.merge_one(&other, Some(id)).await.expect("the same write through another node");
        let first_try = tokio::time::timeout(patience, control.merge_one(&one, None)).await;
        drop(first_try);
        control.merge_one(&other, None).await.expect("writes");
    }
    assert!(given_up > ROUNDS / 4, "only {given_up} writes were given up");
    for node in &cluster.nodes {
        assert_eq!(once.count(node).await, ROUNDS, "through {}", node.id());
    }
    // What was given up was applied all the same, and only the ids kept it from being twice.
    assert!(control.count(&other).await > ROUNDS);
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_whose_forwarding_node_ended_are_applied_once_when_another_gets_them_again() {
    const WRITES: usize = 300;
    let mut cluster = Cluster::start(3).await;
    cluster.settled(3, 0).await;
    let once = Arc::new(counted(&cluster, "once").await);
    let (_, forwarding, other) = once.nodes(&cluster).await;
    let ids: Vec<_> = (0..WRITES).map(|_| RequestId::new(rand::random())).collect();
    let first_tries = ids.iter().map(|id| {
        let (once, forwarding, id) = (Arc::clone(&once), forwarding.clone(), *id);
        tokio::spawn(async move { once.merge_one(&forwarding, Some(id)).await.is_ok() })
    });
    let first_tries: Vec<_> = first_tries.collect();
    wait_until("the first were applied", async || {
        let found = other.get(&once.table, &once.key).await.expect("reads");
        found.is_some()
    })
    .await;
    let id = forwarding.id();
    cluster.nodes.retain(|node| node.id() != id);
    let ending = tokio::spawn(async move { forwarding.shutdown().await });
    for id in &ids {
        once.merge_one(&other, Some(*id)).await.expect("the same write through another node");
    }
    ending.await.expect("ends");
    for first_try in first_tries {
        // Whatever was said: it may have been applied, or not.
        first_try.await.expect("ends");
    }
    for node in &cluster.nodes {
        assert_eq!(once.count(node).await, WRITES as u64, "through {}", node.id());
    }
    cluster.shut_down().await;
}

/// So short that a node is given up as soon as it is missed.
const REPLACE_AFTER: Duration = Duration::from_millis(1_500);

/// What a node asked other nodes for, and in vain.
fn asked(nodes: &[Node]) -> (u64, u64) {
    nodes.iter().map(Node::router_metrics).fold((0, 0), |(forwards, in_vain), metrics| {
        let vain = metrics.hops + metrics.retries + metrics.wrong_owners + metrics.unreachable;
        (forwards + metrics.forwards, in_vain + vain)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_leave_and_come_back_again_and_again_leave_no_request_going_in_circles() {
    let flapping = |config: &mut NodeConfig| config.replace_after = REPLACE_AFTER;
    let mut cluster = Cluster::start_with(4, flapping).await;
    let table = plain_table(&cluster).await;
    let counting = Counting::start(&table, &cluster.nodes).await;
    for flap in 0..6 {
        // The others are always told of a node that stays; which one that is changes.
        let leaves = cluster.nodes.remove(flap % 4);
        let directory = cluster.directories.get(flap % 4).expect("a directory").path().to_owned();
        let stays = cluster.nodes.first().expect("a node").clone();
        let id = leaves.id();
        counting.leave(id);
        if flap % 4 == 1 {
            leaves.shutdown().await;
        }
        drop(leaves);
        if flap % 4 == 3 {
            wait_until("it is given up", async || {
                let overview = stays.overview().await.expect("an overview");
                // Of what is agreed on every node has a copy, though it is not there.
                let shards = overview.shards.iter().filter(|shard| shard.shard < SHARDS);
                shards.flat_map(|shard| &shard.replicas).all(|held| held.node != id)
            })
            .await;
        }
        let back = open_again(|| {
            let mut config = config(&directory, &[&stays]);
            flapping(&mut config);
            config
        })
        .await;
        counting.enter_by(&back);
        cluster.nodes.insert(flap % 4, back);
    }
    let (numbers, _) = counting.end().await;
    let first = cluster.nodes.first().expect("a node");
    wait_until("each shard has three voters that have everything, and nothing else", async || {
        let overview = first.overview().await.expect("an overview");
        overview.nodes.iter().all(|node| node.status.is_some())
            && overview.shards.iter().all(|shard| {
                let voters = shard.replicas.iter().filter(|held| held.votes);
                let is_well = |held: &ReplicaOverview| {
                    held.lag == Some(0) && held.role.is_some() && held.trouble.is_none()
                };
                voters.count() == 3 && shard.replicas.iter().all(is_well)
            })
    })
    .await;
    wait_until("every request takes the shortest way", async || {
        let before = asked(&cluster.nodes);
        assert_numbers(&cluster.nodes, &table, &numbers).await;
        let after = asked(&cluster.nodes);
        let requests = (numbers.len() * cluster.nodes.len()) as u64;
        after.0 - before.0 <= requests && after.1 == before.1
    })
    .await;
    cluster.shut_down().await;
}
