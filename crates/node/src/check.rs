//! What is refused before it reaches the log.

use breccia_ring::slot_of;
use breccia_types::kv::{Expiry, KvWrite};
use breccia_types::limits::{BATCH_BYTES_MAX, BATCH_COMMANDS_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use breccia_types::table::{RowKind, TableRef};
use breccia_types::{RequestError, Slot, Table, TableKind};

/// Whether a write only removes, and so is let through while the disk is full.
pub(crate) fn frees_space(write: &KvWrite) -> bool {
    match write {
        KvWrite::DeleteRange { .. } | KvWrite::DropTable { .. } => true,
        KvWrite::Delete { table, .. } => table.kind != RowKind::Versioned,
        KvWrite::Batch(writes) => writes.iter().all(frees_space),
        KvWrite::Put { .. } | KvWrite::CompareAndSet { .. } | KvWrite::Merge { .. } => false,
    }
}

/// Refuses what needs a table of another kind.
pub(crate) fn needs(
    table: &Table,
    needed: RowKind,
    operation: &'static str,
) -> Result<(), RequestError> {
    if table.options.kind.row_kind() == needed {
        return Ok(());
    }
    let needed = match needed {
        RowKind::Plain => "plain",
        RowKind::Versioned => "versioned",
        RowKind::Monoid => "monoid",
    };
    let kind = table.options.kind.name();
    Err(RequestError::WrongKind { table: table.name.clone(), kind, operation, needed })
}

/// The slot of a command; all commands of a batch must share it.
pub(crate) fn slot_of_write(table: &Table, write: &KvWrite) -> Result<Slot, RequestError> {
    let slot = |key: &[u8]| Ok(slot_of(table.options.partition, key));
    match write {
        KvWrite::Put { key, .. }
        | KvWrite::Delete { key, .. }
        | KvWrite::CompareAndSet { key, .. }
        | KvWrite::Merge { key, .. } => slot(key),
        KvWrite::Batch(writes) => {
            let mut slots = writes.iter().map(|write| slot_of_write(table, write));
            let first = slots.next().unwrap_or_else(|| slot(&[]))?;
            for slot in slots {
                if slot? != first {
                    return Err(RequestError::CrossSlot);
                }
            }
            Ok(first)
        }
        KvWrite::DeleteRange { .. } | KvWrite::DropTable { .. } => {
            Err(RequestError::InvalidArgument {
                argument: "command",
                reason: "a range cannot be part of a batch".to_owned(),
            })
        }
    }
}

/// Checks a command against the limits and the table's kind.
pub(crate) fn check(table: &Table, write: &KvWrite) -> Result<(), RequestError> {
    if let KvWrite::Batch(writes) = write {
        if writes.len() > BATCH_COMMANDS_MAX || write.bytes() > BATCH_BYTES_MAX {
            let (commands, bytes) = (writes.len(), write.bytes());
            return Err(RequestError::BatchTooLarge { commands, bytes });
        }
        if writes.iter().any(|write| matches!(write, KvWrite::Batch(_))) {
            let reason = "batches do not nest".to_owned();
            return Err(RequestError::InvalidArgument { argument: "batch", reason });
        }
        return writes.iter().try_for_each(|write| check(table, write));
    }
    if table_of(write).is_some_and(|named| named != table.to_ref()) {
        let reason = format!("it names another table than {:?}", table.name);
        return Err(RequestError::InvalidArgument { argument: "command", reason });
    }
    match write {
        KvWrite::Put { key, value, expiry, version, .. } => {
            check_key(key)?;
            check_value(value)?;
            check_expiry(table, *expiry)?;
            if version.is_some() {
                needs(table, RowKind::Versioned, "writing a version")?;
            }
            check_state(table, value)
        }
        KvWrite::Delete { key, version, .. } => {
            if version.is_some() {
                needs(table, RowKind::Versioned, "deleting at a version")?;
            }
            check_key(key)
        }
        KvWrite::CompareAndSet { key, new, expiry, .. } => {
            check_key(key)?;
            if table.options.kind.row_kind() == RowKind::Monoid {
                return needs(table, RowKind::Plain, "compare-and-set");
            }
            check_expiry(table, *expiry)?;
            new.as_ref().map_or(Ok(()), |new| check_value(new))
        }
        KvWrite::Merge { key, operand, expiry, .. } => {
            check_key(key)?;
            needs(table, RowKind::Monoid, "merge")?;
            check_expiry(table, *expiry)?;
            check_value(operand)?;
            check_state(table, operand)
        }
        KvWrite::DeleteRange { from, to, .. } => {
            if table.options.kind.row_kind() == RowKind::Versioned {
                return needs(table, RowKind::Plain, "deleting a range");
            }
            check_key(from)?;
            to.as_ref().map_or(Ok(()), |to| check_key(to))
        }
        KvWrite::Batch(_) | KvWrite::DropTable { .. } => Ok(()),
    }
}

const fn table_of(write: &KvWrite) -> Option<TableRef> {
    match write {
        KvWrite::Put { table, .. }
        | KvWrite::Delete { table, .. }
        | KvWrite::DeleteRange { table, .. }
        | KvWrite::CompareAndSet { table, .. }
        | KvWrite::Merge { table, .. }
        | KvWrite::DropTable { table } => Some(*table),
        KvWrite::Batch(_) => None,
    }
}

const fn check_value(value: &[u8]) -> Result<(), RequestError> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(RequestError::ValueTooLong { bytes: value.len() });
    }
    Ok(())
}

/// Versions and merged states expire by the table's time to live alone: with one of their
/// own, what is read would depend on how far compaction has come.
fn check_expiry(table: &Table, expiry: Expiry) -> Result<(), RequestError> {
    let is_plain = table.options.kind.row_kind() == RowKind::Plain;
    if is_plain || expiry == table.default_expiry() {
        return Ok(());
    }
    let kind = table.options.kind.name();
    let table = table.name.clone();
    Err(RequestError::WrongKind { table, kind, operation: "an expiry per row", needed: "plain" })
}

fn check_state(table: &Table, encoded: &[u8]) -> Result<(), RequestError> {
    let TableKind::Monoid(monoid) = &table.options.kind else {
        return Ok(());
    };
    monoid
        .check(encoded)
        .map_err(|error| RequestError::InvalidOperand { reason: error.to_string() })
}

/// Checks a key against its limit.
pub(crate) const fn check_key(key: &[u8]) -> Result<(), RequestError> {
    if key.len() > KEY_BYTES_MAX {
        return Err(RequestError::KeyTooLong { bytes: key.len() });
    }
    Ok(())
}
