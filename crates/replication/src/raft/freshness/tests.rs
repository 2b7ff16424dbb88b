use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn index(index: u64) -> LogIndex {
    LogIndex::new(index)
}

/// A run that began a minute ago and has applied up to an entry.
fn run_of_a_minute(applied: u64) -> Freshness {
    let progress = Arc::new(Progress::default());
    progress.on_applied(applied);
    let mut freshness = Freshness::start(Run::new(7), progress);
    freshness.started = Instant::now().checked_sub(SECOND * 60).expect("a minute ago");
    freshness
}

fn voucher(run: u64, seconds: u64, lead_age: Duration, applied: u64) -> Voucher {
    let echo = Stamp { run: Run::new(run), micros: seconds * 1_000_000 };
    Voucher { echo, lead_age, applied: index(applied) }
}

fn seconds_of(freshness: &Freshness) -> Option<u64> {
    freshness.staleness().map(|age| age.as_secs())
}

#[test]
fn the_age_is_that_of_the_returned_stamp_and_of_the_leaders_certainty() {
    let freshness = run_of_a_minute(5);
    assert_eq!(freshness.staleness(), None);
    freshness.on_voucher(&voucher(7, 50, SECOND * 3, 5));
    assert_eq!(seconds_of(&freshness), Some(13));
    freshness.on_voucher(&voucher(7, 55, Duration::ZERO, 5));
    assert_eq!(seconds_of(&freshness), Some(5));
}

#[test]
fn a_message_that_was_delayed_makes_nothing_younger_and_nothing_older() {
    let freshness = run_of_a_minute(5);
    freshness.on_voucher(&voucher(7, 20, Duration::ZERO, 5));
    assert_eq!(seconds_of(&freshness), Some(40));
    freshness.on_voucher(&voucher(7, 10, Duration::ZERO, 5));
    assert_eq!(seconds_of(&freshness), Some(40));
}

#[test]
fn a_stamp_of_an_earlier_run_or_of_the_future_counts_for_nothing() {
    let freshness = run_of_a_minute(5);
    freshness.on_voucher(&voucher(6, 50, Duration::ZERO, 5));
    freshness.on_voucher(&voucher(7, 61, Duration::ZERO, 5));
    assert_eq!(freshness.staleness(), None);
}

#[test]
fn a_deposed_leader_vouches_for_an_instant_before_the_run_and_no_younger_one() {
    let freshness = run_of_a_minute(5);
    freshness.on_voucher(&voucher(7, 10, SECOND * 20, 5));
    assert_eq!(seconds_of(&freshness), Some(70));
    freshness.on_voucher(&voucher(7, 40, SECOND * 50, 5));
    assert_eq!(seconds_of(&freshness), Some(70));
}

#[test]
fn an_instant_counts_only_when_its_entry_is_applied() {
    let freshness = run_of_a_minute(0);
    freshness.on_voucher(&voucher(7, 50, Duration::ZERO, 5));
    assert_eq!(freshness.staleness(), None);
    freshness.progress.on_applied(4);
    assert_eq!(freshness.staleness(), None);
    freshness.progress.on_applied(5);
    assert_eq!(seconds_of(&freshness), Some(10));
}

#[test]
fn what_is_awaited_is_not_pushed_away_by_what_is_newer_and_further() {
    let (mut tracker, start) = (Tracker::default(), Instant::now());
    let at = |seconds: u32| start + SECOND * seconds;
    // Always ten entries behind, and never where the newest message says.
    for seconds in 0..100 {
        let applied = u64::from(seconds) * 3;
        tracker.offer(at(seconds), index(applied + 10), index(applied));
        let reached = tracker.reached(index(applied));
        assert!(seconds < 8 || reached > Some(at(seconds - 8)), "{seconds}: {reached:?}");
    }
}

#[test]
fn while_nothing_is_written_what_is_awaited_grows_younger() {
    let (mut tracker, start) = (Tracker::default(), Instant::now());
    tracker.offer(start, index(100), index(1));
    tracker.offer(start + SECOND, index(100), index(50));
    tracker.offer(start + SECOND / 2, index(100), index(60));
    assert_eq!(tracker.reached(index(99)), None);
    assert_eq!(tracker.reached(index(100)), Some(start + SECOND));
}

#[test]
fn what_is_reached_at_once_leaves_what_is_awaited_alone() {
    let (mut tracker, start) = (Tracker::default(), Instant::now());
    tracker.offer(start + SECOND, index(9), index(5));
    tracker.offer(start, index(5), index(5));
    assert_eq!(tracker.reached(index(5)), Some(start));
    assert_eq!(tracker.reached(index(9)), Some(start + SECOND));
}
