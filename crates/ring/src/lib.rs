//! Pure placement: keys to slots, slots to shards. No I/O, no clock, no randomness.

pub mod slot;

pub mod placement;

pub use placement::{Placement, PlacementError};
pub use slot::slot_of;
