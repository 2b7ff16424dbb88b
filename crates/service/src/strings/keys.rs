//! Commands about keys as a whole: removal, expiry, renaming, copies; and sketches.

use breccia_types::Timestamp;
use breccia_types::strings::{ExpireCondition, StringRefusal, StringReply};
use bytes::Bytes;

use super::rows::{Outcome, Rows};
use super::sketch;

pub(super) fn delete(rows: &mut Rows<'_, '_>, keys: &[Bytes]) -> Outcome {
    let mut existed = 0;
    // A key given twice is gone the second time, and so counts once.
    for key in keys {
        existed += i64::from(rows.delete(key)?);
    }
    Ok(StringReply::Integer(existed))
}

pub(super) fn expire(
    rows: &mut Rows<'_, '_>,
    key: &[u8],
    at: Timestamp,
    condition: ExpireCondition,
) -> Outcome {
    let Some(row) = rows.get(key)? else {
        return Ok(StringReply::Integer(0));
    };
    if !holds(condition, row.expires_at, at) {
        return Ok(StringReply::Integer(0));
    }
    rows.put(key, &row.value, Some(at))?;
    Ok(StringReply::Integer(1))
}

/// Whether an expiry may replace the present one. No expiry is later than every other.
fn holds(condition: ExpireCondition, present: Option<Timestamp>, at: Timestamp) -> bool {
    let ExpireCondition { if_none, if_some, if_later, if_earlier } = condition;
    (!if_none || present.is_none())
        && (!if_some || present.is_some())
        && (!if_later || present.is_some_and(|present| at > present))
        && (!if_earlier || present.is_none_or(|present| at < present))
}

pub(super) fn persist(rows: &mut Rows<'_, '_>, key: &[u8]) -> Outcome {
    match rows.get(key)? {
        Some(row) if row.expires_at.is_some() => {
            rows.put(key, &row.value, None)?;
            Ok(StringReply::Integer(1))
        }
        _ => Ok(StringReply::Integer(0)),
    }
}

pub(super) fn rename(
    rows: &mut Rows<'_, '_>,
    from: &[u8],
    to: &[u8],
    only_if_absent: bool,
) -> Outcome {
    let row = rows.get(from)?.ok_or(StringRefusal::NoSuchKey)?;
    if only_if_absent && rows.exists(to)? {
        return Ok(StringReply::Integer(0));
    }
    if from != to {
        rows.delete(from)?;
        rows.put(to, &row.value, row.expires_at)?;
    }
    Ok(if only_if_absent { StringReply::Integer(1) } else { StringReply::Ok })
}

pub(super) fn copy(rows: &mut Rows<'_, '_>, from: &[u8], to: &[u8], replace: bool) -> Outcome {
    let Some(row) = rows.get(from)? else {
        return Ok(StringReply::Integer(0));
    };
    if !replace && rows.exists(to)? {
        return Ok(StringReply::Integer(0));
    }
    rows.put(to, &row.value, row.expires_at)?;
    Ok(StringReply::Integer(1))
}

pub(super) fn sketch_add(rows: &mut Rows<'_, '_>, key: &[u8], elements: &[Bytes]) -> Outcome {
    let row = rows.get(key)?;
    let existing = row.as_ref().map(|row| row.value.as_ref());
    let Some(changed) = sketch::add(existing, elements)? else {
        return Ok(StringReply::Integer(0));
    };
    rows.put(key, &changed, row.and_then(|row| row.expires_at))?;
    Ok(StringReply::Integer(1))
}

pub(super) fn sketch_merge(
    rows: &mut Rows<'_, '_>,
    destination: &[u8],
    sources: &[Bytes],
) -> Outcome {
    let row = rows.get(destination)?;
    // One source in memory at a time: what is no sketch may be large.
    let mut merger = sketch::Merger::new(row.as_ref().map(|row| row.value.as_ref()))?;
    for source in sources {
        if let Some(source) = rows.get(source)? {
            merger.include(&source.value)?;
        }
    }
    let union = merger.finish()?;
    rows.put(destination, &union, row.and_then(|row| row.expires_at))?;
    Ok(StringReply::Ok)
}
