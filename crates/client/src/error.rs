//! Why a request was not answered.

use std::time::Duration;

use breccia_types::{Actor, RequestError, RequestId};
use thiserror::Error;
use tonic::Status;

use crate::code::Code;

/// Why a request was not answered. What could be tried again has been.
///
/// Who must act:
/// - [`Refused`](Self::Refused): whom its `actor` names.
/// - [`Unreachable`](Self::Unreachable), [`DeadlineExceeded`](Self::DeadlineExceeded): the
///   caller, by asking again a little later.
/// - [`OutcomeUnknown`](Self::OutcomeUnknown): the caller, by finding out what was written.
/// - [`NoAddress`](Self::NoAddress), [`InvalidAddress`](Self::InvalidAddress): the caller, by
///   naming nodes.
/// - [`Unreadable`](Self::Unreadable): an operator; client and nodes do not fit together.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// No address was given to connect to.
    #[error("no address was given: name the --http address of at least one node")]
    NoAddress,
    /// An address cannot be read.
    #[error("{address:?} is no address: use HOST:PORT")]
    InvalidAddress {
        /// The address given.
        address: String,
        /// What is wrong with it.
        source: tonic::transport::Error,
    },
    /// A node understood the request and refused it. Nothing was written.
    #[error("{message} [{code}]")]
    Refused {
        /// The reason, for programs.
        code: Code,
        /// Who must act.
        actor: Actor,
        /// The reason and what to do, for people.
        message: String,
    },
    /// No node could be reached, or connections kept breaking. Nothing was written.
    #[error(
        "no node answered in {tries} tries ({}): are the nodes up, and can they be reached from \
         here?",
        .source.message()
    )]
    Unreachable {
        /// How often it was sent.
        tries: u32,
        /// What came of the last try.
        source: Box<Status>,
    },
    /// The time for the request is up. Nothing was written.
    #[error("no answer within {deadline:?}: ask again a little later, or allow more time")]
    DeadlineExceeded {
        /// How long it was given.
        deadline: Duration,
        /// What came of the last try that ended, if one did.
        #[source]
        last: Option<Box<Status>>,
    },
    /// A write brought no answer, and may or may not have been applied: at most once, but
    /// perhaps only a moment from now.
    #[error("{cause}; the write may or may not have been applied: {}", advice(*.request_id))]
    OutcomeUnknown {
        /// What the write was called. Sent again with the same
        /// [`request_id`](crate::Request::request_id) within 15 minutes of its first try, it
        /// is applied once all the same. `None` for what has no request id.
        request_id: Option<RequestId>,
        /// What ended the tries.
        cause: Box<Error>,
    },
    /// A node answered what this client cannot read. A write was applied.
    #[error("a node's answer cannot be read ({what}): is it of another version than this client?")]
    Unreadable {
        /// What is missing or unknown.
        what: &'static str,
    },
}

fn advice(request_id: Option<RequestId>) -> String {
    match request_id {
        Some(id) => format!("read what it wrote, or send it again with the request id {id}"),
        None => "look before sending it again".to_owned(),
    }
}

impl Error {
    /// The refusal that a node would give.
    pub(crate) fn refused(error: &RequestError) -> Self {
        let code = Code::of_name(error.code());
        Self::Refused { code, actor: error.actor(), message: error.to_string() }
    }

    /// Whether the same request may succeed a little later, without anybody's help. Never so
    /// for [`Error::OutcomeUnknown`]: sent again as a new request, it might be applied twice.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Refused { actor, code, .. } => {
                matches!(actor, Actor::Retry) || matches!(code, Code::ShardUnavailable)
            }
            Self::Unreachable { .. } | Self::DeadlineExceeded { .. } => true,
            Self::NoAddress
            | Self::InvalidAddress { .. }
            | Self::OutcomeUnknown { .. }
            | Self::Unreadable { .. } => false,
        }
    }

    /// Why a node refused the request, if that is the error.
    #[must_use]
    pub const fn code(&self) -> Option<Code> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_outcome_says_why_and_what_to_do() {
        let cause = Error::DeadlineExceeded { deadline: Duration::from_secs(1), last: None };
        let request_id = Some(RequestId::new([7; 16]));
        let unknown = Error::OutcomeUnknown { request_id, cause: Box::new(cause) };
        let said = unknown.to_string();
        assert!(said.contains("no answer within 1s"), "{said}");
        assert!(said.contains("may or may not have been applied"), "{said}");
        assert!(said.contains(&RequestId::new([7; 16]).to_string()), "{said}");
        assert!(!unknown.is_retryable());
    }
}
