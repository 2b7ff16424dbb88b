//! Wires the parts into a process that can be embedded: a [`Node`] opens its shards, and
//! answers the request vocabulary of `breccia-types`.
//!
//! A write takes this way: [`Node::write`] checks it and finds its shard, the shard's
//! `ShardConsensus` orders it, the log's writer hands the entry to the [`machine`], whose
//! services decide what it writes and replies, and the store writes the batch.

pub mod config;
pub mod node;
pub mod open;
pub mod status;

mod catalog;
mod check;
mod directory;
mod health;
mod machine;
mod maintenance;
mod read;
mod scan;
mod strings;
mod write;

pub use breccia_replication::FsyncPolicy;
pub use breccia_ring::Placement;
pub use config::{NodeConfig, Storage};
pub use directory::DirectoryError;
pub use node::Node;
pub use open::OpenError;
pub use status::{Finding, NodeMetrics, NodeStatus, Severity, ShardStatus};
pub use strings::StringsInFlight;
