//! Whether a request is sent again. Pure.
//!
//! The one question is whether a try may have written something. If not, another is safe.
//! If so, it is safe for reads, which write nothing, and for writes with a request id, which
//! the shard knows again: it answers as it did the first time. From the first such try on,
//! no error may claim that nothing was written.

use std::time::Duration;

use breccia_types::limits::REQUEST_ID_REMEMBERED;
use breccia_types::{Actor, RequestId};
use tonic::Status;

use crate::code::Code;
use crate::error::Error;
use crate::failure::Failure;

/// How long a read is tried at most.
const READ_DEADLINE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a write is tried at most: well before shards forget its id.
const WRITE_DEADLINE_MAX: Duration = Duration::from_secs(5 * 60);

const _: () = assert!(WRITE_DEADLINE_MAX.as_secs() * 2 < REQUEST_ID_REMEMBERED.as_secs());

/// The first wait before another try, before jitter.
const WAIT_FIRST: Duration = Duration::from_millis(10);
/// How often the wait doubles: 640 ms is the longest.
const DOUBLINGS_MAX: u32 = 6;

/// What happens if a request is done twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repetition {
    /// Nothing: it reads.
    Harmless,
    /// The second is known again by its request id or, without one, sets what it set before.
    Recognised { request_id: Option<RequestId> },
    /// Another answer, or another effect. It may have several steps, so that a node's refusal
    /// to go on does not say that nothing was done.
    Harmful,
}

/// The tries at one request so far.
#[derive(Debug)]
pub(crate) struct Tries {
    repetition: Repetition,
    deadline: Duration,
    tries_max: u32,
    tries: u32,
    /// Whether a try may have written.
    is_uncertain: bool,
    last: Option<Box<Status>>,
}

impl Tries {
    pub(crate) fn new(repetition: Repetition, deadline: Duration, tries_max: u32) -> Self {
        let deadline_max = match repetition {
            Repetition::Harmless => READ_DEADLINE_MAX,
            Repetition::Recognised { .. } | Repetition::Harmful => WRITE_DEADLINE_MAX,
        };
        Self {
            repetition,
            deadline: deadline.min(deadline_max),
            tries_max,
            tries: 0,
            is_uncertain: false,
            last: None,
        }
    }

    /// How long the request may take, all tries together.
    pub(crate) const fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Notes a try that failed. The wait before the next, of which `draw` decides the
    /// jitter.
    ///
    /// # Errors
    /// The request's error, if it is not to be tried again.
    pub(crate) fn after(&mut self, failure: Failure, draw: u16) -> Result<Duration, Error> {
        self.tries = self.tries.saturating_add(1);
        self.is_uncertain |= may_have_written(self.repetition, &failure);
        let is_safe = !self.is_uncertain || self.repetition != Repetition::Harmful;
        if !is_safe || !may_help(&failure) || self.tries >= self.tries_max {
            return Err(self.error(failure));
        }
        self.last = match failure {
            Failure::NotSent(status) | Failure::Broken(status) => Some(Box::new(status)),
            Failure::Refused { status, .. } => Some(Box::new(status)),
            Failure::TimedOut => self.last.take(),
        };
        Ok(wait(self.tries, draw))
    }

    /// The error if there is no time left for another try.
    pub(crate) fn out_of_time(&mut self) -> Error {
        let late = Error::DeadlineExceeded { deadline: self.deadline, last: self.last.take() };
        self.without_false_certainty(late)
    }

    fn error(&mut self, failure: Failure) -> Error {
        match failure {
            Failure::TimedOut => self.out_of_time(),
            Failure::NotSent(status) | Failure::Broken(status) => {
                let source = Box::new(status);
                self.without_false_certainty(Error::Unreachable { tries: self.tries, source })
            }
            Failure::Refused { code, actor, status } => {
                let refused = Error::Refused { code, actor, message: status.message().to_owned() };
                match code {
                    // The shard answers so only to the first try that reached it.
                    Code::GuardFailed => refused,
                    _ => self.without_false_certainty(refused),
                }
            }
        }
    }

    fn without_false_certainty(&self, cause: Error) -> Error {
        if !self.is_uncertain {
            return cause;
        }
        let request_id = match self.repetition {
            Repetition::Recognised { request_id } => request_id,
            Repetition::Harmless | Repetition::Harmful => None,
        };
        Error::OutcomeUnknown { request_id, cause: Box::new(cause) }
    }
}

/// Whether a request that failed so may have written.
fn may_have_written(repetition: Repetition, failure: &Failure) -> bool {
    let is_certain = match failure {
        Failure::NotSent(_) => true,
        Failure::Broken(_) | Failure::TimedOut => false,
        Failure::Refused { code: Code::Busy | Code::ShardUnavailable, .. } => {
            repetition != Repetition::Harmful
        }
        Failure::Refused { code: Code::Storage | Code::Internal, .. } => false,
        Failure::Refused { actor, .. } => *actor != Actor::Retry,
    };
    repetition != Repetition::Harmless && !is_certain
}

/// Whether the same request, sent again, may be answered. An unavailable shard may be
/// available by way of another node.
const fn may_help(failure: &Failure) -> bool {
    match failure {
        Failure::NotSent(_) | Failure::Broken(_) => true,
        Failure::TimedOut => false,
        Failure::Refused { code: Code::ShardUnavailable, .. } => true,
        Failure::Refused { actor, .. } => matches!(actor, Actor::Retry),
    }
}

/// The wait after try `tries`, the first being 1: doubled each time, and by `draw` somewhere
/// in the upper half, so that those who failed together do not return together.
fn wait(tries: u32, draw: u16) -> Duration {
    let longest = WAIT_FIRST * 2u32.pow(tries.saturating_sub(1).min(DOUBLINGS_MAX));
    let share = f64::from(draw) / f64::from(u16::MAX);
    longest.mul_f64(0.5 + share / 2.0)
}

#[cfg(test)]
mod tests;
