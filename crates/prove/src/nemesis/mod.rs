//! Faults: what can happen to nodes, what happens next, and how it is done.

mod fault;
mod inject;
mod plan;

pub use self::fault::{Fault, UnknownFault};
pub use self::inject::{Happened, Patience, inject};
pub use self::plan::{Planner, Step, Victim};
