//! The one table that says what each error is in gRPC and in HTTP.

use axum::http::StatusCode;
use breccia_types::{Actor, RequestError};
use tonic::Code;

/// What an error is called in each protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Codes {
    /// The status of a gRPC call.
    pub grpc: Code,
    /// The status of an HTTP response.
    pub http: StatusCode,
    /// A few words that are the same for each error of its kind.
    pub title: &'static str,
}

/// What it is called in each protocol if more is asked for than there is room for.
pub const BUSY: Codes =
    Codes { grpc: Code::ResourceExhausted, http: StatusCode::SERVICE_UNAVAILABLE, title: "Busy" };
/// The name of [`BUSY`] for programs, as [`RequestError::code`] has it.
pub const BUSY_CODE: &str = "busy";

/// What this error is called in each protocol.
#[must_use]
pub fn codes_of(error: &RequestError) -> Codes {
    let (grpc, http) = statuses_of(error);
    let title = title_of(error);
    Codes { grpc, http, title }
}

const fn statuses_of(error: &RequestError) -> (Code, StatusCode) {
    use RequestError as E;
    match error {
        E::UnknownTable { .. } | E::TableDropped { .. } => (Code::NotFound, StatusCode::NOT_FOUND),
        E::TableExists { .. } => (Code::AlreadyExists, StatusCode::CONFLICT),
        E::TableProtected { .. } => (Code::FailedPrecondition, StatusCode::FORBIDDEN),
        E::UnknownFunction { .. } => (Code::NotFound, StatusCode::NOT_FOUND),
        E::WrongFunctionKind { .. } => (Code::FailedPrecondition, StatusCode::BAD_REQUEST),
        E::InvalidModule { .. } => (Code::InvalidArgument, StatusCode::UNPROCESSABLE_ENTITY),
        E::FunctionFailed { .. } => (Code::FailedPrecondition, StatusCode::UNPROCESSABLE_ENTITY),
        E::TooManyTables { .. } | E::TooManyFunctions { .. } => {
            (Code::ResourceExhausted, StatusCode::CONFLICT)
        }
        E::WrongKind { .. } => (Code::FailedPrecondition, StatusCode::BAD_REQUEST),
        E::ValueTooLong { .. } | E::BatchTooLarge { .. } => {
            (Code::InvalidArgument, StatusCode::PAYLOAD_TOO_LARGE)
        }
        E::InvalidTable(_)
        | E::KeyTooLong { .. }
        | E::TooManyKeys { .. }
        | E::CrossSlot
        | E::InvalidOperand { .. }
        | E::InvalidCursor
        | E::InvalidArgument { .. } => (Code::InvalidArgument, StatusCode::BAD_REQUEST),
        E::InvalidQuery { .. } => (Code::InvalidArgument, StatusCode::UNPROCESSABLE_ENTITY),
        E::UnfitRow { .. } => (Code::FailedPrecondition, StatusCode::UNPROCESSABLE_ENTITY),
        E::GuardFailed { .. } => (Code::Aborted, StatusCode::CONFLICT),
        E::Busy { .. } => (BUSY.grpc, BUSY.http),
        E::ReadOnly { .. } | E::ShardUnavailable { .. } | E::ShuttingDown => {
            (Code::Unavailable, StatusCode::SERVICE_UNAVAILABLE)
        }
        E::DeadlineExceeded => (Code::DeadlineExceeded, StatusCode::GATEWAY_TIMEOUT),
        // Not `Unavailable` or 503: libraries send those again by themselves.
        E::OutcomeUnknown { .. } => (Code::Unknown, StatusCode::BAD_GATEWAY),
        _ => (Code::Internal, StatusCode::INTERNAL_SERVER_ERROR),
    }
}

const fn title_of(error: &RequestError) -> &'static str {
    use RequestError as E;
    match error {
        E::UnknownTable { .. } => "No such table",
        E::TableDropped { .. } => "Table dropped",
        E::TableExists { .. } => "Table exists",
        E::TableProtected { .. } => "Table protected",
        E::TooManyTables { .. } => "Too many tables",
        E::InvalidTable(_) => "Invalid table",
        E::WrongKind { .. } => "Wrong kind of table",
        E::KeyTooLong { .. } => "Key too long",
        E::ValueTooLong { .. } => "Value too long",
        E::BatchTooLarge { .. } => "Batch too large",
        E::TooManyKeys { .. } => "Too many keys",
        E::CrossSlot => "Keys of several slots",
        E::InvalidOperand { .. } => "Invalid operand",
        E::InvalidCursor => "Invalid cursor",
        E::InvalidArgument { .. } => "Invalid argument",
        E::InvalidQuery { .. } => "Invalid query",
        E::UnfitRow { .. } => "Unfit row",
        E::UnknownFunction { .. } => "No such function",
        E::WrongFunctionKind { .. } => "Wrong kind of function",
        E::TooManyFunctions { .. } => "Too many functions",
        E::InvalidModule { .. } => "Invalid module",
        E::FunctionFailed { .. } => "Function failed",
        E::GuardFailed { .. } => "Guard failed",
        E::Busy { .. } => BUSY.title,
        E::ReadOnly { .. } => "Read-only",
        E::ShardUnavailable { .. } => "Shard unavailable",
        E::ShuttingDown => "Shutting down",
        E::DeadlineExceeded => "Deadline exceeded",
        E::OutcomeUnknown { .. } => "Outcome unknown",
        E::Storage { .. } => "Storage failed",
        _ => "Internal error",
    }
}

/// Who must act, as programs read it.
#[must_use]
pub const fn actor_name(actor: Actor) -> &'static str {
    match actor {
        Actor::Retry => "retry",
        Actor::Fix => "fix",
        Actor::Operator => "operator",
    }
}

#[cfg(test)]
mod tests {
    use breccia_types::{ShardId, TableId};

    use super::*;

    #[test]
    fn who_must_act_and_the_status_class_agree() {
        let reason = || "why".to_owned();
        let shard = ShardId::new(1);
        for error in [
            RequestError::UnknownTable { name: reason() },
            RequestError::TableDropped { id: TableId::new(3) },
            RequestError::CrossSlot,
            RequestError::ValueTooLong { bytes: 1 },
            RequestError::GuardFailed { index: 0 },
            RequestError::InvalidQuery { reason: reason() },
            RequestError::UnfitRow { key: reason(), reason: reason() },
            RequestError::InvalidModule { reason: reason() },
            RequestError::FunctionFailed { name: reason(), reason: reason() },
            RequestError::Busy { shard },
            RequestError::DeadlineExceeded,
            RequestError::OutcomeUnknown { shard },
            RequestError::ShuttingDown,
            RequestError::ReadOnly { reason: reason() },
            RequestError::ShardUnavailable { shard, reason: reason() },
            RequestError::Storage { reason: reason() },
            RequestError::Internal { reason: reason() },
        ] {
            let codes = codes_of(&error);
            assert_eq!(codes.http.is_client_error(), error.actor() == Actor::Fix, "{error}");
        }
    }

    #[test]
    fn busy_has_one_name() {
        let error = RequestError::Busy { shard: ShardId::new(1) };
        assert_eq!((error.code(), codes_of(&error)), (BUSY_CODE, BUSY));
    }

    #[test]
    fn a_failed_disk_is_never_not_found() {
        let codes = codes_of(&RequestError::Storage { reason: "EIO".into() });
        assert_eq!(codes.http, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(codes.grpc, Code::Internal);
    }
}
