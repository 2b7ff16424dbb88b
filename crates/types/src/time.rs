//! Instants, and the node's clock that never runs backwards.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// An instant: microseconds since 1970-01-01T00:00:00Z, negative before it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest instant there is.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest instant there is.
    pub const MAX: Self = Self(i64::MAX);

    /// From microseconds since the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From milliseconds since the Unix epoch; `None` if that is out of range.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Option<Self> {
        match millis.checked_mul(1_000) {
            Some(micros) => Some(Self(micros)),
            None => None,
        }
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// This instant plus a duration, the latest instant if that is out of range.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros))
    }

    /// This instant minus a duration, the earliest instant if that is out of range.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(micros))
    }

    /// The instant one microsecond later.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}µs", self.0)
    }
}

/// Where time comes from. Injected, so that tests decide what time it is.
pub trait Clock: Send + Sync + 'static {
    /// What the time is now. May jump in either direction.
    fn wall(&self) -> Timestamp;

    /// By how many microseconds the clock has jumped without being followed; 0 if it has not.
    fn refused_jump_micros(&self) -> i64 {
        0
    }
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn wall(&self) -> Timestamp {
        let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
            Err(before) => {
                i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros)
            }
        };
        Timestamp::from_micros(micros)
    }
}

/// How far a wall clock may jump, either way, and still be followed.
pub const CLOCK_JUMP_MAX: Duration = Duration::from_secs(5 * 60);

/// Steps of the wall clock below this are forgotten until they add up.
const STEP_NOTED_MICROS: u64 = 100_000;

/// Follows a wall clock, unless that jumps by more than [`CLOCK_JUMP_MAX`].
///
/// A wall clock that is set years ahead for a moment would make everything with a time to
/// live expire, for good, and every later instant lie in that future. So a jump is told from
/// the passing of time by a second clock that cannot be set; after a jump this clock goes on
/// by that one, until the wall clock is back or the process is started again.
pub struct JumpGuard<W, E> {
    wall: W,
    elapsed: E,
    /// The wall clock's lead over the other one, in microseconds, as last followed.
    lead: AtomicI64,
    refused: AtomicI64,
}

impl<W: Clock, E: Fn() -> Duration> JumpGuard<W, E> {
    /// Follows `wall`. `elapsed` is the time since any fixed moment, by a clock that runs
    /// evenly and cannot be set.
    pub fn new(wall: W, elapsed: E) -> Self {
        let lead = wall.wall().as_micros().saturating_sub(micros(elapsed()));
        Self { wall, elapsed, lead: AtomicI64::new(lead), refused: AtomicI64::new(0) }
    }
}

impl<W: Clock, E: Fn() -> Duration + Send + Sync + 'static> Clock for JumpGuard<W, E> {
    fn wall(&self) -> Timestamp {
        let (wall, elapsed) = (self.wall.wall().as_micros(), micros((self.elapsed)()));
        let lead = wall.saturating_sub(elapsed);
        let followed = self.lead.load(Ordering::Relaxed);
        let jump = lead.saturating_sub(followed);
        if jump.unsigned_abs() > u64::try_from(CLOCK_JUMP_MAX.as_micros()).unwrap_or(u64::MAX) {
            self.refused.store(jump, Ordering::Relaxed);
            return Timestamp(followed.saturating_add(elapsed));
        }
        // Written rarely: every request on every thread reads it.
        if jump.unsigned_abs() > STEP_NOTED_MICROS {
            self.lead.store(lead, Ordering::Relaxed);
        }
        if self.refused.load(Ordering::Relaxed) != 0 {
            self.refused.store(0, Ordering::Relaxed);
        }
        Timestamp(wall)
    }

    fn refused_jump_micros(&self) -> i64 {
        self.refused.load(Ordering::Relaxed)
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// A clock that a test sets by hand.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub const fn new(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.as_micros()))
    }

    /// Sets the time, forwards or backwards.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_micros(), Ordering::SeqCst);
    }

    /// Moves the time forwards.
    pub fn advance(&self, by: Duration) {
        self.set(self.wall().saturating_add(by));
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// The node's clock: follows the wall clock but never runs backwards.
///
/// Entries are stamped and reads judge expiry by this one clock. A read that saw a row
/// expired at `t` is therefore followed only by entries stamped later than `t`: no write
/// can bring back what a reader saw gone.
pub struct NodeClock {
    source: Box<dyn Clock>,
    latest: AtomicI64,
}

impl NodeClock {
    /// A clock over `source` that starts no earlier than `floor`, the latest instant that
    /// this node's shards have seen before.
    #[must_use]
    pub fn new(source: Box<dyn Clock>, floor: Timestamp) -> Self {
        Self { source, latest: AtomicI64::new(floor.as_micros()) }
    }

    /// The present instant; never earlier than one that was returned before.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let wall = self.source.wall().as_micros();
        let before = self.latest.fetch_max(wall, Ordering::SeqCst);
        Timestamp(before.max(wall))
    }

    /// By how many microseconds the wall clock has jumped without being followed; 0 if it
    /// has not.
    #[must_use]
    pub fn refused_jump_micros(&self) -> i64 {
        self.source.refused_jump_micros()
    }

    /// How far this clock is ahead of the wall clock: by what it had seen before, at most.
    #[must_use]
    pub fn lead(&self) -> Duration {
        let ahead = self.now().as_micros().saturating_sub(self.source.wall().as_micros());
        Duration::from_micros(u64::try_from(ahead).unwrap_or(0))
    }

    /// Makes every later instant lie after `seen`, which another node's clock gave out. Jumps
    /// forwards if this clock is behind.
    pub fn advance_past(&self, seen: Timestamp) {
        self.latest.fetch_max(seen.as_micros(), Ordering::SeqCst);
    }

    /// An instant later than every one returned before, followed by `reserved` more that
    /// no later call returns: one for each command of an entry.
    #[must_use]
    pub fn stamp(&self, reserved: u32) -> Timestamp {
        let wall = self.source.wall().as_micros();
        let mut latest = self.latest.load(Ordering::SeqCst);
        loop {
            let first = wall.max(latest.saturating_add(1));
            let last = first.saturating_add(i64::from(reserved));
            match self.latest.compare_exchange_weak(
                latest,
                last,
                Ordering::SeqCst,
                Ordering::SeqCst,
            ) {
                Ok(_) => return Timestamp(first),
                Err(actual) => latest = actual,
            }
        }
    }
}

impl fmt::Debug for NodeClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeClock").field("latest", &self.latest).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    struct Shared(Arc<ManualClock>);
    impl Clock for Shared {
        fn wall(&self) -> Timestamp {
            self.0.wall()
        }
    }

    #[test]
    fn the_node_clock_stands_still_while_the_wall_clock_is_behind() {
        let wall = Arc::new(ManualClock::new(Timestamp::from_micros(1_000)));
        let clock = NodeClock::new(Box::new(Shared(wall.clone())), Timestamp::MIN);
        assert_eq!(clock.now().as_micros(), 1_000);
        wall.set(Timestamp::from_micros(10));
        assert_eq!(clock.now().as_micros(), 1_000);
        wall.set(Timestamp::from_micros(2_000));
        assert_eq!(clock.now().as_micros(), 2_000);
    }

    #[test]
    fn a_jump_of_the_wall_clock_is_not_followed_but_small_steps_are() {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);
        let wall = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
        let even = Arc::new(ManualClock::default());
        let elapsed = {
            let even = Arc::clone(&even);
            move || Duration::from_micros(even.wall().as_micros().unsigned_abs())
        };
        let guard = JumpGuard::new(Shared(wall.clone()), elapsed);
        let second = Duration::from_secs(1);
        // Time that passes is no jump, however much of it.
        wall.advance(YEAR);
        even.advance(YEAR);
        let before = guard.wall();
        assert_eq!(before, wall.wall());
        wall.advance(CLOCK_JUMP_MAX);
        assert_eq!(guard.wall(), wall.wall());
        wall.advance(YEAR * 10);
        even.advance(second);
        let jumped = before.saturating_add(CLOCK_JUMP_MAX);
        assert_eq!(guard.wall(), jumped.saturating_add(second));
        assert!(guard.refused_jump_micros() > micros(YEAR * 9));
        wall.set(jumped.saturating_add(second));
        assert_eq!(guard.wall(), wall.wall());
        assert_eq!(guard.refused_jump_micros(), 0);
        wall.set(Timestamp::MIN);
        even.advance(second);
        assert_eq!(guard.wall(), jumped.saturating_add(second * 2));
    }

    #[test]
    fn stamps_are_later_than_every_read_and_leave_room_for_their_commands() {
        let wall = Arc::new(ManualClock::new(Timestamp::from_micros(1_000)));
        let clock = NodeClock::new(Box::new(Shared(wall)), Timestamp::from_micros(5_000));
        assert_eq!(clock.now().as_micros(), 5_000);
        assert_eq!(clock.stamp(3).as_micros(), 5_001);
        assert_eq!(clock.stamp(0).as_micros(), 5_005);
    }

    #[test]
    fn stamps_are_later_than_what_another_clock_gave_out() {
        let wall = Arc::new(ManualClock::new(Timestamp::from_micros(1_000)));
        let clock = NodeClock::new(Box::new(Shared(wall)), Timestamp::MIN);
        clock.advance_past(Timestamp::from_micros(9_000));
        assert_eq!(clock.stamp(0).as_micros(), 9_001);
        clock.advance_past(Timestamp::from_micros(10));
        assert_eq!(clock.now().as_micros(), 9_001);
    }

    #[test]
    fn milliseconds_round_down_before_the_epoch_too() {
        assert_eq!(Timestamp::from_micros(-1).as_millis(), -1);
        assert_eq!(Timestamp::from_micros(1_999).as_millis(), 1);
        assert_eq!(Timestamp::from_millis(i64::MAX), None);
    }
}
