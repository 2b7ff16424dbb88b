//! How a shard's replica stands, in our own words.

use std::collections::BTreeMap;
use std::time::Duration;

use breccia_types::{LogIndex, NodeId, ReplicaId, ShardId};
use openraft::async_runtime::Instant as _;
use openraft::{RaftMetrics, ServerState};
use tokio::time::Instant;

use super::instance::Instance;
use super::shared::{GroupHealth, Shared, hint_of};
use super::types::{GroupConfig, LogId, StoredMembership};
use crate::consensus::LeaderHint;

/// What a replica is to its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// It receives the log and does not vote.
    Learner,
    /// It receives the log and votes.
    Follower,
    /// It wants to lead.
    Candidate,
    /// It orders the shard's writes.
    Leader,
    /// It does not run.
    Stopped,
}

/// Who leads a group, as one of its replicas knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Leadership {
    /// This replica.
    Own,
    /// Another, if this one knows which.
    Other(Option<LeaderHint>),
    /// This replica does not run.
    Stopped,
}

/// Names a state of a group's membership: changes are made against the one that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MembersVersion {
    pub(crate) log_id: Option<LogId>,
}

impl MembersVersion {
    /// The term and the index of the entry that made the membership; 0, 0 if none did.
    #[must_use]
    pub fn position(&self) -> (u64, u64) {
        self.log_id.map_or((0, 0), |id| (id.committed_leader_id().term, id.index()))
    }
}

/// The replicas of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// Names this state.
    pub version: MembersVersion,
    /// Those that vote, and their nodes; while that changes, the old and the new ones.
    pub voters: BTreeMap<ReplicaId, NodeId>,
    /// Those that only receive the log, and their nodes.
    pub learners: BTreeMap<ReplicaId, NodeId>,
    /// Whether the voters are being changed, or a change is not known to be committed.
    pub is_changing: bool,
}

/// Another replica, as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Which.
    pub replica: ReplicaId,
    /// The last entry that it is known to have.
    pub matched: Option<LogIndex>,
    /// Entries that it does not have yet.
    pub lag: u64,
    /// How long ago it last answered.
    pub since_heard: Option<Duration>,
}

/// How a replica stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupStatus {
    /// The shard.
    pub shard: ShardId,
    /// The replica.
    pub replica: ReplicaId,
    /// What it is to its group.
    pub role: Role,
    /// The term it is in.
    pub term: u64,
    /// The leader that it knows of.
    pub leader: Option<LeaderHint>,
    /// The last entry of its log.
    pub last_index: LogIndex,
    /// The last entry that it knows a majority to have.
    pub committed: LogIndex,
    /// The last entry that is visible.
    pub applied: LogIndex,
    /// The last entry known to survive a loss of power in the shard, without its log.
    pub durable: LogIndex,
    /// The last entry that the log no longer holds.
    pub purged: LogIndex,
    /// Its group.
    pub members: Members,
    /// The others, if this is the leader.
    pub peers: Vec<PeerStatus>,
    /// How long ago it last heard from a leader; for a leader, from a majority. `None` if that
    /// never was. Says nothing about the age of what it has applied.
    pub since_contact: Option<Duration>,
    /// Commands that wait to enter the log.
    pub waiting: usize,
    /// How it is, apart from its role.
    pub health: GroupHealth,
}

pub(crate) fn status_of(shared: &Shared) -> GroupStatus {
    let instance = shared.instance();
    let metrics = instance.as_ref().map(|instance| instance.metrics());
    let metrics = metrics.unwrap_or_else(|| RaftMetrics::new_initial(shared.replica));
    let progress = instance.as_ref().map(|instance| &instance.progress);
    let role = if instance.is_some() { role_of(metrics.state) } else { Role::Stopped };
    GroupStatus {
        shard: shared.shard,
        replica: shared.replica,
        role,
        term: metrics.current_term,
        leader: hint_of(&metrics),
        last_index: LogIndex::new(metrics.last_log_index.unwrap_or(0)),
        committed: index_of(metrics.local_committed),
        applied: LogIndex::new(progress.map_or(0, |progress| progress.applied())),
        durable: LogIndex::new(progress.map_or(0, |progress| progress.durable())),
        purged: index_of(metrics.purged),
        members: members_now(&metrics),
        peers: peers_of(&metrics),
        since_contact: instance.as_ref().and_then(|instance| since_contact(instance, &metrics)),
        waiting: shared.queue.waiting(),
        health: shared.health(),
    }
}

pub(crate) fn leadership_of(shared: &Shared) -> Leadership {
    use openraft::async_runtime::watch::WatchReceiver as _;
    let Some(instance) = shared.instance() else { return Leadership::Stopped };
    let watched = instance.raft.metrics();
    let metrics = watched.borrow_watched();
    if metrics.running_state.is_err() {
        Leadership::Stopped
    } else if metrics.state == ServerState::Leader {
        Leadership::Own
    } else {
        Leadership::Other(hint_of(&metrics))
    }
}

/// How long ago the replica heard from a leader, or from a majority if it leads.
pub(crate) fn since_contact(
    instance: &Instance,
    metrics: &RaftMetrics<GroupConfig>,
) -> Option<Duration> {
    if metrics.state != ServerState::Leader {
        return instance.since_contact();
    }
    if is_only_voter(metrics) {
        return Some(Duration::ZERO);
    }
    metrics.last_quorum_acked.map(|acked| acked.elapsed())
}

/// How old what the replica has applied may be; `None` if that is not known.
pub(crate) fn staleness(
    instance: &Instance,
    metrics: &RaftMetrics<GroupConfig>,
) -> Option<Duration> {
    let as_leader = last_led(metrics).map(|led| led.elapsed());
    // What it knew before it led still holds.
    as_leader.into_iter().chain(instance.freshness.staleness()).min()
}

/// Until when a leader led for certain, once everything acknowledged before then is applied
/// here.
///
/// A majority answered a message that it sent then, so none of them had voted for another. What
/// it acknowledged itself it had applied; what earlier leaders did, it has applied once it has
/// applied an entry of its own term, which comes after all of that. `None` before, and if this
/// replica does not lead. The answer is true however old the metrics are; of an only voter, too,
/// since no other replica can lead unless this one first works on.
pub(crate) fn last_led(metrics: &RaftMetrics<GroupConfig>) -> Option<Instant> {
    let term = metrics.current_term;
    let applied_own = metrics.last_applied.is_some_and(|last| last.leader_id.term == term);
    if metrics.state != ServerState::Leader || !applied_own {
        return None;
    }
    let now = Instant::now();
    if is_only_voter(metrics) {
        return Some(now);
    }
    // `now` is read before the age: a pause in between makes the instant older, never younger.
    metrics.last_quorum_acked.and_then(|acked| now.checked_sub(acked.elapsed()))
}

/// Whether the replica is the group's only voter.
pub(crate) fn is_only_voter(metrics: &RaftMetrics<GroupConfig>) -> bool {
    let mut voters = metrics.membership_config.membership().voter_ids();
    voters.next() == Some(metrics.id) && voters.next().is_none()
}

/// The members by which the replica goes, and whether they are there to stay.
fn members_now(metrics: &RaftMetrics<GroupConfig>) -> Members {
    let effective = &metrics.membership_config;
    let is_committed = metrics.committed_membership_config.log_id() == effective.log_id();
    let members = members_of(effective);
    Members { is_changing: members.is_changing || !is_committed, ..members }
}

pub(crate) fn members_of(stored: &StoredMembership) -> Members {
    let membership = stored.membership();
    let node_of = |replica: ReplicaId| membership.get_node(&replica).map(|node| (replica, *node));
    Members {
        version: MembersVersion { log_id: *stored.log_id() },
        voters: membership.voter_ids().filter_map(node_of).collect(),
        learners: membership.learner_ids().filter_map(node_of).collect(),
        is_changing: membership.get_joint_config().len() > 1,
    }
}

fn peers_of(metrics: &RaftMetrics<GroupConfig>) -> Vec<PeerStatus> {
    let Some(replication) = &metrics.replication else { return Vec::new() };
    let last = metrics.last_log_index.unwrap_or(0);
    let others = replication.iter().filter(|(replica, _)| **replica != metrics.id);
    others
        .map(|(replica, matched)| PeerStatus {
            replica: *replica,
            matched: matched.map(|log_id| LogIndex::new(log_id.index())),
            lag: last.saturating_sub(matched.map_or(0, |log_id| log_id.index())),
            since_heard: since_heard(metrics, *replica),
        })
        .collect()
}

/// How long ago another replica last answered this one, its leader.
pub(crate) fn since_heard(
    metrics: &RaftMetrics<GroupConfig>,
    replica: ReplicaId,
) -> Option<Duration> {
    let acked = metrics.heartbeat.as_ref()?.get(&replica)?.as_ref()?;
    Some(acked.elapsed())
}

const fn role_of(state: ServerState) -> Role {
    match state {
        ServerState::Learner => Role::Learner,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Leader => Role::Leader,
        ServerState::Shutdown => Role::Stopped,
    }
}

fn index_of(log_id: Option<LogId>) -> LogIndex {
    LogIndex::new(log_id.map_or(0, |log_id| log_id.index()))
}
