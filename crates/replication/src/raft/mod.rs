//! A shard's log as a Raft group.

pub mod types;
