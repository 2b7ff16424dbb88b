//! The driver: brings every shard's replicas to where they should be, one step at a time.
//!
//! Every node has one; only that of the node which leads the meta shard does anything. What
//! it knows is the placement, what the ring wants, and what the leaders of the shards say
//! that their logs say. It keeps nothing else, so that a new driver goes on where the old one
//! ended.
//!
//! A new replica is placed before its shard's log hears of it, so that its node opens it and
//! its id is never given out twice. Every other step is taken by the log first, and then
//! placed: what a log went ahead with is taken over into the placement before anything else
//! is planned for that shard. A replica that is no longer placed is gone for good: its node
//! may have removed it, so that a log which still has it is made to forget it.
//!
//! Two drivers cannot undo each other's work: a placement is replaced only if it is still the
//! one that was planned from, and so are a log's members. Nor can a leader that was deposed
//! and does not know it: what it says its log says is older than what was followed already.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use breccia_replication::raft::Leadership;
use breccia_ring::{Goal, Plan, Step, Stuck};
use breccia_service::meta::{MetaWrite, Placed};
use breccia_transport::Transport;
use breccia_types::{NodeId, RequestError, ShardId};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::cluster::ClusterView;
use crate::control::{Answer, Ask, Control, ask};
use crate::meta::MetaLog;
use crate::replicas::ShardMap;

mod leaders;
mod look;
mod steps;

use look::{Look, Watch, real};

/// How often the driver looks when nothing has happened.
const INTERVAL: Duration = Duration::from_secs(1);
/// The least time between two looks.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// How long a shard's leader may take to change its replicas, or to hand over.
const CHANGE_WITHIN: Duration = Duration::from_secs(15);
/// How many shards are changed at once.
const CHANGES_AT_ONCE: usize = 8;

/// Asks the driver of this node to look again.
#[derive(Clone, Default)]
pub(crate) struct Nudge(Arc<Notify>);

impl Nudge {
    pub(crate) fn nudge(&self) {
        self.0.notify_one();
    }
}

/// What stands in the way of a shard, as the last look has it.
pub(crate) type Stranded = Arc<Mutex<BTreeMap<ShardId, Stuck>>>;

/// Brings replicas to where they should be, while this node leads the meta shard.
pub(crate) struct Driver {
    pub(crate) node: NodeId,
    pub(crate) cluster: Arc<ClusterView>,
    pub(crate) shards: ShardMap,
    pub(crate) meta: MetaLog,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) control: Control,
    pub(crate) nudge: Nudge,
    pub(crate) stranded: Stranded,
    /// How long a node may be silent before its replicas are made elsewhere.
    pub(crate) replace_after: Duration,
}

/// What is to be done about one placement.
struct Planned {
    of: Placed,
    steps: Vec<Step>,
}

impl Driver {
    /// Looks and acts until stopped.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut watch = None;
        let mut pause = INTERVAL;
        loop {
            let woken = async {
                tokio::time::sleep(INTERVAL_MIN).await;
                // Either way it is time to look.
                let _ = tokio::time::timeout(pause, self.nudge.0.notified()).await;
            };
            if stop.run_until_cancelled(woken).await.is_none() {
                return;
            }
            if !self.leads_meta() {
                watch = None;
                pause = INTERVAL;
                self.stranded.lock().clear();
                continue;
            }
            let watch = watch.get_or_insert_with(Watch::default);
            pause = match stop.run_until_cancelled(self.look_and_act(watch)).await {
                None => return,
                Some(Ok(true)) => Duration::ZERO,
                Some(Ok(false)) => INTERVAL,
                Some(Err(error)) => {
                    tracing::warn!(%error, "the placement is not changed for now");
                    INTERVAL
                }
            };
        }
    }

    fn leads_meta(&self) -> bool {
        let shards = self.shards.load();
        let meta = shards.get(&ShardId::META);
        meta.is_some_and(|meta| meta.group.leadership() == Leadership::Own)
    }

    /// Takes the next steps; whether there were any.
    async fn look_and_act(&self, watch: &mut Watch) -> Result<bool, RequestError> {
        self.meta.refresh().await?;
        let Some(state) = self.cluster.state() else { return Ok(false) };
        let look = self.look(state, watch).await;
        if self.follow_the_logs(&look).await? {
            return Ok(true);
        }
        let plans = self.plan(&look)?;
        let mended = self.mend_members(&look, &plans).await;
        let mut has_acted = !mended.is_empty();
        for Planned { of, mut steps } in plans {
            steps.retain(|step| !mended.contains(&real(of, step.shard())));
            has_acted |= self.take_steps(&look, of, steps).await?;
        }
        if !has_acted {
            has_acted = self.spread_leaders(&look, watch).await;
            has_acted |= self.forget_replaced_members(&look).await?;
        }
        Ok(has_acted)
    }

    /// What is to be done next about every shard.
    fn plan(&self, look: &Look) -> Result<Vec<Planned>, RequestError> {
        let mut plans = Vec::new();
        let mut stranded = BTreeMap::new();
        for of in [Placed::Meta, Placed::Shards] {
            let wanted = match of {
                Placed::Meta => look.wanted_meta(),
                Placed::Shards => look.wanted().map_err(internal)?,
            };
            let damaged = look.damaged.iter();
            let damaged =
                damaged.filter(|(shard, _)| (*shard == ShardId::META) == (of == Placed::Meta));
            let damaged = damaged.map(|(_, replica)| *replica).collect();
            let emptied = look.draining.union(&look.unsettled).copied().collect();
            let goal = Goal {
                wanted: &wanted,
                lost: &look.lost,
                absent: &look.absent,
                draining: &emptied,
                damaged: &damaged,
            };
            let plan = Plan::next(look.placement(of), goal);
            stranded.extend(plan.stuck.iter().map(|(shard, stuck)| (real(of, *shard), *stuck)));
            plans.push(Planned { of, steps: plan.steps });
        }
        *self.stranded.lock() = stranded;
        Ok(plans)
    }

    /// Forgets nodes whose address another node has, once they hold nothing.
    async fn forget_replaced_members(&self, look: &Look) -> Result<bool, RequestError> {
        let holds = |node: NodeId| {
            let mut held = look.state.placement.held_by(node);
            let mut meta = look.state.meta_placement.held_by(node);
            held.next().is_some() || meta.next().is_some()
        };
        let mut has_forgotten = false;
        for member in look.state.members.values() {
            let node = member.node;
            if look.replaced.contains(&node) && !holds(node) {
                self.meta.change(&MetaWrite::Remove { node }).await?;
                tracing::info!(%node, address = %member.peer, "forgotten: another node has its address");
                has_forgotten = true;
            }
        }
        Ok(has_forgotten)
    }

    async fn ask(&self, to: NodeId, question: Ask, within: Duration) -> Result<Answer, String> {
        let answer = if to == self.node {
            self.control.answer(question).await
        } else {
            let asked = ask(self.transport.as_ref(), to, &question, within).await;
            asked.map_err(|error| error.to_string())?
        };
        match answer {
            Answer::NotDone { reason } => Err(reason),
            answer => Ok(answer),
        }
    }
}

fn internal(error: impl std::fmt::Display) -> RequestError {
    RequestError::Internal { reason: error.to_string() }
}
