//! What can be read of one table in one shard, as it travels to the node that holds it.

use bytes::Bytes;

use crate::id::Slot;
use crate::kv::{History, Page, Row, Scan, Version};
use crate::table::{Partition, TableView};
use crate::time::Timestamp;

/// A read of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvRead {
    /// Of which table.
    pub table: TableView,
    /// What is asked.
    pub operation: ReadOperation,
}

/// What a read asks of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadOperation {
    /// One row. Answered by [`KvReadReply::Row`].
    Get {
        /// Its key.
        key: Bytes,
        /// In versioned tables: the row as it was then; `None` for the newest version.
        as_of: Option<Timestamp>,
    },
    /// Many rows. Answered by [`KvReadReply::Rows`], in the order of the keys.
    MultiGet {
        /// Their keys.
        keys: Vec<Bytes>,
    },
    /// The versions of one row. Answered by [`KvReadReply::Versions`].
    History(History),
    /// The next rows in key order. Answered by [`KvReadReply::Page`].
    Scan {
        /// Which rows.
        scan: Scan,
        /// Bytes of keys and values after which the page ends; it has at least one row if
        /// there is any. At most `PAGE_BYTES_MAX` counts.
        bytes_max: u32,
    },
    /// How many rows there are. Answered by [`KvReadReply::Count`].
    Count,
    /// How many rows lie in a slot. Answered by [`KvReadReply::Count`].
    CountSlot {
        /// Which part of a key decides its slot.
        partition: Partition,
        /// The slot.
        slot: Slot,
    },
    /// Some key. Answered by [`KvReadReply::Key`].
    RandomKey {
        /// Decides which.
        seed: u64,
    },
}

/// The answer to a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvReadReply {
    /// The row, if there is one.
    Row(Option<Row>),
    /// The rows; `None` where there is no row.
    Rows(Vec<Option<Row>>),
    /// The versions, newest first.
    Versions(Vec<Version>),
    /// A page of this shard's rows.
    Page(Page),
    /// A number of rows.
    Count(u64),
    /// A key; `None` if there are no rows.
    Key(Option<Bytes>),
}
