//! Reductions: how this node asks for them, and what it does of them itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use breccia_ring::{slot_of, slot_of_prefix};
use breccia_router::{LocalError, LocalReduce, Reduced, Work};
use breccia_service::reduce::{
    AnyReduce, Reduce, ReduceError, Reductions, Rows, Stop, decode_partial, encode_aggregate,
    encode_request,
};
use breccia_store::TableReader;
use breccia_types::reduce::{
    Aggregate, Coverage, Gaps, KeyRange, Meter, MissingShard, Order, Part, Scope,
};
use breccia_types::{ReductionId, RequestError, ShardId, Table};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, ready};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::check::check_key;
use crate::local::Local;
use crate::node::{Node, Shard};

/// Partials of up to so many bytes together are combined on the runtime's own threads.
const COMBINED_AT_ONCE_BYTES: usize = 64 << 10;

/// What a reduction has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reduction {
    /// What people see of it, as JSON text.
    pub presented: String,
    /// The same as nodes give it to each other; `None` if no shard was covered.
    pub partial: Option<Bytes>,
    /// What it covers.
    pub coverage: Coverage,
}

/// What this node has done of reductions since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReduceMetrics {
    /// Shards that are being read just now.
    pub running: u64,
    /// Shards that were read through.
    pub finished: u64,
    /// Shards whose reading ended early, because nobody waited any more or it failed.
    pub broken_off: u64,
}

/// This node's part in reductions.
#[derive(Clone)]
pub(crate) struct Reducing {
    local: Local,
    reductions: Reductions,
    /// One permit per thread that may read at a time.
    threads: Arc<Semaphore>,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Counters {
    running: AtomicU64,
    finished: AtomicU64,
    broken_off: AtomicU64,
}

impl Node {
    /// Reduces the rows of a table, where they are. The meter tells how far it has come.
    /// Cancel-safe: dropping the future ends the reading on all nodes.
    ///
    /// # Errors
    /// [`RequestError::WrongKind`] if the table's rows cannot be reduced so,
    /// [`RequestError::UnfitRow`] if it is strict and one cannot;
    /// [`RequestError::ShardUnavailable`] names a shard that could not be read in time, unless
    /// the scope allows gaps.
    pub async fn reduce(
        &self,
        table: &Table,
        aggregate: &Aggregate,
        scope: &Scope,
        meter: &Arc<Meter>,
    ) -> Result<Reduction, RequestError> {
        self.reduce_encoded(table, encode_aggregate(table, aggregate)?, scope, meter).await
    }

    /// Reduces the rows of a table by a reduction as nodes name it to each other.
    ///
    /// # Errors
    /// As [`Node::reduce`], or [`RequestError::InvalidArgument`] if a node lacks it.
    pub async fn reduce_encoded(
        &self,
        table: &Table,
        asked: (ReductionId, Bytes),
        scope: &Scope,
        meter: &Arc<Meter>,
    ) -> Result<Reduction, RequestError> {
        let reduced = self.reduce_as(table, asked.clone(), scope, meter).await?;
        let (reducing, partial) = (self.0.reducing.clone(), reduced.partial.clone());
        // What users wrote may take its time.
        let presenting = tokio::task::spawn_blocking(move || {
            let Some(whole) = partial else { return Ok("null".to_owned()) };
            Ok::<_, RequestError>(reducing.decode(asked.0, asked.1)?.present_bytes(whole)?)
        });
        let presented = presenting.await;
        Ok(Reduction {
            presented: presented
                .map_err(|error| RequestError::Internal { reason: error.to_string() })??,
            partial: reduced.partial,
            coverage: reduced.coverage,
        })
    }

    /// Reduces the rows of a table by a reduction of one's own, which every node of the
    /// cluster must have. The partial is `None` if no shard was covered.
    ///
    /// # Errors
    /// As [`Node::reduce`], or [`RequestError::InvalidArgument`] if a node lacks it.
    pub async fn reduce_with<R: Reduce>(
        &self,
        table: &Table,
        reduction: &R,
        scope: &Scope,
        meter: &Arc<Meter>,
    ) -> Result<(Option<R::Partial>, Coverage), RequestError> {
        let asked = (R::ID, encode_request(reduction));
        let reduced = self.reduce_as(table, asked, scope, meter).await?;
        let partial = reduced.partial.map(|bytes| decode_partial(reduction, bytes)).transpose()?;
        Ok((partial, reduced.coverage))
    }

    async fn reduce_as(
        &self,
        table: &Table,
        (reduction, request): (ReductionId, Bytes),
        scope: &Scope,
        meter: &Arc<Meter>,
    ) -> Result<Reduced, RequestError> {
        let keys = scope.keys.clone();
        let ends = [Some(&keys.prefix), keys.from.as_ref(), keys.to.as_ref()];
        ends.into_iter().flatten().try_for_each(|key| check_key(key))?;
        let mut shards = match scope.shard {
            Some(shard) => vec![shard],
            None => self.shards_of(table, &scope.keys),
        };
        let broken = self.take_broken(&mut shards, scope.gaps)?;
        let order = Order { reduction, request, table: table.view(), keys, misfits: scope.misfits };
        let work = Work {
            order: Arc::new(order),
            consistency: self.1,
            deadline: Instant::now() + scope.within,
            meter: Arc::clone(meter),
        };
        let mut reduced = self.0.reducer.reduce(&shards, &work, scope.gaps).await?;
        reduced.coverage.shards_asked += broken.len();
        reduced.coverage.missing.extend(broken);
        reduced.coverage.missing.sort_unstable_by_key(|missing| missing.shard);
        Ok(reduced)
    }

    /// The shards in which rows with these keys may lie.
    #[must_use]
    pub fn shards_of(&self, table: &Table, keys: &KeyRange) -> Vec<ShardId> {
        let rule = table.options.partition;
        let slot = match keys.only_key() {
            Some(key) => Some(slot_of(rule, key)),
            None => slot_of_prefix(rule, &keys.prefix),
        };
        slot.map_or_else(|| self.all_shards(), |slot| vec![self.shard_of(slot)])
    }

    /// Takes the shards out that no node can read, if gaps are allowed.
    fn take_broken(
        &self,
        shards: &mut Vec<ShardId>,
        gaps: Gaps,
    ) -> Result<Vec<MissingShard>, RequestError> {
        let mut broken = Vec::new();
        for shard in std::mem::take(shards) {
            match (self.check_in_service(shard), gaps) {
                (Ok(()), _) => shards.push(shard),
                (Err(error), Gaps::Refuse) => return Err(error),
                (Err(error), Gaps::Allow) => {
                    broken.push(MissingShard { shard, reason: error.to_string() });
                }
            }
        }
        Ok(broken)
    }

    /// What this node has done of reductions, its own and those of others.
    #[must_use]
    pub fn reduce_metrics(&self) -> ReduceMetrics {
        let counters = &self.0.reducing.counters;
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ReduceMetrics {
            running: of(&counters.running),
            finished: of(&counters.finished),
            broken_off: of(&counters.broken_off),
        }
    }
}

impl Reducing {
    /// At most so many threads read at a time; without a number, one per core.
    pub(crate) fn new(local: Local, reductions: Reductions, threads: Option<usize>) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.unwrap_or_else(cores).clamp(1, Semaphore::MAX_PERMITS);
        let threads = Arc::new(Semaphore::new(threads));
        Self { local, reductions, threads, counters: Arc::default() }
    }

    fn decode(
        &self,
        reduction: ReductionId,
        request: Bytes,
    ) -> Result<Box<dyn AnyReduce>, RequestError> {
        Ok(self.reductions.decode(reduction, request)?)
    }

    async fn reduce_shard(self, shard: ShardId, work: Work) -> Result<Part, LocalError> {
        let order = &work.order;
        let reduction = self.decode(order.reduction, order.request.clone())?;
        let found = self.local.readable(shard, work.consistency).await?;
        let thread = Arc::clone(&self.threads).acquire_owned().await.map_err(internal)?;
        let given_up = GivenUp::default();
        let is_given_up = Arc::clone(&given_up.0);
        let stop = Stop { deadline: work.deadline.into_std(), is_given_up };
        let (now, counters) = (self.local.clock.now(), Arc::clone(&self.counters));
        let reading = tokio::task::spawn_blocking(move || {
            let running = counters.begin();
            let (order, meter) = (&work.order, &work.meter);
            let engine = found.data.engine();
            let snapshot = engine.snapshot();
            let table = TableReader::new(snapshot.as_ref(), order.table, now);
            let mut rows = Rows::new(table, &order.keys, order.misfits, stop, meter);
            let partial = reduction.partial_bytes(&mut rows);
            let partial = partial.map_err(|error| failed(&found, error));
            let checked = partial.and_then(|partial| {
                found.data.check_table(order.table.id)?;
                Ok(Part { partial: Some(partial), read: rows.read() })
            });
            let (name, read) = (reduction.name(), rows.read());
            tracing::debug!(%shard, name, read.rows, is_whole = checked.is_ok(), "was reduced");
            match checked {
                Ok(_) => running.has_finished(),
                Err(_) => meter.take_back(rows.told()),
            }
            drop(thread);
            checked
        });
        let part = reading.await.map_err(internal)??;
        Ok(part)
    }
}

impl LocalReduce for Reducing {
    fn reduce(&self, shard: ShardId, work: &Work) -> BoxFuture<'static, Result<Part, LocalError>> {
        self.clone().reduce_shard(shard, work.clone()).boxed()
    }

    fn combine(
        &self,
        order: &Arc<Order>,
        left: Bytes,
        right: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, RequestError>> {
        let reduction = match self.decode(order.reduction, order.request.clone()) {
            Ok(reduction) => reduction,
            Err(error) => return ready(Err(error)).boxed(),
        };
        let is_small = left.len() + right.len() <= COMBINED_AT_ONCE_BYTES;
        if is_small && reduction.combines_at_once() {
            return ready(reduction.combine_bytes(left, right).map_err(Into::into)).boxed();
        }
        let combining = tokio::task::spawn_blocking(move || reduction.combine_bytes(left, right));
        async move {
            let combined = combining.await;
            let combined =
                combined.map_err(|error| RequestError::Internal { reason: error.to_string() })?;
            Ok(combined?)
        }
        .boxed()
    }
}

/// Tells a thread that reads, when it is dropped, that nobody waits for it any more.
#[derive(Default)]
struct GivenUp(Arc<AtomicBool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Counters {
    fn begin(self: Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::Relaxed);
        Running { counters: self, is_finished: false }
    }
}

/// A shard that is being read; counted until it is dropped.
struct Running {
    counters: Arc<Counters>,
    is_finished: bool,
}

impl Running {
    fn has_finished(mut self) {
        self.is_finished = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let ended = match self.is_finished {
            true => &self.counters.finished,
            false => &self.counters.broken_off,
        };
        ended.fetch_add(1, Ordering::Relaxed);
        self.counters.running.fetch_sub(1, Ordering::Relaxed);
    }
}

fn failed(shard: &Shard, error: ReduceError) -> RequestError {
    match error {
        ReduceError::Store(error) => shard.on_read_error(&error),
        error => error.into(),
    }
}

fn internal(error: impl ToString) -> LocalError {
    LocalError::Failed(RequestError::Internal { reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use breccia_types::reduce::Input;
    use breccia_types::{TableOptions, Timestamp};

    use super::*;
    use crate::config::NodeConfig;

    async fn made(kind: &str) -> (Node, Arc<Table>) {
        let node = Node::open(NodeConfig::in_memory()).await.expect("opens");
        let kind = kind.parse().expect("a kind");
        let options = TableOptions { kind, ..TableOptions::default() };
        let table = node.create_table("t", options).await.expect("creates");
        (node, table)
    }

    async fn shown(node: &Node, table: &Table, aggregate: Aggregate) -> String {
        let reduced = node.reduce(table, &aggregate, &Scope::default(), &Arc::default()).await;
        reduced.expect("reduces").presented
    }

    fn of_values(monoid: &str) -> Aggregate {
        Aggregate::Operands { monoid: monoid.parse().expect("a monoid"), input: Input::Value }
    }

    #[tokio::test]
    async fn of_a_versioned_table_the_latest_versions_are_reduced() {
        let (node, table) = made("versioned").await;
        for (key, version, value) in
            [("a", 10, "1"), ("a", 30, "2"), ("b", 20, "5"), ("c", 10, "100")]
        {
            let put = table.put(Bytes::from_static(key.as_bytes()), Bytes::from(value));
            let put = put.at_version(Timestamp::from_micros(version));
            node.write(&table, put, None).await.expect("writes");
        }
        let gone = table.delete(Bytes::from_static(b"c"));
        node.write(&table, gone, None).await.expect("deletes");
        assert_eq!(shown(&node, &table, Aggregate::Count).await, "2");
        assert_eq!(shown(&node, &table, of_values("sum:i64")).await, "7");
        let last = shown(&node, &table, of_values("last")).await;
        assert_eq!(last, r#"{"timestamp_micros":30,"value":"2"}"#);
    }

    #[tokio::test]
    async fn the_states_of_a_monoid_table_are_merged_and_are_no_values() {
        let (node, table) = made("monoid:sum:i64").await;
        assert_eq!(shown(&node, &table, Aggregate::Merge).await, "0");
        for (key, operand) in [("a", "1"), ("b", "2"), ("b", "40")] {
            let state: breccia_monoid::Monoid = "sum:i64".parse().expect("a monoid");
            let state = state.parse_operand(operand.as_bytes()).expect("an operand");
            let merge = table.merge(Bytes::from_static(key.as_bytes()), state.into());
            node.write(&table, merge, None).await.expect("merges");
        }
        assert_eq!(shown(&node, &table, Aggregate::Merge).await, "43");
        let scope = Scope::default();
        let refused = node.reduce(&table, &of_values("sum:i64"), &scope, &Arc::default()).await;
        assert_eq!(refused.map_err(|error| error.code()).map(drop), Err("wrong-kind"));
    }
}
