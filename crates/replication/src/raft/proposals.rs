//! What waits for a shard's log: bounded in commands per shard and in bytes per node.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use breccia_types::Command;
use breccia_types::limits::{PROPOSAL_BYTES_MAX, PROPOSAL_BYTES_WAITING_MAX};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::waiting::{Entry, ShardQueue, Waiting, bytes_of};
use crate::consensus::{Proposal, ProposeError};

/// Bytes of commands that wait or are on their way to a majority, in all shards of the node.
#[derive(Debug, Default)]
pub(crate) struct ByteBudget(AtomicUsize);

/// What the commands of an entry take of the budget; given back when dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<ByteBudget>,
    bytes: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl ByteBudget {
    fn take(&self, bytes: usize) -> bool {
        let fits = |taken: usize| {
            let after = taken.saturating_add(bytes);
            (after <= PROPOSAL_BYTES_WAITING_MAX).then_some(after)
        };
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).is_ok()
    }
}

/// The queue in front of a shard's log.
pub(crate) struct ProposalQueue {
    state: Mutex<State>,
    arrived: Notify,
    budget: Arc<ByteBudget>,
}

#[derive(Default)]
struct State {
    queue: ShardQueue,
    is_closed: bool,
}

impl ProposalQueue {
    pub(crate) fn new(budget: Arc<ByteBudget>) -> Self {
        Self { state: Mutex::default(), arrived: Notify::new(), budget }
    }

    /// Queues commands, or refuses them at once.
    pub(crate) fn push(&self, commands: Vec<Command>) -> Proposal {
        let (reply, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        if state.is_closed {
            return Proposal::refused(ProposeError::Closed);
        }
        let bytes = bytes_of(&commands);
        if bytes > PROPOSAL_BYTES_MAX {
            return Proposal::refused(ProposeError::TooLarge { commands: commands.len(), bytes });
        }
        let has_room = state.queue.has_room(commands.len());
        if !has_room || !self.budget.take(bytes) {
            return Proposal::refused(ProposeError::Busy);
        }
        state.queue.push(Waiting { commands, reply });
        drop(state);
        self.arrived.notify_one();
        Proposal::waiting(receiver)
    }

    /// Waits until something waits. `false` if nothing does, nor ever will.
    pub(crate) async fn arrived(&self) -> bool {
        loop {
            {
                let state = self.state.lock();
                if !state.queue.is_empty() || state.is_closed {
                    return !state.queue.is_empty();
                }
            }
            // A notification that came since the look is kept for this wait.
            self.arrived.notified().await;
        }
    }

    /// Takes what the next entry holds: whole proposals, in order. Its bytes count until it
    /// is answered.
    pub(crate) fn take_entry(&self) -> Entry {
        let (waiting, bytes) = self.state.lock().queue.take_entry();
        Entry { waiting, charge: Charge { budget: Arc::clone(&self.budget), bytes } }
    }

    /// Answers everything that waits with an error.
    pub(crate) fn refuse_all(&self, error: &ProposeError) {
        loop {
            let entry = self.take_entry();
            if entry.waiting.is_empty() {
                return;
            }
            for waiting in entry.waiting {
                let _ = waiting.reply.send(Err(error.clone()));
            }
        }
    }

    /// Refuses what comes from now on; what waits may still be taken.
    pub(crate) fn close(&self) {
        self.state.lock().is_closed = true;
        self.arrived.notify_one();
    }

    /// How many commands wait.
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().queue.commands()
    }
}

#[cfg(test)]
mod tests {
    use breccia_types::ServiceId;
    use breccia_types::limits::PROPOSALS_WAITING_MAX;
    use bytes::Bytes;

    use super::*;

    fn commands(count: usize, bytes: usize) -> Vec<Command> {
        let payload = Bytes::from(vec![0; bytes]);
        vec![Command { service: ServiceId::new(1), request_id: None, payload }; count]
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once_and_takes_again_when_drained() {
        let queue = ProposalQueue::new(Arc::default());
        let _kept = queue.push(commands(PROPOSALS_WAITING_MAX, 0));
        assert_eq!(queue.push(commands(1, 0)).await, Err(ProposeError::Busy));
        assert!(queue.arrived().await);
        assert_eq!(queue.take_entry().waiting.len(), 1);
        let proposal = queue.push(commands(1, 0));
        queue.close();
        assert!(queue.arrived().await);
        queue.refuse_all(&ProposeError::NoQuorum);
        assert_eq!(proposal.await, Err(ProposeError::NoQuorum));
        assert!(!queue.arrived().await);
        assert_eq!(queue.push(commands(1, 0)).await, Err(ProposeError::Closed));
    }

    #[tokio::test]
    async fn a_proposal_that_no_other_node_would_take_is_refused_and_the_next_is_not() {
        let queue = ProposalQueue::new(Arc::default());
        let half = PROPOSAL_BYTES_MAX / 2 + 1;
        let refused = queue.push(commands(2, half)).await;
        assert!(matches!(refused, Err(ProposeError::TooLarge { commands: 2, .. })), "{refused:?}");
        let _small = queue.push(commands(1, half));
        assert_eq!(queue.take_entry().waiting.len(), 1);
    }

    #[tokio::test]
    async fn one_shards_bytes_make_another_busy_until_its_entry_is_answered() {
        let budget = Arc::new(ByteBudget::default());
        let (one, other) = (ProposalQueue::new(budget.clone()), ProposalQueue::new(budget));
        let each = PROPOSAL_BYTES_WAITING_MAX / 4;
        let kept: Vec<_> = (0..4).map(|_| one.push(commands(1, each))).collect();
        assert_eq!(other.push(commands(1, each)).await, Err(ProposeError::Busy));
        let taken = one.take_entry();
        assert_eq!(other.push(commands(1, each)).await, Err(ProposeError::Busy));
        drop(taken);
        let _kept = (kept, other.push(commands(1, each)));
        assert_eq!(other.waiting(), 1);
    }
}
