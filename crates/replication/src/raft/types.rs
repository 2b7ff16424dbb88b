//! The types that openraft is given, and the names under which the rest of this crate knows
//! its types.

use std::fmt;

use breccia_types::{NodeId, Outcome, ReplicaId};
use bytes::Bytes;

use super::runtime::GroupRuntime;

openraft::declare_raft_types!(
    /// A shard's Raft group: replicas on nodes, agreeing on encoded entries.
    pub GroupConfig:
        D = Payload,
        R = Outcomes,
        NodeId = ReplicaId,
        Node = NodeId,
        AsyncRuntime = GroupRuntime,
);

/// What an entry of the log carries: a stamp and commands, as the log's codec encodes them.
///
/// Encoded once, by the leader; the same bytes go to the log, to the other replicas and to
/// the state machine.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(Bytes);

/// What became of an entry's commands, in order. Empty for entries without commands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcomes(pub Vec<Outcome>);

impl Payload {
    /// Wraps encoded bytes.
    #[must_use]
    pub const fn new(encoded: Bytes) -> Self {
        Self(encoded)
    }

    /// The encoded bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} outcomes", self.0.len())
    }
}

/// An entry of a group's log.
pub type LogEntry = openraft::alias::EntryOf<GroupConfig>;
/// A position in a group's log, with the leader that put it there.
pub type LogId = openraft::alias::LogIdOf<GroupConfig>;
/// A group's vote: the latest leader that a replica promised itself to.
pub type Vote = openraft::alias::VoteOf<GroupConfig>;
/// Which replicas belong to a group, and the log position that says so.
pub type StoredMembership = openraft::alias::StoredMembershipOf<GroupConfig>;
/// Which replicas belong to a group: one set of voters, or two while that changes.
pub type Membership = openraft::Membership<ReplicaId, NodeId>;
/// A leader: its term and its replica.
pub type LeaderId = openraft::alias::LeaderIdOf<GroupConfig>;
