//! Where one shard is going: the nodes that shall vote, and those that shall learn.

use std::collections::BTreeSet;

use breccia_types::NodeId;

use super::Goal;
use crate::placement::{ReplicaPlace, Role};

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// An odd number, or none if there is no node.
    pub(super) voters: BTreeSet<NodeId>,
    pub(super) learners: BTreeSet<NodeId>,
}

impl Target {
    /// The target of a shard that has `replicas` and should be on the nodes `wanted`.
    pub(super) fn new(
        replicas: &[ReplicaPlace],
        wanted: &BTreeSet<NodeId>,
        goal: Goal<'_>,
    ) -> Self {
        let given_up = |node: &NodeId| goal.lost.contains(node) || goal.draining.contains(node);
        let live: BTreeSet<NodeId> =
            wanted.iter().filter(|node| !given_up(node)).copied().collect();
        let kept = unwanted_but_kept(replicas, &live, goal);

        let role_on = |node: &NodeId| {
            replicas.iter().find(|place| place.node == *node).map(|place| place.role)
        };
        let mut candidates: Vec<NodeId> = live.iter().copied().collect();
        candidates.sort_by_key(|node| match role_on(node) {
            Some(Role::Voter) => 0,
            Some(Role::Learner) => 1,
            None => 2,
        });
        // Last, but even a lost voter counts: with two voters of three alive the shard is
        // worse off than before, with one of one it would be worse off still.
        candidates.extend(kept.iter().filter(|node| role_on(node) == Some(Role::Voter)));

        let voters = odd(candidates.len().min(goal.wanted.replicas()));
        let voters: BTreeSet<NodeId> = candidates.into_iter().take(voters).collect();
        let learners = live.into_iter().chain(kept).filter(|node| !voters.contains(node)).collect();
        Self { voters, learners }
    }

    /// Whether the node shall hold the shard.
    pub(super) fn holds(&self, node: NodeId) -> bool {
        self.voters.contains(&node) || self.learners.contains(&node)
    }
}

/// The nodes whose replicas stay only because there are too few live nodes that are wanted;
/// lost ones last, and voters before learners.
fn unwanted_but_kept(
    replicas: &[ReplicaPlace],
    live: &BTreeSet<NodeId>,
    goal: Goal<'_>,
) -> Vec<NodeId> {
    let mut kept: Vec<&ReplicaPlace> = replicas
        .iter()
        .filter(|place| !live.contains(&place.node) && !goal.draining.contains(&place.node))
        .collect();
    kept.sort_by_key(|place| (goal.lost.contains(&place.node), place.role, place.replica));
    let free = goal.wanted.replicas().saturating_sub(live.len());
    kept.into_iter().take(free).map(|place| place.node).collect()
}

/// The largest odd number up to `count`; 0 for 0.
const fn odd(count: usize) -> usize {
    if count.is_multiple_of(2) { count.saturating_sub(1) } else { count }
}
