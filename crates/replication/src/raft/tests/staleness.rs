//! What a replica says of its age bounds what it may lack, whatever happens to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use breccia_types::NodeId;

use super::support::{Cluster, Options, replica, timing, wait_for};
use crate::raft::{Role, Timing};

/// What an idle group's replica may be at most with the default timing: a stamp goes to the
/// leader with one heartbeat and comes back with the next. One more, as other tests run on the
/// same processors.
const FRESH: Duration = Duration::from_millis(250 * 3);
/// An age at which nothing is fresh any more.
const OLD: Duration = Duration::from_secs(1);

fn staleness(cluster: &Cluster, node: u64) -> Option<Duration> {
    cluster.group(node).expect("a group").staleness()
}

/// Whether a replica heard from a leader a moment ago.
fn is_in_touch(cluster: &Cluster, node: u64) -> bool {
    let since = cluster.group(node).expect("a group").since_contact();
    since.is_some_and(|since| since < timing().heartbeat * 4)
}

/// Waits until a replica is fresh.
async fn refreshed(cluster: &Cluster, node: u64) {
    wait_for(&format!("{node} is fresh"), async || {
        staleness(cluster, node).is_some_and(|age| age < FRESH)
    })
    .await;
}

/// Waits until a replica is old that lacks something acknowledged before `since`, or cannot know
/// that it does not, and sees that it never says to be younger than that.
async fn grows_old(cluster: &Cluster, node: u64, since: Instant) {
    wait_for(&format!("{node} grows old"), async || {
        let at_least = since.elapsed();
        let age = staleness(cluster, node);
        assert!(age.is_none_or(|age| age >= at_least), "{age:?} instead of {at_least:?}");
        at_least > OLD
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_of_a_quiet_group_are_fresh_within_about_two_heartbeats() {
    let options = Options { timing: Timing::default(), ..Options::default() };
    let cluster = Cluster::with_voters_and(3, options).await;
    cluster.write("x").await;
    for node in [1, 2, 3] {
        refreshed(&cluster, node).await;
    }
    // Nothing is written, and they stay fresh.
    let (until, mut oldest) = (Instant::now() + Timing::default().heartbeat * 8, Duration::ZERO);
    while Instant::now() < until {
        for node in [1, 2, 3] {
            oldest = oldest.max(staleness(&cluster, node).expect("it is known"));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(oldest < FRESH, "{oldest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_steady_writes_followers_stay_fresh_and_lack_nothing_older() {
    let cluster = Arc::new(Cluster::with_voters(3).await);
    let load = cluster.load("w");
    let follower = cluster.leader().await % 3 + 1;
    refreshed(&cluster, follower).await;
    let mut oldest = Duration::ZERO;
    for number in 0..20 {
        let text = format!("{number}");
        cluster.write(&text).await;
        let acknowledged = Instant::now();
        wait_for("the write lies before the replica's age", async || {
            let lacks = acknowledged.elapsed();
            let age = staleness(&cluster, follower).expect("it is known");
            oldest = oldest.max(age);
            age < lacks
        })
        .await;
        let applied = cluster.content(follower).commands;
        assert!(applied.iter().any(|command| *command == text.as_bytes()), "{text} is not there");
    }
    load.stop().await;
    assert!(oldest < FRESH, "{oldest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_replica_without_data_is_not_fresh_until_it_has_caught_up() {
    let cluster = Cluster::start(2).await;
    cluster.write("x").await;
    cluster.machines(2).set(|faults| faults.is_frozen = true);
    cluster.add_learner(2).await;
    wait_for("it hears its leader", async || is_in_touch(&cluster, 2)).await;
    let hearing = Instant::now();
    while hearing.elapsed() < timing().heartbeat * 5 {
        assert_eq!(staleness(&cluster, 2), None);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    cluster.machines(2).set(|faults| faults.is_frozen = false);
    refreshed(&cluster, 2).await;
    assert_eq!(cluster.content(2).commands, ["x"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_comes_back_is_not_fresh_until_it_has_caught_up() {
    let cluster = Cluster::with_voters(3).await;
    let away = cluster.leader().await % 3 + 1;
    refreshed(&cluster, away).await;
    cluster.crash(away).await;
    cluster.write("missed").await;
    cluster.machines(away).set(|faults| faults.is_frozen = true);
    cluster.start_node(away).await;
    // The leader still has the stamps of the run before.
    wait_for("it hears its leader", async || is_in_touch(&cluster, away)).await;
    let hearing = Instant::now();
    while hearing.elapsed() < timing().heartbeat * 5 {
        assert_eq!(staleness(&cluster, away), None);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    cluster.machines(away).set(|faults| faults.is_frozen = false);
    refreshed(&cluster, away).await;
    assert_eq!(cluster.content(away).commands, ["missed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_does_not_apply_grows_old_though_it_hears_its_leader() {
    let cluster = Cluster::with_voters(3).await;
    let frozen = cluster.leader().await % 3 + 1;
    refreshed(&cluster, frozen).await;
    cluster.machines(frozen).set(|faults| faults.is_frozen = true);
    cluster.write("x").await;
    grows_old(&cluster, frozen, Instant::now()).await;
    assert!(is_in_touch(&cluster, frozen));
    cluster.machines(frozen).set(|faults| faults.is_frozen = false);
    refreshed(&cluster, frozen).await;
    assert_eq!(cluster.content(frozen).commands, ["x"]);
}

/// To a replica that is paused and goes on, everything arrives late and at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_were_delayed_do_not_make_a_replica_fresh() {
    let cluster = Cluster::start(2).await;
    cluster.write("x").await;
    cluster.add_learner(2).await;
    refreshed(&cluster, 2).await;
    let (leader, paused) = (NodeId::new(1), NodeId::new(2));
    cluster.net.hold(leader, paused);
    let since = Instant::now();
    cluster.write("while it is paused").await;
    grows_old(&cluster, 2, since).await;
    assert!(!is_in_touch(&cluster, 2));
    // What was sent meanwhile arrives, but no answer gets back yet.
    cluster.net.hold(paused, leader);
    cluster.net.let_through(leader, paused);
    wait_for("delayed messages arrive", async || is_in_touch(&cluster, 2)).await;
    let age = staleness(&cluster, 2).expect("it is known");
    assert!(age > OLD, "{age:?}");
    cluster.net.let_through(paused, leader);
    refreshed(&cluster, 2).await;
    assert_eq!(cluster.agree(&[1, 2]).await, ["x", "while it is paused"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_hears_only_a_deposed_leader_grows_old() {
    let cluster = Cluster::with_voters(5).await;
    cluster.write("x").await;
    let old = cluster.leader().await;
    let follower = old % 5 + 1;
    refreshed(&cluster, follower).await;
    let here = [old, follower].map(NodeId::new);
    let there: Vec<_> = cluster.numbers().into_iter().map(NodeId::new).collect();
    let there: Vec<_> = there.into_iter().filter(|node| !here.contains(node)).collect();
    cluster.net.cut(&here, &there);
    let since = Instant::now();
    wait_for("the others elect", async || cluster.leaders().iter().any(|leader| *leader != old))
        .await;
    cluster.write("unknown to both").await;
    grows_old(&cluster, follower, since).await;
    assert!(is_in_touch(&cluster, follower));
    grows_old(&cluster, old, since).await;
    cluster.net.heal();
    for node in cluster.numbers() {
        refreshed(&cluster, node).await;
    }
    cluster.agree(&[1, 2, 3, 4, 5]).await;
}

/// They have in their logs what the leader before acknowledged, and do not show it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_that_does_not_apply_makes_nobody_fresh() {
    let patient = Timing { apply_stall_max: Duration::from_secs(60), ..timing() };
    let options = Options { timing: patient, ..Options::default() };
    let cluster = Cluster::with_voters_and(3, options).await;
    let old = cluster.leader().await;
    let (next, third) = (old % 3 + 1, (old + 1) % 3 + 1);
    for node in [next, third] {
        refreshed(&cluster, node).await;
        cluster.machines(node).set(|faults| faults.is_frozen = true);
    }
    cluster.write("x").await;
    let since = Instant::now();
    let group = cluster.group(old).expect("a group");
    wait_for("a transfer", async || group.transfer_leader(replica(next)).await.is_ok()).await;
    for node in [next, third] {
        wait_for("a majority follows", async || is_in_touch(&cluster, node)).await;
        grows_old(&cluster, node, since).await;
        assert!(is_in_touch(&cluster, node));
        assert!(cluster.content(node).commands.is_empty());
    }
    assert_eq!(cluster.status(next).map(|status| status.role), Some(Role::Leader));
    for node in [next, third] {
        cluster.machines(node).set(|faults| faults.is_frozen = false);
    }
    for node in [1, 2, 3] {
        refreshed(&cluster, node).await;
    }
    cluster.agree(&[1, 2, 3]).await;
}
