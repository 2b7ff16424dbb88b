//! Lost replies, dead peers, and machines that do not apply.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use breccia_transport::{Peer, duplex};
use breccia_types::NodeId;

use super::support::{Cluster, SHARD, assert_once, replica, wait_for};
use crate::consensus::{ApplyError, ProposeError};
use crate::raft::refusal::Refused;
use crate::raft::wire::{self, Envelope, NoAnswer};
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_room_proposals_are_refused_and_those_in_an_entry_are_unknown_but_not_lost() {
    let cluster = Cluster::with_voters(1).await;
    cluster.write("before").await;
    cluster.machines(1).set(|faults| faults.has_no_room = true);
    assert_eq!(cluster.propose(1, "in an entry").await, Err(ProposeError::Unknown));
    let refused = cluster.propose(1, "refused").await;
    assert!(matches!(refused, Err(ProposeError::Apply(ApplyError::ReadOnly { .. }))));
    cluster.machines(1).set(|faults| faults.has_no_room = false);
    wait_for("it has room", async || {
        cluster.status(1).is_some_and(|status| status.health == GroupHealth::Running)
    })
    .await;
    cluster.write("after").await;
    assert_eq!(cluster.agree(&[1]).await, ["before", "in an entry", "after"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_fails_again_and_again_is_given_up_and_named() {
    let cluster = Cluster::with_voters(3).await;
    let failing = cluster.leader().await % 3 + 1;
    cluster.write("one").await;
    wait_for("it is given up", async || {
        cluster.machines(failing).set(|faults| faults.fails_apply = true);
        cluster.write("more").await;
        let health = cluster.status(failing).map(|status| status.health);
        matches!(health, Some(GroupHealth::Quarantined { reason }) if reason.contains("broken"))
    })
    .await;
    let refused = cluster.propose(failing, "refused").await;
    assert!(matches!(refused, Err(ProposeError::Failed { .. })), "{refused:?}");
    assert_eq!(cluster.status(failing).map(|status| status.role), Some(Role::Stopped));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_for_another_replica_is_refused_by_name() {
    let cluster = Cluster::start(1).await;
    let handler = cluster.replicas(1).expect("a node").handler();
    let peer = Peer { node: NodeId::new(7), incarnation: 1 };
    let envelope = Envelope { shard: SHARD, from: replica(7), to: replica(2) };
    let refused = handler.on_call(peer, wire::APPEND, envelope.enclose(|_| ())).await;
    let reason = refused.map_err(|refusal| Refused::from_refusal(&refusal));
    let not_hosted = Refused::NotHosted { shard: SHARD, replica: replica(2) };
    assert_eq!(reason, Err(Ok(not_hosted)));
    let (ours, mut sent, _) = duplex(1);
    handler.on_open(peer, wire::APPEND_STREAM, envelope.enclose(|_| ()), ours).await;
    let reply = sent.recv().await.expect("a reply");
    assert_eq!(wire::take_appended(reply), Err(NoAnswer::Refused(not_hosted)));
}
