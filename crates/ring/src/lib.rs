//! Pure placement: slots to shards to replicas, the ring that chooses nodes, and the plan of
//! moves between two placements. No I/O, no clock, no randomness.

pub mod slot;

pub mod placement;

pub mod hash_ring;

pub use hash_ring::{Assignment, HashRing, Intake, RingError, RingHash, RingNode, Weight};
pub use placement::{Placement, PlacementError};
pub use slot::slot_of;
