//! Proposals that wait to become entries.

use std::collections::VecDeque;

use breccia_types::limits::{ENTRY_BYTES_MAX, ENTRY_COMMANDS_MAX, PROPOSALS_WAITING_MAX};
use breccia_types::{Command, Outcome};
use tokio::sync::oneshot;

use super::proposals::Charge;
use crate::consensus::ProposeError;

/// Commands that were proposed together, and where their outcomes go.
pub(crate) struct Waiting {
    pub(crate) commands: Vec<Command>,
    pub(crate) reply: Reply,
}

/// Where the outcomes of a proposal go.
type Reply = oneshot::Sender<Result<Vec<Outcome>, ProposeError>>;

/// The proposals of one entry.
pub(crate) struct Entry {
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) charge: Charge,
}

/// What waits for one shard's next entries.
#[derive(Default)]
pub(crate) struct ShardQueue {
    waiting: VecDeque<Waiting>,
    commands: usize,
}

/// Who expects to hear of an entry.
pub(crate) struct Expecting {
    /// How many outcomes each proposal has, and where they go.
    proposals: Vec<(usize, Reply)>,
    _charge: Charge,
}

impl Entry {
    /// Its commands, and who expects their outcomes.
    pub(crate) fn join(self) -> (Vec<Command>, Expecting) {
        let mut all = Vec::new();
        let mut proposals = Vec::with_capacity(self.waiting.len());
        for Waiting { commands, reply } in self.waiting {
            proposals.push((commands.len(), reply));
            all.extend(commands);
        }
        (all, Expecting { proposals, _charge: self.charge })
    }
}

impl Expecting {
    /// Gives each proposal its outcomes, or all of them the error.
    pub(crate) fn answer(self, result: Result<Vec<Outcome>, ProposeError>) {
        let mut outcomes = result.map(Vec::into_iter);
        for (commands, reply) in self.proposals {
            let answer = match &mut outcomes {
                Ok(outcomes) => Ok(outcomes.by_ref().take(commands).collect()),
                Err(error) => Err(error.clone()),
            };
            // A client that went away no longer wants its answer.
            let _ = reply.send(answer);
        }
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

    fn proposal(commands: usize, bytes: usize) -> Waiting {
        let payload = Bytes::from(vec![0; bytes]);
        let command = Command { service: ServiceId::new(1), request_id: None, payload };
        Waiting { commands: vec![command; commands], reply: oneshot::channel().0 }
    }

    #[test]
    fn entries_are_bounded_in_bytes_but_never_split_a_proposal() {
        let mut queue = ShardQueue::default();
        for _ in 0..2 {
            queue.push(proposal(1, ENTRY_BYTES_MAX / 2 + 1));
        }
        queue.push(proposal(3, ENTRY_BYTES_MAX));
        for commands in [1, 1, 3] {
            let (taken, _) = queue.take_entry();
            let taken: Vec<_> = taken.iter().map(|waiting| waiting.commands.len()).collect();
            assert_eq!(taken, [commands]);
        }
        assert!(queue.is_empty() && queue.commands() == 0);
    }
}
