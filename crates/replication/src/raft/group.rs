//! A shard's replica on this node, as the layers above see it.

use std::sync::Arc;
use std::time::Duration;

use breccia_types::{Command, ReplicaId, ShardId};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::change::{self, ChangeError, ReplicaChange};
use super::instance::OpenError;
use super::reads::{self, ReadMode};
use super::shared::Shared;
use super::status::{GroupStatus, Leadership, MembersVersion, Role, status_of};
use super::supervise::Supervisor;
use super::{batcher, status};
use crate::consensus::{ConsensusStatus, Proposal, ProposeError, ReadBarrier, ShardConsensus};

/// How long proposals that were taken before the close may take to come about.
const CLOSE_GRACE: Duration = Duration::from_secs(2);

/// A shard's replica: proposes and reads as its leader, follows otherwise.
pub struct RaftGroup {
    shared: Arc<Shared>,
    batcher: Mutex<Option<JoinHandle<()>>>,
    others: Mutex<Vec<JoinHandle<()>>>,
}

impl RaftGroup {
    /// Starts the replica's tasks and waits for the first attempt to open it.
    pub(crate) async fn start(supervisor: Supervisor) -> (Self, Result<(), OpenError>) {
        let shared = Arc::clone(&supervisor.shared);
        let (first, opened) = oneshot::channel();
        let others = vec![
            tokio::spawn(supervisor.run(first)),
            tokio::spawn(reads::run(Arc::clone(&shared))),
        ];
        let batcher = Mutex::new(Some(tokio::spawn(batcher::run(Arc::clone(&shared)))));
        let lost = || Err(OpenError::Log { reason: "the replica's task ended".to_owned() });
        let opened = opened.await.unwrap_or_else(|_| lost());
        (Self { shared, batcher, others: Mutex::new(others) }, opened)
    }

    /// The shard.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.shared.shard
    }

    /// The replica.
    #[must_use]
    pub fn replica(&self) -> ReplicaId {
        self.shared.replica
    }

    /// How the replica stands.
    #[must_use]
    pub fn group_status(&self) -> GroupStatus {
        status_of(&self.shared)
    }

    /// Whether this replica leads, or else who does. Cheap: for every request.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        status::leadership_of(&self.shared)
    }

    /// How old what this replica has applied may be: a read without a barrier sees all that was
    /// acknowledged longer ago, by whichever leader. `None` if that is not known, as long as
    /// the replica has not caught up since it was started.
    #[must_use]
    pub fn staleness(&self) -> Option<Duration> {
        let instance = self.shared.instance()?;
        status::staleness(&instance, &instance.metrics())
    }

    /// How long ago this replica last heard from a leader, or from a majority if it leads.
    /// `None` if that never was. It is no bound on what a read may miss.
    #[must_use]
    pub fn since_contact(&self) -> Option<Duration> {
        let instance = self.shared.instance()?;
        status::since_contact(&instance, &instance.metrics())
    }

    /// Waits until a read of this replica sees everything that was acknowledged before this
    /// call. [`ShardConsensus::read_barrier`] is this with [`ReadMode::Lease`].
    pub fn read_barrier_in(&self, mode: ReadMode) -> ReadBarrier {
        if mode == ReadMode::Lease && reads::may_read_at_once(&self.shared) {
            return ReadBarrier::passed();
        }
        self.shared.gate.enter(mode)
    }

    /// Changes the group's replicas, if they still are as in `expected`
    /// ([`GroupStatus::members`]). Returns the name of the new state. Not cancel-safe: a
    /// change that is given up may come about.
    ///
    /// # Errors
    /// [`ChangeError`]; only after [`ChangeError::TimedOut`] and [`ChangeError::Unknown`] may
    /// something have been changed.
    pub async fn change_replicas(
        &self,
        change: ReplicaChange,
        expected: MembersVersion,
    ) -> Result<MembersVersion, ChangeError> {
        change::change_replicas(&self.shared, change, expected).await
    }

    /// Hands the leadership to another voter and waits until it leads. Nothing is served
    /// meanwhile.
    ///
    /// # Errors
    /// [`ChangeError::NotLeader`], [`ChangeError::NotA`], [`ChangeError::Behind`],
    /// [`ChangeError::InProgress`]; [`ChangeError::TimedOut`] if some replica still may be
    /// elected.
    pub async fn transfer_leader(&self, to: ReplicaId) -> Result<(), ChangeError> {
        change::transfer_leader(&self.shared, to).await
    }

    /// openraft's handle of the present run, for tests.
    #[cfg(test)]
    pub(crate) fn raft(&self) -> Option<super::instance::ShardRaft> {
        self.shared.instance().map(|instance| instance.raft.clone())
    }

    /// Refuses new proposals, gives those that wait a moment, and ends the replica. A second
    /// call returns at once.
    pub async fn close(&self) {
        self.shared.queue.close();
        self.shared.gate.close();
        let batcher = self.batcher.lock().take();
        if let Some(mut batcher) = batcher
            && tokio::time::timeout(CLOSE_GRACE, &mut batcher).await.is_err()
        {
            self.others.lock().push(batcher);
        }
        self.shared.close();
        self.shared.queue.refuse_all(&ProposeError::Closed);
        let others = std::mem::take(&mut *self.others.lock());
        for task in others {
            if task.await.is_err() {
                tracing::error!(shard = %self.shared.shard, "a task of the replica panicked");
            }
        }
    }
}

impl Drop for RaftGroup {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl ShardConsensus for RaftGroup {
    fn propose(&self, commands: Vec<Command>) -> Proposal {
        self.shared.queue.push(commands)
    }

    fn read_barrier(&self) -> ReadBarrier {
        self.read_barrier_in(ReadMode::Lease)
    }

    fn status(&self) -> ConsensusStatus {
        let status = self.group_status();
        ConsensusStatus {
            is_leader: status.role == Role::Leader,
            replicas: status.members.voters.len() + status.members.learners.len(),
            waiting: status.waiting,
        }
    }
}
