//! Leaders die, are cut off, and restart.

use std::sync::Arc;
use std::time::{Duration, Instant};

use breccia_types::NodeId;
use bytes::Bytes;

use super::support::{Cluster, assert_once, timing, wait_for};
use crate::consensus::ShardConsensus;
use crate::raft::ReadMode;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_leader_dies_another_writes_within_the_bound_and_nothing_is_lost() {
    let cluster = Arc::new(Cluster::with_voters(3).await);
    let load = cluster.load("w");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let dead = cluster.leader().await;
    cluster.crash(dead).await;
    let died = Instant::now();
    cluster.write("after").await;
    let bound = timing().election_timeout_max * 2;
    // Twice the bound: other tests run on the same processors.
    assert!(died.elapsed() < bound * 2, "{:?}", died.elapsed());
    let acknowledged = load.stop().await;
    cluster.start_node(dead).await;
    cluster.write("healed").await;
    assert_once(&cluster.agree(&[1, 2, 3]).await, &acknowledged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_refuses_writes_and_lease_reads_after_its_lease() {
    let cluster = Cluster::with_voters(3).await;
    let old = cluster.leader().await;
    cluster.write("before").await;
    cluster.isolate(old);
    tokio::time::sleep(timing().election_timeout_max).await;
    let group = cluster.group(old).expect("a group");
    let read = group.read_barrier().await;
    assert!(read.is_err(), "{read:?}");
    let written = tokio::time::timeout(Duration::from_secs(5), cluster.propose(old, "lost")).await;
    assert!(!matches!(written, Ok(Ok(()))), "{written:?}");
    wait_for("the others elect", async || cluster.leaders().iter().any(|leader| *leader != old))
        .await;
    let read = group.read_barrier_in(ReadMode::Strict).await;
    assert!(read.is_err(), "{read:?}");
    cluster.net.heal();
    cluster.write("after").await;
    assert_eq!(cluster.agree(&[1, 2, 3]).await.last().map(|c| &c[..]), Some(&b"after"[..]));
}

/// A leads, B is cut off from A and wants to lead, and C, which just acknowledged A, is
/// started again: C must not vote for B while A may still count on C.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_follower_does_not_help_another_to_lead_within_the_lease() {
    let cluster = Cluster::with_voters(3).await;
    cluster.write("known to all").await;
    cluster.agree(&[1, 2, 3]).await;
    let a = cluster.leader().await;
    let (b, c) = (a % 3 + 1, (a + 1) % 3 + 1);
    cluster.net.cut(&[NodeId::new(a)], &[NodeId::new(b)]);
    // Until B no longer counts on A.
    tokio::time::sleep(timing().election_timeout_max * 2).await;
    assert_eq!(cluster.leader().await, a);
    let old = cluster.group(a).expect("a group");
    let raft = cluster.group(b).and_then(|group| group.raft()).expect("it runs");
    cluster.net.cut(&[NodeId::new(a)], &[NodeId::new(c)]);
    cluster.crash(c).await;
    cluster.start_node(c).await;
    old.read_barrier().await.expect("the lease lasts");
    wait_for("B or C writes", async || {
        raft.trigger().elect(true).await.expect("it runs");
        tokio::time::sleep(Duration::from_millis(100)).await;
        let Some(leader) = cluster.leaders().into_iter().find(|leader| *leader != a) else {
            return false;
        };
        cluster.propose(leader, "unknown to A").await.is_ok()
    })
    .await;
    let read = old.read_barrier().await;
    assert!(read.is_err(), "A reads without what B wrote");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_moves_to_the_replica_that_is_asked_for() {
    let cluster = Arc::new(Cluster::with_voters(3).await);
    let load = cluster.load("w");
    for _ in 0..3 {
        let from = cluster.leader().await;
        let to = from % 3 + 1;
        let group = cluster.group(from).expect("a group");
        let replica = super::support::replica(to);
        wait_for("a transfer", async || group.transfer_leader(replica).await.is_ok()).await;
        assert_eq!(cluster.leader().await, to);
    }
    let acknowledged = load.stop().await;
    assert_once(&cluster.agree(&[1, 2, 3]).await, &acknowledged);
}

/// An entry that takes longer on its way than a reply may, and than an election waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_of_many_megabytes_gets_over_a_slow_network_without_an_election() {
    let cluster = Cluster::with_voters(3).await;
    cluster.write("before").await;
    let leader = cluster.leader().await;
    let term = cluster.status(leader).map(|status| status.term);
    *cluster.net.bytes_per_second.lock() = Some(6 << 20);
    let (large, started) = ("x".repeat(12 << 20), Instant::now());
    let (written, beside) = tokio::join!(cluster.propose(leader, &large), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        cluster.propose(leader, "beside it").await
    });
    assert_eq!((written, beside), (Ok(()), Ok(())));
    assert!(started.elapsed() > timing().reply_timeout(), "{:?}", started.elapsed());
    *cluster.net.bytes_per_second.lock() = None;
    assert_eq!(cluster.leader().await, leader);
    assert_eq!(cluster.status(leader).map(|status| status.term), term);
    let content = cluster.agree(&[1, 2, 3]).await;
    assert_eq!(content.iter().map(Bytes::len).collect::<Vec<_>>(), [6, large.len(), 9]);
}
