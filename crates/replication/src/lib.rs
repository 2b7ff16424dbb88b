//! The log of each shard behind one facade, [`ShardConsensus`].
//!
//! Whoever proposes a command never sees how many replicas agree on it. The one
//! implementation is [`raft`]: each shard is a group of its own, and all groups of a node share
//! one log, so that one fsync serves everything that waits.

pub mod consensus;
pub mod fsync;
pub mod raft;

pub use consensus::{
    ApplyError, ConsensusStatus, LeaderHint, Proposal, ProposeError, ReadBarrier, ReadError,
    ShardConsensus,
};
pub use fsync::FsyncPolicy;
pub use raft::log::{GroupKey, LogError, LogEvent, SharedLog, SharedLogCounters, SharedLogOptions};
