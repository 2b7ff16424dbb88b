//! How many operations had which outcome, and how long shards went without a write.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::history::{Answer, Call, Moment, Outcome, Protocol};

/// Operations by outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Answered.
    pub answered: u64,
    /// Certainly not done.
    pub refused: u64,
    /// Perhaps done.
    pub unknown: u64,
}

/// A time without a successful write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gap {
    /// The shard.
    pub shard: usize,
    /// How long it was.
    pub length: Duration,
}

#[derive(Debug, Default)]
struct State {
    counts: BTreeMap<Protocol, Counts>,
    /// When each shard was last written.
    written: Vec<Moment>,
    longest: Gap,
}

/// The progress of a run.
#[derive(Debug)]
pub(super) struct Progress(Mutex<State>);

impl Progress {
    pub(super) fn new(shards: u32) -> Self {
        let written = (0..shards).map(|_| Moment(0)).collect();
        Self(Mutex::new(State { written, ..State::default() }))
    }

    pub(super) fn on_outcome(
        &self,
        protocol: Protocol,
        (call, outcome): (&Call, &Outcome),
        shard: u32,
        now: Moment,
    ) {
        let mut state = self.0.lock();
        let counts = state.counts.entry(protocol).or_default();
        match outcome {
            Outcome::Answered(_) => counts.answered += 1,
            Outcome::Refused(_) => counts.refused += 1,
            Outcome::Unknown(_) => counts.unknown += 1,
        }
        if !stores(call, outcome) {
            return;
        }
        let shard = usize::try_from(shard).unwrap_or(0);
        let Some(written) = state.written.get_mut(shard) else { return };
        let before = std::mem::replace(written, now);
        let gap = Gap { shard, length: between(before, now) };
        state.longest = longer(state.longest, gap);
    }

    pub(super) fn counts(&self) -> Vec<(Protocol, Counts)> {
        self.0.lock().counts.iter().map(|(protocol, counts)| (*protocol, *counts)).collect()
    }

    pub(super) fn forget_gaps(&self, now: Moment) {
        let mut state = self.0.lock();
        state.longest = Gap::default();
        state.written.iter_mut().for_each(|written| *written = now);
    }

    pub(super) fn longest_gap(&self, now: Moment) -> Gap {
        let state = self.0.lock();
        let open = state.written.iter().enumerate();
        let open = open.map(|(shard, written)| Gap { shard, length: between(*written, now) });
        open.fold(state.longest, longer)
    }

    pub(super) fn is_written_since(&self, since: Moment) -> bool {
        self.0.lock().written.iter().all(|written| *written > since)
    }
}

/// Whether a value was stored. Nodes that are full refuse that, and still remove rows.
const fn stores(call: &Call, outcome: &Outcome) -> bool {
    match (call, outcome) {
        (Call::CompareAndSet { new, .. }, Outcome::Answered(Answer::Swapped { swapped, .. })) => {
            *swapped && new.is_some()
        }
        (Call::Read | Call::Delete, _) => false,
        (_, Outcome::Answered(_)) => true,
        (_, Outcome::Refused(_) | Outcome::Unknown(_)) => false,
    }
}

fn between(before: Moment, after: Moment) -> Duration {
    after.since_start().saturating_sub(before.since_start())
}

fn longer(one: Gap, other: Gap) -> Gap {
    if other.length > one.length { other } else { one }
}
