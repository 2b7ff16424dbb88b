//! Changes of a group's replicas and of its leader.
//!
//! A change is made against the membership that was seen, so that two who decide at the same
//! time cannot both succeed. Changing voters takes two entries; if a leader dies between them,
//! the next one finds the group in between and finishes what was begun.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use breccia_types::{NodeId, ReplicaId};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::{ChangeMembers, Precondition, RaftMetrics, ServerState};
use thiserror::Error;
use tokio::time::Instant;

use super::instance::Instance;
use super::shared::{Shared, hint_of};
use super::status::{MembersVersion, members_of, since_heard};
use super::types::GroupConfig;
use crate::consensus::LeaderHint;

/// Entries that a learner may lack to become a voter.
const PROMOTE_LAG_MAX: u64 = 4_096;
/// Entries that a replica may lack to be handed the leadership: it must catch up within an
/// election timeout, while nothing is served.
const TRANSFER_LAG_MAX: u64 = 256;

/// A change of a group's replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplicaChange {
    /// A new replica receives the log from now on. It does not vote.
    AddLearner {
        /// Its id, never used before.
        replica: ReplicaId,
        /// The node that holds it.
        node: NodeId,
    },
    /// Learners that have caught up vote from now on, all at once.
    Promote {
        /// Which.
        replicas: BTreeSet<ReplicaId>,
    },
    /// Voters only receive the log from now on, all at once. Not the leader.
    Demote {
        /// Which.
        replicas: BTreeSet<ReplicaId>,
    },
    /// A learner that has caught up takes the place of a voter.
    Replace {
        /// The voter that leaves the group. Not the leader.
        old: ReplicaId,
        /// The learner.
        new: ReplicaId,
    },
    /// A voter or learner leaves the group. Not the leader.
    Remove {
        /// Which.
        replica: ReplicaId,
    },
}

/// Why a group's replicas were not changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// Another replica leads the group, or none does.
    #[error("this replica does not lead the shard")]
    NotLeader {
        /// The replica that does, as far as this one knows.
        leader: Option<LeaderHint>,
    },
    /// The group's membership is not the one that was seen.
    #[error("the shard's replicas were changed meanwhile")]
    Outdated,
    /// Another change, or a transfer of leadership, is under way.
    #[error("another change of the shard's replicas is under way")]
    InProgress,
    /// The replica is not one with which that can be done.
    #[error("{replica} is not a {needed} of the shard")]
    NotA {
        /// Which.
        replica: ReplicaId,
        /// What it would have to be.
        needed: &'static str,
    },
    /// The replica lacks too much of the log.
    #[error("{replica} lacks {lag} entries")]
    Behind {
        /// Which.
        replica: ReplicaId,
        /// How many entries it lacks.
        lag: u64,
    },
    /// The replica has not answered of late.
    #[error("{replica} does not answer")]
    Silent {
        /// Which.
        replica: ReplicaId,
    },
    /// The leader cannot leave its group: hand the leadership over first.
    #[error("the leader cannot leave the shard")]
    LeaderMustMove,
    /// The change did not come about in time. It may still, or be undone.
    #[error("the change did not come about in time")]
    TimedOut,
    /// What became of the change is not known.
    #[error("the outcome of the change is unknown: {reason}")]
    Unknown {
        /// What happened.
        reason: String,
    },
}

type Metrics = RaftMetrics<GroupConfig>;
type Change = ChangeMembers<ReplicaId, NodeId>;

/// Carries out a change, if the membership is still `expected`.
pub(crate) async fn change_replicas(
    shared: &Shared,
    change: ReplicaChange,
    expected: MembersVersion,
) -> Result<MembersVersion, ChangeError> {
    let _changing = shared.changing.try_lock().map_err(|_| ChangeError::InProgress)?;
    let instance = shared.instance().ok_or(ChangeError::NotLeader { leader: None })?;
    let metrics = instance.metrics();
    let (members, retain) = plan(shared, &metrics, change)?;
    let precondition =
        Precondition::LastMembershipLogId { last_membership_log_id: expected.log_id };
    shared.doubts.on_change();
    let changing = instance.raft.change_membership_if(members, retain, [precondition]);
    let changed = tokio::time::timeout(shared.timing.transfer_timeout(), changing).await;
    match changed {
        Ok(Ok(response)) => Ok(MembersVersion { log_id: Some(response.log_id) }),
        Ok(Err(error)) => Err(refused(&instance, error)),
        Err(_) => Err(ChangeError::TimedOut),
    }
}

/// Decides what openraft is asked for, and whether voters that leave become learners.
fn plan(
    shared: &Shared,
    metrics: &Metrics,
    change: ReplicaChange,
) -> Result<(Change, bool), ChangeError> {
    if metrics.state != ServerState::Leader {
        return Err(ChangeError::NotLeader { leader: hint_of(metrics) });
    }
    let members = members_of(&metrics.membership_config);
    let removable = |replica: ReplicaId| {
        if replica == metrics.id { Err(ChangeError::LeaderMustMove) } else { Ok(()) }
    };
    match change {
        ReplicaChange::AddLearner { replica, node } => {
            if members.voters.contains_key(&replica) {
                return Err(ChangeError::NotA { replica, needed: "new replica" });
            }
            Ok((Change::AddNodes(BTreeMap::from([(replica, node)])), true))
        }
        ReplicaChange::Promote { replicas } => {
            for replica in &replicas {
                caught_up(shared, metrics, *replica)?;
            }
            Ok((Change::AddVoterIds(replicas), true))
        }
        ReplicaChange::Demote { replicas } => {
            for replica in &replicas {
                removable(*replica)?;
                if !members.voters.contains_key(replica) {
                    return Err(ChangeError::NotA { replica: *replica, needed: "voter" });
                }
            }
            Ok((Change::RemoveVoters(replicas), true))
        }
        ReplicaChange::Replace { old, new } => {
            caught_up(shared, metrics, new)?;
            removable(old)?;
            if !members.voters.contains_key(&old) {
                return Err(ChangeError::NotA { replica: old, needed: "voter" });
            }
            let add = Change::AddVoterIds(BTreeSet::from([new]));
            let remove = Change::RemoveVoters(BTreeSet::from([old]));
            Ok((Change::Batch(vec![add, remove]), false))
        }
        ReplicaChange::Remove { replica } => {
            removable(replica)?;
            let replicas = BTreeSet::from([replica]);
            if members.voters.contains_key(&replica) {
                Ok((Change::RemoveVoters(replicas), false))
            } else if members.learners.contains_key(&replica) {
                Ok((Change::RemoveNodes(replicas), false))
            } else {
                Err(ChangeError::NotA { replica, needed: "replica" })
            }
        }
    }
}

/// Whether a learner may become a voter.
fn caught_up(shared: &Shared, metrics: &Metrics, replica: ReplicaId) -> Result<(), ChangeError> {
    let members = members_of(&metrics.membership_config);
    if !members.learners.contains_key(&replica) {
        return Err(ChangeError::NotA { replica, needed: "learner" });
    }
    answers(shared, metrics, replica)?;
    within(metrics, replica, PROMOTE_LAG_MAX)
}

/// Whether a replica was heard of late.
fn answers(shared: &Shared, metrics: &Metrics, replica: ReplicaId) -> Result<(), ChangeError> {
    let heard = since_heard(metrics, replica);
    match heard.is_some_and(|since| since < shared.timing.election_timeout_max) {
        true => Ok(()),
        false => Err(ChangeError::Silent { replica }),
    }
}

fn within(metrics: &Metrics, replica: ReplicaId, lag_max: u64) -> Result<(), ChangeError> {
    let last = metrics.last_log_index.unwrap_or(0);
    let matched = metrics.replication.as_ref().and_then(|all| *all.get(&replica)?);
    let lag = matched.map_or(u64::MAX, |matched| last.saturating_sub(matched.index()));
    if lag > lag_max { Err(ChangeError::Behind { replica, lag }) } else { Ok(()) }
}

fn refused(
    instance: &Instance,
    error: RaftError<GroupConfig, ClientWriteError<GroupConfig>>,
) -> ChangeError {
    let reason = error.to_string();
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => {
            ChangeError::NotLeader { leader: hint_of(&instance.metrics()) }
        }
        RaftError::APIError(ClientWriteError::PreconditionFailed(_)) => ChangeError::Outdated,
        RaftError::APIError(ClientWriteError::ChangeMembershipError(_)) => ChangeError::InProgress,
        _ => ChangeError::Unknown { reason },
    }
}

/// Finishes a change of voters that another leader began, in the background.
pub(crate) fn finish_joint(shared: &Arc<Shared>, instance: &Arc<Instance>, metrics: &Metrics) {
    let joint = &metrics.membership_config;
    let is_committed = metrics.committed_membership_config.log_id() == joint.log_id();
    if joint.membership().get_joint_config().len() < 2 || !is_committed {
        return;
    }
    let Ok(changing) = Arc::clone(&shared.changing).try_lock_owned() else { return };
    let (shard, last_membership_log_id) = (shared.shard, *joint.log_id());
    let (instance, timeout) = (Arc::clone(instance), shared.timing.transfer_timeout());
    tokio::spawn(async move {
        let _changing = changing;
        let nothing_more = Change::AddVoterIds(BTreeSet::new());
        let seen = Precondition::LastMembershipLogId { last_membership_log_id };
        // Voters that leave become learners: whoever began it may have wanted that, and who
        // did not removes them.
        let finishing = instance.raft.change_membership_if(nothing_more, true, [seen]);
        match tokio::time::timeout(timeout, finishing).await {
            Ok(Ok(_)) => tracing::info!(%shard, "finished a change of replicas begun by another"),
            Ok(Err(error)) => tracing::warn!(%shard, %error, "a change is still unfinished"),
            Err(_) => tracing::warn!(%shard, "a change is still unfinished"),
        }
    });
}

/// Hands the leadership to another voter, and waits until it leads.
pub(crate) async fn transfer_leader(shared: &Shared, to: ReplicaId) -> Result<(), ChangeError> {
    let _changing = shared.changing.try_lock().map_err(|_| ChangeError::InProgress)?;
    let instance = shared.instance().ok_or(ChangeError::NotLeader { leader: None })?;
    let metrics = instance.metrics();
    if metrics.state != ServerState::Leader {
        return Err(ChangeError::NotLeader { leader: hint_of(&metrics) });
    }
    if to == metrics.id {
        return Ok(());
    }
    if !members_of(&metrics.membership_config).voters.contains_key(&to) {
        return Err(ChangeError::NotA { replica: to, needed: "voter" });
    }
    answers(shared, &metrics, to)?;
    within(&metrics, to, TRANSFER_LAG_MAX)?;
    let stopped = |reason: String| ChangeError::Unknown { reason };
    shared.doubts.on_transfer(metrics.current_term);
    let asked = instance.raft.trigger().transfer_leader(to).await;
    asked.map_err(|error| stopped(error.to_string()))?;
    let deadline = Instant::now() + shared.timing.transfer_timeout();
    let mut changes = instance.raft.server_metrics();
    while changes.borrow_watched().current_leader != Some(to) {
        match tokio::time::timeout_at(deadline, changes.changed()).await {
            Ok(changed) => changed.map_err(|error| stopped(error.to_string()))?,
            Err(_) => {
                tracing::warn!(shard = %shared.shard, %to, "the leadership did not move in time");
                return Err(ChangeError::TimedOut);
            }
        }
    }
    Ok(())
}
