//! One call to each of many shards, so many at a time, until one deadline.

use std::future::Future;

use breccia_types::{RequestError, ShardId};
use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use tokio::time::{Instant, timeout_at};

/// How many shards are asked at once, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scatter {
    /// Calls in flight at once; at least one.
    pub concurrency: usize,
    /// When those that have not answered fail with [`RequestError::DeadlineExceeded`].
    pub deadline: Instant,
}

impl Scatter {
    /// Calls every shard, and gives each answer or error as it comes, in any order. Dropping
    /// the stream gives the rest up. For those who can make do with a part: they must say
    /// which.
    pub fn each<T, F>(
        self,
        shards: impl IntoIterator<Item = ShardId>,
        call: impl Fn(ShardId) -> F,
    ) -> impl Stream<Item = (ShardId, Result<T, RequestError>)>
    where
        F: Future<Output = Result<T, RequestError>>,
    {
        let calls = shards.into_iter().map(move |shard| (shard, call(shard)));
        self.run(calls)
    }

    /// The answers of all calls, in the order of `calls`.
    ///
    /// # Errors
    /// The first error of any; the calls under way are then dropped.
    pub async fn all<T, F>(self, calls: impl IntoIterator<Item = F>) -> Result<Vec<T>, RequestError>
    where
        F: Future<Output = Result<T, RequestError>>,
    {
        let answers = self.run(calls.into_iter().enumerate());
        let answers = answers.map(|(at, answer)| answer.map(|answer| (at, answer)));
        let mut answers: Vec<(usize, T)> = answers.try_collect().await?;
        answers.sort_unstable_by_key(|(at, _)| *at);
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }

    /// The answers of all shards, combined as they come, in any order: what is held at once
    /// is one result and the calls in flight, not one answer per shard.
    ///
    /// # Errors
    /// The first error of any shard; the calls under way are then dropped.
    pub async fn fold<T, A, F>(
        self,
        calls: impl IntoIterator<Item = F>,
        start: A,
        mut combine: impl FnMut(A, T) -> A,
    ) -> Result<A, RequestError>
    where
        F: Future<Output = Result<T, RequestError>>,
    {
        let mut answers = std::pin::pin!(self.run(calls.into_iter().map(|call| ((), call))));
        let mut whole = start;
        while let Some(((), answer)) = answers.next().await {
            whole = combine(whole, answer?);
        }
        Ok(whole)
    }

    fn run<K, T, F>(
        self,
        calls: impl IntoIterator<Item = (K, F)>,
    ) -> impl Stream<Item = (K, Result<T, RequestError>)>
    where
        F: Future<Output = Result<T, RequestError>>,
    {
        let calls = stream::iter(calls).map(move |(key, call)| async move {
            let late = |_| Err(RequestError::DeadlineExceeded);
            (key, timeout_at(self.deadline, call).await.unwrap_or_else(late))
        });
        calls.buffer_unordered(self.concurrency.max(1))
    }
}

#[cfg(test)]
mod tests;
