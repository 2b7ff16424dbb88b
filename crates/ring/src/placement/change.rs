//! A placement and a step give the next placement.

use breccia_types::{Epoch, NodeId, ReplicaId, ShardId};
use thiserror::Error;

use super::{LogPoint, Placement, ReplicaPlace, Role};
use crate::step::Step;

/// Why a step cannot follow a placement. The placement has changed since the step was
/// planned: plan again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StepError {
    /// There is no such shard.
    #[error("there is no shard {shard}")]
    NoSuchShard {
        /// The shard of the step.
        shard: ShardId,
    },
    /// The shard has a replica on that node.
    #[error("{node} already holds {replica} of {shard}")]
    AlreadyHeld {
        /// The shard of the step.
        shard: ShardId,
        /// The node of the step.
        node: NodeId,
        /// What it holds.
        replica: ReplicaId,
    },
    /// The shard has no such replica in that role.
    #[error("{shard} has no {role} {replica}")]
    NoSuchReplica {
        /// The shard of the step.
        shard: ShardId,
        /// The replica of the step.
        replica: ReplicaId,
        /// The role which it should have.
        role: Role,
    },
    /// No voter would be left.
    #[error("no voter of {shard} would be left")]
    NoVoterLeft {
        /// The shard of the step.
        shard: ShardId,
    },
}

impl Placement {
    /// The placement after a step, at the next epoch. A new replica gets an id that no
    /// replica had before.
    ///
    /// # Errors
    /// [`StepError`], any of them.
    pub fn after(&self, step: &Step) -> Result<Self, StepError> {
        let mut next = self.clone();
        next.apply(step)?;
        next.epoch = Epoch::new(self.epoch.get().saturating_add(1));
        Ok(next)
    }

    /// The placement that says of a shard what its log says: which of its replicas are
    /// members, and which of those vote. `members` are those that the entry at `as_of`, which
    /// is committed, made. `None` if it says so already, or has followed a later entry: then
    /// who says this no longer leads the shard.
    ///
    /// A learner that is no member yet stays: it is still to be added. A member that is not
    /// placed is not taken in: its node may have let it go, and what was let go must never
    /// come back under its old id.
    #[must_use]
    pub fn after_log(
        &self,
        shard: ShardId,
        members: &[ReplicaPlace],
        as_of: LogPoint,
    ) -> Option<Self> {
        let at = usize::try_from(shard.get()).ok()?;
        if as_of <= self.shards.get(at)?.as_of {
            return None;
        }
        let present = self.replicas(shard);
        let member =
            |place: &ReplicaPlace| members.iter().find(|member| member.replica == place.replica);
        let is_kept =
            |place: &&ReplicaPlace| member(place).is_some() || place.role == Role::Learner;
        let kept = present.iter().filter(is_kept);
        let replicas: Vec<_> = kept.map(|place| member(place).copied().unwrap_or(*place)).collect();
        if replicas == present {
            return None;
        }
        let mut next = self.clone();
        let place = next.shards.get_mut(at)?;
        place.replicas = replicas;
        place.as_of = as_of;
        next.epoch = Epoch::new(self.epoch.get().saturating_add(1));
        Some(next)
    }

    fn apply(&mut self, step: &Step) -> Result<(), StepError> {
        let shard = step.shard();
        let new = ReplicaId::new(self.last_replica.get().saturating_add(1));
        let place = usize::try_from(shard.get()).ok().and_then(|at| self.shards.get_mut(at));
        let replicas = &mut place.ok_or(StepError::NoSuchShard { shard })?.replicas;
        match step {
            Step::AddLearner { node, .. } => {
                if let Some(held) = replicas.iter().find(|place| place.node == *node) {
                    let replica = held.replica;
                    return Err(StepError::AlreadyHeld { shard, node: *node, replica });
                }
                replicas.push(ReplicaPlace { replica: new, node: *node, role: Role::Learner });
                self.last_replica = new;
            }
            Step::Promote { replicas: promoted, .. } => {
                for replica in promoted {
                    find(replicas, shard, *replica, Role::Learner)?.role = Role::Voter;
                }
            }
            Step::Replace { add, remove, .. } => {
                find(replicas, shard, *remove, Role::Voter)?;
                find(replicas, shard, *add, Role::Learner)?.role = Role::Voter;
                replicas.retain(|place| place.replica != *remove);
            }
            Step::Demote { replicas: demoted, .. } => {
                for replica in demoted {
                    find(replicas, shard, *replica, Role::Voter)?.role = Role::Learner;
                }
                if replicas.iter().all(|place| place.role == Role::Learner) {
                    return Err(StepError::NoVoterLeft { shard });
                }
            }
            Step::Remove { replica, .. } => {
                if find(replicas, shard, *replica, Role::Learner).is_err() {
                    find(replicas, shard, *replica, Role::Voter)?;
                }
                replicas.retain(|place| place.replica != *replica);
                if replicas.iter().all(|place| place.role == Role::Learner) {
                    return Err(StepError::NoVoterLeft { shard });
                }
            }
        }
        Ok(())
    }
}

fn find(
    replicas: &mut [ReplicaPlace],
    shard: ShardId,
    replica: ReplicaId,
    role: Role,
) -> Result<&mut ReplicaPlace, StepError> {
    replicas
        .iter_mut()
        .find(|place| place.replica == replica && place.role == role)
        .ok_or(StepError::NoSuchReplica { shard, replica, role })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(replica: u64, node: u64, role: Role) -> ReplicaPlace {
        ReplicaPlace { replica: ReplicaId::new(replica), node: NodeId::new(node), role }
    }

    #[test]
    fn a_shard_whose_log_went_ahead_is_placed_as_its_log_says() {
        let copy = |node| Step::AddLearner { shard: SHARD, node: NodeId::new(node) };
        let placement = two_shards_on_n1().after(&copy(2)).and_then(|next| next.after(&copy(3)));
        let placement = placement.expect("two copies");
        let members =
            [place(2, 1, Role::Voter), place(3, 2, Role::Voter), place(4, 3, Role::Voter)];
        let after = placement.after_log(SHARD, &members, at(1, 9)).expect("it differs");
        assert_eq!(after.replicas(SHARD), members);
        assert_eq!(after.epoch().get(), placement.epoch().get() + 1);
        assert_eq!(after.after_log(SHARD, &members, at(2, 10)), None);
    }

    #[test]
    fn a_copy_that_the_log_does_not_know_yet_stays_placed_and_a_voter_that_left_does_not() {
        let step = Step::AddLearner { shard: SHARD, node: NodeId::new(2) };
        let placement = two_shards_on_n1().after(&step).expect("a copy");
        assert_eq!(placement.after_log(SHARD, &[place(2, 1, Role::Voter)], at(1, 1)), None);
        let moved = [place(3, 2, Role::Voter)];
        let after = placement.after_log(SHARD, &moved, at(1, 3)).expect("it differs");
        assert_eq!(after.replicas(SHARD), [place(3, 2, Role::Voter)]);
    }

    #[test]
    fn a_leader_that_was_deposed_does_not_take_a_replica_back_nor_drop_one() {
        let copy = |node| Step::AddLearner { shard: SHARD, node: NodeId::new(node) };
        let placement = two_shards_on_n1().after(&copy(2)).and_then(|next| next.after(&copy(3)));
        let three = [place(2, 1, Role::Voter), place(3, 2, Role::Voter), place(4, 3, Role::Voter)];
        let placement = placement.expect("two copies").after_log(SHARD, &three, at(1, 7));
        let placement = placement.and_then(|next| next.after(&copy(4)).ok()).expect("a copy");
        let moved = [place(2, 1, Role::Voter), place(3, 2, Role::Voter), place(5, 4, Role::Voter)];
        let placement = placement.after_log(SHARD, &moved, at(2, 12)).expect("r4 left");
        for as_of in [at(1, 7), at(1, 90), at(2, 12)] {
            assert_eq!(placement.after_log(SHARD, &three, as_of), None);
        }
    }

    #[test]
    fn a_member_that_is_not_placed_is_not_taken_in() {
        let members = [place(2, 1, Role::Voter), place(9, 2, Role::Learner)];
        assert_eq!(two_shards_on_n1().after_log(SHARD, &members, at(3, 3)), None);
    }

    const fn at(term: u64, index: u64) -> LogPoint {
        LogPoint { term, index }
    }

    const SHARD: ShardId = ShardId::new(1);

    fn two_shards_on_n1() -> Placement {
        Placement::founded_by(NodeId::new(1), Epoch::new(5), 2).expect("in range")
    }

    fn add(node: u64) -> Step {
        Step::AddLearner { shard: SHARD, node: NodeId::new(node) }
    }

    fn replace(add: u64, remove: u64) -> Step {
        Step::Replace { shard: SHARD, add: ReplicaId::new(add), remove: ReplicaId::new(remove) }
    }

    fn remove(replica: u64) -> Step {
        Step::Remove { shard: SHARD, replica: ReplicaId::new(replica) }
    }

    fn after(placement: &Placement, steps: &[Step]) -> Placement {
        let step_on = |placement: Placement, step| placement.after(step).expect("possible");
        steps.iter().fold(placement.clone(), step_on)
    }

    #[test]
    fn every_change_makes_the_epoch_grow_and_no_replica_id_is_given_out_twice() {
        let steps = [add(2), remove(3), add(2), replace(4, 2), add(1)];
        let changed = after(&two_shards_on_n1(), &steps);
        assert_eq!(changed.epoch(), Epoch::new(10));
        assert_eq!(changed.last_replica(), ReplicaId::new(5));
        let place = |replica, node, role| ReplicaPlace {
            replica: ReplicaId::new(replica),
            node: NodeId::new(node),
            role,
        };
        let held = [place(4, 2, Role::Voter), place(5, 1, Role::Learner)];
        assert_eq!(changed.replicas(SHARD), held);
        assert_eq!(changed.replicas(ShardId::new(0)), [place(1, 1, Role::Voter)]);
    }

    #[test]
    fn a_step_that_does_not_fit_changes_nothing() {
        let placement = after(&two_shards_on_n1(), &[add(2)]);
        let (shard, r2, r3) = (SHARD, ReplicaId::new(2), ReplicaId::new(3));
        let missing = |replica, role| StepError::NoSuchReplica { shard, replica, role };
        for (step, error) in [
            (add(2), StepError::AlreadyHeld { shard, node: NodeId::new(2), replica: r3 }),
            (replace(2, 2), missing(r2, Role::Learner)),
            (replace(3, 3), missing(r3, Role::Voter)),
            (remove(2), StepError::NoVoterLeft { shard }),
            (remove(9), missing(ReplicaId::new(9), Role::Voter)),
            (Step::Promote { shard, replicas: vec![r3, r2] }, missing(r2, Role::Learner)),
            (Step::Promote { shard, replicas: vec![r3, r3] }, missing(r3, Role::Learner)),
            (Step::Demote { shard, replicas: vec![r3] }, missing(r3, Role::Voter)),
            (Step::Demote { shard, replicas: vec![r2] }, StepError::NoVoterLeft { shard }),
        ] {
            assert_eq!(placement.after(&step), Err(error), "{step}");
        }
        let nowhere = Step::AddLearner { shard: ShardId::new(2), node: NodeId::new(1) };
        let error = StepError::NoSuchShard { shard: ShardId::new(2) };
        assert_eq!(placement.after(&nowhere), Err(error));
    }
}
