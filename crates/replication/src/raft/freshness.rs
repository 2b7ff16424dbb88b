//! How old the data of a replica may be that does not lead.
//!
//! That a leader was heard says nothing about it: the message may have been on its way for
//! long, its sender may have been deposed, and what it names may not be applied yet. So each
//! answer of a replica carries its own time, a [`Stamp`], and each request of a leader returns
//! the newest stamp that it had received, in a [`Voucher`]:
//!
//! ```text
//! replica  ------- s ---------------------------- now
//!                    \ stamp        / voucher: s, r - q, i
//! leader   --- q ---- r ---------- m
//! ```
//!
//! At r the leader received the stamp s, and at m it wrote the voucher. Until q it led for
//! certain, because a majority has answered a message that it sent then. Whatever anyone
//! acknowledged before q was therefore acknowledged by it or by an earlier leader, and lies at
//! or before i, the last entry that it had applied at m, provided that it had applied one of
//! its own term. As s was before r, all that was acknowledged before `s - (r - q)`, or before s
//! if q is later than r, lies there too. A replica that has applied i is thus at most as old as that instant. A message that was
//! delayed returns an old stamp; a leader that was deposed vouches for an ever older q; and a
//! replica that does not apply does not reach i.
//!
//! No clock is compared with another; only their rates must be alike. A machine that is
//! suspended, and whose monotonic clock stands still meanwhile, is younger than it knows.

use std::sync::Arc;
use std::time::Duration;

use breccia_types::LogIndex;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::progress::Progress;

/// Tells the runs of a replica apart, each of which counts its time from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run(u64);

impl Run {
    pub(crate) const fn new(number: u64) -> Self {
        Self(number)
    }

    pub(crate) const fn get(self) -> u64 {
        self.0
    }
}

/// A replica's own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) run: Run,
    /// Microseconds since the run began.
    pub(crate) micros: u64,
}

/// A leader's word: nothing was acknowledged before `lead_age` before `echo` that lies after
/// `applied`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Voucher {
    /// The newest stamp that the leader had from the replica.
    pub(crate) echo: Stamp,
    /// How long before it received that it had led for certain; zero if it did later.
    pub(crate) lead_age: Duration,
    /// The last entry that it had applied.
    pub(crate) applied: LogIndex,
}

/// What one run of a replica knows of its age.
pub(crate) struct Freshness {
    run: Run,
    started: Instant,
    progress: Arc<Progress>,
    tracker: Mutex<Tracker>,
}

impl Freshness {
    /// That of a run that starts now.
    pub(crate) fn start(run: Run, progress: Arc<Progress>) -> Self {
        Self { run, started: Instant::now(), progress, tracker: Mutex::default() }
    }

    /// The replica's time, for a leader to return.
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp { run: self.run, micros: self.micros() }
    }

    /// Takes a leader's word, whether or not the replica follows it. A stamp that is not of
    /// this run counts for nothing.
    pub(crate) fn on_voucher(&self, voucher: &Voucher) {
        let Voucher { echo, lead_age, applied } = *voucher;
        if echo.run != self.run || echo.micros > self.micros() {
            return;
        }
        let stamped = self.started.checked_add(Duration::from_micros(echo.micros));
        if let Some(since) = stamped.and_then(|stamped| stamped.checked_sub(lead_age)) {
            self.tracker.lock().offer(since, applied, self.applied());
        }
    }

    /// How old what is applied may be; `None` if that is not known.
    pub(crate) fn staleness(&self) -> Option<Duration> {
        let reached = self.tracker.lock().reached(self.applied());
        reached.map(|since| since.elapsed())
    }

    fn applied(&self) -> LogIndex {
        LogIndex::new(self.progress.applied())
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// Which instant what is applied has reached.
#[derive(Debug, Default)]
struct Tracker {
    /// Everything acknowledged before it is applied.
    reached: Option<Instant>,
    awaited: Option<Awaited>,
}

/// Everything acknowledged before `since` is applied once `applied` is.
#[derive(Debug, Clone, Copy)]
struct Awaited {
    since: Instant,
    applied: LogIndex,
}

impl Tracker {
    /// Takes an instant that is reached when the entry `needed` is applied.
    ///
    /// One that is awaited gives way only to one that is both newer and no harder to reach.
    /// Otherwise a replica that is always a little behind would chase each newest instant and
    /// never reach any.
    fn offer(&mut self, since: Instant, needed: LogIndex, applied: LogIndex) {
        self.settle(applied);
        if needed <= applied {
            self.reached = self.reached.max(Some(since));
            return;
        }
        let keeps = |awaited: Awaited| awaited.applied < needed || since < awaited.since;
        if !self.awaited.is_some_and(keeps) {
            self.awaited = Some(Awaited { since, applied: needed });
        }
    }

    /// The newest instant that is reached with the entry `applied`.
    fn reached(&mut self, applied: LogIndex) -> Option<Instant> {
        self.settle(applied);
        self.reached
    }

    fn settle(&mut self, applied: LogIndex) {
        if let Some(awaited) = self.awaited.take_if(|awaited| awaited.applied <= applied) {
            self.reached = self.reached.max(Some(awaited.since));
        }
    }
}

#[cfg(test)]
mod tests;
