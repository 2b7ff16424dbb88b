//! Where reads are answered.

use std::time::Duration;

use breccia_router::{Consistency, LocalError, LocalRole};
use breccia_types::RequestError;
use bytes::Bytes;

use crate::support::{Fault, SHARD, World, n};

const STALE: Consistency = Consistency::Stale { max: Duration::from_secs(5) };

#[tokio::test(start_paused = true)]
async fn reads_that_see_everything_are_answered_by_the_leader() {
    let world = World::led_by(1);
    for consistency in [Consistency::Linearizable, Consistency::Strict] {
        for from in 1..=4 {
            assert_eq!(world.read(from, consistency).await, Ok(Bytes::from("k by n1")));
        }
        assert!(world.router(1).serves(SHARD, consistency));
        assert!(!world.router(2).serves(SHARD, consistency));
    }
}

#[tokio::test(start_paused = true)]
async fn stale_reads_are_answered_by_any_replica_and_at_home_if_there_is_one() {
    let world = World::led_by(1);
    for from in 1..=3 {
        assert_eq!(world.read(from, STALE).await, Ok(Bytes::from(format!("k by n{from}"))));
        assert!(world.router(from).serves(SHARD, STALE));
    }
    assert_eq!(world.network.calls(), []);
    let mut answers = std::collections::BTreeSet::new();
    for _ in 0..100 {
        answers.insert(world.read(4, STALE).await.expect("an answer"));
    }
    assert_eq!(answers.len(), 3, "{answers:?}");
    assert_eq!(world.network.calls().len(), 100, "each asked one node");
    assert_eq!(world.router(4).leader(SHARD), None, "and learned nothing of the leader");
}

#[tokio::test(start_paused = true)]
async fn stale_reads_need_no_leader() {
    let world = World::new();
    world.cut(4, 1);
    world.cut(4, 2);
    assert_eq!(world.read(4, STALE).await, Ok(Bytes::from("k by n3")));
    let result = world.read(4, Consistency::Linearizable).await;
    assert!(matches!(result, Err(RequestError::ShardUnavailable { .. })), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_too_far_behind_sends_the_read_to_another() {
    let world = World::led_by(1);
    world.fail(2, Some(LocalError::NotNow { reason: "6 s behind".to_owned() }));
    world.cut(2, 3);
    assert_eq!(world.read(2, STALE).await, Ok(Bytes::from("k by n1")));
}

#[tokio::test(start_paused = true)]
async fn a_read_whose_reply_was_lost_is_asked_again() {
    let world = World::led_by(1);
    world.network.once(n(2), n(1), Fault::LoseReply);
    assert_eq!(world.read(2, Consistency::Strict).await, Ok(Bytes::from("k by n1")));
    world.network.always(n(2), n(1), Fault::LoseReply);
    let result = world.read(2, Consistency::Strict).await;
    assert!(matches!(result, Err(RequestError::ShardUnavailable { .. })), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_replica_is_the_answer() {
    let world = World::led_by(1);
    let error = RequestError::Storage { reason: "EIO".to_owned() };
    world.fail(1, Some(error.clone().into()));
    for from in [1, 2, 4] {
        world.set_role(4, LocalRole::Absent);
        assert_eq!(world.read(from, Consistency::Linearizable).await, Err(error.clone()));
    }
}
