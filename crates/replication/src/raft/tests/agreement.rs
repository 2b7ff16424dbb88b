//! Replicas agree.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::support::{Cluster, Options, assert_once, command, replica, wait_for};
use crate::consensus::{ProposeError, ReadError, ShardConsensus};
use crate::raft::{ReadMode, Role, Timing};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_apply_every_acknowledged_command_once_in_one_order() {
    let cluster = Arc::new(Cluster::with_voters(3).await);
    let loads: Vec<_> = ["a", "b", "c", "d"].into_iter().map(|name| cluster.load(name)).collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut acknowledged = Vec::new();
    for load in loads {
        acknowledged.extend(load.stop().await);
    }
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    assert_once(&cluster.agree(&[1, 2, 3]).await, &acknowledged);
    let stamps = cluster.content(2).stamps;
    assert!(stamps.windows(2).all(|pair| pair[0] < pair[1]), "stamps grow");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_of_one_voter_writes_well_under_a_second_after_its_start() {
    let options = Options { timing: Timing::default(), ..Options::default() };
    let cluster = Cluster::start_with(1, options).await;
    cluster.write("before").await;
    cluster.crash(1).await;
    let started = Instant::now();
    cluster.start_node(1).await;
    cluster.write("after").await;
    assert!(started.elapsed() < Duration::from_millis(600), "{:?}", started.elapsed());
    assert_eq!(cluster.content(1).commands, ["before", "after"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proposals_keep_their_order_and_get_their_own_outcomes() {
    let cluster = Cluster::start(1).await;
    let group = cluster.group(cluster.leader().await).expect("a group");
    let proposals: Vec<_> = (0..500)
        .map(|number| group.propose(vec![command(&format!("{number}a")), command("b")]))
        .collect();
    for (number, proposal) in proposals.into_iter().enumerate() {
        let outcomes = proposal.await.expect("outcomes");
        assert_eq!(outcomes, [Ok(format!("{number}a").into()), Ok("b".into())]);
    }
    let applied = cluster.content(1);
    assert_eq!(applied.commands.len(), 1_000);
    assert!(applied.stamps.len() < 250, "{} entries", applied.stamps.len());
    assert_eq!(applied.commands[998], "499a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_names_the_leader_instead_of_writing_or_reading() {
    let cluster = Cluster::with_voters(3).await;
    cluster.write("x").await;
    let leader = cluster.leader().await;
    let follower = cluster.group(leader % 3 + 1).expect("a group");
    let Err(ProposeError::NotLeader { leader: hint }) = follower.propose(vec![command("y")]).await
    else {
        panic!("a follower wrote");
    };
    assert_eq!(hint.map(|hint| (hint.replica, hint.node.get())), Some((replica(leader), leader)));
    let read = follower.read_barrier_in(ReadMode::Strict).await;
    assert_eq!(read, Err(ReadError::NotLeader { leader: hint }));
    wait_for("the follower hears its leader", async || {
        follower.since_contact().is_some_and(|since| since < Duration::from_millis(200))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stamps_grow_when_the_next_leaders_clock_is_behind() {
    let options = Options { skew: Duration::from_secs(600), ..Options::default() };
    let cluster = Cluster::with_voters_and(3, options).await;
    cluster.write("one").await;
    let first = cluster.leader().await;
    let group = cluster.group(first).expect("a group");
    for next in [2, 3, 1] {
        wait_for("a transfer", async || {
            let group = cluster.group(cluster.leader().await).expect("a group");
            group.transfer_leader(replica(next)).await.is_ok()
        })
        .await;
        cluster.write(&format!("led by {next}")).await;
    }
    assert_eq!(group.group_status().members.voters.len(), 3);
    cluster.agree(&[1, 2, 3]).await;
    let stamps = cluster.content(3).stamps;
    assert_eq!(stamps.len(), 4);
    assert!(stamps.windows(2).all(|pair| pair[0] < pair[1]), "{stamps:?}");
    assert_eq!(cluster.status(1).map(|status| status.role), Some(Role::Leader));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_loss_of_power_everywhere() {
    let cluster = Cluster::with_voters(3).await;
    for number in 0..20 {
        cluster.write(&number.to_string()).await;
    }
    for number in [1, 2, 3] {
        cluster.crash(number).await;
    }
    assert!(cluster.content(1).commands.len() < 20, "the machine forgot nothing");
    for number in [1, 2, 3] {
        cluster.start_node(number).await;
    }
    cluster.write("last").await;
    let applied = cluster.agree(&[1, 2, 3]).await;
    let wanted: Vec<_> = (0..20).map(|n| n.to_string()).chain(["last".to_owned()]).collect();
    assert_eq!(applied, wanted);
}
