//! The vocabulary of the key-value service: what any front end can ask of a table.

use std::time::Duration;

use bytes::Bytes;

use crate::error::RequestError;
use crate::limits::{PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX};
use crate::table::{Table, TableRef};
use crate::time::Timestamp;

/// When a written row expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expiry {
    /// Never.
    #[default]
    Never,
    /// So long after the instant that the log entry is stamped with.
    After(Duration),
    /// At this instant.
    At(Timestamp),
}

/// One write command. It touches rows of one slot only, and is applied whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvWrite {
    /// Writes a row, or a version of it.
    Put {
        /// The table.
        table: TableRef,
        /// The row's key.
        key: Bytes,
        /// Its value; in a monoid table an encoded state that replaces the present one.
        value: Bytes,
        /// When it expires.
        expiry: Expiry,
        /// The version's instant in a versioned table; the entry's stamp if `None`. A second
        /// write at the same instant replaces the first.
        version: Option<Timestamp>,
    },
    /// Removes a row. In a versioned table this writes a version that says "absent"; the
    /// history before it stays readable.
    Delete {
        /// The table.
        table: TableRef,
        /// The row's key.
        key: Bytes,
        /// When the version that says "absent" expires.
        expiry: Expiry,
        /// As in `Put`.
        version: Option<Timestamp>,
    },
    /// Removes every row of this shard with `from <= key < to`. Not for versioned tables.
    /// The one command that is not bound to a slot: the node sends it to each shard.
    DeleteRange {
        /// The table.
        table: TableRef,
        /// The first key.
        from: Bytes,
        /// The first key that stays; `None` for no end.
        to: Option<Bytes>,
    },
    /// Writes `new` (absent: removes the row) if the row's value is `expected` (absent: if
    /// there is no row).
    CompareAndSet {
        /// The table.
        table: TableRef,
        /// The row's key.
        key: Bytes,
        /// What must be there.
        expected: Option<Bytes>,
        /// What shall be there.
        new: Option<Bytes>,
        /// When the new row expires.
        expiry: Expiry,
    },
    /// Merges an encoded operand into a row of a monoid table.
    Merge {
        /// The table.
        table: TableRef,
        /// The row's key.
        key: Bytes,
        /// The operand, encoded and checked.
        operand: Bytes,
        /// When the row expires.
        expiry: Expiry,
    },
    /// Several commands, applied together or not at all: a compare-and-set among them that
    /// does not hold lets the whole batch fail. Batches do not nest.
    Batch(Vec<KvWrite>),
    /// Removes all rows of a dropped table from the shard, and refuses later commands to it.
    DropTable {
        /// The table.
        table: TableRef,
    },
}

impl KvWrite {
    /// This command at another version; no change to commands that write no version.
    #[must_use]
    pub fn at_version(mut self, at: Timestamp) -> Self {
        if let Self::Put { version, .. } | Self::Delete { version, .. } = &mut self {
            *version = Some(at);
        }
        self
    }

    /// This command with another expiry; no change to commands that write no row.
    #[must_use]
    pub fn expiring(mut self, when: Expiry) -> Self {
        if let Self::Put { expiry, .. }
        | Self::CompareAndSet { expiry, .. }
        | Self::Merge { expiry, .. } = &mut self
        {
            *expiry = when;
        }
        self
    }

    /// Bytes of keys and values, for limits and windows.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Put { key, value, .. } => key.len() + value.len(),
            Self::Delete { key, .. } => key.len(),
            Self::DeleteRange { from, to, .. } => from.len() + to.as_ref().map_or(0, Bytes::len),
            Self::CompareAndSet { key, expected, new, .. } => {
                key.len()
                    + expected.as_ref().map_or(0, Bytes::len)
                    + new.as_ref().map_or(0, Bytes::len)
            }
            Self::Merge { key, operand, .. } => key.len() + operand.len(),
            Self::Batch(commands) => commands.iter().map(Self::bytes).sum(),
            Self::DropTable { .. } => 0,
        }
    }
}

/// Commands on a table's rows, with the table's own time to live.
impl Table {
    /// When a row that is written now expires, unless the write says otherwise.
    #[must_use]
    pub fn default_expiry(&self) -> Expiry {
        self.options.ttl.map_or(Expiry::Never, Expiry::After)
    }

    /// A [`KvWrite::Put`] at the entry's stamp.
    #[must_use]
    pub fn put(&self, key: Bytes, value: Bytes) -> KvWrite {
        KvWrite::Put {
            table: self.to_ref(),
            key,
            value,
            expiry: self.default_expiry(),
            version: None,
        }
    }

    /// A [`KvWrite::Delete`] at the entry's stamp.
    #[must_use]
    pub fn delete(&self, key: Bytes) -> KvWrite {
        KvWrite::Delete { table: self.to_ref(), key, expiry: self.default_expiry(), version: None }
    }

    /// A [`KvWrite::CompareAndSet`].
    #[must_use]
    pub fn compare_and_set(
        &self,
        key: Bytes,
        expected: Option<Bytes>,
        new: Option<Bytes>,
    ) -> KvWrite {
        let expiry = self.default_expiry();
        KvWrite::CompareAndSet { table: self.to_ref(), key, expected, new, expiry }
    }

    /// A [`KvWrite::Merge`] of an encoded operand.
    #[must_use]
    pub fn merge(&self, key: Bytes, operand: Bytes) -> KvWrite {
        KvWrite::Merge { table: self.to_ref(), key, operand, expiry: self.default_expiry() }
    }
}

/// The reply to a write command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvReply {
    /// Applied.
    Done {
        /// The instant of the version written; the entry's stamp in tables without versions.
        version: Timestamp,
    },
    /// The row was removed, or was not there.
    Deleted {
        /// Whether there was a row.
        existed: bool,
    },
    /// The outcome of a compare-and-set.
    Swapped {
        /// Whether the row was as expected, and so was written.
        swapped: bool,
        /// What was found instead, if not.
        actual: Option<Bytes>,
    },
    /// The replies of a batch, in its order.
    Batch(Vec<KvReply>),
    /// The guard at this position did not hold; nothing was written.
    GuardFailed {
        /// Position in the batch, from 0.
        index: u32,
    },
    /// The table is dropped.
    TableDropped,
}

/// A row as reads return it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub key: Bytes,
    /// The value; of a monoid table its encoded state.
    pub value: Bytes,
    /// When it expires, if it does.
    pub expires_at: Option<Timestamp>,
    /// The instant of this version, in versioned tables.
    pub version: Option<Timestamp>,
}

/// A version of a row, as history reads return it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The version's instant.
    pub version: Timestamp,
    /// The value, or `None` where the row was deleted.
    pub value: Option<Bytes>,
}

/// In which order a scan returns keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    /// Smallest key first.
    #[default]
    Forward,
    /// Largest key first.
    Reverse,
}

/// Which rows a scan returns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scan {
    /// Only keys that start so.
    pub prefix: Bytes,
    /// The smallest key, included; `None` for no bound.
    pub from: Option<Bytes>,
    /// The end, excluded; `None` for no bound.
    pub to: Option<Bytes>,
    /// The order.
    pub direction: Direction,
    /// In versioned tables: the rows as they were at this instant; `None` for the latest.
    pub as_of: Option<Timestamp>,
    /// The most rows; `PAGE_ROWS_DEFAULT` if 0, never more than `PAGE_ROWS_MAX`.
    pub limit: usize,
    /// Where the page before ended.
    pub cursor: Option<Cursor>,
}

/// How many rows a page may have if the client asks for `limit`; 0 is "did not say".
#[must_use]
pub fn page_rows(limit: usize) -> usize {
    if limit == 0 { PAGE_ROWS_DEFAULT } else { limit.min(PAGE_ROWS_MAX) }
}

/// A page of rows in key order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Row>,
    /// Where the next page starts; `None` when the scan is at its end.
    pub cursor: Option<Cursor>,
}

/// Where a scan goes on: after this key, in the scan's direction.
///
/// Cursors hold no state in the server: a scan can be resumed after a restart, on another
/// node, or days later. Rows written in between appear if they lie ahead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The last key returned.
    pub after: Bytes,
}

const CURSOR_FORMAT: u8 = 1;

impl Cursor {
    /// The cursor as bytes that clients pass back unread: format, then the key.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.after.len() + 1);
        bytes.push(CURSOR_FORMAT);
        bytes.extend_from_slice(&self.after);
        bytes
    }

    /// Reads what [`Cursor::encode`] wrote.
    ///
    /// # Errors
    /// [`RequestError::InvalidCursor`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RequestError> {
        match bytes.split_first() {
            Some((&CURSOR_FORMAT, key)) => Ok(Self { after: Bytes::copy_from_slice(key) }),
            _ => Err(RequestError::InvalidCursor),
        }
    }
}

/// Which versions of one row a history read returns, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The row's key.
    pub key: Bytes,
    /// The oldest instant, included.
    pub from: Timestamp,
    /// The newest instant, included. The next page's `to` is one microsecond before the
    /// last version returned.
    pub to: Timestamp,
    /// The most versions; `PAGE_ROWS_DEFAULT` if 0, never more than `PAGE_ROWS_MAX`.
    pub limit: usize,
}
