//! Replicas come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use breccia_types::NodeId;
use openraft::EntryPayload;

use super::support::{Cluster, SHARD, assert_once, replica, wait_for};
use crate::raft::types::Membership;
use crate::raft::{ChangeError, ReplicaChange};

fn voters(cluster: &Cluster, node: u64) -> Vec<u64> {
    let members = cluster.status(node).expect("a status").members;
    members.voters.values().map(|node| node.get()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_grows_to_three_voters_and_shrinks_to_one_under_load() {
    let cluster = Arc::new(Cluster::start(3).await);
    cluster.leader().await;
    let load = cluster.load("w");
    tokio::time::sleep(Duration::from_millis(100)).await;
    for node in [2, 3] {
        cluster.add_voter(node).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let leader = cluster.leader().await;
    assert_eq!(voters(&cluster, leader), [1, 2, 3]);
    cluster.agree(&[1]).await;
    for node in [1, 2, 3] {
        if node != leader {
            cluster.change(ReplicaChange::Remove { replica: replica(node) }).await;
            let replicas = cluster.replicas(node).expect("a node");
            replicas.remove(SHARD).await.expect("removed");
        }
    }
    assert_eq!(cluster.leader().await, leader);
    assert_eq!(voters(&cluster, leader), [leader]);
    let acknowledged = load.stop().await;
    assert!(!acknowledged.is_empty());
    assert_once(&cluster.agree(&[leader]).await, &acknowledged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_is_replaced_by_a_learner() {
    let cluster = Cluster::start(4).await;
    cluster.leader().await;
    cluster.add_voter(2).await;
    cluster.add_voter(3).await;
    cluster.add_learner(4).await;
    let old = if cluster.leader().await == 3 { 2 } else { 3 };
    let change = ReplicaChange::Replace { old: replica(old), new: replica(4) };
    cluster.change(change).await;
    cluster.write("x").await;
    let leader = cluster.leader().await;
    assert!(!voters(&cluster, leader).contains(&old));
    assert!(voters(&cluster, leader).contains(&4));
    assert_eq!(cluster.agree(&[leader, 4]).await, ["x"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_changes_against_the_same_state_one_is_outdated() {
    let cluster = Cluster::start(3).await;
    let group = cluster.group(cluster.leader().await).expect("a group");
    let seen = group.group_status().members.version;
    let add = |node| ReplicaChange::AddLearner { replica: replica(node), node: NodeId::new(node) };
    group.change_replicas(add(2), seen).await.expect("the first");
    assert_eq!(group.change_replicas(add(3), seen).await, Err(ChangeError::Outdated));
    let leader = group.replica();
    let seen = group.group_status().members.version;
    let removed = group.change_replicas(ReplicaChange::Remove { replica: leader }, seen).await;
    assert_eq!(removed, Err(ChangeError::LeaderMustMove));
    let promoted =
        group.change_replicas(ReplicaChange::Promote { replicas: [replica(9)].into() }, seen).await;
    assert!(matches!(promoted, Err(ChangeError::NotA { .. })), "{promoted:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_voters_left_by_a_dead_leader_is_finished_by_the_next() {
    let cluster = Cluster::start(4).await;
    cluster.leader().await;
    cluster.add_voter(2).await;
    cluster.add_voter(3).await;
    cluster.add_learner(4).await;
    let dead = cluster.leader().await;
    let group = cluster.group(dead).expect("a group");
    // What a leader does that dies half-way: it enters the joint configuration and no more.
    let old = BTreeSet::from([1, 2, 3].map(replica));
    let new: BTreeSet<_> = (1..=4).filter(|node| *node != dead).map(replica).collect();
    let nodes: BTreeMap<_, _> = (1..=4).map(|n| (replica(n), NodeId::new(n))).collect();
    let joint = Membership::new(vec![old, new], nodes).expect("a membership");
    let raft = group.raft().expect("it runs");
    raft.append_membership(joint, EntryPayload::Blank, []).await.expect("the joint entry");
    cluster.crash(dead).await;
    wait_for("the change is finished", async || {
        let leader = cluster.leader().await;
        let members = cluster.status(leader).expect("a status").members;
        !members.is_changing && !members.voters.contains_key(&replica(dead))
    })
    .await;
    cluster.write("x").await;
}
