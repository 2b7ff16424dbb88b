//! What openraft runs on: tokio, with timers that share their wake-ups.
//!
//! Each group on a node has a timer that ticks five times in a heartbeat, mostly for nothing.
//! With hundreds of groups a thread would be woken for every one of them. So timers go off on
//! lines of a grid that all groups share: one wake-up serves all, and the heartbeats that they
//! send to a peer share a packet.

use std::future::{Future, Ready, ready};
use std::sync::OnceLock;
use std::time::Duration;

use futures::future::Either;
use openraft::{AsyncRuntime, Instant, OptionalSend};
use openraft_rt_tokio::{TokioInstant, TokioRuntime};

/// Between two lines of the grid: how much later than asked a timer may go off.
const GRID: Duration = Duration::from_millis(50);

/// What tokio's timers can tell apart. Openraft gathers what the log reports for a microsecond;
/// a timer would make a millisecond of that.
const RESOLUTION: Duration = Duration::from_millis(1);

/// Tokio, with deadlines on the grid.
#[derive(Debug)]
pub struct GroupRuntime(TokioRuntime);

/// The first line of the grid that is not before a deadline.
fn aligned(deadline: TokioInstant) -> TokioInstant {
    static FIRST_LINE: OnceLock<TokioInstant> = OnceLock::new();
    let first_line = *FIRST_LINE.get_or_init(TokioInstant::now);
    // Zero before the first line, which the clock of a test may have set far in the future.
    let since = deadline.saturating_duration_since(first_line);
    let past_a_line = since.as_nanos() % GRID.as_nanos();
    match u64::try_from(past_a_line) {
        Ok(0) | Err(_) => deadline,
        Ok(nanos) => deadline + (GRID - Duration::from_nanos(nanos)),
    }
}

impl AsyncRuntime for GroupRuntime {
    type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
    type Sleep = Either<Ready<()>, <TokioRuntime as AsyncRuntime>::Sleep>;
    type Instant = TokioInstant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> =
        <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = <TokioRuntime as AsyncRuntime>::ThreadLocalRng;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = <TokioRuntime as AsyncRuntime>::Watch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        TokioRuntime::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        Either::Right(TokioRuntime::sleep(duration))
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        if deadline - TokioInstant::now() < RESOLUTION {
            return Either::Left(ready(()));
        }
        Either::Right(TokioRuntime::sleep_until(aligned(deadline)))
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        TokioRuntime::thread_rng()
    }

    fn new(threads: usize) -> Self {
        Self(TokioRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn timers_that_are_due_one_after_the_other_go_off_together_and_never_early() {
        let line = aligned(TokioInstant::now() + GRID);
        for millis in 1..=50 {
            let due = line + Duration::from_millis(millis);
            assert_eq!(aligned(due), line + GRID);
        }
        GroupRuntime::sleep_until(line).await;
        assert!(TokioInstant::now() >= line);
    }
}
