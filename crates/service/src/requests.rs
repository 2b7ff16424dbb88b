//! Remembers the replies to request ids, so that a retried request is applied once.
//!
//! The memory is part of the shard's own records and so survives restarts and moves with the
//! shard. An id is forgotten [`REQUEST_ID_REMEMBERED`] after its first use, judged by the
//! stamps of entries, or earlier when there are more than [`REQUEST_IDS_PER_SHARD_MAX`].
//!
//! ```text
//! q | id, 16 bytes                 -> format u8 | 0 | reply          applied
//!                                     format u8 | 1 | service u16    no such service
//!                                     format u8 | 2 | service u16    malformed
//! o | stamp, i64 BE biased | id    -> (empty)                        oldest first
//! n                                -> count u64 BE
//! ```

use breccia_store::{StoreError, Transaction};
use breccia_types::limits::{REQUEST_ID_REMEMBERED, REQUEST_IDS_PER_SHARD_MAX};
use breccia_types::{Outcome, Rejected, RequestId, ServiceId, Timestamp};
use bytes::Buf;

const FORMAT: u8 = 1;
const APPLIED: u8 = 0;
const UNKNOWN_SERVICE: u8 = 1;
const MALFORMED: u8 = 2;
const BY_ID: u8 = b'q';
const BY_AGE: u8 = b'o';
const COUNT: &[u8] = b"n";
/// How many old ids an entry forgets at most for each new one that it brings.
const FORGET_PER_NEW: usize = 2;

/// The reply that a request id got when it was first applied.
pub(crate) fn recall(
    transaction: &Transaction<'_>,
    id: RequestId,
) -> Result<Option<Outcome>, StoreError> {
    let Some(mut stored) = transaction.get_own(&by_id(id))? else {
        return Ok(None);
    };
    let unknown =
        |found| StoreError::UnknownFormat { what: "a request's reply", found, known: FORMAT };
    let Some([format, kind]) = stored.first_chunk::<2>().copied() else {
        return Err(unknown(0));
    };
    if format != FORMAT {
        return Err(unknown(format));
    }
    stored.advance(2);
    match (kind, stored.first_chunk::<2>()) {
        (APPLIED, _) => Ok(Some(Ok(stored))),
        (UNKNOWN_SERVICE, Some(service)) => {
            Ok(Some(Err(Rejected::UnknownService { service: service_of(*service) })))
        }
        (MALFORMED, Some(service)) => {
            Ok(Some(Err(Rejected::Malformed { service: service_of(*service) })))
        }
        _ => Err(unknown(kind)),
    }
}

/// Remembers the reply to a request id that was just applied.
pub(crate) fn remember(transaction: &mut Transaction<'_>, id: RequestId, outcome: &Outcome) {
    let mut stored = vec![FORMAT];
    match outcome {
        Ok(reply) => {
            stored.push(APPLIED);
            stored.extend_from_slice(reply);
        }
        Err(Rejected::Malformed { service }) => {
            stored.push(MALFORMED);
            stored.extend_from_slice(&service.get().to_be_bytes());
        }
        Err(Rejected::UnknownService { service }) => {
            stored.push(UNKNOWN_SERVICE);
            stored.extend_from_slice(&service.get().to_be_bytes());
        }
        // A rejection that this version does not know is not remembered: a retry of it is
        // rejected again.
        Err(_) => return,
    }
    transaction.put_own(&by_id(id), stored);
    transaction.put_own(&by_age(transaction.stamp(), id), Vec::new());
}

/// Forgets ids that are too old or too many, after an entry that brought `new` ones.
pub(crate) fn forget(transaction: &mut Transaction<'_>, new: usize) -> Result<(), StoreError> {
    let counted = transaction.get_own(COUNT)?;
    let before = counted.as_deref().and_then(|count| count.first_chunk::<8>().copied());
    let mut count = before.map_or(0, u64::from_be_bytes).saturating_add(wide(new));
    let oldest_kept = transaction.stamp().saturating_sub(REQUEST_ID_REMEMBERED);
    for (name, _) in transaction.own_first(&[BY_AGE], new.saturating_mul(FORGET_PER_NEW))? {
        let Some((stamp, id)) = parse_by_age(&name) else {
            continue;
        };
        if stamp >= oldest_kept && count <= wide(REQUEST_IDS_PER_SHARD_MAX) {
            break;
        }
        transaction.delete_own(&by_id(id));
        transaction.delete_own(&name);
        count = count.saturating_sub(1);
    }
    transaction.put_own(COUNT, count.to_be_bytes().to_vec());
    Ok(())
}

fn by_id(id: RequestId) -> Vec<u8> {
    let mut name = vec![BY_ID];
    name.extend_from_slice(id.as_bytes());
    name
}

fn by_age(stamp: Timestamp, id: RequestId) -> Vec<u8> {
    let mut name = vec![BY_AGE];
    let biased = stamp.as_micros().cast_unsigned() ^ (1 << 63);
    name.extend_from_slice(&biased.to_be_bytes());
    name.extend_from_slice(id.as_bytes());
    name
}

fn parse_by_age(name: &[u8]) -> Option<(Timestamp, RequestId)> {
    let (biased, id) = name.strip_prefix(&[BY_AGE])?.split_first_chunk::<8>()?;
    let micros = (u64::from_be_bytes(*biased) ^ (1 << 63)).cast_signed();
    let id = id.try_into().ok().map(RequestId::new)?;
    Some((Timestamp::from_micros(micros), id))
}

const fn service_of(bytes: [u8; 2]) -> ServiceId {
    ServiceId::new(u16::from_be_bytes(bytes))
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
