//! What the nodes say of themselves and of the shards they lead, and what follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use breccia_ring::{
    Assignment, HashRing, Intake, Placement, ReplicaPlace, RingError, RingNode, Role, Weight,
};
use breccia_service::meta::{ClusterState, Placed};
use breccia_types::{Member, MemberStatus, NodeId, ReplicaId, ShardId};
use futures::future::join_all;
use tokio::time::Instant;

use super::Driver;
use crate::control::{Answer, Ask, LedShard, MembersSeen};

/// How long a node may take to say what it leads.
const REPORT_WITHIN: Duration = Duration::from_secs(1);
/// How long a node must have been missed before it is taken for replaced by one that has its
/// address. Nodes that come back with swapped addresses find each other sooner.
const REPLACED_AFTER: Duration = Duration::from_secs(5);
/// The most voters of the meta shard; further nodes follow it without a vote.
const META_VOTERS_MAX: usize = 5;

/// What one run of leading the meta shard remembers.
#[derive(Default)]
pub(super) struct Watch {
    /// When each node was last heard, by this one or by a shard's leader, or first missed.
    pub(super) heard: BTreeMap<NodeId, Instant>,
    /// Leaders that could not be moved, and since when.
    pub(super) unmoved: BTreeMap<ShardId, Instant>,
}

/// What the nodes say, and what follows from it.
pub(super) struct Look {
    pub(super) state: Arc<ClusterState>,
    /// Every shard that has a leader, as the leader of the highest term sees it.
    pub(super) led: BTreeMap<ShardId, (NodeId, LedShard)>,
    pub(super) answering: BTreeSet<NodeId>,
    pub(super) lost: BTreeSet<NodeId>,
    /// Those of the lost in whose place there is another.
    pub(super) replaced: BTreeSet<NodeId>,
    /// Those that have not answered for a while and vote nowhere, as of a node that joined and
    /// could not serve: no shard waits for them.
    pub(super) unsettled: BTreeSet<NodeId>,
    /// Those that did not answer just now.
    pub(super) absent: BTreeSet<NodeId>,
    pub(super) draining: BTreeSet<NodeId>,
    /// The nodes that take no writes: no shard is to be led there.
    pub(super) read_only: BTreeSet<NodeId>,
    pub(super) damaged: BTreeSet<(ShardId, ReplicaId)>,
}

impl Driver {
    /// Asks every node what it leads.
    pub(super) async fn look(&self, state: Arc<ClusterState>, watch: &mut Watch) -> Look {
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
        let votes = |node: NodeId| {
            [&state.placement, &state.meta_placement].into_iter().any(|placement| {
                placement.held_by(node).any(|(_, place)| place.role == Role::Voter)
            })
        };
        let unsettled = nodes(&|member| {
            absent.contains(&member.node) && is_missed(member.node) && !votes(member.node)
        });
        let damaged = all_damaged;
        Look {
            led,
            answering,
            lost,
            replaced,
            unsettled,
            absent,
            draining,
            damaged,
            read_only,
            state,
        }
    }
}

impl Look {
    pub(super) fn placement(&self, of: Placed) -> &Placement {
        match of {
            Placed::Meta => &self.state.meta_placement,
            Placed::Shards => &self.state.placement,
        }
    }

    /// Where the ring wants the shards.
    pub(super) fn wanted(&self) -> Result<Assignment, RingError> {
        let away = [&self.lost, &self.draining, &self.unsettled];
        let open = |node: &NodeId| !away.iter().any(|nodes| nodes.contains(node));
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
    pub(super) fn wanted_meta(&self) -> Assignment {
        let away = |node: &NodeId| self.lost.contains(node) || self.unsettled.contains(node);
        let nodes: BTreeSet<_> =
            self.state.members.keys().copied().filter(|node| !away(node)).collect();
        Assignment::new(META_VOTERS_MAX, vec![nodes])
    }
}

impl LedShard {
    /// Whether another replica answered of late.
    pub(super) fn answers(&self, replica: ReplicaId) -> bool {
        self.answering.iter().any(|(answering, _)| *answering == replica)
    }

    /// The nodes whose replicas answered of late.
    pub(super) fn nodes_that_answer(&self) -> impl Iterator<Item = NodeId> {
        let members = self.members.voters.iter().chain(&self.members.learners);
        members.filter(|(replica, _)| self.answers(*replica)).map(|(_, node)| *node)
    }

    /// The voter that would be the quickest to lead when these leave.
    pub(super) fn heir(&self, leaving: &[ReplicaId]) -> Option<ReplicaId> {
        let votes = |replica| self.members.voters.iter().any(|(voter, _)| *voter == replica);
        let heirs = self.answering.iter();
        let heirs = heirs.filter(|(heir, _)| votes(*heir) && !leaving.contains(heir));
        heirs.min_by_key(|(_, lag)| *lag).map(|(heir, _)| *heir)
    }
}

impl MembersSeen {
    pub(super) fn places(&self) -> Vec<ReplicaPlace> {
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

    pub(super) fn ids(&self) -> impl Iterator<Item = ReplicaId> {
        self.voters.iter().chain(&self.learners).map(|(replica, _)| *replica)
    }

    pub(super) fn has(&self, replica: ReplicaId) -> bool {
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
pub(super) const fn real(of: Placed, shard: ShardId) -> ShardId {
    match of {
        Placed::Meta => ShardId::META,
        Placed::Shards => shard,
    }
}
