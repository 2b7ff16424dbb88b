//! How the log's records lie on disk: keys, versions, checksums.
//!
//! ```text
//! key      shard u32 BE | replica u64 BE | 1 | index u64 BE    an entry
//!                                        | 2                   the vote
//!                                        | 3                   the last purged position
//!                                        | 4                   the last committed position
//! record   version, 1 byte | crc32c u32 BE of key, version and body | body
//! ```
//!
//! The bodies are those of [`codec`](crate::raft::codec). The checksum covers the key, so a
//! record that lies in a wrong place is as corrupt as one with a flipped bit.

use std::fmt;
use std::ops::Range;

use breccia_store::{Bounds, LogOp, LogRow};
use breccia_types::wire::{DecodeError, Reader, Writer};
use breccia_types::{ReplicaId, ShardId};
use bytes::Bytes;

use super::error::{Damage, LogError};
use crate::raft::codec::{put_entry, put_log_id, put_vote, take_entry, take_log_id, take_vote};
use crate::raft::types::{LogEntry, LogId, Vote};

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 5;
const PREFIX_BYTES: usize = 12;
const ENTRY: u8 = 1;
const VOTE: u8 = 2;
const PURGED: u8 = 3;
const COMMITTED: u8 = 4;
/// Above every kind.
const END: u8 = 0xff;

/// A replica of a shard: one Raft log among those that the node's log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey {
    /// The shard.
    pub shard: ShardId,
    /// Its replica on this node.
    pub replica: ReplicaId,
}

/// A record of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// The entry at an index.
    Entry(u64),
    /// The vote.
    Vote,
    /// The last purged position.
    Purged,
    /// The last committed position.
    Committed,
    /// What lies under a key that none of these has.
    Unknown,
}

impl GroupKey {
    fn prefix(self) -> Vec<u8> {
        let mut prefix = Vec::with_capacity(PREFIX_BYTES + 9);
        prefix.extend_from_slice(&self.shard.get().to_be_bytes());
        prefix.extend_from_slice(&self.replica.get().to_be_bytes());
        prefix
    }

    fn key(self, record: Record) -> Vec<u8> {
        let mut key = self.prefix();
        match record {
            Record::Entry(index) => {
                key.push(ENTRY);
                key.extend_from_slice(&index.to_be_bytes());
            }
            Record::Vote => key.push(VOTE),
            Record::Purged => key.push(PURGED),
            Record::Committed => key.push(COMMITTED),
            Record::Unknown => key.push(END),
        }
        key
    }

    /// Where the entries of a range of indexes lie.
    pub(super) fn entries(self, range: Range<u64>) -> Bounds {
        Bounds {
            lower: self.key(Record::Entry(range.start)),
            upper: self.key(Record::Entry(range.end)),
        }
    }

    /// Where all entries lie.
    pub(super) fn all_entries(self) -> Bounds {
        Bounds { lower: self.key(Record::Entry(0)), upper: self.key(Record::Vote) }
    }

    /// Where all records lie.
    pub(super) fn records(self) -> Bounds {
        Bounds { lower: self.prefix(), upper: self.key(Record::Unknown) }
    }

    /// Where the records of this and all later groups lie.
    pub(super) fn onward(self) -> Bounds {
        Bounds { lower: self.prefix(), upper: vec![END; PREFIX_BYTES + 1] }
    }

    /// The group that a key belongs to.
    pub(super) fn of(key: &[u8]) -> Option<Self> {
        let (shard, rest) = key.split_first_chunk()?;
        let (replica, _) = rest.split_first_chunk()?;
        Some(Self {
            shard: ShardId::new(u32::from_be_bytes(*shard)),
            replica: ReplicaId::new(u64::from_be_bytes(*replica)),
        })
    }

    /// The next group there can be.
    pub(super) const fn next(self) -> Option<Self> {
        let Self { shard, replica } = self;
        match (replica.get().checked_add(1), shard.get().checked_add(1)) {
            (Some(replica), _) => Some(Self { shard, replica: ReplicaId::new(replica) }),
            (None, Some(shard)) => {
                Some(Self { shard: ShardId::new(shard), replica: ReplicaId::new(0) })
            }
            (None, None) => None,
        }
    }

    pub(super) const fn corrupt(self, record: Record, damage: Damage) -> LogError {
        LogError::Corrupt { group: self, record, damage }
    }
}

/// The change that writes an entry.
pub(super) fn entry_record(group: GroupKey, entry: &LogEntry) -> LogOp {
    record(group, Record::Entry(entry.log_id.index()), |to| put_entry(to, entry))
}

/// The change that writes the vote.
pub(super) fn vote_record(group: GroupKey, vote: &Vote) -> LogOp {
    record(group, Record::Vote, |to| put_vote(to, vote))
}

/// The change that writes a position: [`Record::Purged`] or [`Record::Committed`].
pub(super) fn position_record(group: GroupKey, which: Record, log_id: &LogId) -> LogOp {
    record(group, which, |to| put_log_id(to, log_id))
}

/// Reads an entry's record, which must be the one of `index`.
pub(super) fn read_entry(group: GroupKey, index: u64, value: Bytes) -> Result<LogEntry, LogError> {
    let record = Record::Entry(index);
    let entry = read(group, record, value, take_entry)?;
    match entry.log_id.index() {
        found if found == index => Ok(entry),
        found => Err(group.corrupt(record, Damage::Index { found })),
    }
}

/// Reads the vote's record.
pub(super) fn read_vote(group: GroupKey, value: Bytes) -> Result<Vote, LogError> {
    read(group, Record::Vote, value, take_vote)
}

/// Reads a position's record.
pub(super) fn read_position(
    group: GroupKey,
    which: Record,
    value: Bytes,
) -> Result<LogId, LogError> {
    read(group, which, value, take_log_id)
}

/// The key under which a record lies.
pub(super) fn key_of(group: GroupKey, record: Record) -> Vec<u8> {
    group.key(record)
}

/// The index of an entry's key.
pub(super) fn index_of(group: GroupKey, key: &[u8]) -> Result<u64, LogError> {
    key.strip_prefix(group.prefix().as_slice())
        .and_then(|rest| rest.strip_prefix(&[ENTRY]))
        .and_then(|index| index.try_into().ok())
        .map(u64::from_be_bytes)
        .ok_or_else(|| group.corrupt(Record::Unknown, Damage::Key))
}

/// The entry in a row, and its index.
pub(super) fn entry_of(group: GroupKey, row: LogRow) -> Result<LogEntry, LogError> {
    let index = index_of(group, &row.key)?;
    read_entry(group, index, row.value)
}

fn record(group: GroupKey, record: Record, put: impl FnOnce(&mut Writer<'_>)) -> LogOp {
    let key = group.key(record);
    let mut value = vec![VERSION, 0, 0, 0, 0];
    put(&mut Writer::new(&mut value));
    let checksum = checksum(&key, VERSION, value.get(HEADER_BYTES..).unwrap_or_default());
    if let Some(place) = value.get_mut(1..HEADER_BYTES) {
        place.copy_from_slice(&checksum.to_be_bytes());
    }
    LogOp::Put { key, value }
}

fn read<T>(
    group: GroupKey,
    record: Record,
    value: Bytes,
    take: impl FnOnce(&mut Reader) -> Result<T, DecodeError>,
) -> Result<T, LogError> {
    take_body(&group.key(record), value)
        .and_then(|mut from| {
            let taken = take(&mut from)?;
            from.finish()?;
            Ok(taken)
        })
        .map_err(|damage| group.corrupt(record, damage))
}

fn take_body(key: &[u8], value: Bytes) -> Result<Reader, Damage> {
    let Some(([version, expected @ ..], body)) = value.split_first_chunk::<HEADER_BYTES>() else {
        return Err(Damage::Short);
    };
    if checksum(key, *version, body) != u32::from_be_bytes(*expected) {
        return Err(Damage::Checksum);
    }
    if *version != VERSION {
        return Err(Damage::Version { found: *version, known: VERSION });
    }
    Ok(Reader::new(value.slice(HEADER_BYTES..)))
}

fn checksum(key: &[u8], version: u8, body: &[u8]) -> u32 {
    let key = crc32c::crc32c(key);
    crc32c::crc32c_append(crc32c::crc32c_append(key, &[version]), body)
}

impl fmt::Display for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.shard, self.replica)
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(index) => write!(f, "entry {index}"),
            Self::Vote => f.write_str("the vote"),
            Self::Purged => f.write_str("the purged position"),
            Self::Committed => f.write_str("the committed position"),
            Self::Unknown => f.write_str("an unknown record"),
        }
    }
}
