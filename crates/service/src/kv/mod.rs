//! The key-value service: what any front end can ask of a table.

use std::time::Duration;

use breccia_store::{NewVersion, Reader, StoreError, StoredRow, Transaction};
use breccia_types::kv::{Expiry, KvReply, KvWrite};
use breccia_types::table::{RowKind, TableRef};
use breccia_types::{ServiceId, Timestamp};
use bytes::Bytes;

use crate::machine::put_dropped;
use crate::service::{DroppedTables, ReadError, Service, ServiceContext, WriteError};

pub mod codec;
pub mod read;

pub use read::read;

/// The id of this service in log entries.
pub const SERVICE_ID: ServiceId = ServiceId::new(1);

/// Puts, deletes, compare-and-sets, merges and batches of them.
#[derive(Debug, Clone, Copy, Default)]
pub struct KvService;

impl Service for KvService {
    fn id(&self) -> ServiceId {
        SERVICE_ID
    }

    fn write(
        &self,
        context: &mut ServiceContext<'_, '_>,
        command: Bytes,
    ) -> Result<Bytes, WriteError> {
        let command = codec::decode_write(command)?;
        let reply = apply(context.transaction, context.dropped, &command)?;
        Ok(codec::encode_reply(&reply))
    }

    fn read(&self, shard: &dyn Reader, now: Timestamp, request: Bytes) -> Result<Bytes, ReadError> {
        let reply = read(shard, now, &codec::decode_read(request)?)?;
        Ok(codec::encode_read_reply(&reply))
    }
}

/// Applies one command.
///
/// # Errors
/// What reading the shard reports.
pub fn apply(
    transaction: &mut Transaction<'_>,
    dropped: &mut DroppedTables,
    command: &KvWrite,
) -> Result<KvReply, StoreError> {
    if tables_of(command).any(|table| dropped.contains(table.id)) {
        return Ok(KvReply::TableDropped);
    }
    match command {
        KvWrite::Batch(commands) => apply_batch(transaction, commands),
        KvWrite::DropTable { table } => {
            transaction.delete_range(*table, &[], None)?;
            put_dropped(transaction, table.id);
            dropped.insert(table.id);
            Ok(done(transaction.stamp()))
        }
        command => apply_one(transaction, command),
    }
}

/// Checks every guard against the state before the batch, then applies all commands.
fn apply_batch(
    transaction: &mut Transaction<'_>,
    commands: &[KvWrite],
) -> Result<KvReply, StoreError> {
    for (index, command) in commands.iter().enumerate() {
        if let KvWrite::CompareAndSet { table, key, expected, .. } = command {
            let actual = transaction.get(*table, key)?.map(|row| row.value);
            if actual != *expected {
                return Ok(KvReply::GuardFailed {
                    index: u32::try_from(index).unwrap_or(u32::MAX),
                });
            }
        }
    }
    let mut replies = Vec::with_capacity(commands.len());
    for command in commands {
        replies.push(match command {
            KvWrite::CompareAndSet { table, key, new, expiry, .. } => {
                write_or_remove(transaction, *table, key, new.as_deref(), *expiry)?;
                KvReply::Swapped { swapped: true, actual: None }
            }
            command => apply_one(transaction, command)?,
        });
    }
    Ok(KvReply::Batch(replies))
}

fn apply_one(transaction: &mut Transaction<'_>, command: &KvWrite) -> Result<KvReply, StoreError> {
    let stamp = transaction.stamp();
    match command {
        KvWrite::Put { table, key, value, expiry, version } => {
            let instant = version.unwrap_or(stamp);
            let new = NewValue { value, expiry: *expiry, instant };
            put(transaction, *table, key, &new)?;
            Ok(done(instant))
        }
        KvWrite::Delete { table, key, expiry, version } => {
            let instant = match version {
                Some(version) => *version,
                None => next_instant(transaction, *table, key)?,
            };
            let existed = delete(transaction, *table, key, *expiry, instant)?;
            Ok(KvReply::Deleted { existed })
        }
        KvWrite::DeleteRange { table, from, to } => {
            transaction.delete_range(*table, from, to.as_deref())?;
            Ok(done(stamp))
        }
        KvWrite::CompareAndSet { table, key, expected, new, expiry } => {
            let actual = transaction.get(*table, key)?.map(|StoredRow { value, .. }| value);
            if actual != *expected {
                return Ok(KvReply::Swapped { swapped: false, actual });
            }
            write_or_remove(transaction, *table, key, new.as_deref(), *expiry)?;
            Ok(KvReply::Swapped { swapped: true, actual: None })
        }
        KvWrite::Merge { table, key, operand, expiry } => {
            let expires_at = transaction.resolve(*expiry);
            transaction.merge(*table, key, operand, expires_at)?;
            Ok(done(stamp))
        }
        // Handled by `apply`; the codec refuses them within a batch.
        KvWrite::Batch(_) | KvWrite::DropTable { .. } => Ok(done(stamp)),
    }
}

/// A value to be written, when it expires, and the instant of its version.
struct NewValue<'v> {
    value: &'v [u8],
    expiry: Expiry,
    instant: Timestamp,
}

fn put(
    transaction: &mut Transaction<'_>,
    table: TableRef,
    key: &[u8],
    new: &NewValue<'_>,
) -> Result<(), StoreError> {
    match table.kind {
        RowKind::Versioned => {
            let ttl = ttl_of_versions(new.expiry);
            let version = NewVersion { instant: new.instant, value: Some(new.value), ttl };
            transaction.put_version(table.id, key, &version);
            Ok(())
        }
        RowKind::Plain | RowKind::Monoid => {
            let expires_at = transaction.resolve(new.expiry);
            transaction.put(table, key, new.value, expires_at)
        }
    }
}

fn delete(
    transaction: &mut Transaction<'_>,
    table: TableRef,
    key: &[u8],
    expiry: Expiry,
    instant: Timestamp,
) -> Result<bool, StoreError> {
    if table.kind != RowKind::Versioned {
        return transaction.delete(table, key);
    }
    let existed = transaction.get(table, key)?.is_some();
    let version = NewVersion { instant, value: None, ttl: ttl_of_versions(expiry) };
    transaction.put_version(table.id, key, &version);
    Ok(existed)
}

fn write_or_remove(
    transaction: &mut Transaction<'_>,
    table: TableRef,
    key: &[u8],
    new: Option<&[u8]>,
    expiry: Expiry,
) -> Result<(), StoreError> {
    let instant = next_instant(transaction, table, key)?;
    match new {
        Some(value) => put(transaction, table, key, &NewValue { value, expiry, instant }),
        None => delete(transaction, table, key, expiry, instant).map(|_| ()),
    }
}

/// The instant of a version that takes the place of the newest one: the command's, unless a
/// client has written a version of a later instant, which would hide it.
fn next_instant(
    transaction: &Transaction<'_>,
    table: TableRef,
    key: &[u8],
) -> Result<Timestamp, StoreError> {
    let stamp = transaction.stamp();
    if table.kind != RowKind::Versioned {
        return Ok(stamp);
    }
    let newest = transaction.newest_instant(table.id, key)?;
    Ok(newest.map_or(stamp, |newest| stamp.max(newest.next())))
}

/// Versions expire by the table's time to live alone, those that say "absent" like the
/// others; the node refuses other expiries.
const fn ttl_of_versions(expiry: Expiry) -> Option<Duration> {
    match expiry {
        Expiry::After(ttl) => Some(ttl),
        Expiry::Never | Expiry::At(_) => None,
    }
}

const fn done(version: Timestamp) -> KvReply {
    KvReply::Done { version }
}

fn tables_of(command: &KvWrite) -> impl Iterator<Item = TableRef> {
    let commands = match command {
        KvWrite::Batch(commands) => commands.as_slice(),
        command => std::slice::from_ref(command),
    };
    commands.iter().filter_map(|command| match command {
        KvWrite::Put { table, .. }
        | KvWrite::Delete { table, .. }
        | KvWrite::DeleteRange { table, .. }
        | KvWrite::CompareAndSet { table, .. }
        | KvWrite::Merge { table, .. }
        | KvWrite::DropTable { table } => Some(*table),
        KvWrite::Batch(_) => None,
    })
}
