//! What requests answer.

use breccia_api::v1;
use breccia_types::Timestamp;
use bytes::Bytes;

use crate::wire::instant;

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The key, at most 65,535 bytes.
    pub key: Bytes,
    /// The value, at most 64 MiB; in a monoid table its encoded state.
    pub value: Bytes,
    /// The instant of this version; versioned tables only.
    pub version: Option<Timestamp>,
    /// When the row expires, if it does.
    pub expires_at: Option<Timestamp>,
    /// What the state says, as JSON text; monoid tables only.
    pub presented: Option<String>,
}

impl From<v1::Row> for Row {
    fn from(row: v1::Row) -> Self {
        Self {
            key: row.key,
            value: row.value,
            version: instant(row.version_micros),
            expires_at: instant(row.expires_at_micros),
            presented: row.presented,
        }
    }
}

/// A part of the rows that a scan finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In the order of the scan; at least one.
    pub rows: Vec<Row>,
    /// Where a later scan can go on; `None` at the end of the range.
    pub cursor: Option<Cursor>,
}

impl From<v1::ScanPage> for Page {
    fn from(page: v1::ScanPage) -> Self {
        let cursor = (!page.cursor.is_empty()).then_some(Cursor(page.cursor));
        Self { rows: page.rows.into_iter().map(Row::from).collect(), cursor }
    }
}

/// Where a scan ended, for another to go on behind it. It stays valid for ever; no node
/// remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cursor(pub(crate) Bytes);

impl Cursor {
    /// Reads what [`Cursor::as_bytes`] returned. What is no cursor is refused by the scan, with
    /// [`Code::InvalidCursor`](crate::Code::InvalidCursor).
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The cursor as bytes to keep.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A version of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// When it was written, or the instant that its writer gave it.
    pub version: Timestamp,
    /// The value; `None` where the row was deleted.
    pub value: Option<Bytes>,
}

/// Versions of one row, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionPage {
    /// Newest first.
    pub versions: Vec<Version>,
    /// What [`to`](crate::Request::to) must be for the next page; `None` at the end.
    pub next_to: Option<Timestamp>,
}

impl From<v1::HistoryResponse> for VersionPage {
    fn from(response: v1::HistoryResponse) -> Self {
        let version = |version: v1::Version| Version {
            version: Timestamp::from_micros(version.version_micros),
            value: version.value,
        };
        Self {
            versions: response.versions.into_iter().map(version).collect(),
            next_to: instant(response.next_to_micros),
        }
    }
}

/// What a compare-and-set found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swap {
    /// What it expected, and it wrote the new value.
    Done,
    /// Something else, and it wrote nothing.
    Refused {
        /// The value that is there; `None` if there is no row.
        actual: Option<Bytes>,
    },
}

impl Swap {
    /// Whether the new value was written.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }
}

impl From<v1::CompareAndSetResponse> for Swap {
    fn from(response: v1::CompareAndSetResponse) -> Self {
        match response.swapped {
            true => Self::Done,
            false => Self::Refused { actual: response.actual },
        }
    }
}
