//! What the tasks of one shard's replica share.

use std::sync::Arc;

use breccia_types::{NodeClock, ReplicaId, ShardId};
use openraft::RaftMetrics;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::instance::Instance;
use super::proposals::{ByteBudget, ProposalQueue};
use super::reads::{Doubts, ReadGate};
use super::timing::Timing;
use super::types::GroupConfig;
use crate::consensus::{LeaderHint, ProposeError};

/// How a replica is, apart from its role.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupHealth {
    /// It runs.
    Running,
    /// It runs, but entries wait for room, in the log or to be applied.
    NoRoom {
        /// What the storage says.
        reason: String,
    },
    /// It runs, but what a majority has is not being applied.
    Stalled,
    /// It failed and is being started again.
    Restarting {
        /// How it failed.
        reason: String,
        /// How often it failed of late.
        failures: usize,
    },
    /// It failed so often that it was given up; an operator must look at it.
    Quarantined {
        /// How it failed the last time.
        reason: String,
    },
    /// It is closed.
    Closed,
}

/// Shared between a group's handle and its tasks.
pub(crate) struct Shared {
    pub(crate) shard: ShardId,
    pub(crate) replica: ReplicaId,
    pub(crate) timing: Timing,
    pub(crate) clock: Arc<NodeClock>,
    pub(crate) queue: ProposalQueue,
    pub(crate) gate: ReadGate,
    /// What keeps a leader from reading without asking openraft.
    pub(crate) doubts: Doubts,
    /// Held by the one change of replicas or leadership that is under way.
    pub(crate) changing: Arc<tokio::sync::Mutex<()>>,
    instance: RwLock<Option<Arc<Instance>>>,
    health: Mutex<GroupHealth>,
    closing: watch::Sender<bool>,
}

impl Shared {
    pub(crate) fn new(
        shard: ShardId,
        replica: ReplicaId,
        timing: Timing,
        clock: Arc<NodeClock>,
        budget: Arc<ByteBudget>,
    ) -> Self {
        Self {
            shard,
            replica,
            timing,
            clock,
            queue: ProposalQueue::new(budget),
            gate: ReadGate::default(),
            doubts: Doubts::default(),
            changing: Arc::default(),
            instance: RwLock::new(None),
            health: Mutex::new(GroupHealth::Running),
            closing: watch::Sender::new(false),
        }
    }

    /// The replica's present run.
    pub(crate) fn instance(&self) -> Option<Arc<Instance>> {
        self.instance.read().clone()
    }

    pub(crate) fn set_instance(&self, instance: Option<Arc<Instance>>) {
        *self.instance.write() = instance;
    }

    pub(crate) fn health(&self) -> GroupHealth {
        self.health.lock().clone()
    }

    pub(crate) fn set_health(&self, health: GroupHealth) {
        let mut current = self.health.lock();
        if *current != health {
            tracing::info!(shard = %self.shard, replica = %self.replica, ?health, "health");
            *current = health;
        }
    }

    /// Why nothing can be proposed while the replica does not run.
    pub(crate) fn not_running(&self) -> ProposeError {
        match self.health() {
            GroupHealth::Closed => ProposeError::Closed,
            GroupHealth::Restarting { reason, .. } | GroupHealth::Quarantined { reason } => {
                ProposeError::Failed { reason }
            }
            _ => ProposeError::Failed { reason: "it is being started".to_owned() },
        }
    }

    /// Why entries wait for room, if they do.
    pub(crate) fn no_room(&self) -> Option<String> {
        match &*self.health.lock() {
            GroupHealth::NoRoom { reason } => Some(reason.clone()),
            _ => None,
        }
    }

    /// Asks the group's tasks to end.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
        self.queue.close();
        self.gate.close();
    }

    /// Waits until the tasks are asked to end.
    pub(crate) async fn closed(&self) {
        // Fails only when the sender is gone, which `self` holds.
        let _ = self.closing.subscribe().wait_for(|is_closing| *is_closing).await;
    }
}

/// The leader that a replica knows of.
pub(crate) fn hint_of(metrics: &RaftMetrics<GroupConfig>) -> Option<LeaderHint> {
    let replica = metrics.current_leader?;
    let node = *metrics.membership_config.membership().get_node(&replica)?;
    Some(LeaderHint { replica, node })
}
