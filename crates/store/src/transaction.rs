//! What a write command sees of its shard while it is applied.

use std::ops::ControlFlow;
use std::time::Duration;

use breccia_types::kv::Expiry;
use breccia_types::table::{RowKind, TableRef};
use breccia_types::{TableId, Timestamp};
use bytes::Bytes;

use crate::batch::{Pending, ShardBatch};
use crate::engine::{Bounds, Reader};
use crate::error::StoreError;
use crate::key;
use crate::row::{self, StoredRow};

/// One shard as the commands of an entry see it, one after the other: the present state
/// with everything that earlier commands wrote. What commands write becomes visible to
/// readers only when the whole batch is written.
pub struct Transaction<'a> {
    shard: &'a dyn Reader,
    batch: ShardBatch,
    stamp: Timestamp,
    bytes_written: usize,
}

/// One version of a row, to be written.
#[derive(Debug, Clone, Copy)]
pub struct NewVersion<'v> {
    /// Its instant. A version at the same instant is replaced.
    pub instant: Timestamp,
    /// Its value; `None` says "deleted".
    pub value: Option<&'v [u8]>,
    /// How long after its own instant it expires, if it does.
    pub ttl: Option<Duration>,
}

impl<'a> Transaction<'a> {
    /// A transaction on a shard's present state.
    #[must_use]
    pub fn new(shard: &'a dyn Reader) -> Self {
        Self { shard, batch: ShardBatch::default(), stamp: Timestamp::MIN, bytes_written: 0 }
    }

    /// Starts the next command, at its instant.
    pub const fn begin(&mut self, stamp: Timestamp) {
        self.stamp = stamp;
    }

    /// The instant of the present command: the only clock that a command may ask.
    #[must_use]
    pub const fn stamp(&self) -> Timestamp {
        self.stamp
    }

    /// The instant at which a row written now expires.
    #[must_use]
    pub fn resolve(&self, expiry: Expiry) -> Option<Timestamp> {
        match expiry {
            Expiry::Never => None,
            Expiry::After(duration) => Some(self.stamp.saturating_add(duration)),
            Expiry::At(at) => Some(at),
        }
    }

    /// Bytes of the keys and values of all that commands have written so far, of what was
    /// written over again too. How much one command adds depends on the rows that it sees
    /// alone, not on what else lies in this transaction.
    #[must_use]
    pub const fn bytes_written(&self) -> usize {
        self.bytes_written
    }

    /// What is to be written.
    #[must_use]
    pub fn into_batch(self) -> ShardBatch {
        self.batch
    }

    /// The instant of a row's newest version, whatever that says; `None` if it has none.
    ///
    /// # Errors
    /// See [`Reader::get`].
    pub fn newest_instant(
        &self,
        table: TableId,
        key: &[u8],
    ) -> Result<Option<Timestamp>, StoreError> {
        let newest = self.first_raw(&key::bounds_of_versions(table, key))?;
        Ok(newest.and_then(|(raw, _)| key::split_version(&raw).map(|(_, instant)| instant)))
    }

    /// The row with this key, in a versioned table its newest version.
    ///
    /// # Errors
    /// See [`Reader::get`].
    pub fn get(&self, table: TableRef, key: &[u8]) -> Result<Option<StoredRow>, StoreError> {
        let stored = match table.kind {
            RowKind::Plain | RowKind::Monoid => self.get_raw(&key::row(table.id, key))?,
            RowKind::Versioned => {
                self.first_raw(&key::bounds_of_versions(table.id, key))?.map(|(_, stored)| stored)
            }
        };
        match stored {
            Some(stored) => row::decode(stored, self.stamp),
            None => Ok(None),
        }
    }

    /// Writes a row of a table without versions. An expiry that is not in the future
    /// removes the row.
    ///
    /// # Errors
    /// None today; a store may refuse later.
    pub fn put(
        &mut self,
        table: TableRef,
        key: &[u8],
        value: &[u8],
        expires_at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let raw = key::row(table.id, key);
        self.bytes_written += key.len();
        if expires_at.is_some_and(|at| at <= self.stamp) {
            self.batch.delete(raw);
        } else {
            self.bytes_written += value.len();
            self.batch.put(raw, row::encode(value, expires_at));
        }
        Ok(())
    }

    /// Writes one version of a row.
    pub fn put_version(&mut self, table: TableId, key: &[u8], version: &NewVersion<'_>) {
        let NewVersion { instant, value, ttl } = *version;
        self.bytes_written += key.len() + value.map_or(0, <[u8]>::len);
        let expires_at = ttl.map(|ttl| instant.saturating_add(ttl));
        let stored = match value {
            Some(value) => row::encode(value, expires_at),
            None => row::encode_deleted(expires_at),
        };
        self.batch.put(key::version(table, key, instant), stored);
    }

    /// Removes a row of a table without versions; whether there was one.
    ///
    /// # Errors
    /// See [`Reader::get`].
    pub fn delete(&mut self, table: TableRef, key: &[u8]) -> Result<bool, StoreError> {
        let existed = self.get(table, key)?.is_some();
        if existed {
            self.bytes_written += key.len();
            self.batch.delete(key::row(table.id, key));
        }
        Ok(existed)
    }

    /// Removes all rows with `from <= key < to`, all versions included.
    ///
    /// In a versioned table only to remove all of a table that is gone for good: compaction
    /// counts versions that a range deletion covers but has not reached yet, and would drop
    /// too much of what is written to the range later.
    ///
    /// # Errors
    /// None today; a store may refuse later.
    pub fn delete_range(
        &mut self,
        table: TableRef,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let upper = match to {
            Some(to) => key::position(table.id, table.kind, to),
            None => key::bounds_of_prefix(table.id, table.kind, &[]).upper,
        };
        let lower = key::position(table.id, table.kind, from);
        self.batch.delete_range(Bounds { lower, upper });
        Ok(())
    }

    /// Merges an encoded operand into a row of a monoid table.
    ///
    /// A row that never expires takes the operand as it is, unread: the engine merges when
    /// the row is read or compacted. A row that expires is read and written, because an
    /// operand that comes after the expiry must start anew, not join what is gone.
    ///
    /// # Errors
    /// See [`Reader::get`]; [`StoreError::Io`] if a state and the operand do not fit, which
    /// the checks before the log rule out.
    pub fn merge(
        &mut self,
        table: TableRef,
        key: &[u8],
        operand: &[u8],
        expires_at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        if expires_at.is_some() {
            return self.merge_now(table, key, operand, expires_at);
        }
        self.bytes_written += key.len() + operand.len();
        let raw = key::row(table.id, key);
        let operand = row::encode(operand, None);
        let pending = match self.batch.pending(&raw) {
            None => Pending::Merge(vec![operand]),
            Some(Pending::Delete) => Pending::Put(operand),
            Some(Pending::Put(state)) => {
                Pending::Put(merged([state.as_slice(), &operand].into_iter())?)
            }
            Some(Pending::Merge(operands)) => {
                let all = operands.iter().map(Vec::as_slice).chain([operand.as_slice()]);
                Pending::Merge(vec![merged(all)?])
            }
        };
        self.batch.set(raw, pending);
        Ok(())
    }

    fn merge_now(
        &mut self,
        table: TableRef,
        key: &[u8],
        operand: &[u8],
        expires_at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let Some(present) = self.get(table, key)? else {
            return self.put(table, key, operand, expires_at);
        };
        let states = [present.value.as_ref(), operand];
        let state = breccia_monoid::merge_all(states).map_err(|e| misfit(&e))?;
        self.put(table, key, &state, expires_at)
    }

    /// Shows the rows whose key starts with `prefix` and is greater than `after`, in key
    /// order, pending writes included, until `on_row` breaks off. Of a versioned table it
    /// shows the newest versions.
    ///
    /// # Errors
    /// See [`Reader::get`].
    pub fn visit(
        &self,
        table: TableRef,
        prefix: &[u8],
        after: Option<&[u8]>,
        mut on_row: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut bounds = key::bounds_of_prefix(table.id, table.kind, prefix);
        if let Some(after) = after {
            let lower = key::after(table.id, table.kind, after).max(bounds.lower);
            bounds.lower = lower.min(bounds.upper.clone());
        }
        let mut newest_of = Vec::new();
        self.visit_raw(&bounds, |raw, stored| {
            let versioned = match table.kind {
                RowKind::Plain | RowKind::Monoid => None,
                RowKind::Versioned => match key::split_version(raw) {
                    Some((shared, _)) if shared != newest_of => {
                        newest_of = shared.to_vec();
                        key::key_of_versions(shared)
                    }
                    _ => return Ok(ControlFlow::Continue(())),
                },
            };
            let key = versioned.as_deref().or_else(|| key::key_of_row(raw)).unwrap_or_default();
            Ok(match row::decode(stored, self.stamp)? {
                Some(row) => on_row(key, &row.value),
                None => ControlFlow::Continue(()),
            })
        })
    }

    /// Shows what is under the raw keys of a range, pending writes included.
    fn visit_raw(
        &self,
        bounds: &Bounds,
        mut on_raw: impl FnMut(&[u8], Bytes) -> Result<ControlFlow<()>, StoreError>,
    ) -> Result<(), StoreError> {
        let pending = self.batch.rows_from(&bounds.lower);
        let mut pending = pending.take_while(|(raw, _)| *raw < bounds.upper.as_slice()).peekable();
        let mut cursor = self.shard.cursor(bounds.clone());
        cursor.seek_to_first();
        loop {
            let stored = cursor.item();
            let flow = match (pending.peek(), stored) {
                (Some((raw, _)), stored) if stored.is_none_or(|(other, _)| *raw <= other) => {
                    let raw = *raw;
                    pending.next();
                    if stored.is_some_and(|(other, _)| raw == other) {
                        cursor.next();
                    }
                    match self.get_raw(raw)? {
                        Some(found) => on_raw(raw, found)?,
                        None => ControlFlow::Continue(()),
                    }
                }
                (_, Some((raw, _))) if self.batch.in_deleted_range(raw) => {
                    cursor.next();
                    ControlFlow::Continue(())
                }
                (_, Some((raw, stored))) => {
                    let flow = on_raw(raw, Bytes::copy_from_slice(stored))?;
                    cursor.next();
                    flow
                }
                (_, None) => return cursor.status(),
            };
            if flow.is_break() {
                return Ok(());
            }
        }
    }

    /// Reads one of the shard's own records.
    ///
    /// # Errors
    /// See [`Reader::get`].
    pub fn get_own(&self, name: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.get_raw(&key::own(name))
    }

    /// Writes one of the shard's own records.
    pub fn put_own(&mut self, name: &[u8], value: Vec<u8>) {
        self.batch.put(key::own(name), value);
    }

    /// Removes one of the shard's own records.
    pub fn delete_own(&mut self, name: &[u8]) {
        self.batch.delete(key::own(name));
    }

    /// The shard's own records whose name starts with `prefix`, in order, pending writes
    /// included; at most `limit`.
    ///
    /// # Errors
    /// See [`Reader::get`].
    pub fn own_first(
        &self,
        prefix: &[u8],
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Bytes)>, StoreError> {
        let bounds = key::bounds_of_prefix(TableId::default(), RowKind::Plain, prefix);
        let name = |raw: &[u8]| key::key_of_row(raw).unwrap_or_default().to_vec();
        let pending = self
            .batch
            .rows_from(&bounds.lower)
            .map_while(|(raw, pending)| (raw < bounds.upper.as_slice()).then_some((raw, pending)));
        let mut found: Vec<_> = pending
            .filter_map(|(raw, pending)| match pending {
                Pending::Put(stored) => Some((name(raw), Bytes::copy_from_slice(stored))),
                Pending::Delete | Pending::Merge(_) => None,
            })
            .collect();
        let mut cursor = self.shard.cursor(bounds.clone());
        cursor.seek_to_first();
        let mut untouched = 0;
        while untouched < limit
            && let Some((raw, stored)) = cursor.item()
        {
            if self.batch.pending(raw).is_none() {
                found.push((name(raw), Bytes::copy_from_slice(stored)));
                untouched += 1;
            }
            cursor.next();
        }
        cursor.status()?;
        found.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
        found.truncate(limit);
        Ok(found)
    }

    fn get_raw(&self, raw: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match self.batch.pending(raw) {
            None => self.shard.get(raw),
            Some(Pending::Delete) => Ok(None),
            Some(Pending::Put(stored)) => Ok(Some(Bytes::copy_from_slice(stored))),
            Some(Pending::Merge(operands)) => {
                let base = self.shard.get(raw)?;
                let operands = operands.iter().map(Vec::as_slice);
                Ok(Some(merged(base.as_deref().into_iter().chain(operands))?.into()))
            }
        }
    }

    /// The first raw key in a range, pending writes included, and its value.
    fn first_raw(&self, bounds: &Bounds) -> Result<Option<(Vec<u8>, Bytes)>, StoreError> {
        let pending = self
            .batch
            .rows_from(&bounds.lower)
            .take_while(|(raw, _)| *raw < bounds.upper.as_slice())
            .find_map(|(raw, pending)| match pending {
                Pending::Put(stored) => Some((raw, stored)),
                Pending::Delete | Pending::Merge(_) => None,
            });
        let mut cursor = self.shard.cursor(bounds.clone());
        cursor.seek_to_first();
        while let Some((raw, stored)) = cursor.item() {
            if let Some((pending_raw, pending_stored)) = pending
                && pending_raw <= raw
            {
                return Ok(Some((pending_raw.to_vec(), Bytes::copy_from_slice(pending_stored))));
            }
            if self.batch.pending(raw).is_none() {
                return Ok(Some((raw.to_vec(), Bytes::copy_from_slice(stored))));
            }
            cursor.next();
        }
        cursor.status()?;
        Ok(pending.map(|(raw, stored)| (raw.to_vec(), Bytes::copy_from_slice(stored))))
    }
}

/// The shard's own records whose name starts with `prefix`, in order; at most `limit`.
///
/// # Errors
/// See [`Reader::get`].
pub fn own_records(
    shard: &dyn Reader,
    prefix: &[u8],
    limit: usize,
) -> Result<Vec<(Vec<u8>, Bytes)>, StoreError> {
    let bounds = key::bounds_of_prefix(TableId::default(), RowKind::Plain, prefix);
    let mut cursor = shard.cursor(bounds);
    cursor.seek_to_first();
    let mut found = Vec::new();
    while let Some((raw, value)) = cursor.item() {
        if found.len() >= limit {
            return Ok(found);
        }
        let name = key::key_of_row(raw).unwrap_or_default().to_vec();
        found.push((name, Bytes::copy_from_slice(value)));
        cursor.next();
    }
    cursor.status()?;
    Ok(found)
}

fn merged<'s>(states: impl Iterator<Item = &'s [u8]>) -> Result<Vec<u8>, StoreError> {
    row::merge_states(states).ok_or_else(|| misfit(&"a state and an operand do not fit"))
}

fn misfit(reason: &dyn std::fmt::Display) -> StoreError {
    StoreError::Io { operation: "merge", detail: reason.to_string() }
}
