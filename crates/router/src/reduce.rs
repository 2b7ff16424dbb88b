//! Reductions of all shards: asked along a tree of nodes, combined on the way back.
//!
//! The node asked decides which node leads each shard, and divides those nodes into at most
//! `fan_in` branches. The first node of a branch is asked for its own shards and for the rest
//! of the branch, which it divides in the same way. Each node combines what it is given as it
//! comes, so that none holds more than the partials under way to it.
//!
//! An answer names the shards that it covers. It counts as a whole or, lost, late or unfit,
//! not at all; then all its shards are asked again. A shard is asked of one node at a time,
//! and what is given up is never listened to again, so none counts twice. A node hears by the
//! end of its stream that nobody waits for it, and stops its scans and those it asked for.

mod branch;
mod gathered;
mod plan;
mod search;
mod serve;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use breccia_transport::Method;
use breccia_types::limits::REDUCE_FAN_IN;
use breccia_types::reduce::{Coverage, Gaps, Meter, Order, Part, Progress};
use breccia_types::{Actor, RequestError, ShardId};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};
use tokio::time::{Instant, timeout_at};

use crate::backoff::backoff;
use crate::local::LocalError;
use crate::route::Consistency;
use crate::router::Router;
use gathered::{Gathered, Missed};
use plan::{Task, branches};
use search::Search;

/// The transport's number for reductions.
pub const METHOD: Method = Method(0x41);

/// Shards of this node that are under way at once; the node itself decides how many of them
/// get a thread.
const SHARDS_AT_ONCE: usize = 16;
/// Rounds of one reduction at most, however far away its deadline is.
const ROUNDS_MAX: u32 = 1_024;
/// What a node keeps of the time that it is given, to answer with what it has: a tenth, and
/// no more than this.
const MARGIN_MAX: Duration = Duration::from_millis(500);

/// This node's part in reductions. The node implements it over its replicas.
pub trait LocalReduce: Send + Sync + 'static {
    /// Reduces one shard, from one state that a read may see now. Dropping the future ends
    /// the scan shortly after. The meter is told of rows as they are read; if this fails, it
    /// is as before.
    fn reduce(&self, shard: ShardId, work: &Work) -> BoxFuture<'static, Result<Part, LocalError>>;

    /// Combines two partials of a reduction.
    fn combine(
        &self,
        order: &Arc<Order>,
        left: Bytes,
        right: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, RequestError>>;
}

/// A reduction under way.
#[derive(Debug, Clone)]
pub struct Work {
    /// What is reduced.
    pub order: Arc<Order>,
    /// What each shard must have seen.
    pub consistency: Consistency,
    /// Until when.
    pub deadline: Instant,
    /// Told how far it has come.
    pub meter: Arc<Meter>,
}

/// What a reduction has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reduced {
    /// The partial of all shards covered; `None` if that is none.
    pub partial: Option<Bytes>,
    /// Which they are.
    pub coverage: Coverage,
}

/// Runs reductions, and this node's part in those of others. A handle: clones share
/// everything.
#[derive(Clone)]
pub struct Reducer(Arc<Inner>);

struct Inner {
    router: Router,
    local: Arc<dyn LocalReduce>,
    fan_in: usize,
}

impl Reducer {
    /// The reducer of the router's node, which asks at most `fan_in` others at once.
    #[must_use]
    pub fn new(router: Router, local: Arc<dyn LocalReduce>, fan_in: Option<usize>) -> Self {
        let fan_in = fan_in.unwrap_or(REDUCE_FAN_IN).max(1);
        Self(Arc::new(Inner { router, local, fan_in }))
    }

    /// Reduces these shards, each once. One that cannot be read is tried again until the
    /// deadline; `gaps` says what becomes of it then. Cancel-safe: dropping the future ends
    /// the scans on all nodes.
    ///
    /// # Errors
    /// [`RequestError::ShardUnavailable`] that names a shard, if gaps are refused; any other
    /// error is the reduction's own.
    pub async fn reduce(
        &self,
        shards: &[ShardId],
        work: &Work,
        gaps: Gaps,
    ) -> Result<Reduced, RequestError> {
        let inner = &self.0;
        let mut search = Search::new(shards);
        let mut whole = Gathered::default();
        for round in 1..=ROUNDS_MAX {
            let (own, others) = inner.assign(&mut search, work.consistency);
            if own.is_empty() && others.is_empty() {
                inner.pause(round, work.deadline).await;
            } else {
                let gathered = inner.carry_out(own, others, work).await?;
                inner.learn(&gathered.missed);
                search.after(&gathered);
                whole = inner.join(whole, gathered, work).await?;
            }
            if search.is_over() || Instant::now() >= work.deadline {
                break;
            }
        }
        let missing = search.into_missing();
        if let (Gaps::Refuse, Some(first)) = (gaps, missing.first()) {
            let (shard, reason) = (first.shard, first.reason.clone());
            return Err(RequestError::ShardUnavailable { shard, reason });
        }
        let coverage = Coverage { shards_asked: shards.len(), missing, read: whole.part.read };
        Ok(Reduced { partial: whole.part.partial, coverage })
    }
}

impl Inner {
    /// Reduces shards of this node, asks others for theirs, and combines what comes.
    async fn carry_out(
        &self,
        own: Vec<ShardId>,
        others: Vec<Task>,
        work: &Work,
    ) -> Result<Gathered, RequestError> {
        let here = stream::iter(own).map(|shard| self.here(shard, work));
        let asked = stream::iter(branches(others, self.fan_in));
        let there = asked.map(|branch| self.ask(branch, work));
        let mut pieces = stream::select(
            here.buffer_unordered(SHARDS_AT_ONCE).boxed(),
            there.buffer_unordered(self.fan_in).boxed(),
        );
        let mut gathered = Gathered::default();
        while let Some(piece) = pieces.next().await {
            gathered = self.join(gathered, piece?, work).await?;
        }
        Ok(gathered)
    }

    /// Reduces a shard of this node.
    async fn here(&self, shard: ShardId, work: &Work) -> Result<Gathered, RequestError> {
        let missed = |leader, reason| {
            let asked = Some(self.router.0.node);
            Ok(Gathered::none(vec![Missed { shard, asked, leader, reason }]))
        };
        match timeout_at(work.deadline, self.local.reduce(shard, work)).await {
            Ok(Ok(part)) => {
                work.meter.add(Progress { shards: 1, ..Progress::default() });
                Ok(Gathered::one(shard, part))
            }
            Err(_) => missed(None, late()),
            Ok(Err(LocalError::Failed(RequestError::DeadlineExceeded))) => missed(None, late()),
            Ok(Err(LocalError::Failed(error))) if !may_pass(&error) => Err(error),
            Ok(Err(error)) => {
                let leader = match error {
                    LocalError::NotLeader { leader } => leader,
                    _ => None,
                };
                missed(leader, error.to_string())
            }
        }
    }

    /// Both together. They cover no shard in common.
    async fn join(
        &self,
        mut left: Gathered,
        right: Gathered,
        work: &Work,
    ) -> Result<Gathered, RequestError> {
        left.part.read = left.part.read.and(right.part.read);
        left.covered.extend(right.covered);
        left.missed.extend(right.missed);
        left.part.partial = match (left.part.partial, right.part.partial) {
            (Some(a), Some(b)) => Some(self.local.combine(&work.order, a, b).await?),
            (a, b) => a.or(b),
        };
        Ok(left)
    }

    /// Waits before another round, or until replicas have moved.
    async fn pause(&self, round: u32, deadline: Instant) {
        let draw = self.router.0.draws.next();
        let until = deadline.min(Instant::now() + backoff(round, draw));
        let mut placements = self.router.0.placements.clone();
        placements.mark_unchanged();
        let changed = async {
            if placements.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        // Either way it is time for another round.
        let _ = timeout_at(until, changed).await;
    }
}

/// Whether another try may succeed where this came of one.
fn may_pass(error: &RequestError) -> bool {
    error.actor() == Actor::Retry || matches!(error, RequestError::Storage { .. })
}

fn late() -> String {
    "it was not read through before the deadline".to_owned()
}
