//! What the encoded state of a monoid table's row says.

use breccia_types::kv::Row;
use breccia_types::{RequestError, Table, TableKind};
use serde_json::Value;

/// The row's state as JSON; `None` in tables whose values are their own presentation.
pub(crate) fn presented(table: &Table, row: &Row) -> Result<Option<Value>, RequestError> {
    let TableKind::Monoid(monoid) = &table.options.kind else {
        return Ok(None);
    };
    match monoid.present(&row.value) {
        Ok(presented) => Ok(Some(presented.to_json())),
        Err(error) => Err(RequestError::Storage {
            reason: format!("a row of table {:?} cannot be read: {error}", table.name),
        }),
    }
}
