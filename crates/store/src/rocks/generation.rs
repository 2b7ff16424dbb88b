//! Which column family holds a shard: one for each generation of its replica on this node.
//!
//! A shard that began here empty has generation 1 and no record. An import makes the next
//! generation, which becomes current when a record of the node says so; a removed shard keeps
//! a record, so that what is left of it after a crash is not taken for a shard again. So a
//! family without a record is a shard only if its generation is 1, and an import never makes
//! generation 1.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use breccia_types::ShardId;

use crate::error::StoreError;

const VERSION: u8 = 1;
const PRESENT: u8 = 1;
const REMOVED: u8 = 2;

/// How many replicas of a shard this node has had, this one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Generation(u32);

/// A column family that holds one generation of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Family {
    pub(super) shard: ShardId,
    pub(super) generation: Generation,
}

/// What the node's record of a shard says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replica {
    /// This generation is current.
    Present(Generation),
    /// The shard was removed from this node; this was its last generation.
    Removed(Generation),
}

/// What becomes of the column families that a database holds when it is opened.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// The current generations.
    pub(super) adopt: Vec<Family>,
    /// What a crash left of imports and removals.
    pub(super) drop: Vec<Family>,
    /// The last generation that each shard has had.
    pub(super) last: BTreeMap<ShardId, Generation>,
}

impl Generation {
    pub(super) const FIRST: Self = Self(1);

    pub(super) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Family {
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (shard, generation) = name.strip_prefix('s')?.split_once(".g")?;
        let shard = ShardId::new(shard.parse().ok()?);
        let family = Self { shard, generation: Generation(generation.parse().ok()?) };
        (family.to_string() == name).then_some(family)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}.g{}", self.shard.get(), self.generation.0)
    }
}

impl Replica {
    /// The name of a shard's record.
    pub(super) fn record(shard: ShardId) -> String {
        format!("{}{}", Self::RECORD_PREFIX, shard.get())
    }

    /// What the names of shards' records start with.
    pub(super) const RECORD_PREFIX: &str = "shard.";

    /// The shard of a record.
    pub(super) fn shard_of_record(name: &[u8]) -> Option<ShardId> {
        let number = std::str::from_utf8(name).ok()?.strip_prefix(Self::RECORD_PREFIX)?;
        number.parse().ok().map(ShardId::new)
    }

    pub(super) fn encode(self) -> Vec<u8> {
        let (state, generation) = match self {
            Self::Present(generation) => (PRESENT, generation),
            Self::Removed(generation) => (REMOVED, generation),
        };
        [&[VERSION, state][..], &generation.0.to_be_bytes()].concat()
    }

    pub(super) fn decode(encoded: &[u8]) -> Result<Self, StoreError> {
        let unknown = |found| StoreError::UnknownFormat {
            what: "a record of a shard",
            found,
            known: VERSION,
        };
        match *encoded {
            [VERSION, state, a, b, c, d] => {
                let generation = Generation(u32::from_be_bytes([a, b, c, d]));
                match state {
                    PRESENT => Ok(Self::Present(generation)),
                    REMOVED => Ok(Self::Removed(generation)),
                    _ => Err(unknown(state)),
                }
            }
            [found, ..] => Err(unknown(found)),
            [] => Err(unknown(0)),
        }
    }

    const fn generation(self) -> Generation {
        match self {
            Self::Present(generation) | Self::Removed(generation) => generation,
        }
    }
}

impl Plan {
    /// Decides by the families that are there and the records of the node.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the current generation of a shard is not there: its family
    /// is durable before its record is written.
    pub(super) fn new(
        families: &BTreeSet<Family>,
        records: &BTreeMap<ShardId, Replica>,
    ) -> Result<Self, StoreError> {
        let mut plan = Self::default();
        for family in families {
            let is_current = match records.get(&family.shard) {
                Some(Replica::Present(generation)) => *generation == family.generation,
                Some(Replica::Removed(_)) => false,
                None => family.generation == Generation::FIRST,
            };
            if is_current { &mut plan.adopt } else { &mut plan.drop }.push(*family);
        }
        let recorded = records.iter().map(|(shard, replica)| (*shard, replica.generation()));
        for (shard, generation) in
            recorded.chain(families.iter().map(|family| (family.shard, family.generation)))
        {
            let last = plan.last.entry(shard).or_insert(generation);
            *last = generation.max(*last);
        }
        for (shard, replica) in records {
            if let Replica::Present(generation) = *replica {
                let family = Family { shard: *shard, generation };
                if !families.contains(&family) {
                    let detail = format!("its column family {family} is missing");
                    return Err(StoreError::Corrupt { shard: *shard, detail });
                }
            }
        }
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(name: &str) -> Family {
        Family::parse(name).expect("a family")
    }

    #[test]
    fn column_families_of_shards_are_told_from_others() {
        assert_eq!(family("s12.g3"), Family { shard: ShardId::new(12), generation: Generation(3) });
        for name in ["default", "node", "s1", "s.g1", "sx.g1", "s1.gx", "s1.g01", "s+1.g1"] {
            assert_eq!(Family::parse(name), None, "{name}");
        }
    }

    #[test]
    fn the_bytes_of_records_stay_what_they_are() {
        let fixtures = [
            (Replica::Present(Generation(2)), b"\x01\x01\0\0\0\x02"),
            (Replica::Removed(Generation(258)), b"\x01\x02\0\0\x01\x02"),
        ];
        for (replica, bytes) in fixtures {
            assert_eq!(replica.encode(), bytes);
            assert_eq!(Replica::decode(bytes), Ok(replica));
        }
        for bytes in [&b""[..], b"\x01", b"\x02\x01\0\0\0\x02", b"\x01\x03\0\0\0\x02", b"\0"] {
            assert!(Replica::decode(bytes).is_err(), "{bytes:?}");
        }
        assert_eq!(Replica::record(ShardId::new(7)), "shard.7");
        assert_eq!(Replica::shard_of_record(b"shard.7"), Some(ShardId::new(7)));
        assert_eq!(Replica::shard_of_record(b"catalog"), None);
    }

    #[test]
    fn records_decide_what_is_adopted_and_what_is_dropped() {
        let present = |generation| Some(Replica::Present(Generation(generation)));
        let removed = |generation| Some(Replica::Removed(Generation(generation)));
        let table = [
            // What lies there, what the record says, what is adopted, what is dropped.
            ("s1.g1", None, "s1.g1", ""),
            ("s1.g2", None, "", "s1.g2"),
            ("s1.g1 s1.g2", None, "s1.g1", "s1.g2"),
            ("s1.g1 s1.g2", present(2), "s1.g2", "s1.g1"),
            ("s1.g2 s1.g3", present(2), "s1.g2", "s1.g3"),
            ("s1.g1", present(1), "s1.g1", ""),
            ("s1.g2", removed(2), "", "s1.g2"),
            ("s1.g2 s1.g3", removed(2), "", "s1.g2 s1.g3"),
            ("", removed(2), "", ""),
        ];
        for (families, record, adopt, drop) in table {
            let list = |names: &str| names.split_whitespace().map(family).collect::<Vec<_>>();
            let records = record.map(|record| (ShardId::new(1), record)).into_iter().collect();
            let families = list(families).into_iter().collect();
            let plan = Plan::new(&families, &records).expect("a plan");
            assert_eq!((plan.adopt, plan.drop), (list(adopt), list(drop)), "{families:?}");
        }
    }

    #[test]
    fn a_generation_is_never_used_twice() {
        let families = ["s1.g1", "s1.g4"].map(family).into_iter().collect();
        let records = [
            (ShardId::new(1), Replica::Present(Generation(1))),
            (ShardId::new(2), Replica::Removed(Generation(9))),
        ];
        let plan = Plan::new(&families, &records.into_iter().collect()).expect("a plan");
        let last: Vec<_> = plan.last.into_values().collect();
        assert_eq!(last, [Generation(4), Generation(9)]);
    }

    #[test]
    fn a_record_without_its_family_is_damage() {
        let families = ["s1.g1"].map(family).into_iter().collect();
        let records = [(ShardId::new(1), Replica::Present(Generation(2)))].into_iter().collect();
        let damage = Plan::new(&families, &records);
        assert!(matches!(damage, Err(StoreError::Corrupt { .. })), "{damage:?}");
    }
}
