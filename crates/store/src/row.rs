//! The layout of a row's value.
//!
//! ```text
//! head u8 [| expiry i64 BE, microseconds since 1970] | value
//! ```
//!
//! The head's upper four bits are the format, 1; bit 0 says that an expiry follows; bit 1,
//! only in versioned tables, that this version says "deleted". So an empty value is one byte
//! and differs from no row. A monoid's value is its encoded state, which names its own format.

use breccia_types::Timestamp;
use bytes::{Buf, Bytes};

use crate::error::StoreError;

const FORMAT: u8 = 0x10;
const FORMAT_MASK: u8 = 0xf0;
const HAS_EXPIRY: u8 = 0x01;
const DELETED: u8 = 0x02;
const EXPIRY_BYTES: usize = 8;

/// A row's value and when it expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRow {
    /// The value; empty for a version that says "deleted".
    pub value: Bytes,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
}

/// What the head of a value says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// When the row expires.
    pub expires_at: Option<Timestamp>,
    /// Whether this version says "deleted".
    pub deleted: bool,
    /// Where the value starts.
    pub bytes: usize,
}

impl Head {
    /// Whether the row is gone at this instant.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// Lays out a value.
#[must_use]
pub fn encode(value: &[u8], expires_at: Option<Timestamp>) -> Vec<u8> {
    encode_head(value, expires_at, 0)
}

/// Lays out a version that says "deleted".
#[must_use]
pub fn encode_deleted(expires_at: Option<Timestamp>) -> Vec<u8> {
    encode_head(&[], expires_at, DELETED)
}

fn encode_head(value: &[u8], expires_at: Option<Timestamp>, flags: u8) -> Vec<u8> {
    let mut stored = Vec::with_capacity(1 + EXPIRY_BYTES + value.len());
    match expires_at {
        None => stored.push(FORMAT | flags),
        Some(at) => {
            stored.push(FORMAT | flags | HAS_EXPIRY);
            stored.extend_from_slice(&at.as_micros().to_be_bytes());
        }
    }
    stored.extend_from_slice(value);
    stored
}

/// Reads the head of a stored value.
///
/// # Errors
/// [`StoreError::UnknownFormat`].
pub fn decode_head(stored: &[u8]) -> Result<Head, StoreError> {
    let unknown = |found| StoreError::UnknownFormat { what: "a row", found, known: FORMAT };
    let (&first, rest) = stored.split_first().ok_or_else(|| unknown(0))?;
    if first & FORMAT_MASK != FORMAT {
        return Err(unknown(first));
    }
    let deleted = first & DELETED != 0;
    if first & HAS_EXPIRY == 0 {
        return Ok(Head { expires_at: None, deleted, bytes: 1 });
    }
    let micros = rest.first_chunk::<EXPIRY_BYTES>().ok_or_else(|| unknown(first))?;
    Ok(Head {
        expires_at: Some(Timestamp::from_micros(i64::from_be_bytes(*micros))),
        deleted,
        bytes: 1 + EXPIRY_BYTES,
    })
}

/// Reads a stored value; `None` if it says "deleted" or has expired by `now`.
///
/// # Errors
/// [`StoreError::UnknownFormat`].
pub fn decode(mut stored: Bytes, now: Timestamp) -> Result<Option<StoredRow>, StoreError> {
    let head = decode_head(&stored)?;
    if head.deleted || head.is_expired(now) {
        return Ok(None);
    }
    stored.advance(head.bytes);
    Ok(Some(StoredRow { value: stored, expires_at: head.expires_at }))
}

/// Merges stored states of a monoid, oldest first. `None` if one of them cannot be read.
pub(crate) fn merge_states<'a>(states: impl Iterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut payloads = Vec::new();
    for stored in states {
        let head = decode_head(stored).ok()?;
        payloads.push(stored.get(head.bytes..)?);
    }
    let merged = breccia_monoid::merge_all(payloads).ok()?;
    Some(encode(&merged, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_value_is_a_row_and_a_deleted_version_is_none() {
        let now = Timestamp::from_micros(0);
        let empty = decode(encode(b"", None).into(), now).expect("format").expect("row");
        assert_eq!(empty.value.len(), 0);
        assert_eq!(decode(encode_deleted(None).into(), now), Ok(None));
    }

    #[test]
    fn a_row_is_gone_at_the_instant_of_its_expiry() {
        let at = Timestamp::from_micros(100);
        let stored = Bytes::from(encode(b"v", Some(at)));
        let before = Timestamp::from_micros(99);
        assert_eq!(
            decode(stored.clone(), before),
            Ok(Some(StoredRow { value: Bytes::from_static(b"v"), expires_at: Some(at) }))
        );
        assert_eq!(decode(stored, at), Ok(None));
    }

    #[test]
    fn a_value_of_another_format_is_refused() {
        for stored in [&b""[..], b"\x00", b"\x20abc", b"\x11\x00"] {
            assert!(decode(Bytes::copy_from_slice(stored), Timestamp::MIN).is_err());
        }
    }

    #[test]
    fn the_bytes_of_version_one_stay_what_they_are() {
        assert_eq!(encode(b"v", None), b"\x10v");
        assert_eq!(encode(b"v", Some(Timestamp::from_micros(1))), b"\x11\0\0\0\0\0\0\0\x01v");
        assert_eq!(encode_deleted(None), b"\x12");
    }
}
