//! What people see of the transport.

use std::time::Duration;

use breccia_types::NodeId;

use super::greeting::Rejection;
use super::metrics::Counts;

/// The transport's state, for people and metrics.
#[derive(Debug, Clone)]
pub struct Status {
    /// Counts since the start.
    pub counts: Counts,
    /// Every node in the address book, by id.
    pub peers: Vec<PeerStatus>,
    /// The last connections that were rejected by name, oldest first; each kind once per
    /// address.
    pub rejected: Vec<RejectedConnection>,
}

/// What is known of a peer.
#[derive(Debug, Clone)]
pub struct PeerStatus {
    /// The node.
    pub node: NodeId,
    /// Where it is dialed.
    pub address: String,
    /// The connection for small messages.
    pub control: LinkStatus,
    /// The connection for bulk.
    pub bulk: LinkStatus,
    /// Bytes of calls that wait for its replies, small calls counted as 1 KiB.
    pub call_bytes_waiting: usize,
}

/// The state of a connection that this node makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkStatus {
    /// There is none, as nobody wants to send.
    Idle,
    /// It is being made.
    Connecting,
    /// It stands.
    Connected {
        /// Which run of the peer is at the other end.
        incarnation: u64,
        /// For how long.
        since: Duration,
    },
    /// It could not be made; no attempt for a while.
    Pausing {
        /// Until the next attempt may be made.
        left: Duration,
        /// How the last attempt, or the last connection, failed.
        reason: String,
    },
}

/// A connection that one side rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedConnection {
    /// The address that was dialed or that it came from.
    pub address: String,
    /// Why.
    pub rejection: Rejection,
}
