//! What a try that brought no answer says. Pure.

use std::error::Error;

use breccia_api::{ACTOR_METADATA, CODE_METADATA};
use breccia_types::Actor;
use tonic::{ConnectError, Status, TimeoutExpired};

use crate::code::Code;

/// How a try failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There was no connection to send it over.
    NotSent(Status),
    /// The connection broke, with the request under way.
    Broken(Status),
    /// A node refused it.
    Refused {
        /// The reason.
        code: Code,
        /// Who must act.
        actor: Actor,
        /// What it said.
        status: Status,
    },
    /// The deadline passed, with the request under way.
    TimedOut,
}

impl Failure {
    /// Reads a status, whether a node sent it or this process made it.
    pub(crate) fn of(status: Status) -> Self {
        if let Some(code) = metadata(&status, CODE_METADATA).map(Code::of_name) {
            let actor = match metadata(&status, ACTOR_METADATA) {
                Some("retry") => Actor::Retry,
                Some("operator") => Actor::Operator,
                _ => Actor::Fix,
            };
            return Self::Refused { code, actor, status };
        }
        use tonic::Code as Grpc;
        match status.code() {
            _ if is_caused_by::<ConnectError>(&status) => Self::NotSent(status),
            _ if is_caused_by::<TimeoutExpired>(&status) => Self::TimedOut,
            Grpc::Unavailable | Grpc::Unknown | Grpc::Cancelled | Grpc::Internal => {
                Self::Broken(status)
            }
            Grpc::DeadlineExceeded => Self::TimedOut,
            // Not one of our nodes, or one of another version.
            _ => Self::Refused { code: Code::Other, actor: Actor::Fix, status },
        }
    }

    /// Whether the node that was asked may be gone.
    pub(crate) const fn is_of_the_node(&self) -> bool {
        match self {
            Self::NotSent(_) | Self::Broken(_) => true,
            Self::Refused { code, .. } => matches!(code, Code::ShuttingDown),
            Self::TimedOut => false,
        }
    }

    /// Whether another node may lead the shard by now.
    pub(crate) const fn is_of_the_leader(&self) -> bool {
        match self {
            Self::Refused { code, .. } => {
                matches!(code, Code::ShardUnavailable | Code::OutcomeUnknown | Code::ShuttingDown)
            }
            Self::NotSent(_) | Self::Broken(_) => true,
            Self::TimedOut => false,
        }
    }

    /// Whether the node has too much to do; another would only ask it.
    pub(crate) const fn is_busy(&self) -> bool {
        matches!(self, Self::Refused { code: Code::Busy, .. })
    }
}

fn metadata<'a>(status: &'a Status, name: &str) -> Option<&'a str> {
    status.metadata().get(name).and_then(|value| value.to_str().ok())
}

fn is_caused_by<E: Error + 'static>(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<E>() {
            return true;
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use tonic::metadata::MetadataMap;

    use super::*;

    #[test]
    fn a_status_with_our_code_is_a_refusal_whatever_its_grpc_code() {
        let mut map = MetadataMap::new();
        map.insert(CODE_METADATA, "busy".parse().expect("ascii"));
        map.insert(ACTOR_METADATA, "retry".parse().expect("ascii"));
        let status = Status::with_metadata(tonic::Code::Unavailable, "full", map);
        let failure = Failure::of(status);
        assert!(
            matches!(failure, Failure::Refused { code: Code::Busy, actor: Actor::Retry, .. }),
            "{failure:?}"
        );
    }

    #[test]
    fn a_refused_connection_is_told_from_one_that_broke() {
        let refused = ConnectError("connection refused".into());
        assert!(matches!(Failure::of(Status::from_error(refused.into())), Failure::NotSent(_)));
        for status in [Status::unknown("broken"), Status::unavailable("h2"), Status::internal("")] {
            assert!(matches!(Failure::of(status), Failure::Broken(_)));
        }
    }

    #[test]
    fn a_deadline_that_passes_here_says_nothing_about_the_node() {
        let failure = Failure::of(Status::from_error(TimeoutExpired(()).into()));
        assert!(matches!(failure, Failure::TimedOut), "{failure:?}");
        assert!(!failure.is_of_the_node() && !failure.is_of_the_leader());
    }

    #[test]
    fn what_no_node_of_ours_says_is_not_tried_again() {
        let failure = Failure::of(Status::unimplemented("no such method"));
        assert!(matches!(failure, Failure::Refused { code: Code::Other, actor: Actor::Fix, .. }));
    }
}
