//! A shard's files on their way to another replica.
//!
//! ```text
//! sender                                         receiver
//!   manifest: vote, position, names and sizes ->
//!   for each file: chunks, then its checksum  -> writes into a folder of its own
//!                                             <- what became of it
//! ```
//!
//! The receiver installs only what is complete, has the right checksums and is synced. When
//! anything breaks, its folder goes and the sender starts again from the beginning.

mod manifest;
mod receive;
mod send;
mod traffic;

pub(crate) use receive::{receive, refuse};
pub(crate) use send::send;
pub(crate) use traffic::Traffic;
pub use traffic::{SnapshotsSent, TrafficLimits};
