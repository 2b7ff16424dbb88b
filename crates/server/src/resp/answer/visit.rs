//! Reads of what all rows together tell.

use breccia_types::Slot;
use breccia_types::kv::{Cursor, Scan};
use breccia_types::limits::PAGE_ROWS_MAX;
use bytes::Bytes;

use super::super::command::{ScanPage, Visit};
use super::super::decode::slots;
use super::super::encoder::Encoder;
use super::super::error::ReplyError;
use super::super::front::Front;
use super::super::glob;
use super::super::limits::{KEYS_PAGE_ROWS, KEYS_REPLY_BYTES_MAX};
use super::read::in_time;

/// Answers a visit.
///
/// # Errors
/// What the node reports. Nothing is encoded then.
pub(crate) async fn answer(
    front: &Front,
    visit: &Visit,
    encoder: &mut Encoder,
) -> Result<(), ReplyError> {
    match visit {
        Visit::Scan(page) => return scan(front, page, encoder).await,
        Visit::Keys { pattern } => {
            let keys = fitting(front, pattern, |key| glob::matches(pattern, key)).await?;
            encode_keys(encoder, &keys);
        }
        Visit::Size => {
            let count = in_time(front.node.count(&front.table)).await?;
            encoder.integer(i64::try_from(count).unwrap_or(i64::MAX));
        }
        Visit::RandomKey => match in_time(front.node.random_key(&front.table)).await? {
            Some(key) => encoder.bulk(&key),
            None => encoder.null(),
        },
        Visit::CountInSlot { slot } => {
            let slot = Slot::new(*slot).ok_or(ReplyError::InvalidSlot)?;
            let count = in_time(front.node.count_slot(&front.table, slot)).await?;
            encoder.integer(i64::try_from(count).unwrap_or(i64::MAX));
        }
        Visit::KeysInSlot { slot, most } => {
            let mut left = *most;
            let chosen = |key: &[u8]| {
                let is_chosen = left > 0 && slots::of(key).get() == *slot;
                left -= usize::from(is_chosen);
                is_chosen
            };
            let keys = fitting(front, b"", chosen).await?;
            encode_keys(encoder, &keys);
        }
    }
    Ok(())
}

async fn scan(front: &Front, page: &ScanPage, encoder: &mut Encoder) -> Result<(), ReplyError> {
    let after = match page.cursor {
        0 => None,
        cursor => Some(front.cursors.look_up(cursor).ok_or(ReplyError::ForgottenCursor)?),
    };
    let mut keys = Vec::new();
    let mut next = 0;
    // Only strings exist: a scan for another type is done at once.
    if page.strings {
        let pattern = page.pattern.as_ref();
        let scan = Scan {
            prefix: pattern.map(prefix_of).unwrap_or_default(),
            limit: page.count.min(PAGE_ROWS_MAX),
            cursor: after.map(|after| Cursor { after }),
            ..Scan::default()
        };
        let found = in_time(front.node.scan(&front.table, scan)).await?;
        let fits = |key: &Bytes| pattern.is_none_or(|pattern| glob::matches(pattern, key));
        keys = found.rows.into_iter().map(|row| row.key).filter(fits).collect();
        next = found.cursor.map_or(0, |cursor| front.cursors.give_out(cursor.after));
    }
    encoder.array(2);
    encoder.bulk(next.to_string().as_bytes());
    encode_keys(encoder, &keys);
    Ok(())
}

fn prefix_of(pattern: &Bytes) -> Bytes {
    pattern.slice(..glob::literal_prefix(pattern).len())
}

/// The keys that fit, visited page by page from the pattern's literal start.
async fn fitting(
    front: &Front,
    pattern: &[u8],
    mut fits: impl FnMut(&[u8]) -> bool,
) -> Result<Vec<Bytes>, ReplyError> {
    let prefix = Bytes::copy_from_slice(glob::literal_prefix(pattern));
    let mut keys = Vec::new();
    let mut bytes = 0;
    let mut cursor = None;
    loop {
        let scan =
            Scan { prefix: prefix.clone(), limit: KEYS_PAGE_ROWS, cursor, ..Scan::default() };
        let page = in_time(front.node.scan(&front.table, scan)).await?;
        for row in page.rows {
            if fits(&row.key) {
                bytes += row.key.len() + size_of::<Bytes>();
                keys.push(row.key);
            }
        }
        if bytes > KEYS_REPLY_BYTES_MAX {
            return Err(ReplyError::TooManyKeys);
        }
        if page.cursor.is_none() {
            return Ok(keys);
        }
        cursor = page.cursor;
    }
}

fn encode_keys(encoder: &mut Encoder, keys: &[Bytes]) {
    encoder.array(keys.len());
    keys.iter().for_each(|key| encoder.bulk(key));
}
