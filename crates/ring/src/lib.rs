//! Pure placement: slots to shards to replicas, the ring that chooses nodes, and the plan of
//! moves between two placements. No I/O, no clock, no randomness.
//!
//! ```
//! use std::collections::BTreeSet;
//!
//! use breccia_ring::{Goal, HashRing, Intake, Placement, Plan, RingNode, Weight};
//! use breccia_types::{Epoch, NodeId};
//!
//! let node = |id, zone: &str| RingNode {
//!     id: NodeId::new(id),
//!     weight: Weight::default(),
//!     zone: zone.to_owned(),
//!     intake: Intake::Open,
//! };
//! // One node holds everything; two more have come.
//! let placement = Placement::founded_by(NodeId::new(1), Epoch::new(1), 1)?;
//! let ring = HashRing::new(&[node(1, "a"), node(2, "b"), node(3, "c")])?;
//! let wanted = ring.assign(1, 3);
//! let (none, whole) = (BTreeSet::new(), BTreeSet::new());
//! let goal =
//!     Goal { wanted: &wanted, lost: &none, absent: &none, draining: &none, damaged: &whole };
//! let plan = Plan::whole(&placement, goal);
//! let steps: Vec<String> = plan.steps.iter().map(ToString::to_string).collect();
//! assert_eq!(steps, ["s0: copy to n2", "s0: copy to n3", "s0: promote r2 r3"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod slot;

pub mod placement;

pub mod hash_ring;

pub mod plan;
pub mod step;

pub mod leaders;

pub use hash_ring::{Assignment, HashRing, Intake, RingError, RingHash, RingNode, Weight};
pub use leaders::{LeaderChoice, spread_leaders};
pub use placement::{LogPoint, Placement, PlacementError, ReplicaPlace, Role, StepError};
pub use plan::{Goal, Plan, Stuck};
pub use slot::{slot_of, slot_of_prefix};
pub use step::Step;
