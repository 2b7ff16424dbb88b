//! The modules that a shard holds for its write functions, among its own records.
//!
//! ```text
//! f | digest, 32 bytes                     -> number, u64 BE | module
//! i | number, u64 BE | digest, 32 bytes    -> length of the module, u64 BE     oldest first
//! ```
//!
//! When they take more than [`FUNCTION_MODULES_BYTES_PER_SHARD`], the oldest go. Whoever calls
//! one of those again puts it in again.

use breccia_store::{StoreError, Transaction};
use breccia_types::ModuleDigest;
use breccia_types::limits::FUNCTION_MODULES_BYTES_PER_SHARD;
use bytes::{Buf, Bytes};

const BY_DIGEST: u8 = b'f';
const BY_AGE: u8 = b'i';

/// The module of this digest.
pub(super) fn find(
    transaction: &Transaction<'_>,
    digest: ModuleDigest,
) -> Result<Option<Bytes>, StoreError> {
    Ok(entry(transaction, digest)?.map(|(_, module)| module))
}

/// Puts a module in, unless it is there.
pub(super) fn put(
    transaction: &mut Transaction<'_>,
    digest: ModuleDigest,
    module: &[u8],
) -> Result<(), StoreError> {
    if entry(transaction, digest)?.is_some() {
        return Ok(());
    }
    let kept = by_age(transaction)?;
    let mut bytes: u64 = kept.iter().map(|kept| kept.bytes).sum::<u64>() + wide(module.len());
    for old in &kept {
        if bytes <= wide(FUNCTION_MODULES_BYTES_PER_SHARD) {
            break;
        }
        bytes -= old.bytes;
        take_out(transaction, old.number, old.digest);
    }
    let number = kept.last().map_or(0, |last| last.number.saturating_add(1));
    transaction.put_own(&name_by_age(number, digest), wide(module.len()).to_be_bytes().to_vec());
    transaction.put_own(&name_by_digest(digest), [&number.to_be_bytes(), module].concat());
    Ok(())
}

/// Takes a module out, if it is there.
pub(super) fn remove(
    transaction: &mut Transaction<'_>,
    digest: ModuleDigest,
) -> Result<(), StoreError> {
    if let Some((number, _)) = entry(transaction, digest)? {
        take_out(transaction, number, digest);
    }
    Ok(())
}

struct Kept {
    number: u64,
    digest: ModuleDigest,
    bytes: u64,
}

fn entry(
    transaction: &Transaction<'_>,
    digest: ModuleDigest,
) -> Result<Option<(u64, Bytes)>, StoreError> {
    let stored = transaction.get_own(&name_by_digest(digest))?;
    Ok(stored.filter(|stored| stored.len() >= 8).map(|mut stored| (stored.get_u64(), stored)))
}

fn by_age(transaction: &Transaction<'_>) -> Result<Vec<Kept>, StoreError> {
    let records = transaction.own_first(&[BY_AGE], usize::MAX)?;
    Ok(records.iter().filter_map(|(name, bytes)| parse_by_age(name, bytes)).collect())
}

fn parse_by_age(name: &[u8], bytes: &[u8]) -> Option<Kept> {
    let (number, digest) = name.strip_prefix(&[BY_AGE])?.split_first_chunk::<8>()?;
    Some(Kept {
        number: u64::from_be_bytes(*number),
        digest: ModuleDigest::new(digest.try_into().ok()?),
        bytes: u64::from_be_bytes(bytes.try_into().ok()?),
    })
}

fn take_out(transaction: &mut Transaction<'_>, number: u64, digest: ModuleDigest) {
    transaction.delete_own(&name_by_digest(digest));
    transaction.delete_own(&name_by_age(number, digest));
}

fn name_by_digest(digest: ModuleDigest) -> Vec<u8> {
    [&[BY_DIGEST][..], digest.as_bytes()].concat()
}

fn name_by_age(number: u64, digest: ModuleDigest) -> Vec<u8> {
    [&[BY_AGE][..], &number.to_be_bytes(), digest.as_bytes()].concat()
}

fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
