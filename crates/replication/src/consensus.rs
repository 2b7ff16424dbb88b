//! The facade between those who propose commands and those who agree on and apply them.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use breccia_types::limits::PROPOSAL_BYTES_MAX;
use breccia_types::{Command, NodeId, Outcome, ReplicaId};
use thiserror::Error;
use tokio::sync::oneshot;

/// One shard's log, as its leader offers it.
pub trait ShardConsensus: Send + Sync {
    /// Puts commands into the log, in this order and next to each other. They are queued
    /// when this returns; awaiting the proposal only waits for the outcomes. Dropping the
    /// proposal does not withdraw the commands.
    fn propose(&self, commands: Vec<Command>) -> Proposal;

    /// Waits until a read of this replica sees everything that was acknowledged before this
    /// call.
    fn read_barrier(&self) -> ReadBarrier;

    /// How the shard stands.
    fn status(&self) -> ConsensusStatus;
}

/// Why an entry was not applied.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// There is no room. Nothing is visible; the commands may be sent again when there is.
    #[error("there is no room: {reason}")]
    ReadOnly {
        /// What was found.
        reason: String,
    },
    /// The shard's data cannot be trusted any more.
    #[error("the shard is out of service: {reason}")]
    Quarantined {
        /// What was found.
        reason: String,
    },
    /// Storage failed; whether the entry survives is unknown.
    #[error("storage failed: {reason}")]
    Storage {
        /// What was found.
        reason: String,
    },
}

/// Why a proposal has no outcomes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// Too much waits already. Nothing was queued.
    #[error("too much waits for the log")]
    Busy,
    /// The commands are too large for one entry. Nothing was queued.
    #[error(
        "{commands} commands of {bytes} bytes are too much at once, at most {PROPOSAL_BYTES_MAX} bytes go together"
    )]
    TooLarge {
        /// How many commands.
        commands: usize,
        /// Their bytes.
        bytes: usize,
    },
    /// The log is closed. Nothing was queued.
    #[error("the log is closed")]
    Closed,
    /// The entry was not applied.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// Nothing more will be heard of the commands; they may or may not have been applied.
    #[error("the outcome is unknown")]
    Unknown,
    /// Another replica orders the shard's writes, or none does. Nothing was queued.
    #[error("this replica does not lead the shard")]
    NotLeader {
        /// The replica that does, as far as this one knows.
        leader: Option<LeaderHint>,
    },
    /// The leader has not heard from a majority for too long, or only just became the leader.
    /// Nothing was written; it may be sent again a little later.
    #[error("no majority of the shard's replicas answers")]
    NoQuorum,
    /// The replica failed and is being restarted, or has been given up. Nothing was written.
    #[error("the replica failed: {reason}")]
    Failed {
        /// How.
        reason: String,
    },
}

/// Where a shard's leader probably is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaderHint {
    /// The leader.
    pub replica: ReplicaId,
    /// The node that holds it.
    pub node: NodeId,
}

/// Why a replica cannot serve a read that sees everything acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Too many reads wait already.
    #[error("too many reads wait")]
    Busy,
    /// The log is closed.
    #[error("the log is closed")]
    Closed,
    /// Another replica leads the shard, or none does.
    #[error("this replica does not lead the shard")]
    NotLeader {
        /// The replica that does, as far as this one knows.
        leader: Option<LeaderHint>,
    },
    /// The leader could not make sure that it still is one; a little later it may.
    #[error("no majority of the shard's replicas answers")]
    NoQuorum,
    /// The replica failed and is being restarted, or has been given up.
    #[error("the replica failed: {reason}")]
    Failed {
        /// How.
        reason: String,
    },
}

/// How a shard's log stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsensusStatus {
    /// Whether this node orders the shard's writes.
    pub is_leader: bool,
    /// Replicas that hold the shard, this one included.
    pub replicas: usize,
    /// Commands that wait to enter the log.
    pub waiting: usize,
}

/// Commands on their way through the log.
#[derive(Debug)]
#[must_use = "the outcomes come by awaiting"]
pub struct Proposal(State);

#[derive(Debug)]
enum State {
    Waiting(oneshot::Receiver<Result<Vec<Outcome>, ProposeError>>),
    Refused(Option<ProposeError>),
}

impl Proposal {
    /// A proposal that was refused at once.
    pub const fn refused(error: ProposeError) -> Self {
        Self(State::Refused(Some(error)))
    }

    pub(crate) const fn waiting(
        receiver: oneshot::Receiver<Result<Vec<Outcome>, ProposeError>>,
    ) -> Self {
        Self(State::Waiting(receiver))
    }
}

impl Future for Proposal {
    type Output = Result<Vec<Outcome>, ProposeError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Refused(error) => {
                Poll::Ready(Err(error.take().unwrap_or(ProposeError::Unknown)))
            }
            State::Waiting(receiver) => Pin::new(receiver)
                .poll(context)
                .map(|received| received.unwrap_or(Err(ProposeError::Unknown))),
        }
    }
}

/// The wait for a read barrier.
#[derive(Debug)]
#[must_use = "a read may only start when the barrier is passed"]
pub struct ReadBarrier(BarrierState);

#[derive(Debug)]
enum BarrierState {
    Passed,
    Refused(Option<ReadError>),
    Waiting(oneshot::Receiver<Result<(), ReadError>>),
}

impl ReadBarrier {
    /// A barrier that is passed: this replica holds everything acknowledged.
    pub const fn passed() -> Self {
        Self(BarrierState::Passed)
    }

    /// A barrier that is not passed.
    pub const fn refused(error: ReadError) -> Self {
        Self(BarrierState::Refused(Some(error)))
    }

    pub(crate) const fn waiting(receiver: oneshot::Receiver<Result<(), ReadError>>) -> Self {
        Self(BarrierState::Waiting(receiver))
    }
}

impl Future for ReadBarrier {
    type Output = Result<(), ReadError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            BarrierState::Passed => Poll::Ready(Ok(())),
            BarrierState::Refused(error) => {
                Poll::Ready(Err(error.take().unwrap_or(ReadError::Closed)))
            }
            BarrierState::Waiting(receiver) => Pin::new(receiver)
                .poll(context)
                .map(|received| received.unwrap_or(Err(ReadError::Closed))),
        }
    }
}
