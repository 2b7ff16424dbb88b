//! Requests that pass through nodes that do not lead, because the network is cut.

use std::time::Duration;

use breccia_router::LocalError;
use breccia_types::RequestError;
use breccia_types::limits::FORWARD_HOPS_MAX;
use tokio::time::Instant;

use crate::support::{Fault, SHARD, World, command, n, replies};

/// Node 4 reaches node 2 only, which believes that node 3 leads, which believes rightly
/// that node 1 does.
async fn chain() -> World {
    let world = World::led_by(1);
    world.acquaint().await;
    world.cut(4, 1);
    world.cut(4, 3);
    world.believe(2, 3);
    world
}

fn passed_on(calls: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let is_cut = |call: &(u64, u64)| *call == (4, 1) || *call == (4, 3);
    calls.iter().copied().filter(|call| !is_cut(call)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_be_reached_is_reached_through_others() {
    let world = chain().await;
    assert_eq!(world.write(4, command("a")).await, replies(&["reply 2"]));
    assert_eq!(passed_on(&world.network.calls()), [(4, 2), (2, 3), (3, 1)]);
    assert_eq!(world.applied(), ["first", "a"]);
    assert_eq!(world.router(3).metrics().hops, 1);
    assert_eq!(world.router(4).leader(SHARD), Some(n(1)), "who answered is known");
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_leader_comes_through_three_hops_as_it_is() {
    let world = chain().await;
    for error in [
        RequestError::InvalidOperand { reason: "not a number".to_owned() },
        RequestError::ReadOnly { reason: "the disk is full".to_owned() },
        RequestError::Busy { shard: SHARD },
    ] {
        world.network.calls();
        world.fail(1, Some(error.clone().into()));
        assert_eq!(world.write(4, command("a")).await, Err(error));
        let calls = passed_on(&world.network.calls());
        assert_eq!(calls, [(4, 2), (2, 3), (3, 1)], "and is not tried again");
    }
    assert_eq!(world.applied(), ["first"]);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_stays_one_over_three_hops() {
    let world = chain().await;
    world.network.once(n(3), n(1), Fault::LoseReply);
    let unknown = Err(RequestError::OutcomeUnknown { shard: SHARD });
    assert_eq!(world.write(4, command("a")).await, unknown);
    assert_eq!(world.applied(), ["first", "a"]);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_holds_over_hops_that_each_take_their_time() {
    let world = chain().await;
    let millis = Duration::from_millis;
    for way in [(4, 2), (2, 3), (3, 1)] {
        world.network.always(n(way.0), n(way.1), Fault::Delay(millis(50)));
    }
    world.slow(1, Duration::from_secs(60));
    let started = Instant::now();
    let write = world.router(4).write(SHARD, vec![command("a")], started + millis(400));
    assert_eq!(write.await, Err(RequestError::DeadlineExceeded));
    let took = started.elapsed();
    assert!((millis(400)..millis(403)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_who_passes_a_request_on_tries_again() {
    let world = chain().await;
    world.fail(1, Some(LocalError::NotNow { reason: "no majority".to_owned() }));
    let started = Instant::now();
    assert!(world.write(4, command("a")).await.is_err());
    assert!(started.elapsed() <= Duration::from_secs(1));
    for id in 1..=3 {
        assert_eq!(world.router(id).metrics().retries, 0, "node {id}");
    }
    let rounds = usize::try_from(world.router(4).metrics().retries + 1).unwrap();
    let calls = passed_on(&world.network.calls());
    assert!(calls.len() <= 3 * rounds, "{} calls in {rounds} rounds", calls.len());
}

#[tokio::test(start_paused = true)]
async fn a_ring_of_wrong_beliefs_is_left_after_at_most_four_hops() {
    let world = chain().await;
    // 2 believes in 3, 3 in 1, 1 in 2.
    world.believe(1, 2);
    assert!(world.write(4, command("a")).await.is_err());
    let calls = passed_on(&world.network.calls());
    let rounds = usize::try_from(world.router(4).metrics().retries + 1).unwrap();
    assert!(calls.len() <= usize::from(FORWARD_HOPS_MAX) * rounds, "{calls:?}");
    assert!(!calls.contains(&(1, 2)), "nobody is visited twice: {calls:?}");
    world.elect(1);
    assert!(world.write(4, command("a")).await.is_ok());
}
