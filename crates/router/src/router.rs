//! The router of a node: carries out what `route` decides, until the deadline.

use std::future::Future;
use std::sync::Arc;

use breccia_ring::{Placement, ReplicaPlace};
use breccia_transport::Transport;
use breccia_types::limits::FORWARD_BYTES_WAITING_MAX;
use breccia_types::{Command, Epoch, NodeId, Outcome, RequestError, ShardId};
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::attempt::{Answer, End, Obstacle, Progress};
use crate::backoff::backoff;
use crate::draws::Draws;
use crate::knowledge::{Leaders, Suspects};
use crate::local::{LocalError, LocalShards, ShardRead};
use crate::metrics::{Counters, RouterMetrics, count};
use crate::route::{Consistency, Hint, Journey, Reason, Route, View, route, serves};
use crate::wire::Body;

/// The placements as this node knows them, and their changes.
pub type Placements = watch::Receiver<Placed>;

/// Where all shards are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Those that hold slots.
    pub shards: Arc<Placement>,
    /// The meta shard: the one shard of its placement.
    pub meta: Arc<Placement>,
}

impl Placed {
    /// The replicas of a shard.
    #[must_use]
    pub fn replicas(&self, shard: ShardId) -> &[ReplicaPlace] {
        match shard {
            ShardId::META => self.meta.replicas(ShardId::new(0)),
            _ => self.shards.replicas(shard),
        }
    }

    pub(crate) fn epoch(&self, shard: ShardId) -> Epoch {
        if shard == ShardId::META { self.meta.epoch() } else { self.shards.epoch() }
    }
}

/// Nodes that are asked at most in one round by the node that a request starts at.
const ROUND_ATTEMPTS_MAX: u32 = 8;
/// Nodes that are asked at most by one that passes a request on: whom it believes to lead,
/// and whom that one names.
const ONWARD_ATTEMPTS_MAX: u32 = 2;
/// Rounds of one request at most, however far away its deadline is.
const ROUNDS_MAX: u32 = 256;
/// What a waiting request counts beside its own bytes.
const WAITING_OVERHEAD_BYTES: usize = 1 << 10;

/// Runs requests where they belong. A handle: clones share everything.
#[derive(Clone)]
pub struct Router(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) node: NodeId,
    pub(crate) local: Arc<dyn LocalShards>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) placements: Placements,
    pub(crate) leaders: Leaders,
    pub(crate) suspects: Suspects,
    pub(crate) counters: Counters,
    pub(crate) draws: Draws,
    /// One permit per byte that may wait for other nodes.
    waiting: Semaphore,
}

/// A request of one shard.
pub(crate) struct Asked {
    pub(crate) shard: ShardId,
    pub(crate) body: Body,
    pub(crate) deadline: Instant,
}

impl Router {
    /// The router of `node`. The `seed` decides among nodes that are equally good, and how
    /// long waits are; each node has another.
    #[must_use]
    pub fn new(
        node: NodeId,
        local: Arc<dyn LocalShards>,
        transport: Arc<dyn Transport>,
        placements: Placements,
        seed: u64,
    ) -> Self {
        Self(Arc::new(Inner {
            node,
            local,
            transport,
            placements,
            leaders: Leaders::default(),
            suspects: Suspects::default(),
            counters: Counters::default(),
            draws: Draws::new(seed),
            waiting: Semaphore::new(FORWARD_BYTES_WAITING_MAX),
        }))
    }

    /// Puts commands into a shard's log, in this order and next to each other, wherever the
    /// shard's leader is. One outcome per command.
    ///
    /// If this node leads the shard, the commands are queued when this returns, so that
    /// calls take effect in their order. Otherwise they are sent when the future is polled,
    /// and calls whose futures are in flight together may take effect in any order.
    ///
    /// It is tried again, until the deadline, as long as nothing was done; and if every
    /// command has a request id, also when that is unknown. Dropping the future ends the
    /// tries; it withdraws nothing that was queued or sent.
    ///
    /// # Errors
    /// [`RequestError::OutcomeUnknown`] and [`RequestError::DeadlineExceeded`]: it may or
    /// may not have been applied. [`RequestError::Busy`] and
    /// [`RequestError::ShardUnavailable`] of this layer: nothing was applied. Any other
    /// error is the leader's own.
    pub fn write(
        &self,
        shard: ShardId,
        commands: Vec<Command>,
        deadline: Instant,
    ) -> impl Future<Output = Result<Vec<Outcome>, RequestError>> + Send + use<> {
        let expected = commands.len();
        let asked = Asked { shard, body: Body::Write { commands }, deadline };
        let running = self.carry_out(asked);
        async move {
            match running.await? {
                Answer::Outcomes(outcomes) if outcomes.len() == expected => Ok(outcomes),
                Answer::Outcomes(outcomes) => {
                    Err(misfit(format!("{} outcomes of {expected} commands", outcomes.len())))
                }
                Answer::Bytes(_) => Err(misfit("a write was answered as a read".to_owned())),
            }
        }
    }

    /// Asks a shard, on its leader or on any replica as the read's consistency allows, and
    /// returns the answer in the encoding of its service. Cancel-safe.
    ///
    /// # Errors
    /// [`RequestError::DeadlineExceeded`], [`RequestError::Busy`] and
    /// [`RequestError::ShardUnavailable`] of this layer; any other error is the replica's
    /// own.
    pub fn read(
        &self,
        shard: ShardId,
        read: ShardRead,
        deadline: Instant,
    ) -> impl Future<Output = Result<Bytes, RequestError>> + Send + use<> {
        let running = self.carry_out(Asked { shard, body: Body::Read(read), deadline });
        async move {
            match running.await? {
                Answer::Bytes(bytes) => Ok(bytes),
                Answer::Outcomes(_) => Err(misfit("a read was answered as a write".to_owned())),
            }
        }
    }

    /// Whether this node answers such requests of a shard itself, so that its caller may do
    /// so without encoding them. If the replica then says otherwise, they go to
    /// [`Router::read`].
    #[must_use]
    pub fn serves(&self, shard: ShardId, wanted: Consistency) -> bool {
        serves(self.0.local.role(shard), wanted)
    }

    /// The node that leads a shard, as far as this one knows. For what clients are told; no
    /// request is to be routed by it.
    #[must_use]
    pub fn leader(&self, shard: ShardId) -> Option<NodeId> {
        self.0.view(shard, &[], |view| view.believed_leaders().next())
    }

    /// The node that leads a shard, if that is certain enough to send clients there: this one,
    /// one that its replica hears, or one that has shown within the last second that it
    /// leads; and none that could not be reached just now. If there is none, what is asked of
    /// this node is forwarded, and whoever answers has shown it.
    #[must_use]
    pub fn certain_leader(&self, shard: ShardId) -> Option<NodeId> {
        let shown = self.0.leaders.shown(shard);
        let hears_leader = self.0.local.hears_leader(shard);
        self.0.view(shard, &[], |view| view.certain_leader(shown, hears_leader))
    }

    /// Takes it from a node itself that it leads a shard.
    pub fn on_leader(&self, shard: ShardId, leader: NodeId) {
        let epoch = self.0.placements.borrow().epoch(shard);
        self.0.leaders.show(shard, Hint { leader, epoch });
    }

    /// Takes it that a node cannot be reached for now.
    pub fn on_unreachable(&self, node: NodeId) {
        self.0.suspects.add(node);
    }

    /// What has been counted.
    #[must_use]
    pub fn metrics(&self) -> RouterMetrics {
        self.0.counters.snapshot()
    }

    /// Starts a request. What this node does itself is queued when this returns.
    fn carry_out(
        &self,
        asked: Asked,
    ) -> impl Future<Output = Result<Answer, RequestError>> + Send + use<> {
        let inner = Arc::clone(&self.0);
        let is_local = serves(inner.local.role(asked.shard), asked.body.consistency());
        let started = is_local.then(|| inner.start_here(&asked));
        async move {
            let mut progress = Progress::new(asked.shard, asked.body.repetition());
            if let Some(running) = started {
                let end = inner.finish_here(&asked, running).await;
                if let Some(result) = progress.after(end) {
                    return inner.counted(result);
                }
            }
            let result = inner.try_until_the_deadline(&asked, progress).await;
            inner.counted(result)
        }
    }
}

/// Work of this node's own replica under way.
pub(crate) enum Running {
    Write(BoxFuture<'static, Result<Vec<Outcome>, LocalError>>),
    Read(BoxFuture<'static, Result<Bytes, LocalError>>),
}

impl Inner {
    async fn try_until_the_deadline(
        &self,
        asked: &Asked,
        mut progress: Progress,
    ) -> Result<Answer, RequestError> {
        let Some(_waiting) = self.admit(&asked.body) else {
            let busy = End::Failed(RequestError::Busy { shard: asked.shard });
            return progress.after(busy).unwrap_or_else(|| Err(progress.give_up()));
        };
        for round in 1..=ROUNDS_MAX {
            let end = self.round(asked, &Journey::Starts).await;
            if let Some(result) = progress.after(end) {
                return result;
            }
            let pause = backoff(round, self.draws.next());
            if asked.deadline.saturating_duration_since(Instant::now()) <= pause {
                break;
            }
            let mut placements = self.placements.clone();
            placements.mark_unchanged();
            let changed = async {
                if placements.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            // Either way it is time for another round.
            let _ = timeout(pause, changed).await;
            // Timers may be late.
            if Instant::now() >= asked.deadline {
                break;
            }
            count(&self.counters.retries);
        }
        Err(progress.give_up())
    }

    /// Asks one node after the other until one has something to say, each at most once.
    pub(crate) async fn round(&self, asked: &Asked, journey: &Journey) -> End {
        let mut tried = Vec::new();
        let mut obstacle = Obstacle::Unplaced;
        let attempts_max = match journey {
            Journey::Starts => ROUND_ATTEMPTS_MAX,
            Journey::Forwarded { .. } => ONWARD_ATTEMPTS_MAX,
        };
        for _ in 0..attempts_max {
            let wanted = asked.body.consistency();
            let decided = self.view(asked.shard, &tried, |view| route(&view, journey, wanted));
            let (node, end) = match decided {
                Route::Here => (self.node, self.finish_here(asked, self.start_here(asked)).await),
                Route::Forward { to, hops_left } => {
                    (to, self.forward(to, hops_left, asked, journey).await)
                }
                Route::Refuse(Reason::Exhausted) if tried.is_empty() => {
                    return End::NotDone(Obstacle::Leaderless);
                }
                Route::Refuse(_) => break,
            };
            let End::NotDone(met) = end else {
                return end;
            };
            tracing::trace!(shard = %asked.shard, %node, obstacle = %met, "nothing was done");
            obstacle = met;
            tried.push(node);
        }
        End::NotDone(obstacle)
    }

    /// Room for a request while it waits for other nodes; `None` if there is none.
    pub(crate) fn admit(&self, body: &Body) -> Option<SemaphorePermit<'_>> {
        let bytes = u32::try_from(body.bytes() + WAITING_OVERHEAD_BYTES).unwrap_or(u32::MAX);
        let permit = self.waiting.try_acquire_many(bytes).ok();
        if permit.is_none() {
            count(&self.counters.refused_busy);
        }
        permit
    }

    /// Shows what is known of a shard.
    pub(crate) fn view<T>(
        &self,
        shard: ShardId,
        tried: &[NodeId],
        show: impl FnOnce(View<'_>) -> T,
    ) -> T {
        let suspects = self.suspects.list();
        let placed = self.placements.borrow().clone();
        show(View {
            node: self.node,
            role: self.local.role(shard),
            epoch: placed.epoch(shard),
            replicas: placed.replicas(shard),
            hint: self.leaders.get(shard),
            suspects: &suspects,
            tried,
            draw: usize::from(self.draws.next()),
        })
    }

    fn start_here(&self, asked: &Asked) -> Running {
        count(&self.counters.here);
        match &asked.body {
            Body::Write { commands } => {
                Running::Write(self.local.write(asked.shard, commands.clone()))
            }
            Body::Read(read) => Running::Read(self.local.read(asked.shard, read.clone())),
        }
    }

    async fn finish_here(&self, asked: &Asked, running: Running) -> End {
        let late = Err(LocalError::Failed(RequestError::DeadlineExceeded));
        let result = match running {
            Running::Write(running) => {
                let result = timeout_at(asked.deadline, running).await;
                result.map_or_else(|_| late, |result| result.map(Answer::Outcomes))
            }
            Running::Read(running) => {
                let result = timeout_at(asked.deadline, running).await;
                result.map_or_else(|_| late, |result| result.map(Answer::Bytes))
            }
        };
        match result {
            Ok(answer) => End::Answered { by: self.node, answer },
            Err(LocalError::NotLeader { leader }) => {
                let epoch = self.placements.borrow().epoch(asked.shard);
                let hint = leader.map(|leader| Hint { leader, epoch });
                self.on_wrong_owner(self.node, asked.shard, hint);
                End::NotDone(Obstacle::NotLeader { node: self.node })
            }
            Err(LocalError::NotNow { reason }) => {
                End::NotDone(Obstacle::NotNow { node: self.node, reason })
            }
            Err(LocalError::Unknown) => End::Unknown,
            Err(LocalError::Failed(error)) => End::Failed(error),
        }
    }

    fn counted(&self, result: Result<Answer, RequestError>) -> Result<Answer, RequestError> {
        if let Err(RequestError::OutcomeUnknown { .. }) = result {
            count(&self.counters.outcomes_unknown);
        }
        result
    }
}

fn misfit(reason: String) -> RequestError {
    RequestError::Internal { reason }
}
