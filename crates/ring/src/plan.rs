//! The steps from today's placement to the wanted one, with the fewest copies.
//!
//! Each shard is looked at alone, and gets at most one step; when it is done, plan again. So
//! there is nothing to resume after a crash but the placement itself, and a goal that changes
//! on the way (a node dies, another comes) just leads elsewhere from where things stand.
//!
//! # Rules
//!
//! - A shard rests with an odd number of voters. With two nodes the second copy stays a
//!   learner: two voters are worse than one, since either's death stops both. The third node
//!   makes voters of both at once.
//! - A replica is replaced, never just dropped, be its node lost or merely unwanted: while no
//!   live node is free for it, it stays, voter as it is, and the shard keeps its majority.
//! - A draining node is emptied, even if that leaves fewer replicas than wanted: the operator
//!   has asked for it. A lost node that is draining is given up.
//! - Voters are added before voters are removed, and a voter is replaced in one joint change,
//!   so that a shard never tolerates fewer failures on the way than at both ends.
//! - A replica whose data is damaged is removed first and made anew after: it still votes, but
//!   answers nobody.
//! - What exists is kept: voters that may stay stay voters, and one extra copy is made at a
//!   time.

mod target;

use std::collections::BTreeSet;
use std::fmt;

use breccia_types::{NodeId, ReplicaId, ShardId};

use crate::hash_ring::Assignment;
use crate::placement::{Placement, ReplicaPlace, Role};
use crate::step::Step;
use target::Target;

/// What a plan aims at, and what stands in its way.
#[derive(Debug, Clone, Copy)]
pub struct Goal<'a> {
    /// The nodes that should hold each shard: what the ring says of all nodes that are
    /// neither lost nor draining. If it names others they are passed over.
    pub wanted: &'a Assignment,
    /// The nodes that have been dead for so long that they are given up.
    pub lost: &'a BTreeSet<NodeId>,
    /// The nodes that do not answer at the moment: their copies are not given a vote, and
    /// nothing else waits for them.
    pub absent: &'a BTreeSet<NodeId>,
    /// The nodes that are to be emptied.
    pub draining: &'a BTreeSet<NodeId>,
    /// The replicas whose data cannot be read any more, on nodes that are there.
    pub damaged: &'a BTreeSet<ReplicaId>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// At most one step per shard, the most urgent first: repairs, then the emptying of
    /// nodes, then what merely evens out. In any order they lead to the goal.
    pub steps: Vec<Step>,
    /// The shards that no step can help, and why.
    pub stuck: Vec<(ShardId, Stuck)>,
}

/// Why no step can help a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stuck {
    /// It has no voter: it was never founded.
    NoVoter,
    /// At least half of its voters are lost. Its log cannot change who they are.
    MajorityLost,
    /// All of its replicas are to go, and no node may take them.
    NowhereToGo,
    /// A replica's data is damaged, and too few of the others are there to do without it.
    Damaged,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoVoter => "it has no voter",
            Self::MajorityLost => "a majority of its voters is lost",
            Self::NowhereToGo => "no node may take its replicas",
            Self::Damaged => "a replica is damaged, and too few others are whole to replace it",
        })
    }
}

/// More rounds than any shard needs: one for each replica that comes, votes, or goes.
const ROUNDS_MAX: usize = 100;

/// Why a step is to be taken; the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    Repair,
    Drain,
    Balance,
}

impl Plan {
    /// The next step of each shard that is not where it should be.
    #[must_use]
    pub fn next(placement: &Placement, goal: Goal<'_>) -> Self {
        let mut plan = Self::default();
        let mut steps = Vec::new();
        for (shard, wanted) in goal.wanted.iter() {
            let state = ShardState { shard, replicas: placement.replicas(shard), goal };
            let target = Target::new(state.replicas, wanted, goal);
            if let Some(reason) = state.stuck(&target) {
                plan.stuck.push((shard, reason));
                continue;
            }
            if let Some(step) = state.next_step(&target) {
                steps.push((state.urgency(&target), step));
            }
        }
        steps.sort_by_key(|(urgency, step)| (*urgency, step.shard()));
        plan.steps = steps.into_iter().map(|(_, step)| step).collect();
        plan
    }

    /// Every step to the goal, in an order in which they may be taken. To show, before
    /// anything is done, what will be done.
    #[must_use]
    pub fn whole(placement: &Placement, goal: Goal<'_>) -> Self {
        let mut whole = Self::default();
        let mut reached = placement.clone();
        for _ in 0..ROUNDS_MAX {
            let next = Self::next(&reached, goal);
            whole.stuck = next.stuck;
            let before = whole.steps.len();
            for step in next.steps {
                if let Ok(after) = reached.after(&step) {
                    reached = after;
                    whole.steps.push(step);
                }
            }
            if whole.steps.len() == before {
                break;
            }
        }
        whole
    }

    /// How many copies of shards the steps make.
    #[must_use]
    pub fn copies(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step, Step::AddLearner { .. })).count()
    }
}

/// One shard today.
struct ShardState<'a> {
    shard: ShardId,
    replicas: &'a [ReplicaPlace],
    goal: Goal<'a>,
}

impl ShardState<'_> {
    fn stuck(&self, target: &Target) -> Option<Stuck> {
        let voters = self.voters().count();
        let alive = self.voters().filter(|place| !self.goal.lost.contains(&place.node)).count();
        if voters == 0 {
            Some(Stuck::NoVoter)
        } else if alive * 2 <= voters {
            Some(Stuck::MajorityLost)
        } else if target.voters.difference(self.goal.lost).count() * 2 <= target.voters.len() {
            // Nobody is left, or too many of them are lost for the others to rest on.
            Some(Stuck::NowhereToGo)
        } else if self.damaged().next().is_some() && self.surplus(target).is_none() {
            Some(Stuck::Damaged)
        } else {
            None
        }
    }

    fn next_step(&self, target: &Target) -> Option<Step> {
        let shard = self.shard;
        self.surplus(target)
            .map(|replica| Step::Remove { shard, replica })
            .or_else(|| self.change_of_voters(target))
            .or_else(|| self.missing_copy(target).map(|node| Step::AddLearner { shard, node }))
    }

    /// What is to go without anything in its place: a learner that nobody wants, or a damaged
    /// replica, if the voters that are left can do without it. A new one is then made like any
    /// that is missing, on the same node perhaps.
    fn surplus(&self, target: &Target) -> Option<ReplicaId> {
        let is_damaged = |place: &ReplicaPlace| self.goal.damaged.contains(&place.replica);
        let unwanted = self.learners().find(|place| is_damaged(place) || !target.holds(place.node));
        let voters = self.voters().count();
        let is_whole =
            |place: &&ReplicaPlace| !is_damaged(place) && !self.goal.lost.contains(&place.node);
        let has_majority_without_one = self.voters().filter(is_whole).count() * 2 > voters - 1;
        let damaged = self.voters().find(|place| is_damaged(place) && has_majority_without_one);
        unwanted.or(damaged).map(|place| place.replica)
    }

    fn damaged(&self) -> impl Iterator<Item = &ReplicaPlace> {
        self.replicas.iter().filter(|place| self.goal.damaged.contains(&place.replica))
    }

    /// The next change of who votes, with the learners that there are.
    fn change_of_voters(&self, target: &Target) -> Option<Step> {
        let shard = self.shard;
        let incoming: Vec<ReplicaId> = self
            .learners()
            .filter(|place| target.voters.contains(&place.node))
            .filter(|place| !self.goal.absent.contains(&place.node))
            .map(|place| place.replica)
            .collect();
        let outgoing = self.outgoing(target);
        let voters = self.voters().count();
        // One makes an even number odd, two keep an odd one odd.
        let together = if voters.is_multiple_of(2) { 1 } else { 2 };
        if voters < target.voters.len() {
            let replicas = incoming.get(..together)?.to_vec();
            return Some(Step::Promote { shard, replicas });
        }
        match (incoming.first(), outgoing.first()) {
            (Some(add), Some(remove)) => Some(Step::Replace { shard, add: *add, remove: *remove }),
            (None, _) if voters > target.voters.len() && self.has_voters_of(target) => {
                let replicas = outgoing.get(..together)?.to_vec();
                Some(Step::Demote { shard, replicas })
            }
            _ => None,
        }
    }

    /// Whether all that should vote do.
    fn has_voters_of(&self, target: &Target) -> bool {
        target.voters.iter().all(|node| self.voters().any(|place| place.node == *node))
    }

    /// The voters that should not vote: lost ones first, then those of draining nodes.
    fn outgoing(&self, target: &Target) -> Vec<ReplicaId> {
        let mut outgoing: Vec<&ReplicaPlace> =
            self.voters().filter(|place| !target.voters.contains(&place.node)).collect();
        outgoing.sort_by_key(|place| {
            let lost = self.goal.lost.contains(&place.node);
            let draining = self.goal.draining.contains(&place.node);
            (!lost, !draining, !target.holds(place.node), place.replica)
        });
        outgoing.into_iter().map(|place| place.replica).collect()
    }

    /// A node that should hold the shard and does not; future voters first.
    fn missing_copy(&self, target: &Target) -> Option<NodeId> {
        let held = |node: &NodeId| self.replicas.iter().any(|place| place.node == *node);
        target.voters.iter().chain(&target.learners).find(|node| !held(node)).copied()
    }

    fn urgency(&self, target: &Target) -> Urgency {
        let on = |nodes: &BTreeSet<NodeId>| {
            self.replicas.iter().any(|place| nodes.contains(&place.node))
        };
        if self.voters().count() < target.voters.len()
            || on(self.goal.lost)
            || self.damaged().next().is_some()
        {
            Urgency::Repair
        } else if on(self.goal.draining) {
            Urgency::Drain
        } else {
            Urgency::Balance
        }
    }

    fn voters(&self) -> impl Iterator<Item = &ReplicaPlace> {
        self.replicas.iter().filter(|place| place.role == Role::Voter)
    }

    fn learners(&self) -> impl Iterator<Item = &ReplicaPlace> {
        self.replicas.iter().filter(|place| place.role == Role::Learner)
    }
}

#[cfg(test)]
mod tests;
