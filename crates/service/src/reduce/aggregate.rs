//! The reductions that every node has, as clients ask for them.

use breccia_monoid::Monoid;
use breccia_types::reduce::{Aggregate, Input};
use breccia_types::table::RowKind;
use breccia_types::{ReductionId, RequestError, Table, TableKind};
use bytes::Bytes;

use super::registry::encode_request;
use super::{Count, MergeStates, Operands, Reduce};

/// The reduction of a table that a client asks for, as nodes name it to each other.
///
/// # Errors
/// [`RequestError::WrongKind`] if the table's rows have nothing to reduce so.
pub fn encode_aggregate(
    table: &Table,
    aggregate: &Aggregate,
) -> Result<(ReductionId, Bytes), RequestError> {
    match aggregate {
        Aggregate::Count => Ok((Count::ID, encode_request(&Count))),
        Aggregate::Merge => match table.options.kind {
            TableKind::Monoid(monoid) => {
                Ok((MergeStates::ID, encode_request(&MergeStates { monoid })))
            }
            _ => Err(wrong_kind(table, "merging all states", "monoid")),
        },
        Aggregate::Operands { monoid, input } => {
            let kind = table.options.kind.row_kind();
            if kind == RowKind::Monoid && *input != Input::Key {
                return Err(wrong_kind(table, "reducing values", "plain or versioned"));
            }
            if *monoid == Monoid::Last && kind != RowKind::Versioned {
                return Err(wrong_kind(table, "the last of all values", "versioned"));
            }
            let operands = Operands { monoid: *monoid, input: input.clone() };
            Ok((Operands::ID, encode_request(&operands)))
        }
    }
}

fn wrong_kind(table: &Table, operation: &'static str, needed: &'static str) -> RequestError {
    let kind = table.options.kind.name();
    RequestError::WrongKind { table: table.name.clone(), kind, operation, needed }
}
