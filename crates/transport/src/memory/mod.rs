//! The transport between nodes of one process, for tests.
//!
//! What passes between each two nodes can be cut, delayed, held or lost, each direction by
//! itself. Everything runs in tokio tasks on tokio's clock, and chance comes from one seed:
//! on a single-threaded runtime with a paused clock, the same seed gives the same run.
//!
//! Unlike TCP it has no connections to be made, no budgets, and all nodes are members of one
//! cluster. The room that a receiver gives back to its sender, and the news that an end of a
//! stream was dropped by its receiver, travel at once and through every fault.

mod call;
mod faults;
mod network;
mod stream;

pub use faults::Faults;
pub use network::{MemoryNetwork, MemoryTransport};
