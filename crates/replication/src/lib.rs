//! The log of each shard behind one facade, [`ShardConsensus`].
//!
//! Whoever proposes a command never sees how many replicas agree on it. The one
//! implementation today is [`local`]: a shard's log is the write-ahead log of the node's own
//! database, and one fsync serves everything that waits.

pub mod consensus;

pub mod local;
pub mod raft;

mod queue;

pub use consensus::{
    ApplyError, ConsensusStatus, LeaderHint, Proposal, ProposeError, ReadBarrier, ReadError,
    ShardConsensus, ShardEntry, StateMachine,
};
pub use local::{FsyncPolicy, LocalLog, LocalShard, LogCounters};
pub use raft::log::{GroupKey, LogError, SharedLog, SharedLogCounters, SharedLogOptions};
