//! The slots of a command's keys. The partition rule of the table `redis` is Redis
//! Cluster's.

use std::collections::BTreeMap;

use breccia_ring::slot_of;
use breccia_types::{Partition, Slot};
use bytes::Bytes;

use super::super::error::ReplyError;

/// The slot of a key.
pub(crate) fn of(key: &[u8]) -> Slot {
    slot_of(Partition::HashTag, key)
}

/// Checks that the keys of a command that is atomic share a slot.
pub(crate) fn check_one<'k>(keys: impl Iterator<Item = &'k [u8]>) -> Result<(), ReplyError> {
    let mut slots = keys.map(of);
    let first = slots.next();
    match slots.all(|slot| Some(slot) == first) {
        true => Ok(()),
        false => Err(ReplyError::CrossSlot),
    }
}

/// The keys of each slot.
pub(crate) fn grouped(keys: impl Iterator<Item = Bytes>) -> BTreeMap<Slot, Vec<Bytes>> {
    let mut groups: BTreeMap<Slot, Vec<Bytes>> = BTreeMap::new();
    for key in keys {
        groups.entry(of(&key)).or_default().push(key);
    }
    groups
}
