//! The ring that chooses which nodes should hold each shard.
//!
//! Nodes and shards are hashed onto one circle; a shard belongs to the nodes that follow it
//! clockwise. A node that comes or goes changes only what lies next to its points (Karger et
//! al., "Consistent Hashing and Random Trees", STOC 1997). Each node has many points, in
//! proportion to its weight, so that shares are even and what a node leaves behind goes to
//! all the others.
//!
//! Even so some nodes would get twice the average. So no node gets more than
//! [`LOAD_PERCENT_MAX`] of its fair share, and a shard that meets a full node goes on to the
//! next (Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads", SODA
//! 2018). In the end nodes with less than [`LOAD_PERCENT_MIN`] are given some of the others',
//! so that a new node is never left idle by bad luck.
//!
//! Zones come before the bound: the replicas of a shard are spread over as many zones as
//! there are, evenly. The fair share of a node is therefore what the zones leave it: with
//! three replicas and three zones, the one node of the third zone holds every shard, and the
//! others share the rest.
//!
//! The outcome depends on nothing but the nodes and the hash: not on the order in which the
//! nodes are given, nor on any earlier outcome. It is what the plan of moves aims at.

mod draft;
mod share;

use std::collections::{BTreeMap, BTreeSet};

use breccia_types::{NodeId, ShardId};
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use draft::Draft;
pub use share::{LOAD_PERCENT_MAX, LOAD_PERCENT_MIN};

/// Places bytes on the circle.
pub type RingHash = fn(&[u8]) -> u64;

/// Points of a node on the circle per unit of its weight: 200 at the default weight.
const POINTS_PER_WEIGHT: u32 = 2;
/// The seed of the default hash. All nodes of a cluster must agree on it.
const HASH_SEED: u64 = 0x6272_6563_6369_6121;

/// How much a node holds, in proportion to the others: 1 to 1,000, 100 by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u32);

impl Weight {
    /// The largest weight.
    pub const MAX: Self = Self(1_000);

    /// The weight of this number, or `None` if it is not in 1 to 1,000.
    #[must_use]
    pub const fn new(raw: u32) -> Option<Self> {
        if raw >= 1 && raw <= Self::MAX.0 { Some(Self(raw)) } else { None }
    }

    /// The raw number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(100)
    }
}

/// Whether a node may hold replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Intake {
    /// It may.
    Open,
    /// It is being emptied.
    Draining,
}

/// A node as the ring sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RingNode {
    /// Its identity.
    pub id: NodeId,
    /// How much it holds, in proportion to the others.
    pub weight: Weight,
    /// What fails together has one zone name: a rack, a data centre. Nodes without a zone
    /// share the empty name.
    pub zone: String,
    /// Whether it may hold replicas.
    pub intake: Intake,
}

/// Why there is no such ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RingError {
    /// Two of the nodes have one identity.
    #[error("node {node} is given twice")]
    DuplicateNode {
        /// The identity.
        node: NodeId,
    },
}

/// Nodes on a circle. Only nodes that may hold replicas are on it.
#[derive(Debug, Clone)]
pub struct HashRing {
    /// By identity; a seat's number is its position here.
    seats: Vec<Seat>,
    /// How many zones there are.
    zones: usize,
    /// Where the seats lie on the circle, ascending.
    points: Vec<(u64, usize)>,
    hash: RingHash,
}

#[derive(Debug, Clone, Copy)]
struct Seat {
    id: NodeId,
    weight: u32,
    zone: usize,
}

impl HashRing {
    /// A ring of these nodes, in whatever order, with XXH3.
    ///
    /// # Errors
    /// [`RingError::DuplicateNode`].
    pub fn new(nodes: &[RingNode]) -> Result<Self, RingError> {
        Self::with_hash(nodes, |bytes| xxh3_64_with_seed(bytes, HASH_SEED))
    }

    /// A ring whose every position comes from `hash`.
    ///
    /// # Errors
    /// [`RingError::DuplicateNode`].
    pub fn with_hash(nodes: &[RingNode], hash: RingHash) -> Result<Self, RingError> {
        let mut by_id = BTreeMap::new();
        for node in nodes {
            if by_id.insert(node.id, node).is_some() {
                return Err(RingError::DuplicateNode { node: node.id });
            }
        }
        by_id.retain(|_, node| node.intake == Intake::Open);
        let names: BTreeSet<&str> = by_id.values().map(|node| node.zone.as_str()).collect();
        let numbers: BTreeMap<&str, usize> = names.into_iter().zip(0..).collect();
        let seats: Vec<Seat> = by_id
            .values()
            .filter_map(|node| {
                let zone = *numbers.get(node.zone.as_str())?;
                Some(Seat { id: node.id, weight: node.weight.get(), zone })
            })
            .collect();
        let points = points(&seats, hash);
        Ok(Self { seats, zones: numbers.len(), points, hash })
    }

    /// The nodes that should hold each of `shards` shards, `replicas` each, or as many as
    /// there are nodes if those are fewer.
    #[must_use]
    pub fn assign(&self, shards: u32, replicas: usize) -> Assignment {
        let seated = Draft::new(self, shards, replicas).fill();
        let nodes = |row: &Vec<usize>| {
            row.iter().filter_map(|seat| self.seats.get(*seat)).map(|seat| seat.id).collect()
        };
        Assignment { replicas, shards: seated.iter().map(nodes).collect() }
    }

    /// Where a shard lies on the circle.
    fn position(&self, shard: u32) -> u64 {
        let [a, b, c, d] = shard.to_be_bytes();
        (self.hash)(&[b's', a, b, c, d])
    }

    /// Every seat once, in the order in which a shard meets them.
    fn walk(&self, shard: u32) -> impl Iterator<Item = usize> {
        let position = self.position(shard);
        let start = self.points.partition_point(|(point, _)| *point < position);
        let (before, after) = self.points.split_at_checked(start).unwrap_or_default();
        let mut met = vec![false; self.seats.len()];
        let first_time =
            move |seat: &usize| met.get_mut(*seat).is_some_and(|met| !std::mem::replace(met, true));
        after.iter().chain(before).map(|(_, seat)| *seat).filter(first_time).take(self.seats.len())
    }
}

/// Every point of every seat, ascending. Points that coincide keep the order of identities,
/// so that even a poor hash gives one outcome.
fn points(seats: &[Seat], hash: RingHash) -> Vec<(u64, usize)> {
    let mut points = Vec::new();
    for (number, seat) in seats.iter().enumerate() {
        for index in 0..seat.weight.saturating_mul(POINTS_PER_WEIGHT) {
            let mut name = [b'n'; 13];
            let (_, rest) = name.split_at_mut(1);
            let (id, nth) = rest.split_at_mut(8);
            id.copy_from_slice(&seat.id.get().to_be_bytes());
            nth.copy_from_slice(&index.to_be_bytes());
            points.push((hash(&name), number));
        }
    }
    points.sort_unstable();
    points
}

/// The nodes that should hold each shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    replicas: usize,
    shards: Vec<BTreeSet<NodeId>>,
}

impl Assignment {
    /// An assignment made by hand: `replicas` is how many replicas each shard should have,
    /// `shards` the nodes of shard 0, 1, and so on.
    #[must_use]
    pub const fn new(replicas: usize, shards: Vec<BTreeSet<NodeId>>) -> Self {
        Self { replicas, shards }
    }

    /// How many replicas each shard should have, even if there are fewer nodes.
    #[must_use]
    pub const fn replicas(&self) -> usize {
        self.replicas
    }

    /// The nodes that should hold a shard; `None` if there is no such shard.
    #[must_use]
    pub fn nodes(&self, shard: ShardId) -> Option<&BTreeSet<NodeId>> {
        self.shards.get(usize::try_from(shard.get()).ok()?)
    }

    /// Every shard's nodes, in the order of shards.
    pub fn iter(&self) -> impl Iterator<Item = (ShardId, &BTreeSet<NodeId>)> {
        (0..).map(ShardId::new).zip(&self.shards)
    }

    /// How many replicas each node should hold. A node that should hold none is not in it.
    #[must_use]
    pub fn load(&self) -> BTreeMap<NodeId, usize> {
        let mut load = BTreeMap::new();
        for node in self.shards.iter().flatten() {
            *load.entry(*node).or_default() += 1;
        }
        load
    }
}

#[cfg(test)]
mod tests;
