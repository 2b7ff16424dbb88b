//! The byte format of the key-value service's reads and their replies, between nodes.

use std::time::Duration;

use breccia_types::kv::{Cursor, Direction, History, Page, Row, Scan, Version};
use breccia_types::read::{KvRead, KvReadReply, ReadOperation};
use breccia_types::table::{Retention, TableRef, TableView};
use breccia_types::wire::{DecodeError, Reader, Writer};
use breccia_types::{Partition, Slot, Timestamp};
use bytes::Bytes;

use super::{VERSION, put_head, put_version, take_table, take_version, versioned};

const GET: u8 = 1;
const MULTI_GET: u8 = 2;
const HISTORY: u8 = 3;
const SCAN: u8 = 4;
const COUNT: u8 = 5;
const COUNT_SLOT: u8 = 6;
const RANDOM_KEY: u8 = 7;

const ROW: u8 = 1;
const ROWS: u8 = 2;
const VERSIONS: u8 = 3;
const PAGE: u8 = 4;
const NUMBER: u8 = 5;
const KEY: u8 = 6;

/// Encodes a read.
#[must_use]
pub fn encode_read(read: &KvRead) -> Bytes {
    let mut out = Vec::with_capacity(64);
    let mut to = Writer::new(&mut out);
    to.put_u8(VERSION);
    let TableView { id, kind, retention } = read.table;
    put_head(&mut to, operation(&read.operation), TableRef { id, kind });
    to.put_option(retention.keep_versions, |to, keep| to.put_varint(u64::from(keep)));
    to.put_option(retention.keep_for, |to, keep| to.put_varint(micros(keep)));
    put_operation(&mut to, &read.operation);
    out.into()
}

/// Decodes a read.
///
/// # Errors
/// [`DecodeError`]; the bytes are no read of a version that this build reads.
pub fn decode_read(bytes: Bytes) -> Result<KvRead, DecodeError> {
    let mut from = versioned(bytes)?;
    let operation = from.take_u8()?;
    let TableRef { id, kind } = take_table(&mut from)?;
    let at = from.position();
    let keep_versions = from.take_option(Reader::take_varint)?.map(u32::try_from).transpose();
    let keep_versions = keep_versions.map_err(|_| DecodeError::OutOfRange { at })?;
    let keep_for = from.take_option(Reader::take_varint)?.map(Duration::from_micros);
    let table = TableView { id, kind, retention: Retention { keep_versions, keep_for } };
    let operation = take_operation(&mut from, operation)?;
    from.finish()?;
    Ok(KvRead { table, operation })
}

/// Encodes the reply to a read.
#[must_use]
pub fn encode_read_reply(reply: &KvReadReply) -> Bytes {
    let mut out = Vec::with_capacity(64);
    let mut to = Writer::new(&mut out);
    to.put_u8(VERSION);
    match reply {
        KvReadReply::Row(row) => {
            to.put_u8(ROW);
            to.put_option(row.as_ref(), put_row);
        }
        KvReadReply::Rows(rows) => {
            to.put_u8(ROWS);
            to.put_many(rows, |to, row| to.put_option(row.as_ref(), put_row));
        }
        KvReadReply::Versions(versions) => {
            to.put_u8(VERSIONS);
            to.put_many(versions, |to, version| {
                to.put_zigzag(version.version.as_micros());
                to.put_option(version.value.as_ref(), |to, value| to.put_bytes(value));
            });
        }
        KvReadReply::Page(page) => {
            to.put_u8(PAGE);
            to.put_many(&page.rows, put_row);
            to.put_option(page.cursor.as_ref(), |to, cursor| to.put_bytes(&cursor.after));
        }
        KvReadReply::Count(count) => {
            to.put_u8(NUMBER);
            to.put_varint(*count);
        }
        KvReadReply::Key(key) => {
            to.put_u8(KEY);
            to.put_option(key.as_ref(), |to, key| to.put_bytes(key));
        }
    }
    out.into()
}

/// Decodes the reply to a read.
///
/// # Errors
/// [`DecodeError`]; the bytes are no reply of a version that this build reads.
pub fn decode_read_reply(bytes: Bytes) -> Result<KvReadReply, DecodeError> {
    let mut from = versioned(bytes)?;
    let reply = match from.take_u8()? {
        ROW => KvReadReply::Row(from.take_option(take_row)?),
        ROWS => KvReadReply::Rows(from.take_many(1, |from| from.take_option(take_row))?),
        VERSIONS => KvReadReply::Versions(from.take_many(2, |from| {
            let version = Timestamp::from_micros(from.take_zigzag()?);
            Ok(Version { version, value: from.take_option(Reader::take_bytes)? })
        })?),
        PAGE => KvReadReply::Page(Page {
            rows: from.take_many(4, take_row)?,
            cursor: take_cursor(&mut from)?,
        }),
        NUMBER => KvReadReply::Count(from.take_varint()?),
        KEY => KvReadReply::Key(from.take_option(Reader::take_bytes)?),
        kind => return Err(from.unknown("reply to a read", kind)),
    };
    from.finish()?;
    Ok(reply)
}

const fn operation(operation: &ReadOperation) -> u8 {
    match operation {
        ReadOperation::Get { .. } => GET,
        ReadOperation::MultiGet { .. } => MULTI_GET,
        ReadOperation::History(_) => HISTORY,
        ReadOperation::Scan { .. } => SCAN,
        ReadOperation::Count => COUNT,
        ReadOperation::CountSlot { .. } => COUNT_SLOT,
        ReadOperation::RandomKey { .. } => RANDOM_KEY,
    }
}

fn put_operation(to: &mut Writer<'_>, operation: &ReadOperation) {
    match operation {
        ReadOperation::Get { key, as_of } => {
            to.put_bytes(key);
            put_version(to, *as_of);
        }
        ReadOperation::MultiGet { keys } => to.put_many(keys, |to, key| to.put_bytes(key)),
        ReadOperation::History(History { key, from, to: end, limit }) => {
            to.put_bytes(key);
            to.put_zigzag(from.as_micros());
            to.put_zigzag(end.as_micros());
            to.put_count(*limit);
        }
        ReadOperation::Scan { scan, bytes_max } => {
            put_scan(to, scan);
            to.put_varint(u64::from(*bytes_max));
        }
        ReadOperation::Count => {}
        ReadOperation::CountSlot { partition, slot } => {
            put_partition(to, *partition);
            to.put_varint(u64::from(slot.get()));
        }
        ReadOperation::RandomKey { seed } => to.put_varint(*seed),
    }
}

fn take_operation(from: &mut Reader, operation: u8) -> Result<ReadOperation, DecodeError> {
    Ok(match operation {
        GET => ReadOperation::Get { key: from.take_bytes()?, as_of: take_version(from)? },
        MULTI_GET => ReadOperation::MultiGet { keys: from.take_many(1, Reader::take_bytes)? },
        HISTORY => ReadOperation::History(History {
            key: from.take_bytes()?,
            from: Timestamp::from_micros(from.take_zigzag()?),
            to: Timestamp::from_micros(from.take_zigzag()?),
            limit: take_limit(from)?,
        }),
        SCAN => ReadOperation::Scan { scan: take_scan(from)?, bytes_max: take_number(from)? },
        COUNT => ReadOperation::Count,
        COUNT_SLOT => ReadOperation::CountSlot {
            partition: take_partition(from)?,
            slot: Slot::new(take_number(from)?)
                .ok_or(DecodeError::OutOfRange { at: from.position() })?,
        },
        RANDOM_KEY => ReadOperation::RandomKey { seed: from.take_varint()? },
        operation => return Err(from.unknown("read", operation)),
    })
}

fn put_scan(to: &mut Writer<'_>, scan: &Scan) {
    to.put_bytes(&scan.prefix);
    to.put_option(scan.from.as_ref(), |to, key| to.put_bytes(key));
    to.put_option(scan.to.as_ref(), |to, key| to.put_bytes(key));
    to.put_bool(scan.direction == Direction::Reverse);
    put_version(to, scan.as_of);
    to.put_count(scan.limit);
    to.put_option(scan.cursor.as_ref(), |to, cursor| to.put_bytes(&cursor.after));
}

fn take_scan(from: &mut Reader) -> Result<Scan, DecodeError> {
    Ok(Scan {
        prefix: from.take_bytes()?,
        from: from.take_option(Reader::take_bytes)?,
        to: from.take_option(Reader::take_bytes)?,
        direction: if from.take_bool()? { Direction::Reverse } else { Direction::Forward },
        as_of: take_version(from)?,
        limit: take_limit(from)?,
        cursor: take_cursor(from)?,
    })
}

fn take_cursor(from: &mut Reader) -> Result<Option<Cursor>, DecodeError> {
    Ok(from.take_option(Reader::take_bytes)?.map(|after| Cursor { after }))
}

fn take_limit(from: &mut Reader) -> Result<usize, DecodeError> {
    let at = from.position();
    usize::try_from(from.take_varint()?).map_err(|_| DecodeError::OutOfRange { at })
}

fn take_number<T: TryFrom<u64>>(from: &mut Reader) -> Result<T, DecodeError> {
    let at = from.position();
    T::try_from(from.take_varint()?).map_err(|_| DecodeError::OutOfRange { at })
}

fn put_partition(to: &mut Writer<'_>, partition: Partition) {
    match partition {
        Partition::WholeKey => to.put_u8(0),
        Partition::Before(byte) => {
            to.put_u8(1);
            to.put_u8(byte);
        }
        Partition::FirstBytes(bytes) => {
            to.put_u8(2);
            to.put_varint(u64::from(bytes));
        }
        Partition::HashTag => to.put_u8(3),
    }
}

fn take_partition(from: &mut Reader) -> Result<Partition, DecodeError> {
    match from.take_u8()? {
        0 => Ok(Partition::WholeKey),
        1 => Ok(Partition::Before(from.take_u8()?)),
        2 => Ok(Partition::FirstBytes(take_number(from)?)),
        3 => Ok(Partition::HashTag),
        rule => Err(from.unknown("partition rule", rule)),
    }
}

fn put_row(to: &mut Writer<'_>, row: &Row) {
    to.put_bytes(&row.key);
    to.put_bytes(&row.value);
    put_version(to, row.expires_at);
    put_version(to, row.version);
}

fn take_row(from: &mut Reader) -> Result<Row, DecodeError> {
    Ok(Row {
        key: from.take_bytes()?,
        value: from.take_bytes()?,
        expires_at: take_version(from)?,
        version: take_version(from)?,
    })
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use breccia_types::TableId;
    use breccia_types::table::RowKind;

    use super::*;

    fn view() -> TableView {
        let retention =
            Retention { keep_versions: Some(3), keep_for: Some(Duration::from_secs(9)) };
        TableView { id: TableId::new(300), kind: RowKind::Versioned, retention }
    }

    fn key() -> Bytes {
        Bytes::from_static(b"k\0\xff")
    }

    fn row() -> Row {
        let at = Some(Timestamp::from_micros(-1));
        Row { key: key(), value: Bytes::new(), expires_at: None, version: at }
    }

    fn operations() -> Vec<ReadOperation> {
        let at = Timestamp::from_micros(77);
        let scan = Scan {
            prefix: key(),
            from: Some(Bytes::new()),
            direction: Direction::Reverse,
            as_of: Some(at),
            limit: 12,
            cursor: Some(Cursor { after: key() }),
            ..Scan::default()
        };
        let slot = Slot::new(16_383).expect("a slot");
        let mut operations = vec![
            ReadOperation::Get { key: key(), as_of: None },
            ReadOperation::Get { key: Bytes::new(), as_of: Some(at) },
            ReadOperation::MultiGet { keys: vec![key(), Bytes::new()] },
            ReadOperation::History(History { key: key(), from: Timestamp::MIN, to: at, limit: 0 }),
            ReadOperation::Scan { scan, bytes_max: 1 << 20 },
            ReadOperation::Scan { scan: Scan::default(), bytes_max: 0 },
            ReadOperation::Count,
            ReadOperation::RandomKey { seed: u64::MAX },
        ];
        for partition in [
            Partition::WholeKey,
            Partition::Before(b'/'),
            Partition::FirstBytes(u16::MAX),
            Partition::HashTag,
        ] {
            operations.push(ReadOperation::CountSlot { partition, slot });
        }
        operations
    }

    #[test]
    fn every_read_comes_back_and_no_prefix_of_it_does() {
        for operation in operations() {
            let read = KvRead { table: view(), operation };
            let encoded = encode_read(&read);
            for end in 0..encoded.len() {
                assert!(decode_read(encoded.slice(..end)).is_err(), "{read:?} cut at {end}");
            }
            assert_eq!(decode_read(encoded), Ok(read));
        }
    }

    #[test]
    fn every_reply_comes_back_and_no_prefix_of_it_does() {
        let version = |value| Version { version: Timestamp::MAX, value };
        for reply in [
            KvReadReply::Row(None),
            KvReadReply::Row(Some(row())),
            KvReadReply::Rows(vec![None, Some(row())]),
            KvReadReply::Versions(vec![version(None), version(Some(Bytes::new()))]),
            KvReadReply::Page(Page { rows: vec![row()], cursor: Some(Cursor { after: key() }) }),
            KvReadReply::Count(u64::MAX),
            KvReadReply::Key(Some(key())),
            KvReadReply::Key(None),
        ] {
            let encoded = encode_read_reply(&reply);
            for end in 0..encoded.len() {
                assert!(decode_read_reply(encoded.slice(..end)).is_err(), "{reply:?} at {end}");
            }
            assert_eq!(decode_read_reply(encoded), Ok(reply));
        }
    }
}
