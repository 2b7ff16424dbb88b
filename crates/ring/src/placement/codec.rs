//! The bytes of a placement.
//!
//! ```text
//! 02 | epoch varint | highest replica id varint | shards: count, and each
//!   first slot varint | as of: term varint, index varint | replicas: count, and each
//!     replica id varint | node u64, big-endian | role: 1 voter, 2 learner
//! ```
//!
//! Shards ascend by slot, the first from slot 0; replicas ascend by id. So a placement has
//! one encoding, and placements may be compared as bytes. Version 1 had no "as of": it is read
//! as 0, 0.

use std::collections::BTreeSet;

use breccia_types::id::SLOT_COUNT;
use breccia_types::limits::SHARDS_MAX;
use breccia_types::wire::{DecodeError, Reader, Writer};
use breccia_types::{Epoch, NodeId, ReplicaId};
use bytes::Bytes;

use super::{LogPoint, Placement, ReplicaPlace, Role, ShardPlace};

const VERSION: u8 = 2;
const VERSION_WITHOUT_AS_OF: u8 = 1;

const VOTER: u8 = 1;
const LEARNER: u8 = 2;

/// A first slot and a count of replicas.
const SHARD_BYTES_MIN: usize = 2;
/// A replica id, a node and a role.
const REPLICA_BYTES_MIN: usize = 10;

impl Placement {
    /// The bytes of this placement; see `docs/formats.md`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut to = Writer::new(&mut out);
        to.put_u8(VERSION);
        to.put_varint(self.epoch.get());
        to.put_varint(self.last_replica.get());
        to.put_many(&self.shards, |to, shard| {
            to.put_varint(u64::from(shard.start));
            to.put_varint(shard.as_of.term);
            to.put_varint(shard.as_of.index);
            to.put_many(&shard.replicas, put_replica);
        });
        out
    }

    /// The placement that [`Placement::encode`] gave these bytes.
    ///
    /// # Errors
    /// [`DecodeError`], any of them. Slots, nodes and replica ids that no placement can have
    /// together are [`DecodeError::OutOfRange`].
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        let has_as_of = match from.take_u8()? {
            VERSION => true,
            VERSION_WITHOUT_AS_OF => false,
            version => return Err(DecodeError::UnknownVersion { version }),
        };
        let epoch = Epoch::new(from.take_varint()?);
        let last_replica = ReplicaId::new(from.take_varint()?);
        let at = from.position();
        let count = from.take_count(SHARD_BYTES_MIN)?;
        if count == 0 || u32::try_from(count).map_or(true, |count| count > SHARDS_MAX) {
            return Err(DecodeError::OutOfRange { at });
        }
        let mut placement = Self { epoch, last_replica, shards: Vec::with_capacity(count) };
        let mut ids = BTreeSet::new();
        for _ in 0..count {
            let shard = placement.take_shard(&mut from, &mut ids, has_as_of)?;
            placement.shards.push(shard);
        }
        from.finish()?;
        Ok(placement)
    }

    /// The shard after those that the placement has by now; `ids` are the replicas of those.
    fn take_shard(
        &self,
        from: &mut Reader,
        ids: &mut BTreeSet<ReplicaId>,
        has_as_of: bool,
    ) -> Result<ShardPlace, DecodeError> {
        let at = from.position();
        let start = from.take_varint()?;
        let follows = |before: &ShardPlace| u64::from(before.start) < start;
        if !self.shards.last().map_or(start == 0, follows) || start >= u64::from(SLOT_COUNT) {
            return Err(DecodeError::OutOfRange { at });
        }
        let start = u16::try_from(start).map_err(|_| DecodeError::OutOfRange { at })?;
        let as_of = match has_as_of {
            true => LogPoint { term: from.take_varint()?, index: from.take_varint()? },
            false => LogPoint::default(),
        };
        let count = from.take_count(REPLICA_BYTES_MIN)?;
        let mut replicas: Vec<ReplicaPlace> = Vec::new();
        for _ in 0..count {
            let at = from.position();
            let place = take_replica(from)?;
            let ascends = replicas.last().is_none_or(|before| before.replica < place.replica);
            let alone = replicas.iter().all(|other| other.node != place.node);
            let given_out = (1..=self.last_replica.get()).contains(&place.replica.get());
            if !(ascends && alone && given_out && ids.insert(place.replica)) {
                return Err(DecodeError::OutOfRange { at });
            }
            replicas.push(place);
        }
        Ok(ShardPlace { start, as_of, replicas })
    }
}

fn put_replica(to: &mut Writer<'_>, place: &ReplicaPlace) {
    to.put_varint(place.replica.get());
    to.put_array(&place.node.get().to_be_bytes());
    to.put_u8(match place.role {
        Role::Voter => VOTER,
        Role::Learner => LEARNER,
    });
}

fn take_replica(from: &mut Reader) -> Result<ReplicaPlace, DecodeError> {
    let replica = ReplicaId::new(from.take_varint()?);
    let node = NodeId::new(u64::from_be_bytes(from.take_array()?));
    let role = match from.take_u8()? {
        VOTER => Role::Voter,
        LEARNER => Role::Learner,
        tag => return Err(from.unknown("role", tag)),
    };
    Ok(ReplicaPlace { replica, node, role })
}

#[cfg(test)]
mod tests;
