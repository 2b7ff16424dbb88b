//! Lost replies, dead peers, and machines that do not apply.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use breccia_types::NodeId;

use super::support::{Cluster, assert_once, wait_for};
use crate::consensus::ProposeError;
use crate::raft::{GroupHealth, Role};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_replies_and_broken_streams_lose_nothing_and_repeat_nothing() {
    let cluster = Arc::new(Cluster::with_voters(3).await);
    let load = cluster.load("w");
    for round in 0..10 {
        cluster.net.losing.store(3, Ordering::Relaxed);
        let leader = NodeId::new(cluster.leader().await);
        let other = NodeId::new(round % 3 + 1);
        if other != leader {
            cluster.net.cut(&[leader], &[other]);
        }
        tokio::time::sleep(Duration::from_millis(60)).await;
        cluster.net.heal();
    }
    let acknowledged = load.stop().await;
    assert!(!acknowledged.is_empty());
    cluster.write("last").await;
    assert_once(&cluster.agree(&[1, 2, 3]).await, &acknowledged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_peer_causes_few_calls() {
    let cluster = Cluster::with_voters(3).await;
    let dead = cluster.leader().await % 3 + 1;
    cluster.crash(dead).await;
    cluster.write("x").await;
    let before = cluster.net.failures.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let failures = cluster.net.failures.load(Ordering::Relaxed) - before;
    // Heartbeats every 60 ms, and a few attempts to replicate.
    assert!(failures < 100, "{failures} attempts in 2 s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_appends_but_does_not_apply_gives_up_its_leadership() {
    let cluster = Arc::new(Cluster::with_voters(3).await);
    let frozen = cluster.leader().await;
    cluster.write("before").await;
    cluster.machines(frozen).set(|faults| faults.is_frozen = true);
    let proposing = Arc::clone(&cluster);
    let stuck = tokio::spawn(async move { proposing.propose(frozen, "stuck").await });
    wait_for("another leads", async || cluster.leaders().iter().any(|leader| *leader != frozen))
        .await;
    cluster.write("after").await;
    assert_ne!(cluster.leader().await, frozen);
    cluster.machines(frozen).set(|faults| faults.is_frozen = false);
    let applied = cluster.agree(&[1, 2, 3]).await;
    assert_eq!(applied, ["before", "stuck", "after"]);
    let outcome = stuck.await.expect("no panic");
    assert!(matches!(outcome, Ok(()) | Err(ProposeError::Unknown)), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_machine_fails_is_started_again_and_catches_up() {
    let cluster = Cluster::with_voters(3).await;
    let failing = cluster.leader().await % 3 + 1;
    cluster.machines(failing).set(|faults| faults.fails_apply = true);
    cluster.write("one").await;
    wait_for("the replica fails", async || {
        let health = cluster.status(failing).map(|status| status.health);
        matches!(health, Some(GroupHealth::Restarting { .. }))
    })
    .await;
    cluster.write("two").await;
    assert_eq!(cluster.agree(&[1, 2, 3]).await, ["one", "two"]);
    wait_for("it is healthy", async || {
        cluster.status(failing).is_some_and(|status| status.health == GroupHealth::Running)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_without_room_waits_and_goes_on_when_there_is_some() {
    let cluster = Cluster::with_voters(3).await;
    let full = cluster.leader().await % 3 + 1;
    cluster.machines(full).set(|faults| faults.has_no_room = true);
    cluster.write("one").await;
    wait_for("it says so", async || {
        let health = cluster.status(full).map(|status| status.health);
        matches!(health, Some(GroupHealth::NoRoom { .. }))
    })
    .await;
    assert_eq!(cluster.status(full).map(|status| status.role), Some(Role::Follower));
    cluster.machines(full).set(|faults| faults.has_no_room = false);
    assert_eq!(cluster.agree(&[1, 2, 3]).await, ["one"]);
}
