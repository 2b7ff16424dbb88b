//! The byte format of the key-value service's commands and replies in the log.
//!
//! A command is a version byte, then an operation byte and its fields in the order of the
//! vocabulary; see `docs/formats.md`. Keys and values are decoded as slices of the entry.

use std::time::Duration;

use breccia_types::kv::{Expiry, KvReply, KvWrite};
use breccia_types::table::{RowKind, TableRef};
use breccia_types::wire::{DecodeError, Reader, Writer};
use breccia_types::{TableId, Timestamp};
use bytes::Bytes;

mod read;

pub use read::{decode_read, decode_read_reply, encode_read, encode_read_reply};

const VERSION: u8 = 1;
/// The fewest bytes that a command within a batch takes: operation, table, kind.
const COMMAND_BYTES_MIN: usize = 3;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const DELETE_RANGE: u8 = 3;
const COMPARE_AND_SET: u8 = 4;
const MERGE: u8 = 5;
const BATCH: u8 = 6;
const DROP_TABLE: u8 = 7;

const DONE: u8 = 1;
const DELETED: u8 = 2;
const SWAPPED: u8 = 3;
const BATCH_DONE: u8 = 4;
const GUARD_FAILED: u8 = 5;
const TABLE_DROPPED: u8 = 6;

/// Encodes a command.
#[must_use]
pub fn encode_write(command: &KvWrite) -> Bytes {
    let mut out = Vec::with_capacity(command.bytes() + 32);
    let mut to = Writer::new(&mut out);
    to.put_u8(VERSION);
    put_write(&mut to, command);
    out.into()
}

/// Decodes a command.
///
/// # Errors
/// [`DecodeError`]; the bytes are no command of a version that this build reads.
pub fn decode_write(bytes: Bytes) -> Result<KvWrite, DecodeError> {
    let mut from = versioned(bytes)?;
    let operation = from.take_u8()?;
    let command = if operation == BATCH {
        KvWrite::Batch(from.take_many(COMMAND_BYTES_MIN, |from| {
            let operation = from.take_u8()?;
            if operation == DROP_TABLE {
                return Err(from.unknown("operation of a batch", operation));
            }
            take_single(from, operation)
        })?)
    } else {
        take_single(&mut from, operation)?
    };
    from.finish()?;
    Ok(command)
}

/// Encodes a reply.
#[must_use]
pub fn encode_reply(reply: &KvReply) -> Bytes {
    let mut out = Vec::with_capacity(16);
    let mut to = Writer::new(&mut out);
    to.put_u8(VERSION);
    put_reply(&mut to, reply);
    out.into()
}

/// Decodes a reply.
///
/// # Errors
/// [`DecodeError`]; the bytes are no reply of a version that this build reads.
pub fn decode_reply(bytes: Bytes) -> Result<KvReply, DecodeError> {
    let mut from = versioned(bytes)?;
    let kind = from.take_u8()?;
    let reply = if kind == BATCH_DONE {
        KvReply::Batch(from.take_many(1, |from| {
            let kind = from.take_u8()?;
            take_single_reply(from, kind)
        })?)
    } else {
        take_single_reply(&mut from, kind)?
    };
    from.finish()?;
    Ok(reply)
}

fn versioned(bytes: Bytes) -> Result<Reader, DecodeError> {
    let mut from = Reader::new(bytes);
    match from.take_u8()? {
        VERSION => Ok(from),
        version => Err(DecodeError::UnknownVersion { version }),
    }
}

fn put_write(to: &mut Writer<'_>, command: &KvWrite) {
    match command {
        KvWrite::Put { table, key, value, expiry, version } => {
            put_head(to, PUT, *table);
            to.put_bytes(key);
            to.put_bytes(value);
            put_expiry(to, *expiry);
            put_version(to, *version);
        }
        KvWrite::Delete { table, key, expiry, version } => {
            put_head(to, DELETE, *table);
            to.put_bytes(key);
            put_expiry(to, *expiry);
            put_version(to, *version);
        }
        KvWrite::DeleteRange { table, from, to: end } => {
            put_head(to, DELETE_RANGE, *table);
            to.put_bytes(from);
            to.put_option(end.as_ref(), |to, end| to.put_bytes(end));
        }
        KvWrite::CompareAndSet { table, key, expected, new, expiry } => {
            put_head(to, COMPARE_AND_SET, *table);
            to.put_bytes(key);
            to.put_option(expected.as_ref(), |to, value| to.put_bytes(value));
            to.put_option(new.as_ref(), |to, value| to.put_bytes(value));
            put_expiry(to, *expiry);
        }
        KvWrite::Merge { table, key, operand, expiry } => {
            put_head(to, MERGE, *table);
            to.put_bytes(key);
            to.put_bytes(operand);
            put_expiry(to, *expiry);
        }
        KvWrite::Batch(commands) => {
            to.put_u8(BATCH);
            to.put_many(commands, put_write);
        }
        KvWrite::DropTable { table } => put_head(to, DROP_TABLE, *table),
    }
}

fn take_single(from: &mut Reader, operation: u8) -> Result<KvWrite, DecodeError> {
    if !(PUT..=DROP_TABLE).contains(&operation) || operation == BATCH {
        return Err(from.unknown("operation", operation));
    }
    let table = take_table(from)?;
    Ok(match operation {
        PUT => KvWrite::Put {
            table,
            key: from.take_bytes()?,
            value: from.take_bytes()?,
            expiry: take_expiry(from)?,
            version: take_version(from)?,
        },
        DELETE => KvWrite::Delete {
            table,
            key: from.take_bytes()?,
            expiry: take_expiry(from)?,
            version: take_version(from)?,
        },
        DELETE_RANGE => KvWrite::DeleteRange {
            table,
            from: from.take_bytes()?,
            to: from.take_option(Reader::take_bytes)?,
        },
        COMPARE_AND_SET => KvWrite::CompareAndSet {
            table,
            key: from.take_bytes()?,
            expected: from.take_option(Reader::take_bytes)?,
            new: from.take_option(Reader::take_bytes)?,
            expiry: take_expiry(from)?,
        },
        MERGE => KvWrite::Merge {
            table,
            key: from.take_bytes()?,
            operand: from.take_bytes()?,
            expiry: take_expiry(from)?,
        },
        _ => KvWrite::DropTable { table },
    })
}

fn put_head(to: &mut Writer<'_>, operation: u8, table: TableRef) {
    to.put_u8(operation);
    to.put_varint(u64::from(table.id.get()));
    to.put_u8(match table.kind {
        RowKind::Plain => 0,
        RowKind::Versioned => 1,
        RowKind::Monoid => 2,
    });
}

fn take_table(from: &mut Reader) -> Result<TableRef, DecodeError> {
    let at = from.position();
    let id = u32::try_from(from.take_varint()?).map_err(|_| DecodeError::OutOfRange { at })?;
    let kind = match from.take_u8()? {
        0 => RowKind::Plain,
        1 => RowKind::Versioned,
        2 => RowKind::Monoid,
        kind => return Err(from.unknown("kind of table", kind)),
    };
    Ok(TableRef { id: TableId::new(id), kind })
}

fn put_expiry(to: &mut Writer<'_>, expiry: Expiry) {
    match expiry {
        Expiry::Never => to.put_u8(0),
        Expiry::After(duration) => {
            to.put_u8(1);
            to.put_varint(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
        }
        Expiry::At(at) => {
            to.put_u8(2);
            to.put_zigzag(at.as_micros());
        }
    }
}

fn take_expiry(from: &mut Reader) -> Result<Expiry, DecodeError> {
    match from.take_u8()? {
        0 => Ok(Expiry::Never),
        1 => Ok(Expiry::After(Duration::from_micros(from.take_varint()?))),
        2 => Ok(Expiry::At(Timestamp::from_micros(from.take_zigzag()?))),
        kind => Err(from.unknown("expiry", kind)),
    }
}

fn put_version(to: &mut Writer<'_>, version: Option<Timestamp>) {
    to.put_option(version, |to, version| to.put_zigzag(version.as_micros()));
}

fn take_version(from: &mut Reader) -> Result<Option<Timestamp>, DecodeError> {
    from.take_option(|from| from.take_zigzag().map(Timestamp::from_micros))
}

fn put_reply(to: &mut Writer<'_>, reply: &KvReply) {
    match reply {
        KvReply::Done { version } => {
            to.put_u8(DONE);
            to.put_zigzag(version.as_micros());
        }
        KvReply::Deleted { existed } => {
            to.put_u8(DELETED);
            to.put_bool(*existed);
        }
        KvReply::Swapped { swapped, actual } => {
            to.put_u8(SWAPPED);
            to.put_bool(*swapped);
            to.put_option(actual.as_ref(), |to, actual| to.put_bytes(actual));
        }
        KvReply::Batch(replies) => {
            to.put_u8(BATCH_DONE);
            to.put_many(replies, put_reply);
        }
        KvReply::GuardFailed { index } => {
            to.put_u8(GUARD_FAILED);
            to.put_varint(u64::from(*index));
        }
        KvReply::TableDropped => to.put_u8(TABLE_DROPPED),
    }
}

fn take_single_reply(from: &mut Reader, kind: u8) -> Result<KvReply, DecodeError> {
    match kind {
        DONE => Ok(KvReply::Done { version: Timestamp::from_micros(from.take_zigzag()?) }),
        DELETED => Ok(KvReply::Deleted { existed: from.take_bool()? }),
        SWAPPED => Ok(KvReply::Swapped {
            swapped: from.take_bool()?,
            actual: from.take_option(Reader::take_bytes)?,
        }),
        GUARD_FAILED => {
            let at = from.position();
            let index = u32::try_from(from.take_varint()?);
            Ok(KvReply::GuardFailed { index: index.map_err(|_| DecodeError::OutOfRange { at })? })
        }
        TABLE_DROPPED => Ok(KvReply::TableDropped),
        kind => Err(from.unknown("reply", kind)),
    }
}

#[cfg(test)]
mod tests;
