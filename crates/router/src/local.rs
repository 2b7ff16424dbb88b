//! The seam to this node's own shards.

use breccia_types::{Command, NodeId, Outcome, RequestError, ServiceId, ShardId};
use bytes::Bytes;
use futures::future::BoxFuture;
use thiserror::Error;

use crate::route::{Consistency, LocalRole};

/// The shards of this node. The node implements it over its replicas.
pub trait LocalShards: Send + Sync + 'static {
    /// What this node is to a shard. Called for every request: must be cheap and not wait.
    fn role(&self, shard: ShardId) -> LocalRole;

    /// Whether the leader that [`LocalShards::role`] names for a replica on this node was heard
    /// by it of late. If not, no client is sent there. Cheap, too.
    fn hears_leader(&self, shard: ShardId) -> bool;

    /// Puts commands into the shard's log, in this order and next to each other. They are
    /// queued when this returns, so that calls take effect in their order; awaiting only
    /// waits for the outcomes, one per command. Dropping the future does not withdraw them.
    fn write(
        &self,
        shard: ShardId,
        commands: Vec<Command>,
    ) -> BoxFuture<'static, Result<Vec<Outcome>, LocalError>>;

    /// Answers a read from this node's replica, with the consistency that it asks for.
    fn read(
        &self,
        shard: ShardId,
        read: ShardRead,
    ) -> BoxFuture<'static, Result<Bytes, LocalError>>;
}

/// A read of one shard, as its service encodes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardRead {
    /// The service that answers.
    pub service: ServiceId,
    /// What is asked, in the service's encoding.
    pub request: Bytes,
    /// What it must have seen.
    pub consistency: Consistency,
}

/// Why this node did not answer. Which variant it is decides whether another try is safe.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LocalError {
    /// Another replica must be asked. Nothing was done.
    #[error("this node does not lead the shard")]
    NotLeader {
        /// The one that leads, if the replica knows.
        leader: Option<NodeId>,
    },
    /// This replica cannot answer for now: it has no majority, its log is closed, it is too
    /// far behind. Nothing was done; here or elsewhere another try may succeed.
    #[error("{reason}")]
    NotNow {
        /// What keeps it.
        reason: String,
    },
    /// Nothing more will be heard of the request; it may or may not have been done.
    #[error("the outcome is unknown")]
    Unknown,
    /// The answer is that there is none. It goes to the client as it is.
    #[error(transparent)]
    Failed(#[from] RequestError),
}
