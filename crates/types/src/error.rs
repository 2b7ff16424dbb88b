//! What can become of a request other than its answer, and who must act on it.
//!
//! This is part of the request vocabulary: every front end maps it to its own codes in
//! one table of its own. The families of errors below it (store, consensus, catalog) are
//! translated into it in the node.

mod codec;
mod words;

use thiserror::Error;

use crate::function::FunctionKind;
use crate::id::{ShardId, TableId};
use crate::limits::{
    BATCH_BYTES_MAX, BATCH_COMMANDS_MAX, KEY_BYTES_MAX, MULTI_GET_KEYS_MAX, VALUE_BYTES_MAX,
};
use crate::table::TableError;

/// Who must act so that a refused request can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Actor {
    /// The client, by sending the same request again a little later.
    Retry,
    /// The client, by sending another request.
    Fix,
    /// Whoever operates the cluster.
    Operator,
}

/// Why a request was not answered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// No table has this name.
    #[error(
        "there is no table {name:?}; create it with `breccia table create {name}`, or list what there is with `breccia table list`"
    )]
    UnknownTable {
        /// The name asked for.
        name: String,
    },
    /// A table of this name exists already.
    #[error("table {name:?} exists already")]
    TableExists {
        /// The name.
        name: String,
    },
    /// The table may not be dropped.
    #[error("table {name:?} belongs to the system and cannot be dropped")]
    TableProtected {
        /// The name.
        name: String,
    },
    /// The table was dropped while the request was on its way.
    #[error("table {id} was dropped")]
    TableDropped {
        /// Which.
        id: TableId,
    },
    /// There are as many tables as there may be.
    #[error("there are {max} tables already, the most a cluster holds")]
    TooManyTables {
        /// The limit.
        max: usize,
    },
    /// The table's name or options are not valid.
    #[error(transparent)]
    InvalidTable(#[from] TableError),
    /// The table's kind does not have this operation.
    #[error("{operation} needs a {needed} table, and {table:?} is {kind}")]
    WrongKind {
        /// The table.
        table: String,
        /// Its kind.
        kind: &'static str,
        /// What was asked.
        operation: &'static str,
        /// The kind that has it.
        needed: &'static str,
    },
    /// The key is longer than a key may be.
    #[error("the key has {bytes} bytes; at most {KEY_BYTES_MAX} are allowed")]
    KeyTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The value is longer than a value may be.
    #[error("the value has {bytes} bytes; at most {VALUE_BYTES_MAX} are allowed")]
    ValueTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The batch is larger than one atomic batch may be.
    #[error(
        "the batch has {commands} commands and {bytes} bytes; at most {BATCH_COMMANDS_MAX} commands and {BATCH_BYTES_MAX} bytes are allowed"
    )]
    BatchTooLarge {
        /// Its commands.
        commands: usize,
        /// Its bytes of keys and values.
        bytes: usize,
    },
    /// More keys were asked for at once than may be.
    #[error("{keys} keys were asked for at once; at most {MULTI_GET_KEYS_MAX} are allowed")]
    TooManyKeys {
        /// How many.
        keys: usize,
    },
    /// The keys of one atomic request lie in more than one shard.
    #[error(
        "the keys of one atomic batch must have the same partition key, and so lie in one slot"
    )]
    CrossSlot,
    /// The operand is not one of the table's monoid.
    #[error("the operand does not fit the table's monoid: {reason}")]
    InvalidOperand {
        /// What is wrong with it.
        reason: String,
    },
    /// The cursor was not made by this scan.
    #[error("the cursor is not one that this scan gave out; start again without a cursor")]
    InvalidCursor,
    /// Some other argument is not valid.
    #[error("{argument} is not valid: {reason}")]
    InvalidArgument {
        /// Which argument.
        argument: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A row has nothing that a strict reduction can use.
    #[error("the row {key:?} has no operand for the reduction: {reason}")]
    UnfitRow {
        /// Its key; bytes that are no text are replaced.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A query cannot be planned, or fails on some row.
    #[error("{reason}")]
    InvalidQuery {
        /// What is wrong, and where.
        reason: String,
    },
    /// No function has this name.
    #[error("there is no function {name:?}; list what there is with `breccia fn list`")]
    UnknownFunction {
        /// The name asked for.
        name: String,
    },
    /// A function is not of the kind that it is asked as.
    #[error("{name:?} is a {kind} function, and this needs a {needed} function")]
    WrongFunctionKind {
        /// The function.
        name: String,
        /// What it is.
        kind: FunctionKind,
        /// What it would have to be.
        needed: FunctionKind,
    },
    /// There are as many functions as there may be.
    #[error("there are {max} functions already, the most a cluster holds")]
    TooManyFunctions {
        /// The limit.
        max: usize,
    },
    /// A module is not one that can be deployed.
    #[error("the module cannot be deployed: {reason}")]
    InvalidModule {
        /// What is wrong with it.
        reason: String,
    },
    /// A function refused, broke a limit or broke down. Nothing of what it wrote was kept.
    #[error("function {name:?}: {reason}")]
    FunctionFailed {
        /// The function.
        name: String,
        /// What happened.
        reason: String,
    },
    /// A guard of an atomic batch did not hold, so nothing of it was written.
    #[error(
        "command {index} of the batch found another value than it expected; nothing was written"
    )]
    GuardFailed {
        /// The position of the compare-and-set in the batch, from 0.
        index: usize,
    },
    /// More is waiting than may wait.
    #[error("too much is waiting for {shard}; try again a little later")]
    Busy {
        /// The shard.
        shard: ShardId,
    },
    /// The node takes no writes for now.
    #[error("the node is read-only: {reason}")]
    ReadOnly {
        /// Why, and what to do.
        reason: String,
    },
    /// The shard is out of service.
    #[error("{shard} is out of service: {reason}")]
    ShardUnavailable {
        /// The shard.
        shard: ShardId,
        /// Why, and what to do.
        reason: String,
    },
    /// The request's time is up. A write may or may not have been applied.
    #[error("the deadline passed; a write may or may not have been applied")]
    DeadlineExceeded,
    /// The write was on its way when the connection to its shard's leader was lost, or the
    /// leader lost its place. It may have been applied, and may still be, but at most once.
    #[error(
        "the contact to the leader of {shard} was lost; the write may or may not have been applied: read what it wrote before sending it again, or give writes a request id, which makes sending them again safe"
    )]
    OutcomeUnknown {
        /// The shard.
        shard: ShardId,
    },
    /// The node shuts down. A write in flight may or may not have been applied.
    #[error("the node is shutting down")]
    ShuttingDown,
    /// The storage failed. Never used for data that is merely not there.
    #[error("the storage failed: {reason}")]
    Storage {
        /// What it said.
        reason: String,
    },
    /// A bug: something that cannot be happened.
    #[error("internal error, please report it: {reason}")]
    Internal {
        /// What happened.
        reason: String,
    },
}

/// What the answers of several shards to one write come to. Those of two shards are merged by
/// `merge`. `None` if there are no answers.
///
/// # Errors
/// That nothing was done is said only if that is so of every shard: when some have done their
/// part and one has refused, the outcome is unknown. [`RequestError::TableDropped`] says more
/// than all others, since then no part matters.
pub fn join_parts<T>(
    parts: impl IntoIterator<Item = (ShardId, Result<T, RequestError>)>,
    merge: impl Fn(T, T) -> T,
) -> Option<Result<T, RequestError>> {
    let mut done = None;
    let mut failed: Option<(ShardId, RequestError)> = None;
    let weight = |error: &RequestError| match error {
        RequestError::TableDropped { .. } => 2,
        RequestError::DeadlineExceeded | RequestError::OutcomeUnknown { .. } => 1,
        _ => 0,
    };
    for (shard, part) in parts {
        match part {
            Ok(part) => {
                done = Some(match done {
                    Some(before) => merge(before, part),
                    None => part,
                });
            }
            Err(error) => {
                if failed.as_ref().is_none_or(|(_, worst)| weight(worst) < weight(&error)) {
                    failed = Some((shard, error));
                }
            }
        }
    }
    match (failed, done) {
        (None, done) => done.map(Ok),
        (Some((shard, error)), Some(_)) if weight(&error) == 0 => {
            Some(Err(RequestError::OutcomeUnknown { shard }))
        }
        (Some((_, error)), _) => Some(Err(error)),
    }
}

impl RequestError {
    /// Who must act.
    #[must_use]
    pub const fn actor(&self) -> Actor {
        match self {
            Self::Busy { .. }
            | Self::DeadlineExceeded
            | Self::OutcomeUnknown { .. }
            // A shard without a leader has one again in a few seconds, if it can have one.
            | Self::ShardUnavailable { .. }
            | Self::ShuttingDown => Actor::Retry,
            Self::ReadOnly { .. } | Self::Storage { .. }
            | Self::Internal { .. } => Actor::Operator,
            _ => Actor::Fix,
        }
    }

    /// A short stable name for programs, in kebab case.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownTable { .. } => "unknown-table",
            Self::TableExists { .. } => "table-exists",
            Self::TableProtected { .. } => "table-protected",
            Self::TableDropped { .. } => "table-dropped",
            Self::TooManyTables { .. } => "too-many-tables",
            Self::InvalidTable(_) => "invalid-table",
            Self::WrongKind { .. } => "wrong-kind",
            Self::KeyTooLong { .. } => "key-too-long",
            Self::ValueTooLong { .. } => "value-too-long",
            Self::BatchTooLarge { .. } => "batch-too-large",
            Self::TooManyKeys { .. } => "too-many-keys",
            Self::CrossSlot => "cross-slot",
            Self::InvalidOperand { .. } => "invalid-operand",
            Self::InvalidCursor => "invalid-cursor",
            Self::InvalidArgument { .. } => "invalid-argument",
            Self::UnfitRow { .. } => "unfit-row",
            Self::InvalidQuery { .. } => "invalid-query",
            Self::UnknownFunction { .. } => "unknown-function",
            Self::WrongFunctionKind { .. } => "wrong-function-kind",
            Self::TooManyFunctions { .. } => "too-many-functions",
            Self::InvalidModule { .. } => "invalid-module",
            Self::FunctionFailed { .. } => "function-failed",
            Self::GuardFailed { .. } => "guard-failed",
            Self::Busy { .. } => "busy",
            Self::ReadOnly { .. } => "read-only",
            Self::ShardUnavailable { .. } => "shard-unavailable",
            Self::DeadlineExceeded => "deadline-exceeded",
            Self::OutcomeUnknown { .. } => "outcome-unknown",
            Self::ShuttingDown => "shutting-down",
            Self::Storage { .. } => "storage",
            Self::Internal { .. } => "internal",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TableId;

    #[test]
    fn a_write_to_all_shards_that_some_refused_and_some_did_is_not_called_undone() {
        let (one, two) = (ShardId::new(1), ShardId::new(2));
        let busy = || RequestError::Busy { shard: two };
        let unknown = |shard| RequestError::OutcomeUnknown { shard };
        let dropped = || RequestError::TableDropped { id: TableId::new(7) };
        let rows = [
            (Ok(3), Ok(4), Ok(7)),
            (Ok(3), Err(busy()), Err(unknown(two))),
            (Err(busy()), Err(busy()), Err(busy())),
            (Err(unknown(one)), Err(busy()), Err(unknown(one))),
            (Err(busy()), Err(RequestError::DeadlineExceeded), Err(RequestError::DeadlineExceeded)),
            (Ok(3), Err(dropped()), Err(dropped())),
            (Err(dropped()), Err(unknown(two)), Err(dropped())),
        ];
        for (first, second, expected) in rows {
            let parts = [(one, first), (two, second)];
            assert_eq!(join_parts(parts.clone(), |a, b| a + b), Some(expected.clone()));
            let turned = parts.into_iter().rev();
            assert_eq!(join_parts(turned, |a, b| a + b), Some(expected));
        }
        assert_eq!(join_parts::<u32>([], |a, b| a + b), None);
    }
}
