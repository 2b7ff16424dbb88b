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

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use breccia_replication::raft::Leadership;
use breccia_ring::{
    Assignment, Goal, HashRing, Intake, LeaderChoice, LogPoint, Placement, Plan, ReplicaPlace,
    RingError, RingNode, Role, Step, Stuck, Weight, spread_leaders,
};
use breccia_service::meta::{ClusterState, MetaReply, MetaWrite, Placed};
use breccia_transport::Transport;
use breccia_types::{Member, MemberStatus, NodeId, ReplicaId, RequestError, ShardId};
use futures::future::join_all;
use futures::stream::{self, StreamExt};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster::ClusterView;
use crate::control::{Answer, Ask, Change, Control, LedShard, MembersSeen, ask};
use crate::meta::MetaLog;
use crate::replicas::ShardMap;

/// How often the driver looks when nothing has happened.
const INTERVAL: Duration = Duration::from_secs(1);
/// The least time between two looks.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// How long a node may take to say what it leads.
const REPORT_WITHIN: Duration = Duration::from_secs(1);
/// How long a shard's leader may take to change its replicas, or to hand over.
const CHANGE_WITHIN: Duration = Duration::from_secs(15);
/// How long a node must have been missed before it is taken for replaced by one that has its
/// address. Nodes that come back with swapped addresses find each other sooner.
const REPLACED_AFTER: Duration = Duration::from_secs(5);
/// How many shards are changed at once.
const CHANGES_AT_ONCE: usize = 8;
/// The most voters of the meta shard; further nodes follow it without a vote.
const META_VOTERS_MAX: usize = 5;
/// How long a leader is left where it is after it could not be moved.
const TRANSFER_PAUSE: Duration = Duration::from_secs(30);

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

/// What one run of leading the meta shard remembers.
#[derive(Default)]
struct Watch {
    /// When each node was last heard, by this one or by a shard's leader, or first missed.
    heard: BTreeMap<NodeId, Instant>,
    /// Leaders that could not be moved, and since when.
    unmoved: BTreeMap<ShardId, Instant>,
}

/// What the nodes say, and what follows from it.
struct Look {
    state: Arc<ClusterState>,
    /// Every shard that has a leader, as the leader of the highest term sees it.
    led: BTreeMap<ShardId, (NodeId, LedShard)>,
    answering: BTreeSet<NodeId>,
    lost: BTreeSet<NodeId>,
    /// Those of the lost in whose place there is another.
    replaced: BTreeSet<NodeId>,
    /// Those that did not answer just now.
    absent: BTreeSet<NodeId>,
    draining: BTreeSet<NodeId>,
    /// The nodes that take no writes: no shard is to be led there.
    read_only: BTreeSet<NodeId>,
    damaged: BTreeSet<(ShardId, ReplicaId)>,
}

/// What is to be done about one placement.
struct Planned {
    of: Placed,
    steps: Vec<Step>,
}

/// A change that the leader of a shard is asked for.
struct AskedChange {
    leader: NodeId,
    shard: ShardId,
    seen: MembersSeen,
    change: Change,
}

impl LedShard {
    /// Whether another replica answered of late.
    fn answers(&self, replica: ReplicaId) -> bool {
        self.answering.iter().any(|(answering, _)| *answering == replica)
    }

    /// The nodes whose replicas answered of late.
    fn nodes_that_answer(&self) -> impl Iterator<Item = NodeId> {
        let members = self.members.voters.iter().chain(&self.members.learners);
        members.filter(|(replica, _)| self.answers(*replica)).map(|(_, node)| *node)
    }

    /// The voter that would be the quickest to lead when these leave.
    fn heir(&self, leaving: &[ReplicaId]) -> Option<ReplicaId> {
        let votes = |replica| self.members.voters.iter().any(|(voter, _)| *voter == replica);
        let heirs = self.answering.iter();
        let heirs = heirs.filter(|(heir, _)| votes(*heir) && !leaving.contains(heir));
        heirs.min_by_key(|(_, lag)| *lag).map(|(heir, _)| *heir)
    }

    fn ask(&self, leader: NodeId, change: Change) -> AskedChange {
        AskedChange { leader, shard: self.shard, seen: self.members.clone(), change }
    }
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
            self.spread_leaders(&look, watch).await;
            has_acted = self.forget_replaced_members(&look).await?;
        }
        Ok(has_acted)
    }

    /// Asks every node what it leads.
    async fn look(&self, state: Arc<ClusterState>, watch: &mut Watch) -> Look {
        let asked = state.members.keys().map(async |node| {
            let answer = self.ask(*node, Ask::Led, REPORT_WITHIN).await;
            (*node, answer)
        });
        let now = Instant::now();
        let mut led: BTreeMap<ShardId, (NodeId, LedShard)> = BTreeMap::new();
        let mut answering = BTreeSet::new();
        let mut all_damaged = BTreeSet::new();
        let mut read_only = BTreeSet::new();
        for (node, answer) in join_all(asked).await {
            watch.heard.entry(node).or_insert(now);
            let Ok(Answer::Led { shards, damaged, is_read_only }) = answer else { continue };
            watch.heard.insert(node, now);
            answering.insert(node);
            all_damaged.extend(damaged);
            read_only.extend(is_read_only.then_some(node));
            for shard in shards {
                let is_later =
                    led.get(&shard.shard).is_none_or(|(_, known)| known.term < shard.term);
                if is_later {
                    led.insert(shard.shard, (node, shard));
                }
            }
        }
        // A node that only this one cannot reach is missed by nobody else.
        let hears = |(_, led): &(NodeId, LedShard)| led.nodes_that_answer().collect::<Vec<_>>();
        watch.heard.extend(led.values().flat_map(hears).map(|node| (node, now)));
        watch.heard.retain(|node, _| state.members.contains_key(node));
        let is_silent = |node: NodeId| {
            watch.heard.get(&node).is_some_and(|at| now.duration_since(*at) > self.replace_after)
        };
        let nodes = |which: &dyn Fn(&Member) -> bool| -> BTreeSet<NodeId> {
            state
                .members
                .values()
                .filter(|member| which(member))
                .map(|member| member.node)
                .collect()
        };
        // A node that was started anew with an empty directory never comes back as it was. One
        // whose address another has by chance is heard of again.
        let is_missed = |node: NodeId| {
            watch.heard.get(&node).is_some_and(|at| now.duration_since(*at) > REPLACED_AFTER)
        };
        let replaced =
            nodes(&|member| is_missed(member.node) && is_replaced(&state, &answering, member));
        let lost = nodes(&|member| {
            replaced.contains(&member.node)
                || !answering.contains(&member.node) && is_silent(member.node)
        });
        let draining = nodes(&|member| {
            replaced.contains(&member.node) || member.status == MemberStatus::Draining
        });
        let absent = nodes(&|member| !answering.contains(&member.node));
        let damaged = all_damaged;
        Look { led, answering, lost, replaced, absent, draining, damaged, read_only, state }
    }

    /// Takes over into the placement what logs went ahead with; whether there was anything.
    async fn follow_the_logs(&self, look: &Look) -> Result<bool, RequestError> {
        let mut has_followed = false;
        for of in [Placed::Meta, Placed::Shards] {
            let mut next = look.placement(of).clone();
            let from_epoch = next.epoch().get();
            for (shard, _) in look.placement(of).shards() {
                let Some((_, led)) = look.led.get(&real(of, shard)) else { continue };
                if led.is_changing {
                    continue;
                }
                let (term, index) = led.members.version;
                let as_of = LogPoint { term, index };
                if let Some(after) = next.after_log(shard, &led.members.places(), as_of) {
                    tracing::info!(shard = %real(of, shard), "placed as its log says");
                    next = after;
                }
            }
            has_followed |= self.place(of, from_epoch, &next).await?;
        }
        Ok(has_followed)
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
            let goal = Goal {
                wanted: &wanted,
                lost: &look.lost,
                absent: &look.absent,
                draining: &look.draining,
                damaged: &damaged,
            };
            let plan = Plan::next(look.placement(of), goal);
            stranded.extend(plan.stuck.iter().map(|(shard, stuck)| (real(of, *shard), *stuck)));
            plans.push(Planned { of, steps: plan.steps });
        }
        *self.stranded.lock() = stranded;
        Ok(plans)
    }

    /// Lets logs know of replicas that are placed, and forget those that are not; the shards
    /// where that was needed and could be done. A replica that is to go is not made known.
    async fn mend_members(&self, look: &Look, plans: &[Planned]) -> BTreeSet<ShardId> {
        let mut asks = Vec::new();
        for Planned { of, steps } in plans {
            for (shard, _) in look.placement(*of).shards() {
                let Some((leader, led)) = look.led.get(&real(*of, shard)) else { continue };
                if led.is_changing {
                    continue;
                }
                let places = look.placement(*of).replicas(shard);
                // One at a time, and only to nodes that are there.
                let is_to_go = |replica| steps.contains(&Step::Remove { shard, replica });
                let missing = places.iter().find(|place| {
                    !led.members.has(place.replica)
                        && !is_to_go(place.replica)
                        && look.answering.contains(&place.node)
                });
                let is_placed = |replica| places.iter().any(|place| place.replica == replica);
                let unplaced = led.members.ids().find(|replica| !is_placed(*replica));
                let change = match (missing, unplaced) {
                    (_, Some(replica)) if replica != led.replica => Change::Remove { replica },
                    (Some(ReplicaPlace { replica, node, .. }), _) => {
                        Change::AddLearner { replica: *replica, node: *node }
                    }
                    _ => continue,
                };
                asks.push(led.ask(*leader, change));
            }
        }
        self.change_all(asks).await.into_iter().collect()
    }

    /// Takes planned steps; whether anything came of them.
    async fn take_steps(
        &self,
        look: &Look,
        of: Placed,
        steps: Vec<Step>,
    ) -> Result<bool, RequestError> {
        let placement = look.placement(of);
        let mut next = placement.clone();
        let mut asks = Vec::new();
        let mut asked = BTreeMap::new();
        let mut handovers = Vec::new();
        for step in steps {
            let shard = real(of, step.shard());
            let Some((leader, led)) = look.led.get(&shard) else { continue };
            if led.is_changing {
                continue;
            }
            let (change, leaving) = match &step {
                // A node that joins answers as a member once it is told of its replica of the
                // meta shard.
                Step::AddLearner { node, .. }
                    if of == Placed::Shards && !look.answering.contains(node) =>
                {
                    continue;
                }
                Step::AddLearner { .. } => {
                    tracing::info!(%step, "places");
                    next = next.after(&step).unwrap_or(next);
                    continue;
                }
                Step::Promote { replicas, .. } => {
                    (Change::Promote { replicas: replicas.iter().copied().collect() }, Vec::new())
                }
                Step::Replace { add, remove, .. } => {
                    (Change::Replace { old: *remove, new: *add }, vec![*remove])
                }
                Step::Demote { replicas, .. } => (
                    Change::Demote { replicas: replicas.iter().copied().collect() },
                    replicas.clone(),
                ),
                // Its log does not have it, any more or yet: no one will miss it.
                Step::Remove { replica, .. } if !led.members.has(*replica) => {
                    tracing::info!(%step, "is placed no more");
                    next = next.after(&step).unwrap_or(next);
                    continue;
                }
                Step::Remove { replica, .. } => {
                    (Change::Remove { replica: *replica }, vec![*replica])
                }
            };
            if leaving.contains(&led.replica) {
                handovers.extend(led.heir(&leaving).map(|to| (*leader, shard, to)));
                continue;
            }
            asked.insert(shard, step);
            asks.push(led.ask(*leader, change));
        }
        let mut has_acted = self.place(of, placement.epoch().get(), &next).await?;
        for (leader, shard, to) in handovers {
            let answer = self.ask(leader, Ask::Transfer { shard, to }, CHANGE_WITHIN).await;
            has_acted |= answer.is_ok();
        }
        for shard in self.change_all(asks).await {
            if let Some(step) = asked.get(&shard) {
                tracing::info!(%step, "done");
            }
            has_acted = true;
        }
        Ok(has_acted)
    }

    /// Asks the leaders of shards to change their replicas; those that did.
    async fn change_all(&self, asks: Vec<AskedChange>) -> Vec<ShardId> {
        let changing: Vec<_> = asks.into_iter().map(|asked| self.change(asked)).collect();
        let changed: Vec<_> =
            stream::iter(changing).buffer_unordered(CHANGES_AT_ONCE).collect().await;
        changed.into_iter().flatten().collect()
    }

    /// Asks the leader of a shard to change its replicas; the shard, if it did.
    async fn change(&self, asked: AskedChange) -> Option<ShardId> {
        let AskedChange { leader, shard, seen, change } = asked;
        let question = Ask::Change { shard, seen, change: change.clone() };
        match self.ask(leader, question, CHANGE_WITHIN).await {
            Ok(_) => Some(shard),
            Err(reason) => {
                tracing::debug!(%shard, ?change, %reason, "not done yet");
                None
            }
        }
    }

    /// Replaces a placement, unless it is the same; whether it was replaced.
    async fn place(
        &self,
        of: Placed,
        from_epoch: u64,
        next: &Placement,
    ) -> Result<bool, RequestError> {
        if next.epoch().get() == from_epoch {
            return Ok(false);
        }
        let write = MetaWrite::Place { of, from_epoch, placement: next.encode() };
        match self.meta.change(&write).await? {
            MetaReply::Done => Ok(true),
            // Someone else drives, too; look again.
            MetaReply::Refused { .. } => Ok(true),
            other => Err(crate::meta::unexpected(&other)),
        }
    }

    /// Spreads the leaders evenly over the nodes that answer and take writes.
    async fn spread_leaders(&self, look: &Look, watch: &mut Watch) {
        let now = Instant::now();
        watch.unmoved.retain(|_, since| now.duration_since(*since) < TRANSFER_PAUSE);
        let data = look.led.iter().filter(|(shard, _)| **shard != ShardId::META);
        let avoided: BTreeSet<_> = look.draining.union(&look.read_only).copied().collect();
        let choices: BTreeMap<_, _> = data
            .map(|(shard, (leader, led))| {
                let can_lead = |(replica, node): &&(ReplicaId, NodeId)| {
                    *node == *leader
                        || (led.answers(*replica)
                            && look.answering.contains(node)
                            && !avoided.contains(node)
                            && !watch.unmoved.contains_key(shard))
                };
                let voters = led.members.voters.iter().filter(can_lead).map(|(_, n)| *n).collect();
                (*shard, LeaderChoice { voters, leader: Some(*leader) })
            })
            .collect();
        let weights = look.answering.difference(&avoided);
        let weights = weights.map(|node| (*node, Weight::default())).collect();
        self.move_meta_off(&avoided, look).await;
        for (shard, node) in spread_leaders(&choices, &weights) {
            let Some((leader, led)) = look.led.get(&shard) else { continue };
            let to = led.members.voters.iter().find(|(_, of)| *of == node);
            let Some((to, _)) = to.filter(|_| node != *leader) else { continue };
            let question = Ask::Transfer { shard, to: *to };
            match self.ask(*leader, question, CHANGE_WITHIN).await {
                Ok(_) => tracing::info!(%shard, %node, "leads now, to spread the leaders"),
                Err(reason) => {
                    tracing::info!(%shard, %node, %reason, "does not lead yet");
                    watch.unmoved.insert(shard, now);
                }
            }
        }
    }

    /// Hands the lead of the meta shard over if its node is one of these.
    async fn move_meta_off(&self, avoided: &BTreeSet<NodeId>, look: &Look) {
        let Some((leader, led)) = look.led.get(&ShardId::META) else { return };
        if !avoided.contains(leader) {
            return;
        }
        let voters = led.members.voters.iter();
        let passed_over: Vec<_> =
            voters.filter(|(_, node)| avoided.contains(node)).map(|(voter, _)| *voter).collect();
        let Some(to) = led.heir(&passed_over) else { return };
        let question = Ask::Transfer { shard: ShardId::META, to };
        match self.ask(*leader, question, CHANGE_WITHIN).await {
            Ok(_) => tracing::info!(%to, "leads the meta shard now: this node takes no writes"),
            Err(reason) => tracing::info!(%to, %reason, "does not lead the meta shard yet"),
        }
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

impl Look {
    fn placement(&self, of: Placed) -> &Placement {
        match of {
            Placed::Meta => &self.state.meta_placement,
            Placed::Shards => &self.state.placement,
        }
    }

    /// Where the ring wants the shards.
    fn wanted(&self) -> Result<Assignment, RingError> {
        let open = |node: &NodeId| !self.lost.contains(node) && !self.draining.contains(node);
        let nodes: Vec<_> = self
            .state
            .members
            .values()
            .map(|member| RingNode {
                id: member.node,
                weight: Weight::default(),
                zone: member.zone.clone(),
                intake: if open(&member.node) { Intake::Open } else { Intake::Draining },
            })
            .collect();
        let shards = u32::try_from(self.state.placement.shard_count()).unwrap_or(u32::MAX);
        let replicas = usize::from(self.state.settings.replicas);
        Ok(HashRing::new(&nodes)?.assign(shards, replicas))
    }

    /// Every node follows the meta shard.
    fn wanted_meta(&self) -> Assignment {
        let nodes: BTreeSet<_> =
            self.state.members.keys().copied().filter(|node| !self.lost.contains(node)).collect();
        Assignment::new(META_VOTERS_MAX, vec![nodes])
    }
}

impl MembersSeen {
    fn places(&self) -> Vec<ReplicaPlace> {
        let place = |role| {
            move |(replica, node): &(ReplicaId, NodeId)| ReplicaPlace {
                replica: *replica,
                node: *node,
                role,
            }
        };
        let voters = self.voters.iter().map(place(Role::Voter));
        voters.chain(self.learners.iter().map(place(Role::Learner))).collect()
    }

    fn ids(&self) -> impl Iterator<Item = ReplicaId> {
        self.voters.iter().chain(&self.learners).map(|(replica, _)| *replica)
    }

    fn has(&self, replica: ReplicaId) -> bool {
        self.ids().any(|member| member == replica)
    }
}

/// Whether a node that is there has the address of one that is not: then that one was
/// started anew with an empty directory.
fn is_replaced(state: &ClusterState, answering: &BTreeSet<NodeId>, silent: &Member) -> bool {
    let has_its_address = |member: &Member| {
        member.node != silent.node
            && member.peer == silent.peer
            && !member.peer.is_empty()
            && answering.contains(&member.node)
    };
    !answering.contains(&silent.node) && state.members.values().any(has_its_address)
}

/// The shard that a placement means: that of the meta shard calls it 0.
const fn real(of: Placed, shard: ShardId) -> ShardId {
    match of {
        Placed::Meta => ShardId::META,
        Placed::Shards => shard,
    }
}

fn internal(error: impl std::fmt::Display) -> RequestError {
    RequestError::Internal { reason: error.to_string() }
}
