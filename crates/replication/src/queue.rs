//! What waits for the log: bounded in commands per shard and in bytes overall.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use breccia_types::limits::{
    ENTRY_BYTES_MAX, ENTRY_COMMANDS_MAX, PROPOSAL_BYTES_WAITING_MAX, PROPOSALS_WAITING_MAX,
};
use breccia_types::{Command, Outcome, ShardId};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::consensus::{Proposal, ProposeError};

/// Commands that were proposed together, and where their outcomes go.
pub(crate) struct Waiting {
    pub(crate) commands: Vec<Command>,
    pub(crate) reply: oneshot::Sender<Result<Vec<Outcome>, ProposeError>>,
}

/// What each shard's next entry is made of: whole proposals, in order.
pub(crate) type Gathered = Vec<(ShardId, Vec<Waiting>)>;

/// What a look into the queue found.
pub(crate) enum Gather {
    /// The next entries.
    Entries(Gathered),
    /// Nothing came in time.
    Idle,
    /// The queue is closed and empty.
    Closed,
}

#[derive(Default)]
struct State {
    by_shard: BTreeMap<ShardId, ShardQueue>,
    bytes: usize,
    closed: bool,
}

/// What waits for one shard's next entries.
#[derive(Default)]
pub(crate) struct ShardQueue {
    waiting: VecDeque<Waiting>,
    commands: usize,
}

/// Where the outcomes of a proposal go, and how many there are.
pub(crate) struct Expecting {
    commands: usize,
    reply: oneshot::Sender<Result<Vec<Outcome>, ProposeError>>,
}

/// The commands of one entry, and who expects their outcomes.
pub(crate) fn join(waiting: Vec<Waiting>) -> (Vec<Command>, Vec<Expecting>) {
    let mut all = Vec::new();
    let mut expecting = Vec::with_capacity(waiting.len());
    for Waiting { commands, reply } in waiting {
        expecting.push(Expecting { commands: commands.len(), reply });
        all.extend(commands);
    }
    (all, expecting)
}

/// Gives each proposal of an entry its outcomes, or all of them the error.
pub(crate) fn answer(expecting: Vec<Expecting>, result: Result<Vec<Outcome>, ProposeError>) {
    let mut outcomes = result.map(Vec::into_iter);
    for Expecting { commands, reply } in expecting {
        let answer = match &mut outcomes {
            Ok(outcomes) => Ok(outcomes.by_ref().take(commands).collect()),
            Err(error) => Err(error.clone()),
        };
        // A client that went away no longer wants its answer.
        let _ = reply.send(answer);
    }
}

/// The queue in front of the log's one writer.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
}

impl Queue {
    /// Queues commands, or refuses them at once.
    pub(crate) fn push(&self, shard: ShardId, commands: Vec<Command>) -> Proposal {
        let bytes = bytes_of(&commands);
        let (reply, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        if state.closed {
            return Proposal::refused(ProposeError::Closed);
        }
        let was_empty = state.bytes == 0;
        let has_room = state.by_shard.entry(shard).or_default().has_room(commands.len());
        // A proposal larger than the bound must wait alone, or it would be refused for ever.
        let is_full = !was_empty && state.bytes + bytes > PROPOSAL_BYTES_WAITING_MAX;
        if !has_room || is_full {
            return Proposal::refused(ProposeError::Busy);
        }
        state.by_shard.entry(shard).or_default().push(Waiting { commands, reply });
        state.bytes += bytes;
        drop(state);
        if was_empty {
            self.arrived.notify_one();
        }
        Proposal::waiting(receiver)
    }

    /// Takes what each shard's next entry holds. Waits until there is something, but no
    /// longer than `patience` if that is given.
    pub(crate) fn gather(&self, patience: Option<Duration>) -> Gather {
        let mut state = self.state.lock();
        while state.bytes == 0 {
            if state.closed {
                return Gather::Closed;
            }
            match patience {
                None => self.arrived.wait(&mut state),
                Some(patience) => {
                    if self.arrived.wait_for(&mut state, patience).timed_out() && state.bytes == 0 {
                        return Gather::Idle;
                    }
                }
            }
        }
        let mut gathered = Vec::new();
        let mut taken = 0;
        for (shard, queue) in &mut state.by_shard {
            let (waiting, bytes) = queue.take_entry();
            taken += bytes;
            if !waiting.is_empty() {
                gathered.push((*shard, waiting));
            }
        }
        state.bytes = state.bytes.saturating_sub(taken);
        Gather::Entries(gathered)
    }

    /// Refuses what comes from now on; what waits is still gathered.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Refuses what comes from now on, and gives up what waits: its outcome stays unknown.
    pub(crate) fn abandon(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.by_shard.clear();
        state.bytes = 0;
    }

    /// How many commands of a shard wait.
    pub(crate) fn waiting(&self, shard: ShardId) -> usize {
        self.state.lock().by_shard.get(&shard).map_or(0, |queue| queue.commands)
    }
}

impl ShardQueue {
    /// Whether so many more commands may wait. However many they are, they may wait alone.
    pub(crate) const fn has_room(&self, commands: usize) -> bool {
        self.commands == 0 || self.commands + commands <= PROPOSALS_WAITING_MAX
    }

    pub(crate) fn push(&mut self, waiting: Waiting) {
        self.commands += waiting.commands.len();
        self.waiting.push_back(waiting);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many commands wait.
    pub(crate) const fn commands(&self) -> usize {
        self.commands
    }

    /// Takes what the next entry holds, and the bytes that leave the queue with it.
    pub(crate) fn take_entry(&mut self) -> (Vec<Waiting>, usize) {
        let (mut taken, mut commands, mut bytes) = (Vec::new(), 0, 0);
        while let Some(next) = self.waiting.front() {
            let next_bytes = bytes_of(&next.commands);
            let fits = commands + next.commands.len() <= ENTRY_COMMANDS_MAX
                && bytes + next_bytes <= ENTRY_BYTES_MAX;
            if !fits && !taken.is_empty() {
                break;
            }
            commands += next.commands.len();
            bytes += next_bytes;
            taken.extend(self.waiting.pop_front());
        }
        self.commands = self.commands.saturating_sub(commands);
        (taken, bytes)
    }
}

/// Bytes that commands take while they wait; never 0, so that a queue without bytes is empty.
pub(crate) fn bytes_of(commands: &[Command]) -> usize {
    commands.iter().map(|command| command.payload.len() + size_of::<Command>()).sum::<usize>() + 1
}

#[cfg(test)]
mod tests {
    use breccia_types::ServiceId;
    use bytes::Bytes;

    use super::*;

    const SHARD: ShardId = ShardId::new(0);

    fn commands(count: usize, bytes: usize) -> Vec<Command> {
        let payload = Bytes::from(vec![0; bytes]);
        let command = Command { service: ServiceId::new(1), request_id: None, payload };
        vec![command; count]
    }

    fn gathered(queue: &Queue) -> Gathered {
        match queue.gather(Some(Duration::ZERO)) {
            Gather::Entries(gathered) => gathered,
            Gather::Idle | Gather::Closed => Vec::new(),
        }
    }

    fn is_busy(proposal: Proposal) -> bool {
        let format = format!("{proposal:?}");
        format.contains("Busy")
    }

    #[test]
    fn a_full_queue_refuses_at_once_and_takes_again_when_drained() {
        let queue = Queue::default();
        let _kept = queue.push(SHARD, commands(PROPOSALS_WAITING_MAX, 0));
        assert!(is_busy(queue.push(SHARD, commands(1, 0))));
        let _other = queue.push(ShardId::new(1), commands(1, 0));
        assert_eq!(queue.waiting(SHARD), PROPOSALS_WAITING_MAX);
        assert_eq!(gathered(&queue).len(), 2);
        assert!(!is_busy(queue.push(SHARD, commands(1, 0))));
    }

    #[test]
    fn a_proposal_larger_than_the_bound_waits_alone() {
        let queue = Queue::default();
        let large = || commands(2, PROPOSAL_BYTES_WAITING_MAX / 2 + 1);
        assert!(!is_busy(queue.push(SHARD, large())));
        assert!(is_busy(queue.push(SHARD, commands(1, 1))));
        assert_eq!(gathered(&queue).len(), 1);
        let _small = queue.push(SHARD, commands(1, 1));
        assert!(is_busy(queue.push(SHARD, large())));
    }

    #[test]
    fn entries_are_bounded_in_bytes_but_never_split_a_proposal() {
        let queue = Queue::default();
        let half = ENTRY_BYTES_MAX / 2 + 1;
        let _proposals: Vec<_> = (0..2).map(|_| queue.push(SHARD, commands(1, half))).collect();
        for _ in 0..2 {
            assert_eq!(gathered(&queue)[0].1.len(), 1);
        }
        let _large = queue.push(SHARD, commands(3, ENTRY_BYTES_MAX));
        assert_eq!(gathered(&queue)[0].1[0].commands.len(), 3);
    }

    #[test]
    fn a_closed_queue_gives_out_what_waits_and_then_ends() {
        let queue = Queue::default();
        let _kept = queue.push(SHARD, commands(1, 1));
        queue.close();
        assert!(format!("{:?}", queue.push(SHARD, commands(1, 1))).contains("Closed"));
        assert_eq!(gathered(&queue).len(), 1);
        assert!(matches!(queue.gather(None), Gather::Closed));
    }
}
