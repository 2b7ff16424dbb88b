//! A shard's log as a Raft group.
//!
//! ```text
//! propose -> proposals -> batcher -> openraft -> log, network -> apply -> machine
//! read    -> reads ----------------> openraft ------------------------> machine
//! ```
//!
//! Nothing outside this crate sees openraft's types.

pub mod codec;
pub mod log;
pub mod types;

pub mod group;
pub mod replicas;

pub mod change;
pub mod compaction;
pub mod machine;
pub mod pool;
pub mod reads;
pub mod status;
pub mod timing;

mod batcher;
mod proposals;
mod shared;
mod waiting;

mod duties;
mod guard;
mod instance;
mod runtime;
mod supervise;

mod apply;
mod freshness;
mod progress;
mod snapshot;
mod transfer;

mod append_stream;
mod network;
mod receive;
mod refusal;
mod vouchers;
mod wire;

#[cfg(test)]
mod tests;

pub use change::{ChangeError, ReplicaChange};
pub use compaction::LogLimits;
pub use group::RaftGroup;
pub use instance::OpenError;
pub use machine::{MachineSource, ReplicaMachine, bootstrap_position, position_index};
pub use pool::ApplyPool;
pub use reads::ReadMode;
pub use replicas::{Replicas, ReplicasConfig};
pub use shared::GroupHealth;
pub use status::{GroupStatus, Leadership, Members, MembersVersion, PeerStatus, Role};
pub use timing::Timing;
pub use transfer::{SnapshotsSent, TrafficLimits};
