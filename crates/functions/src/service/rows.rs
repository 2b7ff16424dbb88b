//! The rows that a call may see: those of one table, with the partition key of the call.

use std::borrow::Cow;
use std::ops::ControlFlow;

use breccia_ring::{slot_of, slot_of_prefix};
use breccia_store::{Reader, ScanRange, StoreError, TableReader, Transaction};
use breccia_types::limits::KEY_BYTES_MAX;
use breccia_types::{Slot, Table, TableKind, Timestamp};
use bytes::Bytes;

use crate::{FunctionError, Shard, Visit};

/// Bytes of a key that an error shows.
const KEY_BYTES_SHOWN: usize = 64;

/// Where a call works.
#[derive(Clone, Copy)]
pub(super) struct Place<'t> {
    pub(super) table: &'t Table,
    pub(super) slot: Slot,
}

impl Place<'_> {
    fn check_key(&self, key: &[u8]) -> Result<(), FunctionError> {
        if key.len() > KEY_BYTES_MAX {
            let reason =
                format!("a key has {} bytes; at most {KEY_BYTES_MAX} are allowed", key.len());
            return Err(FunctionError::Forbidden { reason });
        }
        let slot = slot_of(self.table.options.partition, key);
        if slot == self.slot {
            return Ok(());
        }
        let reason = format!(
            "the key {} lies in slot {slot}, and the call's keys in slot {}: a call touches only \
             rows of its own slot; a partition rule of the table keeps rows together",
            shown(key),
            self.slot
        );
        Err(FunctionError::Forbidden { reason })
    }

    fn check_prefix(&self, prefix: &[u8]) -> Result<(), FunctionError> {
        match slot_of_prefix(self.table.options.partition, prefix) {
            Some(slot) if slot == self.slot => Ok(()),
            Some(_) => self.check_key(prefix),
            None => {
                let reason = format!(
                    "keys that start with {} may lie in any shard: scan a prefix that holds the \
                     whole partition key, by the rule of the table",
                    shown(prefix)
                );
                Err(FunctionError::Forbidden { reason })
            }
        }
    }
}

fn shown(key: &[u8]) -> String {
    let (start, rest) = key.split_at(key.len().min(KEY_BYTES_SHOWN));
    let more = if rest.is_empty() { "" } else { "…" };
    format!("{:?}{more}", String::from_utf8_lossy(start))
}

/// The value of a row as functions see it: of a monoid table what people see of the state, as
/// JSON text.
pub(crate) fn presented<'v>(
    kind: &TableKind,
    value: &'v [u8],
) -> Result<Cow<'v, [u8]>, FunctionError> {
    match kind {
        TableKind::Monoid(monoid) => {
            let presented = monoid.present(value).map_err(|error| FunctionError::Storage {
                reason: format!("the state of a row cannot be read: {error}"),
            })?;
            Ok(presented.to_json().to_string().into_bytes().into())
        }
        _ => Ok(value.into()),
    }
}

/// What a read function sees: a shard at one moment.
pub(super) struct Snapshot<'s> {
    reader: TableReader<'s>,
    place: Place<'s>,
    failure: Option<StoreError>,
}

impl<'s> Snapshot<'s> {
    pub(super) fn new(shard: &'s dyn Reader, now: Timestamp, place: Place<'s>) -> Self {
        let reader = TableReader::new(shard, place.table.view(), now);
        Self { reader, place, failure: None }
    }

    /// Why the shard could not be read, if that happened.
    pub(super) fn into_failure(self) -> Option<StoreError> {
        self.failure
    }
}

impl Shard for Snapshot<'_> {
    fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, FunctionError> {
        let found = self.reader.get(key).map_err(|error| broken(&mut self.failure, error))?;
        found.map(|row| own(&self.place.table.options.kind, row.value)).transpose()
    }

    fn scan(
        &mut self,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), FunctionError> {
        let range = ScanRange {
            prefix: Bytes::copy_from_slice(prefix),
            after: after.map(Bytes::copy_from_slice),
            ..ScanRange::default()
        };
        let kind = &self.place.table.options.kind;
        let visited = self.reader.visit(&range, |row| step(kind, row.key, row.value, visit));
        ended(visited.map(|end| end.unwrap_or(Ok(()))), &mut self.failure)
    }

    fn check_key(&self, key: &[u8]) -> Result<(), FunctionError> {
        self.place.check_key(key)
    }

    fn check_prefix(&self, prefix: &[u8]) -> Result<(), FunctionError> {
        self.place.check_prefix(prefix)
    }
}

/// What a write function sees: a shard with everything that was written before it.
pub(super) struct Work<'w, 't> {
    transaction: &'w Transaction<'t>,
    place: Place<'w>,
    failure: Option<StoreError>,
}

impl<'w, 't> Work<'w, 't> {
    pub(super) const fn new(transaction: &'w Transaction<'t>, place: Place<'w>) -> Self {
        Self { transaction, place, failure: None }
    }

    /// Why the shard could not be read, if that happened.
    pub(super) fn into_failure(self) -> Option<StoreError> {
        self.failure
    }
}

impl Shard for Work<'_, '_> {
    fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, FunctionError> {
        let found = self.transaction.get(self.place.table.to_ref(), key);
        let found = found.map_err(|error| broken(&mut self.failure, error))?;
        found.map(|row| own(&self.place.table.options.kind, row.value)).transpose()
    }

    fn scan(
        &mut self,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), FunctionError> {
        let (table, kind) = (self.place.table.to_ref(), &self.place.table.options.kind);
        let mut end = Ok(());
        let visited = self.transaction.visit(table, prefix, after, |key, value| {
            match step(kind, key, value, visit) {
                ControlFlow::Continue(()) => ControlFlow::Continue(()),
                ControlFlow::Break(with) => {
                    end = with;
                    ControlFlow::Break(())
                }
            }
        });
        ended(visited.map(|()| end), &mut self.failure)
    }

    fn check_key(&self, key: &[u8]) -> Result<(), FunctionError> {
        self.place.check_key(key)
    }

    fn check_prefix(&self, prefix: &[u8]) -> Result<(), FunctionError> {
        self.place.check_prefix(prefix)
    }
}

fn own(kind: &TableKind, value: Bytes) -> Result<Bytes, FunctionError> {
    match presented(kind, &value)? {
        Cow::Borrowed(_) => Ok(value),
        Cow::Owned(presented) => Ok(presented.into()),
    }
}

/// Shows one row of a scan. Breaks off with an error, or because enough was seen.
fn step(
    kind: &TableKind,
    key: &[u8],
    value: &[u8],
    visit: &mut Visit<'_>,
) -> ControlFlow<Result<(), FunctionError>> {
    match presented(kind, value) {
        Err(error) => ControlFlow::Break(Err(error)),
        Ok(value) => match visit(key, &value) {
            ControlFlow::Continue(()) => ControlFlow::Continue(()),
            ControlFlow::Break(()) => ControlFlow::Break(Ok(())),
        },
    }
}

fn ended(
    visited: Result<Result<(), FunctionError>, StoreError>,
    failure: &mut Option<StoreError>,
) -> Result<(), FunctionError> {
    visited.unwrap_or_else(|error| Err(broken(failure, error)))
}

/// Keeps why the shard cannot be read, for whoever runs the call; the function just ends.
fn broken(failure: &mut Option<StoreError>, error: StoreError) -> FunctionError {
    let reason = error.to_string();
    *failure = Some(error);
    FunctionError::Storage { reason }
}
