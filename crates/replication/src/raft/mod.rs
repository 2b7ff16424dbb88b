//! A shard's log as a Raft group.

pub mod codec;
pub mod log;
pub mod types;
