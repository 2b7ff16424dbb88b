use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use super::*;

fn shards(count: u32) -> Vec<ShardId> {
    (0..count).map(ShardId::new).collect()
}

fn scatter(concurrency: usize) -> Scatter {
    Scatter { concurrency, deadline: Instant::now() + Duration::from_secs(1) }
}

async fn after(millis: u64, shard: ShardId) -> Result<ShardId, RequestError> {
    sleep(Duration::from_millis(millis)).await;
    Ok(shard)
}

#[tokio::test(start_paused = true)]
async fn answers_come_in_the_order_of_the_calls_whichever_is_ready_first() {
    let calls = shards(5).into_iter().map(|shard| after(u64::from(9 - shard.get()), shard));
    assert_eq!(scatter(3).all(calls).await, Ok(shards(5)));
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_run_at_once_than_allowed() {
    let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let call = |shard| {
        let (running, most) = (&running, &most);
        async move {
            let now = running.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            let answer = after(10, shard).await;
            running.fetch_sub(1, Ordering::SeqCst);
            answer
        }
    };
    let sum = |sum: u32, shard: ShardId| sum + shard.get();
    let folded = scatter(3).fold(shards(10).into_iter().map(call), 0, sum).await;
    assert_eq!(folded, Ok(45));
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn one_shard_that_fails_fails_the_whole_at_once() {
    let started = Instant::now();
    let bad = ShardId::new(3);
    let call = |shard: ShardId| async move {
        if shard == bad { Err(RequestError::Busy { shard }) } else { after(900, shard).await }
    };
    let calls = || shards(5).into_iter().map(call);
    let failed = RequestError::Busy { shard: bad };
    assert_eq!(scatter(5).all(calls()).await, Err(failed.clone()));
    assert_eq!(scatter(5).fold(calls(), 0, |sum, _| sum).await, Err(failed));
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_each_answer_that_is_missing_is_named() {
    let call = |shard: ShardId| after(600 * u64::from(shard.get() + 1), shard);
    let started = Instant::now();
    let answers: Vec<_> = scatter(8).each(shards(3), call).collect().await;
    let [first, second, third] = [0, 1, 2].map(ShardId::new);
    assert_eq!(answers[0], (first, Ok(first)));
    for late in [second, third] {
        assert!(answers.contains(&(late, Err(RequestError::DeadlineExceeded))));
    }
    assert_eq!(started.elapsed(), Duration::from_secs(1));
}
