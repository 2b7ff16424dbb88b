//! How a request finds the shard's leader.

use std::time::Duration;

use breccia_ring::Step;
use breccia_router::LocalRole;
use breccia_types::{ReplicaId, RequestError};
use tokio::time::{Instant, sleep};

use crate::support::{Fault, SHARD, World, command, n, replies};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_follower_forwards_once_to_the_leader_that_it_knows() {
    let world = World::led_by(1);
    assert_eq!(world.write(2, command("a")).await, replies(&["reply 1"]));
    assert_eq!(world.network.calls(), [(2, 1)]);
    assert_eq!(world.applied(), ["a"]);
    let metrics = world.router(2).metrics();
    assert_eq!((metrics.forwards, metrics.hops, metrics.retries), (1, 0, 0));
    assert_eq!(world.router(1).metrics().here, 1);
}

#[tokio::test(start_paused = true)]
async fn the_leader_asks_nobody() {
    let world = World::led_by(1);
    assert_eq!(world.write(1, command("a")).await, replies(&["reply 1"]));
    assert_eq!(world.network.calls(), []);
}

#[tokio::test(start_paused = true)]
async fn a_node_without_a_replica_is_told_who_leads_and_remembers() {
    let world = World::led_by(3);
    world.acquaint().await;
    assert_eq!(world.router(4).leader(SHARD), Some(n(3)));
    assert_eq!(world.write(4, command("b")).await, replies(&["reply 2"]));
    assert_eq!(world.network.calls(), [(4, 3)]);
}

#[tokio::test(start_paused = true)]
async fn a_stale_hint_is_corrected_by_the_node_that_it_names() {
    let world = World::led_by(1);
    world.acquaint().await;
    world.elect(2);
    let before = world.router(4).metrics().wrong_owners;
    assert_eq!(world.write(4, command("b")).await, replies(&["reply 2"]));
    assert_eq!(world.network.calls(), [(4, 1), (4, 2)]);
    assert_eq!(world.write(4, command("c")).await, replies(&["reply 3"]));
    assert_eq!(world.network.calls(), [(4, 2)]);
    assert_eq!(world.router(4).metrics().wrong_owners, before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_write_waits_for_the_leader_that_is_being_elected() {
    let world = World::led_by(1);
    for id in 1..=3 {
        world.set_role(id, LocalRole::Follower { leader: None });
    }
    let started = Instant::now();
    let election = async {
        sleep(SECOND / 2).await;
        world.elect(3);
    };
    let (result, ()) = tokio::join!(world.write(4, command("a")), election);
    assert_eq!(result, replies(&["reply 1"]));
    assert!(started.elapsed() < SECOND);
    assert!(world.router(4).metrics().retries > 0);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_loses_its_place_in_the_middle_has_its_write_forwarded() {
    let world = World::led_by(1);
    // Its replica knows of the election, the rest of the node not yet.
    let error = breccia_router::LocalError::NotLeader { leader: Some(n(2)) };
    world.elect(2);
    world.set_role(1, LocalRole::Leader);
    world.fail(1, Some(error));
    assert_eq!(world.write(1, command("a")).await, replies(&["reply 1"]));
    assert_eq!(world.network.calls(), [(1, 2)]);
    assert_eq!(world.applied(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn two_nodes_that_point_at_each_other_cost_a_few_messages_a_round_and_no_loop() {
    let world = World::new();
    world.believe(2, 3);
    world.believe(3, 2);
    let started = Instant::now();
    let result = world.write(4, command("a")).await;
    let Err(RequestError::ShardUnavailable { shard, reason }) = result else {
        panic!("{result:?}");
    };
    assert_eq!(shard, SHARD);
    assert!(reason.contains("nothing was done"), "{reason}");
    assert!(started.elapsed() <= SECOND);
    let calls = world.network.calls();
    assert!(calls.iter().all(|(from, _)| *from == 4), "{calls:?}");
    let rounds = world.router(4).metrics().retries + 1;
    assert!(rounds < 20, "{rounds} rounds in a second");
    assert!(calls.len() as u64 <= 3 * rounds, "{} calls in {rounds} rounds", calls.len());
    // The same from one of the two, also when it may be passed on.
    assert!(world.write(2, command("a")).await.is_err());
    assert!(world.network.calls().iter().all(|(from, _)| *from == 2));
    // As soon as somebody leads, it is found.
    world.elect(1);
    assert_eq!(world.write(4, command("a")).await, replies(&["reply 1"]));
}

#[tokio::test(start_paused = true)]
async fn a_dead_leader_costs_one_attempt_and_then_the_others_are_tried() {
    let world = World::led_by(1);
    world.acquaint().await;
    for from in 2..=4 {
        world.cut(from, 1);
    }
    world.elect(2);
    assert_eq!(world.write(4, command("b")).await, replies(&["reply 2"]));
    assert_eq!(world.write(4, command("c")).await, replies(&["reply 3"]));
    let calls = world.network.calls();
    let to_the_dead = calls.iter().filter(|call| **call == (4, 1)).count();
    assert_eq!(to_the_dead, 1, "{calls:?}");
    assert_eq!(calls.last(), Some(&(4, 2)), "the new leader is remembered: {calls:?}");
    assert_eq!(world.router(4).metrics().retries, 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_placement_is_old_follows_the_newer_one_of_the_node_that_it_asks() {
    let world = World::led_by(1);
    world.acquaint().await;
    // The shard moves from node 1 to node 4, and all but node 2 have heard of it.
    let steps = [
        Step::AddLearner { shard: SHARD, node: n(4) },
        Step::Replace { shard: SHARD, add: ReplicaId::new(4), remove: ReplicaId::new(1) },
    ];
    let moved = steps
        .iter()
        .fold(world.placement.clone(), |placement, step| placement.after(step).unwrap());
    for id in [1, 3, 4] {
        world.place(id, moved.clone());
    }
    world.set_role(1, LocalRole::Absent);
    world.set_role(4, LocalRole::Leader);
    world.believe(3, 4);
    world.believe(2, 1);
    assert_eq!(world.write(2, command("b")).await, replies(&["reply 2"]));
    assert_eq!(world.network.calls().last(), Some(&(2, 4)));
}

#[tokio::test(start_paused = true)]
async fn a_new_placement_ends_the_wait_for_the_next_round() {
    let world = World::led_by(1);
    let nowhere = breccia_ring::Placement::even(breccia_types::Epoch::new(1), 1).unwrap();
    world.place(4, nowhere);
    let arrival = async {
        sleep(SECOND * 2 / 3).await;
        world.place(4, world.placement.clone());
        Instant::now()
    };
    let (result, arrived) = tokio::join!(world.write(4, command("a")), arrival);
    assert_eq!(result, replies(&["reply 1"]));
    assert_eq!(arrived.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_a_full_connection_did_not_take_is_tried_again_until_it_does() {
    let world = World::led_by(1);
    world.network.once(n(2), n(1), Fault::Busy);
    assert_eq!(world.write(2, command("a")).await, replies(&["reply 1"]));
    world.network.always(n(2), n(1), Fault::Busy);
    for id in [3, 1] {
        world.network.always(n(2), n(id), Fault::Busy);
    }
    let busy = RequestError::Busy { shard: SHARD };
    assert_eq!(world.write(2, command("b")).await, Err(busy));
    assert_eq!(world.applied(), ["a"]);
}

/// A review found that a node without a replica believed what it had once been told for as long
/// as nothing was forwarded.
#[tokio::test(start_paused = true)]
async fn what_a_leader_has_shown_is_certain_for_a_second_and_what_others_say_never() {
    let world = World::led_by(3);
    assert_eq!(world.router(4).certain_leader(SHARD), None);
    world.acquaint().await;
    assert_eq!(world.router(4).certain_leader(SHARD), Some(n(3)), "it answered");
    sleep(SECOND).await;
    assert_eq!(world.router(4).certain_leader(SHARD), None);
    assert_eq!(world.router(4).leader(SHARD), Some(n(3)), "a request still goes there first");
    assert_eq!(world.write(4, command("b")).await, replies(&["reply 2"]));
    assert_eq!(world.router(4).certain_leader(SHARD), Some(n(3)));
    world.cut(4, 3);
    world.elect(2);
    assert_eq!(world.write(4, command("c")).await, replies(&["reply 3"]));
    assert_eq!(world.router(4).certain_leader(SHARD), Some(n(2)));
}
