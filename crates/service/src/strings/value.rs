//! Commands that write, cut or count within one value.

use breccia_store::StoredRow;
use breccia_types::limits::VALUE_BYTES_MAX;
use breccia_types::strings::{ExpiryChange, SetCondition, StringRefusal, StringReply};
use bytes::Bytes;

use super::number;
use super::rows::{Outcome, Rows};

/// How a SET differs from a plain one.
pub(super) struct SetMode {
    pub(super) condition: SetCondition,
    pub(super) expiry: ExpiryChange,
    pub(super) return_previous: bool,
}

impl SetMode {
    const fn needs_previous(&self) -> bool {
        self.return_previous
            || !matches!(self.condition, SetCondition::Always)
            || matches!(self.expiry, ExpiryChange::Keep)
    }
}

pub(super) fn set(rows: &mut Rows<'_, '_>, key: &[u8], value: &[u8], mode: &SetMode) -> Outcome {
    // Most SETs ask nothing of what was there: they do not read.
    let previous = if mode.needs_previous() { rows.get(key)? } else { None };
    let holds = match mode.condition {
        SetCondition::Always => true,
        SetCondition::IfAbsent => previous.is_none(),
        SetCondition::IfPresent => previous.is_some(),
    };
    if holds {
        let expires_at = match mode.expiry {
            ExpiryChange::Clear => None,
            ExpiryChange::Keep => previous.as_ref().and_then(|row| row.expires_at),
            ExpiryChange::At(at) => Some(at),
        };
        rows.put(key, value, expires_at)?;
    }
    Ok(match (mode.return_previous, holds) {
        (true, _) => value_or_nil(previous),
        (false, true) => StringReply::Ok,
        (false, false) => StringReply::Nil,
    })
}

pub(super) fn set_many(
    rows: &mut Rows<'_, '_>,
    pairs: &[(Bytes, Bytes)],
    only_if_none_exists: bool,
) -> Outcome {
    if only_if_none_exists {
        for (key, _) in pairs {
            if rows.exists(key)? {
                return Ok(StringReply::Integer(0));
            }
        }
    }
    for (key, value) in pairs {
        rows.put(key, value, None)?;
    }
    Ok(StringReply::Integer(1))
}

pub(super) fn append(rows: &mut Rows<'_, '_>, key: &[u8], tail: &[u8]) -> Outcome {
    let (value, expires_at) = rows.get_or_empty(key)?;
    let length = checked_length(value.len().checked_add(tail.len()))?;
    let mut joined = Vec::with_capacity(length);
    joined.extend_from_slice(&value);
    joined.extend_from_slice(tail);
    rows.put(key, &joined, expires_at)?;
    Ok(length_reply(length))
}

pub(super) fn set_range(rows: &mut Rows<'_, '_>, key: &[u8], offset: u64, patch: &[u8]) -> Outcome {
    let (value, expires_at) = rows.get_or_empty(key)?;
    if patch.is_empty() {
        return Ok(length_reply(value.len()));
    }
    let offset = usize::try_from(offset).map_err(|_| StringRefusal::TooLong)?;
    let end = checked_length(offset.checked_add(patch.len()))?;
    let mut bytes = widened(&value, end);
    if let Some(place) = bytes.get_mut(offset..end) {
        place.copy_from_slice(patch);
    }
    rows.put(key, &bytes, expires_at)?;
    Ok(length_reply(bytes.len()))
}

pub(super) fn set_bit(rows: &mut Rows<'_, '_>, key: &[u8], offset: u64, bit: bool) -> Outcome {
    let (value, expires_at) = rows.get_or_empty(key)?;
    let index = usize::try_from(offset / 8).map_err(|_| StringRefusal::TooLong)?;
    let end = checked_length(index.checked_add(1))?;
    let mut bytes = widened(&value, end);
    let mask = 0x80u8 >> (offset % 8);
    let mut before = false;
    if let Some(byte) = bytes.get_mut(index) {
        before = *byte & mask != 0;
        *byte = if bit { *byte | mask } else { *byte & !mask };
    }
    rows.put(key, &bytes, expires_at)?;
    Ok(StringReply::Integer(i64::from(before)))
}

pub(super) fn increment(rows: &mut Rows<'_, '_>, key: &[u8], by: i64) -> Outcome {
    let row = rows.get(key)?;
    let sum = number::add_integers(row.as_ref().map(|row| row.value.as_ref()), by)?;
    rows.put(key, sum.to_string().as_bytes(), row.and_then(|row| row.expires_at))?;
    Ok(StringReply::Integer(sum))
}

pub(super) fn increment_float(rows: &mut Rows<'_, '_>, key: &[u8], by: &[u8]) -> Outcome {
    let row = rows.get(key)?;
    let sum = number::add_floats(row.as_ref().map(|row| row.value.as_ref()), by)?;
    rows.put(key, sum.as_bytes(), row.and_then(|row| row.expires_at))?;
    Ok(StringReply::Bulk(sum.into()))
}

pub(super) fn get_delete(rows: &mut Rows<'_, '_>, key: &[u8]) -> Outcome {
    let row = rows.get(key)?;
    if row.is_some() {
        rows.delete(key)?;
    }
    Ok(value_or_nil(row))
}

pub(super) fn get_expire(rows: &mut Rows<'_, '_>, key: &[u8], expiry: ExpiryChange) -> Outcome {
    let Some(row) = rows.get(key)? else {
        return Ok(StringReply::Nil);
    };
    let expires_at = match expiry {
        ExpiryChange::Clear => None,
        ExpiryChange::Keep => row.expires_at,
        ExpiryChange::At(at) => Some(at),
    };
    if expires_at != row.expires_at {
        rows.put(key, &row.value, expires_at)?;
    }
    Ok(StringReply::Bulk(row.value))
}

fn value_or_nil(row: Option<StoredRow>) -> StringReply {
    row.map_or(StringReply::Nil, |row| StringReply::Bulk(row.value))
}

/// A value's bytes, followed by zeros up to `length` if it is shorter.
fn widened(value: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length.max(value.len()));
    bytes.extend_from_slice(value);
    bytes.resize(length.max(value.len()), 0);
    bytes
}

/// The length that a value shall have, if it may.
fn checked_length(length: Option<usize>) -> Result<usize, StringRefusal> {
    length.filter(|length| *length <= VALUE_BYTES_MAX).ok_or(StringRefusal::TooLong)
}

fn length_reply(length: usize) -> StringReply {
    StringReply::Integer(i64::try_from(length).unwrap_or(i64::MAX))
}
