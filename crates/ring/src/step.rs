//! One change of one shard's replicas: the unit of moving data about.
//!
//! Each step is one configuration change of the shard's log (a joint one where several
//! replicas change), and one change of the placement. Between steps the shard rests.

use std::fmt;

use breccia_types::{NodeId, ReplicaId, ShardId};

/// One change of one shard's replicas.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// Start a copy: a new replica on a node that has none of this shard. It does not vote.
    AddLearner {
        /// The shard.
        shard: ShardId,
        /// Where the copy shall be.
        node: NodeId,
    },
    /// Let learners vote, all at once. They must have caught up with the log before.
    Promote {
        /// The shard.
        shard: ShardId,
        /// The learners.
        replicas: Vec<ReplicaId>,
    },
    /// Let a learner vote in the place of a voter, which is removed. The learner must have
    /// caught up with the log before, and the voter must not lead.
    Replace {
        /// The shard.
        shard: ShardId,
        /// The learner.
        add: ReplicaId,
        /// The voter.
        remove: ReplicaId,
    },
    /// Make learners of voters, all at once. None of them may lead.
    Demote {
        /// The shard.
        shard: ShardId,
        /// The voters.
        replicas: Vec<ReplicaId>,
    },
    /// Remove a learner, or a voter whose data is damaged. It must not lead.
    Remove {
        /// The shard.
        shard: ShardId,
        /// Which.
        replica: ReplicaId,
    },
}

impl Step {
    /// The shard that changes.
    #[must_use]
    pub const fn shard(&self) -> ShardId {
        match self {
            Self::AddLearner { shard, .. }
            | Self::Promote { shard, .. }
            | Self::Replace { shard, .. }
            | Self::Demote { shard, .. }
            | Self::Remove { shard, .. } => *shard,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddLearner { shard, node } => write!(f, "{shard}: copy to {node}"),
            Self::Promote { shard, replicas } => write!(f, "{shard}: promote {}", List(replicas)),
            Self::Replace { shard, add, remove } => write!(f, "{shard}: replace {remove} by {add}"),
            Self::Demote { shard, replicas } => write!(f, "{shard}: demote {}", List(replicas)),
            Self::Remove { shard, replica } => write!(f, "{shard}: remove {replica}"),
        }
    }
}

/// Replicas with spaces between.
struct List<'a>(&'a [ReplicaId]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, replica) in self.0.iter().enumerate() {
            let space = if position == 0 { "" } else { " " };
            write!(f, "{space}{replica}")?;
        }
        Ok(())
    }
}
