//! Gathers proposals into entries.
//!
//! While entries are on their way the next proposals gather, so the slower the log is, the
//! more of them share an entry and a flush. A leader stamps entries only after it has applied
//! an entry of its own term: then its clock is past every stamp of its predecessors, and
//! stamps grow along the log.
//!
//! While entries wait for room on the disk, proposals are refused. Those that were in an entry
//! by then hear that their outcome is unknown: the entry is written when there is room again.

use std::sync::Arc;

use futures::stream::{FuturesUnordered, StreamExt};
use openraft::ServerState;
use openraft::alias::CommittedLeaderIdOf;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, ForwardReason, ForwardToLeader};
use openraft::impls::ProgressResponder;
use openraft::raft::ClientWriteResult;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::codec;
use super::instance::Instance;
use super::shared::{Shared, hint_of};
use super::types::GroupConfig;
use super::waiting::Expecting;
use crate::consensus::{ApplyError, LeaderHint, ProposeError};

/// Entries of a shard that may be on their way at the same time. With one, the log idles while
/// an entry is applied; more than two only make smaller entries of the same commands.
const ENTRIES_IN_FLIGHT_MAX: usize = 2;

type Leadership = CommittedLeaderIdOf<GroupConfig>;
type WriteResult = ClientWriteResult<GroupConfig>;
/// What became of an entry, `None` if that is unknown, and who expects to hear.
type Written = (Option<WriteResult>, Expecting);

/// Proposes a shard's entries, until its queue is closed.
pub(crate) async fn run(shared: Arc<Shared>) {
    Batcher { shared, leadership: None, given_up: watch::Sender::new(0) }.run().await;
}

struct Batcher {
    shared: Arc<Shared>,
    /// The leadership under which this replica may stamp entries, as far as is known.
    leadership: Option<Leadership>,
    /// Counts how often the entries on their way were given up.
    given_up: watch::Sender<u64>,
}

impl Batcher {
    async fn run(mut self) {
        let mut in_flight = FuturesUnordered::new();
        let mut since = Instant::now();
        let mut tick = tokio::time::interval(self.shared.timing.heartbeat);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let shared = Arc::clone(&self.shared);
        loop {
            let has_room = in_flight.len() < ENTRIES_IN_FLIGHT_MAX;
            tokio::select! {
                Some(written) = in_flight.next(), if !in_flight.is_empty() => {
                    since = Instant::now();
                    self.on_written(written);
                }
                is_open = shared.queue.arrived(), if has_room => {
                    if !is_open {
                        break;
                    }
                    if in_flight.is_empty() {
                        since = Instant::now();
                    }
                    if let Some((reply, expecting)) = self.propose().await {
                        in_flight.push(until(self.given_up.subscribe(), reply, expecting));
                    }
                }
                _ = tick.tick(), if !in_flight.is_empty() => {
                    if since.elapsed() <= self.shared.timing.reply_timeout() {
                        continue;
                    }
                    if self.shared.no_room().is_some() {
                        self.given_up.send_modify(|times| *times += 1);
                    } else if !has_room {
                        // What waits behind entries that no majority takes hears so.
                        self.shared.queue.refuse_all(&ProposeError::NoQuorum);
                    }
                }
            }
        }
        while let Some(written) = in_flight.next().await {
            self.on_written(written);
        }
    }

    /// Puts the next entry into the log, or refuses what waits.
    async fn propose(&mut self) -> Option<(oneshot::Receiver<WriteResult>, Expecting)> {
        let (instance, leadership) = match self.lead().await {
            Ok(leading) => leading,
            Err(error) => {
                self.shared.queue.refuse_all(&error);
                return None;
            }
        };
        let (commands, expecting) = self.shared.queue.take_entry().join();
        let reserved = u32::try_from(commands.len()).unwrap_or(u32::MAX);
        let stamp = self.shared.clock.stamp(reserved);
        let payload = codec::encode_payload(stamp, &commands);
        let (responder, reply) = ProgressResponder::complete_only();
        let write = instance.raft.write(payload).with_leader(leadership).responder(responder);
        if write.await.is_err() {
            expecting.answer(Err(self.shared.not_running()));
            return None;
        }
        Some((reply, expecting))
    }

    /// The replica, and the leadership under which it may stamp entries now.
    async fn lead(&mut self) -> Result<(Arc<Instance>, Leadership), ProposeError> {
        if let Some(reason) = self.shared.no_room() {
            return Err(ProposeError::Apply(ApplyError::ReadOnly { reason }));
        }
        let instance = self.shared.instance().ok_or_else(|| self.shared.not_running())?;
        if let Some(leadership) = self.leadership {
            return Ok((instance, leadership));
        }
        let deadline = Instant::now() + self.shared.timing.election_timeout_min;
        let mut metrics = instance.raft.metrics();
        loop {
            {
                let now = metrics.borrow_and_update();
                if now.state != ServerState::Leader {
                    return Err(ProposeError::NotLeader { leader: hint_of(&now) });
                }
                let applied = now.last_applied.map(|applied| *applied.committed_leader_id());
                if let Some(applied) = applied
                    && applied.term == now.current_term
                {
                    self.leadership = Some(applied);
                    drop(now);
                    return Ok((instance, applied));
                }
            }
            match tokio::time::timeout_at(deadline, metrics.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(self.shared.not_running()),
                Err(_) => return Err(ProposeError::NoQuorum),
            }
        }
    }

    fn on_written(&mut self, (result, expecting): Written) {
        let result = match result {
            Some(Ok(response)) => Ok(response.data.0),
            Some(Err(error)) => {
                self.leadership = None;
                Err(refused(error))
            }
            None => {
                self.leadership = None;
                Err(ProposeError::Unknown)
            }
        };
        expecting.answer(result);
    }
}

/// Waits for an entry, until the entries on their way are given up.
async fn until(
    mut given_up: watch::Receiver<u64>,
    reply: oneshot::Receiver<WriteResult>,
    expecting: Expecting,
) -> Written {
    tokio::select! {
        written = reply => (written.ok(), expecting),
        _ = given_up.changed() => (None, expecting),
    }
}

fn refused(error: ClientWriteError<GroupConfig>) -> ProposeError {
    match error {
        ClientWriteError::ForwardToLeader(ForwardToLeader { leader_id, leader_node, reason }) => {
            if reason == ForwardReason::LeaseExpired {
                return ProposeError::NoQuorum;
            }
            let leader = leader_id.zip(leader_node);
            let leader = leader.map(|(replica, node)| LeaderHint { replica, node });
            ProposeError::NotLeader { leader }
        }
        // The entry was in this replica's log; another leader may have kept or dropped it.
        _ => ProposeError::Unknown,
    }
}
