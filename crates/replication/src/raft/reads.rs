//! The read barrier of a shard.
//!
//! All reads that arrived before a question to openraft share its answer: the question is
//! asked after they came, so whatever was acknowledged before any of them is covered. It is
//! a local check while a majority was heard recently, and a round of heartbeats otherwise.
//! A leader whose lease is beyond doubt does not even ask (`may_read_at_once`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use openraft::errors::{ForwardReason, LinearizableReadError, RaftError};
use openraft::{LinearizerOption, ReadPolicy, ServerState};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::instance::Instance;
use super::shared::{Shared, hint_of};
use super::status::is_only_voter;
use super::types::GroupConfig;
use crate::consensus::{LeaderHint, ProposeError, ReadBarrier, ReadError};

/// Reads that may wait for one shard's barrier.
const READS_WAITING_MAX: usize = 65_536;

/// Whether a leader may trust its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadMode {
    /// Yes, with a margin for clocks that do not run alike.
    #[default]
    Lease,
    /// Never: every barrier is a round to a majority. For machines that may be paused.
    Strict,
}

/// What a replica has set going that its metrics may not show yet.
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    /// The last term in which this replica began to hand its leadership over. It may come
    /// about at any time later in that term, lease or no lease.
    transfer_term: AtomicU64,
    /// Whether this replica ever began to change who votes.
    has_changed_members: AtomicBool,
}

impl Doubts {
    /// To be called before a leadership is handed over.
    pub(crate) fn on_transfer(&self, term: u64) {
        self.transfer_term.fetch_max(term, Ordering::SeqCst);
    }

    /// To be called before the members of the group are changed.
    pub(crate) fn on_change(&self) {
        self.has_changed_members.store(true, Ordering::SeqCst);
    }
}

/// Whether this replica leads the group for certain at this moment, and has applied all that
/// was acknowledged, so that a read need not ask anyone.
///
/// It does if a majority answered a message that it sent within the trusted part of the
/// lease, since none of them votes for another replica before the lease is over; however old
/// the metrics are that say so. The exception is a leadership that is handed over: then a
/// majority votes at once. It has applied everything once it has applied an entry of its own
/// term, since that comes after all that earlier leaders acknowledged.
pub(crate) fn may_read_at_once(shared: &Shared) -> bool {
    use openraft::Instant as _;
    use openraft::async_runtime::watch::WatchReceiver;
    let Some(instance) = shared.instance() else { return false };
    let watched = instance.raft.metrics();
    let metrics = watched.borrow_watched();
    let term = metrics.current_term;
    let applied_own = metrics.last_applied.is_some_and(|last| last.leader_id.term == term);
    let leads = metrics.state == ServerState::Leader && metrics.running_state.is_ok();
    if !leads || !applied_own || shared.doubts.transfer_term.load(Ordering::SeqCst) == term {
        return false;
    }
    let trusted = shared.timing.lease_trusted();
    let answered = metrics.last_quorum_acked.is_some_and(|acked| acked.elapsed() < trusted);
    let is_alone = is_only_voter(&metrics);
    answered || (is_alone && !shared.doubts.has_changed_members.load(Ordering::SeqCst))
}

type Waiting = oneshot::Sender<Result<(), ReadError>>;

/// Where reads wait.
#[derive(Default)]
pub(crate) struct ReadGate {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Default)]
struct State {
    waiting: Vec<Waiting>,
    /// The strictest of those that wait.
    mode: ReadMode,
    is_closed: bool,
}

impl ReadGate {
    /// Waits for the next answer.
    pub(crate) fn enter(&self, mode: ReadMode) -> ReadBarrier {
        let (reply, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        if state.is_closed {
            return ReadBarrier::refused(ReadError::Closed);
        }
        if state.waiting.len() >= READS_WAITING_MAX {
            return ReadBarrier::refused(ReadError::Busy);
        }
        if mode == ReadMode::Strict {
            state.mode = ReadMode::Strict;
        }
        state.waiting.push(reply);
        drop(state);
        self.arrived.notify_one();
        ReadBarrier::waiting(receiver)
    }

    /// Refuses reads from now on.
    pub(crate) fn close(&self) {
        self.state.lock().is_closed = true;
        self.arrived.notify_one();
    }

    /// Those that wait; `None` when the gate is closed.
    async fn next(&self) -> Option<(Vec<Waiting>, ReadMode)> {
        loop {
            {
                let mut state = self.state.lock();
                if state.is_closed {
                    state.waiting.clear();
                    return None;
                }
                if !state.waiting.is_empty() {
                    let waiting = std::mem::take(&mut state.waiting);
                    return Some((waiting, std::mem::take(&mut state.mode)));
                }
            }
            self.arrived.notified().await;
        }
    }
}

/// Answers a shard's reads, until its gate is closed.
pub(crate) async fn run(shared: Arc<Shared>) {
    while let Some((waiting, mode)) = shared.gate.next().await {
        let passed = match shared.instance() {
            Some(instance) => pass(&shared, &instance, mode).await,
            None => Err(failed(shared.not_running())),
        };
        for reply in waiting {
            // A client that went away no longer wants to read.
            let _ = reply.send(passed.clone());
        }
    }
}

async fn pass(shared: &Shared, instance: &Instance, mode: ReadMode) -> Result<(), ReadError> {
    let raft = &instance.raft;
    let option = match mode {
        ReadMode::Lease => LinearizerOption::new(Some(shared.timing.lease_trusted()), true),
        ReadMode::Strict => ReadPolicy::ReadIndex.into(),
    };
    let asking = raft.get_read_linearizer(option);
    let asked = tokio::time::timeout(shared.timing.reply_timeout(), asking).await;
    let linearizer = match asked {
        Ok(Ok(linearizer)) => linearizer,
        Ok(Err(error)) => return Err(refused(shared, instance, error)),
        Err(_) => return Err(ReadError::NoQuorum),
    };
    match linearizer.try_await_ready(raft, Some(shared.timing.reply_timeout())).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err(ReadError::Busy),
        Err(_) => Err(failed(shared.not_running())),
    }
}

fn refused(
    shared: &Shared,
    instance: &Instance,
    error: RaftError<GroupConfig, LinearizableReadError<GroupConfig>>,
) -> ReadError {
    match error {
        RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) => ReadError::NoQuorum,
        RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)) => {
            if forward.reason == ForwardReason::LeaseExpired {
                return ReadError::NoQuorum;
            }
            let leader = forward.leader_id.zip(forward.leader_node);
            let leader = leader.map(|(replica, node)| LeaderHint { replica, node });
            ReadError::NotLeader { leader: leader.or_else(|| hint_of(&instance.metrics())) }
        }
        RaftError::Fatal(_) => failed(shared.not_running()),
    }
}

fn failed(error: ProposeError) -> ReadError {
    match error {
        ProposeError::Closed => ReadError::Closed,
        error => ReadError::Failed { reason: error.to_string() },
    }
}
