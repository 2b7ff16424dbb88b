//! Wires the parts into a process that can be embedded: a [`Node`] opens its shards, and
//! answers the request vocabulary of `breccia-types`.
//!
//! A write takes this way: [`Node::write`] checks it and finds its shard, the shard's
//! `RaftGroup` orders it and hands the entry to each `replica`, whose services decide what
//! it writes and replies, and the store writes the batch.

pub mod config;
pub mod doctor;
pub mod node;
pub mod open;
pub mod overview;
pub mod status;

mod check;
mod functions;
mod leaders;
mod named;
mod read;
mod reduce;
mod scan;
mod strings;
mod tables;
mod write;

mod alone;
mod cluster;
mod control;
mod directory;
mod driver;
mod founding;
mod health;
mod join;
mod local;
mod maintenance;
mod members;
mod membership;
mod meta;
mod replica;
mod replicas;

pub use breccia_membership::Load;
pub use breccia_replication::FsyncPolicy;
pub use breccia_ring::Placement;
pub use breccia_router::{Consistency, RouterMetrics};
pub use config::{MembershipKind, NodeConfig, Peering, ReduceConfig, Storage};
pub use directory::DirectoryError;
pub use doctor::{Finding, Severity};
pub use founding::FoundingError;
pub use functions::{ModuleStore, NewFunction};
pub use join::JoinError;
pub use membership::{Heard, Watched};
pub use named::Named;
pub use node::Node;
pub use open::OpenError;
pub use overview::{ClusterOverview, NodeOverview, ReplicaOverview, ShardOverview};
pub use reduce::{ReduceMetrics, Reduction};
pub use replicas::HoldError;
pub use status::{NodeMetrics, NodeStatus, ShardRole, ShardStatus};
pub use strings::StringsInFlight;
