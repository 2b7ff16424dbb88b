//! Slots to shards: each shard is one contiguous range of slots.

use std::ops::RangeInclusive;

use breccia_types::id::SLOT_COUNT;
use breccia_types::limits::SHARDS_MAX;
use breccia_types::{Epoch, ShardId, Slot};
use thiserror::Error;

/// Which shard holds which slots, at one epoch. Every slot belongs to exactly one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    epoch: Epoch,
    /// The first slot of each shard, ascending; shard `n` is at position `n`.
    starts: Vec<u16>,
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
    /// Splits the slots evenly: the sizes of two shards differ by at most one slot.
    ///
    /// # Errors
    /// [`PlacementError::ShardCount`] if `shards` is 0 or above [`SHARDS_MAX`].
    pub fn even(epoch: Epoch, shards: u32) -> Result<Self, PlacementError> {
        if shards == 0 || shards > SHARDS_MAX {
            return Err(PlacementError::ShardCount { count: shards });
        }
        let starts = (0..shards)
            .filter_map(|shard| u16::try_from(shard * u32::from(SLOT_COUNT) / shards).ok())
            .collect();
        Ok(Self { epoch, starts })
    }

    /// The epoch of this placement.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// How many shards there are.
    #[must_use]
    pub fn shard_count(&self) -> usize {
        self.starts.len()
    }

    /// The shard that holds a slot.
    #[must_use]
    pub fn shard_of(&self, slot: Slot) -> ShardId {
        let after = self.starts.partition_point(|start| *start <= slot.get());
        shard_at(after.saturating_sub(1))
    }

    /// The slots of a shard; `None` if there is no such shard.
    #[must_use]
    pub fn slot_range(&self, shard: ShardId) -> Option<RangeInclusive<u16>> {
        let at = usize::try_from(shard.get()).ok()?;
        let first = *self.starts.get(at)?;
        let last = self.starts.get(at + 1).map_or(SLOT_COUNT - 1, |next| next - 1);
        Some(first..=last)
    }

    /// Every shard with its slots, in the order of slots.
    pub fn shards(&self) -> impl Iterator<Item = (ShardId, RangeInclusive<u16>)> {
        (0..self.starts.len())
            .map(shard_at)
            .filter_map(|shard| self.slot_range(shard).map(|slots| (shard, slots)))
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
