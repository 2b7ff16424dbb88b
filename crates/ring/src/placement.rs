//! Slots to shards to replicas: each shard is one contiguous range of slots, held by its
//! replicas.

mod change;
mod codec;

use std::fmt;
use std::ops::RangeInclusive;

use breccia_types::id::SLOT_COUNT;
use breccia_types::limits::SHARDS_MAX;
use breccia_types::{Epoch, NodeId, ReplicaId, ShardId, Slot};
use thiserror::Error;

pub use change::StepError;

/// Which shard holds which slots, and which nodes hold which shard, at one epoch.
///
/// Every slot belongs to exactly one shard. A shard has at most one replica on a node, and
/// no two replicas, of whatever shards, ever had the same id. Who leads a shard is not part
/// of it: that changes without anyone's leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    epoch: Epoch,
    /// The highest replica id ever given out.
    last_replica: ReplicaId,
    /// By shard, ascending by their slots; the first starts at slot 0.
    shards: Vec<ShardPlace>,
}

/// Where one shard is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ShardPlace {
    /// Its first slot; its last is before the next shard's first.
    start: u16,
    /// The membership of the shard's log that its replicas were last taken over from.
    as_of: LogPoint,
    /// Ascending by replica id.
    replicas: Vec<ReplicaPlace>,
}

/// A committed entry of a shard's log. Of two, the greater is later in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogPoint {
    /// The term of the leader that wrote it.
    pub term: u64,
    /// Its place in the log.
    pub index: u64,
}

/// Where a replica is, and what it is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaPlace {
    /// The replica.
    pub replica: ReplicaId,
    /// The node that holds it.
    pub node: NodeId,
    /// Whether it votes.
    pub role: Role,
}

/// Whether a replica votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It counts towards the majority, and may lead.
    Voter,
    /// It receives the log and does not vote: a copy in the making, or a second copy in a
    /// cluster of two.
    Learner,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Voter => "voter",
            Self::Learner => "learner",
        })
    }
}

/// Why there is no such placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PlacementError {
    /// The number of shards is out of range.
    #[error("{count} shards are not possible; choose 1 to {SHARDS_MAX}")]
    ShardCount {
        /// The number asked for.
        count: u32,
    },
}

impl Placement {
    /// Splits the slots evenly: the sizes of two shards differ by at most one slot. No shard
    /// has a replica yet.
    ///
    /// # Errors
    /// [`PlacementError::ShardCount`] if `shards` is 0 or above [`SHARDS_MAX`].
    pub fn even(epoch: Epoch, shards: u32) -> Result<Self, PlacementError> {
        if shards == 0 || shards > SHARDS_MAX {
            return Err(PlacementError::ShardCount { count: shards });
        }
        let shards = (0..shards)
            .filter_map(|shard| u16::try_from(shard * u32::from(SLOT_COUNT) / shards).ok())
            .map(|start| ShardPlace { start, as_of: LogPoint::default(), replicas: Vec::new() })
            .collect();
        Ok(Self { epoch, last_replica: ReplicaId::new(0), shards })
    }

    /// The placement of a cluster of one node: as [`Placement::even`], and the node is the
    /// only voter of every shard. Shard `n` has replica `n + 1`.
    ///
    /// # Errors
    /// [`PlacementError::ShardCount`] if `shards` is 0 or above [`SHARDS_MAX`].
    pub fn founded_by(node: NodeId, epoch: Epoch, shards: u32) -> Result<Self, PlacementError> {
        let mut placement = Self::even(epoch, shards)?;
        for (shard, id) in placement.shards.iter_mut().zip(1..) {
            let replica = ReplicaId::new(id);
            shard.replicas.push(ReplicaPlace { replica, node, role: Role::Voter });
            placement.last_replica = replica;
        }
        Ok(placement)
    }

    /// The epoch of this placement; every change makes it grow by one.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The highest replica id ever given out, 0 if none was. It may be gone by now.
    #[must_use]
    pub const fn last_replica(&self) -> ReplicaId {
        self.last_replica
    }

    /// How many shards there are.
    #[must_use]
    pub const fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// The shard that holds a slot.
    #[must_use]
    pub fn shard_of(&self, slot: Slot) -> ShardId {
        let after = self.shards.partition_point(|shard| shard.start <= slot.get());
        shard_at(after.saturating_sub(1))
    }

    /// The slots of a shard; `None` if there is no such shard.
    #[must_use]
    pub fn slot_range(&self, shard: ShardId) -> Option<RangeInclusive<u16>> {
        let at = usize::try_from(shard.get()).ok()?;
        let first = self.shards.get(at)?.start;
        let last = self.shards.get(at + 1).map_or(SLOT_COUNT - 1, |next| next.start - 1);
        Some(first..=last)
    }

    /// Every shard with its slots, in the order of slots.
    pub fn shards(&self) -> impl Iterator<Item = (ShardId, RangeInclusive<u16>)> {
        (0..self.shards.len())
            .map(shard_at)
            .filter_map(|shard| self.slot_range(shard).map(|slots| (shard, slots)))
    }

    /// The replicas of a shard, ascending by id; none if there is no such shard.
    #[must_use]
    pub fn replicas(&self, shard: ShardId) -> &[ReplicaPlace] {
        usize::try_from(shard.get())
            .ok()
            .and_then(|at| self.shards.get(at))
            .map_or(&[], |place| &place.replicas)
    }

    /// The replica of a shard on a node, if it has one there.
    #[must_use]
    pub fn replica_on(&self, shard: ShardId, node: NodeId) -> Option<ReplicaPlace> {
        self.replicas(shard).iter().find(|place| place.node == node).copied()
    }

    /// The nodes that vote on a shard, ascending by replica id.
    pub fn voters(&self, shard: ShardId) -> impl Iterator<Item = NodeId> {
        self.replicas(shard)
            .iter()
            .filter(|place| place.role == Role::Voter)
            .map(|place| place.node)
    }

    /// What a node holds, in the order of shards.
    pub fn held_by(&self, node: NodeId) -> impl Iterator<Item = (ShardId, ReplicaPlace)> {
        (0..self.shards.len())
            .map(shard_at)
            .filter_map(move |shard| Some((shard, self.replica_on(shard, node)?)))
    }
}

fn shard_at(position: usize) -> ShardId {
    // Positions are below SHARDS_MAX.
    ShardId::new(u32::try_from(position).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_placement_of_no_shards_or_too_many_is_refused() {
        for count in [0, SHARDS_MAX + 1] {
            assert_eq!(
                Placement::even(Epoch::new(1), count),
                Err(PlacementError::ShardCount { count })
            );
        }
    }

    #[test]
    fn the_founder_votes_alone_on_every_shard() {
        let founder = NodeId::new(9);
        let placement = Placement::founded_by(founder, Epoch::new(1), 3).expect("in range");
        assert_eq!(placement.last_replica(), ReplicaId::new(3));
        for (shard, _) in placement.shards() {
            let replica = ReplicaId::new(u64::from(shard.get()) + 1);
            let place = ReplicaPlace { replica, node: founder, role: Role::Voter };
            assert_eq!(placement.replicas(shard), [place]);
            assert_eq!(placement.voters(shard).collect::<Vec<_>>(), [founder]);
        }
        assert_eq!(placement.held_by(founder).count(), 3);
        assert_eq!(placement.held_by(NodeId::new(8)).count(), 0);
        assert_eq!(placement.replicas(ShardId::new(3)), []);
    }

    proptest! {
        #[test]
        fn every_slot_has_exactly_one_shard_and_shares_are_even(shards in 1..=SHARDS_MAX) {
            let placement = Placement::even(Epoch::new(1), shards).expect("in range");
            let mut next = 0;
            let mut sizes = Vec::new();
            for (shard, slots) in placement.shards() {
                prop_assert_eq!(*slots.start(), next);
                next = *slots.end() + 1;
                sizes.push(slots.clone().count());
                for slot in [*slots.start(), *slots.end()] {
                    prop_assert_eq!(placement.shard_of(Slot::new(slot).expect("slot")), shard);
                }
            }
            prop_assert_eq!(next, SLOT_COUNT);
            prop_assert_eq!(sizes.len(), usize::try_from(shards).expect("small"));
            let (min, max) = (sizes.iter().min(), sizes.iter().max());
            prop_assert!(max.expect("one") - min.expect("one") <= 1);
        }
    }
}
