//! The layout of raw keys.
//!
//! ```text
//! row of a plain or monoid table    table u32 BE | key
//! version in a versioned table      table u32 BE | key, escaped | 00 00 | instant, inverted u64 BE
//! the shard's own records           00 00 00 00  | name
//! ```
//!
//! In versioned tables a zero byte of the key is written as `00 ff`, so that `00 00` ends it
//! and a key sorts before every longer key that starts with it. The instant is inverted so
//! that the newest version comes first. All three layouts sort rows of one table by key.

use breccia_types::table::RowKind;
use breccia_types::{TableId, Timestamp};

use crate::engine::Bounds;

const TABLE_BYTES: usize = 4;
const INSTANT_BYTES: usize = 8;
const TERMINATOR: [u8; 2] = [0, 0];
const ESCAPED_ZERO: [u8; 2] = [0, 0xff];

/// The raw key of one of the shard's own records.
#[must_use]
pub fn own(name: &[u8]) -> Vec<u8> {
    let mut raw = vec![0; TABLE_BYTES];
    raw.extend_from_slice(name);
    raw
}

/// The raw key of a row in a plain or monoid table.
#[must_use]
pub fn row(table: TableId, key: &[u8]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(TABLE_BYTES + key.len());
    raw.extend_from_slice(&table.get().to_be_bytes());
    raw.extend_from_slice(key);
    raw
}

/// The raw key of one version of a row.
#[must_use]
pub fn version(table: TableId, key: &[u8], instant: Timestamp) -> Vec<u8> {
    let mut raw = versions_of(table, key);
    raw.extend_from_slice(&inverted(instant).to_be_bytes());
    raw
}

/// What the raw keys of all versions of a row start with.
#[must_use]
pub fn versions_of(table: TableId, key: &[u8]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(TABLE_BYTES + key.len() + TERMINATOR.len() + INSTANT_BYTES);
    raw.extend_from_slice(&table.get().to_be_bytes());
    escape_into(key, &mut raw);
    raw.extend_from_slice(&TERMINATOR);
    raw
}

/// The raw keys of all versions of a row.
#[must_use]
pub fn bounds_of_versions(table: TableId, key: &[u8]) -> Bounds {
    let lower = versions_of(table, key);
    let upper = after_prefix(&lower);
    Bounds { lower, upper }
}

/// Where a key stands in the raw order of its table: the smallest raw key of the row.
#[must_use]
pub fn position(table: TableId, kind: RowKind, key: &[u8]) -> Vec<u8> {
    match kind {
        RowKind::Plain | RowKind::Monoid => row(table, key),
        RowKind::Versioned => versions_of(table, key),
    }
}

/// The smallest raw key greater than every raw key of this row.
#[must_use]
pub fn after(table: TableId, kind: RowKind, key: &[u8]) -> Vec<u8> {
    match kind {
        RowKind::Plain | RowKind::Monoid => {
            let mut raw = row(table, key);
            raw.push(0);
            raw
        }
        RowKind::Versioned => after_prefix(&versions_of(table, key)),
    }
}

/// The raw keys of all rows whose key starts with `prefix`; of the whole table if it is empty.
#[must_use]
pub fn bounds_of_prefix(table: TableId, kind: RowKind, prefix: &[u8]) -> Bounds {
    let lower = match kind {
        RowKind::Plain | RowKind::Monoid => row(table, prefix),
        RowKind::Versioned => {
            let mut raw = row(table, &[]);
            escape_into(prefix, &mut raw);
            raw
        }
    };
    let upper = after_prefix(&lower);
    Bounds { lower, upper }
}

/// The table of a raw key; `None` if it is too short to have one.
#[must_use]
pub fn table_of(raw: &[u8]) -> Option<TableId> {
    raw.first_chunk::<TABLE_BYTES>().map(|bytes| TableId::new(u32::from_be_bytes(*bytes)))
}

/// The key of a row in a plain or monoid table.
#[must_use]
pub fn key_of_row(raw: &[u8]) -> Option<&[u8]> {
    raw.get(TABLE_BYTES..)
}

/// Splits the raw key of a version into what all versions of the row share, and the instant.
#[must_use]
pub fn split_version(raw: &[u8]) -> Option<(&[u8], Timestamp)> {
    let (shared, instant) = raw.split_last_chunk::<INSTANT_BYTES>()?;
    Some((shared, restored(u64::from_be_bytes(*instant))))
}

/// The key of a row from what the raw keys of its versions share; `None` if it is malformed.
#[must_use]
pub fn key_of_versions(shared: &[u8]) -> Option<Vec<u8>> {
    let escaped = shared.get(TABLE_BYTES..)?.strip_suffix(&TERMINATOR)?;
    let mut key = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.iter();
    while let Some(&byte) = bytes.next() {
        key.push(byte);
        if byte == 0 && bytes.next() != Some(&ESCAPED_ZERO[1]) {
            return None;
        }
    }
    Some(key)
}

/// The smallest key greater than every key that starts with `prefix`.
fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    // Only a prefix of nothing but 0xff comes here: table ids never do.
    vec![0xff; prefix.len() + 1]
}

fn escape_into(key: &[u8], raw: &mut Vec<u8>) {
    for &byte in key {
        if byte == 0 {
            raw.extend_from_slice(&ESCAPED_ZERO);
        } else {
            raw.push(byte);
        }
    }
}

/// Maps instants to numbers that sort newest first.
const fn inverted(instant: Timestamp) -> u64 {
    !(instant.as_micros().cast_unsigned() ^ (1 << 63))
}

const fn restored(inverted: u64) -> Timestamp {
    Timestamp::from_micros((!inverted ^ (1 << 63)).cast_signed())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const T: TableId = TableId::new(7);

    #[test]
    fn newer_versions_sort_first_and_the_extremes_survive() {
        let at = |micros| version(T, b"k", Timestamp::from_micros(micros));
        assert!(at(i64::MAX) < at(1) && at(1) < at(0) && at(0) < at(-1) && at(-1) < at(i64::MIN));
        let raw = at(-5);
        let (shared, instant) = split_version(&raw).expect("a version");
        assert_eq!(instant.as_micros(), -5);
        assert_eq!(key_of_versions(shared).as_deref(), Some(&b"k"[..]));
    }

    proptest! {
        #[test]
        fn versions_of_different_keys_never_mix(
            a in prop::collection::vec(prop_oneof![Just(0u8), Just(0xffu8), any::<u8>()], 0..6),
            b in prop::collection::vec(prop_oneof![Just(0u8), Just(0xffu8), any::<u8>()], 0..6),
            s in any::<i64>(), t in any::<i64>(),
        ) {
            let raw_a = version(T, &a, Timestamp::from_micros(s));
            let raw_b = version(T, &b, Timestamp::from_micros(t));
            prop_assert_eq!(raw_a.cmp(&raw_b), a.cmp(&b).then(t.cmp(&s)));
            let (shared, instant) = split_version(&raw_a).expect("a version");
            prop_assert_eq!(key_of_versions(shared), Some(a.clone()));
            prop_assert_eq!(instant.as_micros(), s);
            let bounds = bounds_of_versions(T, &a);
            prop_assert_eq!(bounds.lower <= raw_b && raw_b < bounds.upper, a == b);
        }

        #[test]
        fn prefix_bounds_hold_exactly_the_keys_with_that_prefix(
            prefix in prop::collection::vec(prop_oneof![Just(0u8), Just(0xffu8), any::<u8>()], 0..4),
            key in prop::collection::vec(prop_oneof![Just(0u8), Just(0xffu8), any::<u8>()], 0..6),
        ) {
            for kind in [RowKind::Plain, RowKind::Versioned] {
                let bounds = bounds_of_prefix(T, kind, &prefix);
                let raw = position(T, kind, &key);
                prop_assert_eq!(
                    bounds.lower <= raw && raw < bounds.upper,
                    key.starts_with(&prefix)
                );
                prop_assert!(raw < after(T, kind, &key));
            }
        }
    }
}
