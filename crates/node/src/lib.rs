//! Wires the parts into a process that can be embedded: a [`Node`] opens its shards, and
//! answers the request vocabulary of `breccia-types`.
//!
//! A write takes this way: [`Node::write`] checks it and finds its shard, the shard's
//! `RaftGroup` orders it and hands the entry to each [`replica`], whose services decide what
//! it writes and replies, and the store writes the batch.

pub mod config;
pub mod node;
pub mod open;
pub mod status;

mod check;
mod read;
mod scan;
mod strings;
mod tables;
mod write;

mod alone;
mod cluster;
mod directory;
mod founding;
mod health;
mod maintenance;
mod replica;

pub use breccia_replication::FsyncPolicy;
pub use breccia_ring::Placement;
pub use config::{NodeConfig, Storage};
pub use directory::DirectoryError;
pub use founding::FoundingError;
pub use node::Node;
pub use open::OpenError;
pub use status::{Finding, NodeMetrics, NodeStatus, Severity, ShardStatus};
pub use strings::StringsInFlight;
