//! What a replica that was just started must not do.
//!
//! A follower that acknowledged its leader's entries promised not to vote for another for as
//! long as the leader's lease lasts. openraft keeps that promise in memory only. So for as
//! long as a lease can last, a replica that was started again neither votes nor campaigns,
//! except where no promise can be out: its log was empty, the leader itself hands over, or
//! it is the only voter and never followed another leader.

use std::time::Duration;

use breccia_types::ReplicaId;
use openraft::RaftMetrics;
use openraft::raft::VoteRequest;
use tokio::time::Instant;

use super::types::GroupConfig;

/// Decides whether a replica may vote and campaign.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RestartGuard {
    opens_at: Instant,
    was_empty: bool,
}

impl RestartGuard {
    /// The guard of a replica that starts now.
    pub(crate) fn start(lease: Duration, log: LogAtStart) -> Self {
        Self { opens_at: Instant::now() + lease, was_empty: log == LogAtStart::Empty }
    }

    /// Whether the replica may answer a request for its vote.
    pub(crate) fn lets_vote(&self, request: &VoteRequest<GroupConfig>) -> bool {
        self.is_open() || self.was_empty || request.leadership_transfer
    }

    /// Whether the replica may campaign.
    pub(crate) fn lets_campaign(&self, metrics: &RaftMetrics<GroupConfig>) -> bool {
        self.is_open() || is_alone(metrics)
    }

    pub(crate) fn is_open(&self) -> bool {
        Instant::now() >= self.opens_at
    }
}

/// What a replica's log held when it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogAtStart {
    Empty,
    Filled,
}

/// Whether the replica is the group's only voter, and the last leader it knew was itself.
pub(crate) fn is_alone(metrics: &RaftMetrics<GroupConfig>) -> bool {
    let membership = metrics.membership_config.membership();
    let voters: Vec<ReplicaId> = membership.voter_ids().collect();
    voters == [metrics.id] && metrics.vote.leader_id().node_id == metrics.id
}
