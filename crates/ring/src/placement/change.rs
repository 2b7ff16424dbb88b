//! A placement and a step give the next placement.

use breccia_types::{Epoch, NodeId, ReplicaId, ShardId};
use thiserror::Error;

use super::{Placement, ReplicaPlace, Role};
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
    /// members, and which of those vote. `None` if it says so already. A learner that is no
    /// member yet stays: it is still to be added.
    #[must_use]
    pub fn after_log(&self, shard: ShardId, members: &[ReplicaPlace]) -> Option<Self> {
        let present = self.replicas(shard);
        let member =
            |place: &ReplicaPlace| members.iter().find(|member| member.replica == place.replica);
        let is_kept =
            |place: &&ReplicaPlace| member(place).is_some() || place.role == Role::Learner;
        let kept = present.iter().filter(is_kept);
        let mut replicas: Vec<_> =
            kept.map(|place| member(place).copied().unwrap_or(*place)).collect();
        let is_new = |place: &&ReplicaPlace| {
            present.iter().all(|known| known.replica != place.replica && known.node != place.node)
        };
        replicas.extend(members.iter().filter(is_new));
        replicas.sort_unstable_by_key(|place| place.replica);
        if replicas == present {
            return None;
        }
        let mut next = self.clone();
        let at = usize::try_from(shard.get()).ok()?;
        next.shards.get_mut(at)?.replicas = replicas;
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
                find(replicas, shard, *replica, Role::Learner)?;
                replicas.retain(|place| place.replica != *replica);
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
        let after = placement.after_log(SHARD, &members).expect("it differs");
        assert_eq!(after.replicas(SHARD), members);
        assert_eq!(after.epoch().get(), placement.epoch().get() + 1);
        assert_eq!(after.after_log(SHARD, &members), None);
    }

    #[test]
    fn a_copy_that_the_log_does_not_know_yet_stays_placed_and_a_voter_that_left_does_not() {
        let step = Step::AddLearner { shard: SHARD, node: NodeId::new(2) };
        let placement = two_shards_on_n1().after(&step).expect("a copy");
        assert_eq!(placement.after_log(SHARD, &[place(2, 1, Role::Voter)]), None);
        let after = placement.after_log(SHARD, &[place(3, 2, Role::Voter)]).expect("it differs");
        assert_eq!(after.replicas(SHARD), [place(3, 2, Role::Voter)]);
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
            (remove(2), missing(r2, Role::Learner)),
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
