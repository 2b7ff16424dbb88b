//! What becomes of writes when messages are lost.

use std::time::Duration;

use breccia_router::{LocalError, METHOD};
use breccia_transport::{Handler, Method, Peer};
use breccia_types::limits::FORWARD_BYTES_WAITING_MAX;
use breccia_types::{Command, RequestError};
use bytes::Bytes;
use tokio::time::{Instant, sleep};

use crate::support::{Fault, SHARD, World, command, n, replies, with_id};

const SECOND: Duration = Duration::from_secs(1);

fn unknown<T>() -> Result<T, RequestError> {
    Err(RequestError::OutcomeUnknown { shard: SHARD })
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_to_a_write_without_a_request_id_is_an_unknown_outcome() {
    let world = World::led_by(1);
    world.network.once(n(2), n(1), Fault::LoseReply);
    assert_eq!(world.write(2, command("a")).await, unknown());
    assert_eq!(world.applied(), ["a"], "applied once and not sent again");
    assert_eq!(world.network.calls(), [(2, 1)]);
    assert_eq!(world.router(2).metrics().outcomes_unknown, 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_request_without_a_request_id_is_not_sent_again_either() {
    let world = World::led_by(1);
    world.network.once(n(2), n(1), Fault::LoseRequest);
    assert_eq!(world.write(2, command("a")).await, unknown());
    assert!(world.applied().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_to_a_write_with_a_request_id_is_asked_for_again() {
    let world = World::led_by(1);
    world.network.once(n(2), n(1), Fault::LoseReply);
    assert_eq!(world.write(2, with_id("a", 7)).await, replies(&["reply 1"]));
    assert_eq!(world.applied(), ["a"], "applied once");
    assert_eq!(world.network.calls(), [(2, 1), (2, 1)]);
    assert_eq!(world.router(2).metrics().retries, 1);
}

#[tokio::test(start_paused = true)]
async fn one_command_without_a_request_id_makes_the_whole_write_unrepeatable() {
    let world = World::led_by(1);
    world.network.once(n(2), n(1), Fault::LoseReply);
    let commands = vec![with_id("a", 7), command("b")];
    let deadline = Instant::now() + SECOND;
    assert_eq!(world.router(2).write(SHARD, commands, deadline).await, unknown());
    assert_eq!(world.applied(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_reply_a_refusal_does_not_claim_that_nothing_was_applied() {
    let world = World::led_by(1);
    world.network.once(n(2), n(1), Fault::LoseReply);
    let refusals = async {
        sleep(Duration::from_millis(1)).await;
        world.fail(1, Some(RequestError::Busy { shard: SHARD }.into()));
    };
    let (result, ()) = tokio::join!(world.write(2, with_id("a", 7)), refusals);
    assert_eq!(result, unknown());
    assert_eq!(world.applied(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_at_the_leader_is_told_as_such_over_any_distance() {
    let world = World::led_by(1);
    world.fail(1, Some(LocalError::Unknown));
    for from in [1, 2, 3] {
        assert_eq!(world.write(from, command("a")).await, unknown(), "from node {from}");
    }
    let calls = world.network.calls();
    assert_eq!(calls, [(2, 1), (3, 1)], "and nobody tried again");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_for_now_is_asked_again_until_it_can() {
    let world = World::led_by(1);
    let not_now = LocalError::NotNow { reason: "no majority".to_owned() };
    world.fail(1, Some(not_now.clone()));
    let recovery = async {
        sleep(SECOND / 2).await;
        world.fail(1, None);
    };
    let (result, ()) = tokio::join!(world.write(2, command("a")), recovery);
    assert_eq!(result, replies(&["reply 1"]));
    world.fail(1, Some(not_now));
    let result = world.write(1, command("b")).await;
    assert!(matches!(result, Err(RequestError::ShardUnavailable { .. })), "{result:?}");
    assert_eq!(world.applied(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_a_silence_and_says_that_it_may_have_been_applied() {
    let world = World::led_by(1);
    for (fault, applied) in [(Fault::Silence, 0), (Fault::Delay(SECOND / 2), 1)] {
        let started = Instant::now();
        world.network.once(n(2), n(1), fault);
        world.slow(1, SECOND * 60);
        let result = world.write(2, command("a")).await;
        assert_eq!(result, Err(RequestError::DeadlineExceeded), "{fault:?}");
        assert!(started.elapsed() <= SECOND + Duration::from_millis(2), "{fault:?}");
        assert_eq!(world.applied().len(), applied, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_a_write_withdraws_nothing_that_was_queued_or_sent() {
    let world = World::led_by(1);
    world.slow(1, SECOND);
    let deadline = Instant::now() + SECOND * 60;
    drop(world.router(1).write(SHARD, vec![command("a")], deadline));
    assert_eq!(world.applied(), ["a"], "queued before it was awaited");
    let forwarded = world.router(2).write(SHARD, vec![command("b")], deadline);
    assert!(tokio::time::timeout(SECOND / 2, forwarded).await.is_err());
    assert_eq!(world.applied(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn writes_of_the_leader_are_queued_in_the_order_of_the_calls() {
    let world = World::led_by(1);
    let deadline = Instant::now() + SECOND;
    let first = world.router(1).write(SHARD, vec![command("a"), command("b")], deadline);
    let second = world.router(1).write(SHARD, vec![command("c")], deadline);
    assert_eq!(second.await, replies(&["reply 3"]));
    assert_eq!(first.await, replies(&["reply 1", "reply 2"]));
}

#[tokio::test(start_paused = true)]
async fn more_bytes_than_may_wait_for_others_are_refused_at_once() {
    let world = World::led_by(1);
    world.network.always(n(2), n(1), Fault::Silence);
    let payload = Bytes::from(vec![0; FORWARD_BYTES_WAITING_MAX / 2 - 10_000]);
    let write = || {
        let large = Command { payload: payload.clone(), ..command("") };
        world.router(2).write(SHARD, vec![large], Instant::now() + SECOND)
    };
    let started = Instant::now();
    let third = async {
        tokio::task::yield_now().await;
        (write().await, started.elapsed())
    };
    let (first, second, (third, waited)) = tokio::join!(write(), write(), third);
    assert_eq!(third, Err(RequestError::Busy { shard: SHARD }));
    assert_eq!(waited, Duration::ZERO);
    assert_eq!((first, second.is_err()), (Err(RequestError::DeadlineExceeded), true));
    assert_eq!(world.router(2).metrics().refused_busy, 1);
    world.network.heal();
    assert_eq!(write().await, replies(&["reply 1"]), "room comes back");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_read_is_refused_by_name() {
    let world = World::led_by(1);
    let from = Peer { node: n(2), incarnation: 1 };
    for (method, body, text) in [
        (METHOD, &b"\x63"[..], "format version 99 is not known"),
        (METHOD, b"\x01", "the bytes end at 1, within a field that needs 1 more"),
        (Method(1), b"", "method 1 is none of the router's"),
    ] {
        let refused = world.router(1).on_call(from, method, Bytes::from_static(body)).await;
        assert_eq!(refused.expect_err("refused").0, text);
    }
}
