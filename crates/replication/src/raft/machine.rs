//! The seam to a shard's state machine, and the position that says how far it is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use breccia_types::wire::{DecodeError, Reader, Writer};
use breccia_types::{Entry, LogIndex, NodeId, Outcome, ReplicaId, ShardId, Timestamp};
use bytes::Bytes;
use openraft::vote::RaftLeaderId;

use super::codec;
use super::types::{LeaderId, LogId, Membership, StoredMembership};
use crate::consensus::ApplyError;

const POSITION_VERSION: u8 = 1;

/// A replica's data, as its log sees it.
///
/// A *position* says how far the log is applied. To the machine it is opaque bytes, which it
/// must write in the same batch as what they stand for, so that whatever survives a loss of
/// power is a prefix of the log with the position that belongs to it.
pub trait ReplicaMachine: Send + 'static {
    /// The position of what is visible; `None` if nothing was ever applied or installed.
    ///
    /// # Errors
    /// [`ApplyError`], if it cannot be read.
    fn position(&self) -> Result<Option<Bytes>, ApplyError>;

    /// Applies entries and takes the position, all visible together when this returns. There
    /// may be no entry, when only the position moves. One list of outcomes per entry, one
    /// outcome per command.
    ///
    /// # Errors
    /// [`ApplyError::ReadOnly`] if there is no room: nothing is visible, and the same call
    /// comes again a little later. After any other error the replica is stopped.
    fn apply(
        &mut self,
        entries: Vec<Entry>,
        position: Bytes,
    ) -> Result<Vec<Vec<Outcome>>, ApplyError>;

    /// Makes what is visible survive a loss of power, and returns its position.
    ///
    /// # Errors
    /// [`ApplyError`]; what was applied may be lost.
    fn durable_position(&mut self) -> Result<Option<Bytes>, ApplyError>;

    /// Writes what is visible as files into the folder, which exists and is empty, without
    /// folders in it. Returns its position.
    ///
    /// # Errors
    /// [`ApplyError`]; the folder is then removed by the caller. The replica goes on, except
    /// after [`ApplyError::Quarantined`].
    fn export(&mut self, into: &Path) -> Result<Bytes, ApplyError>;

    /// Replaces everything by what [`ReplicaMachine::export`] wrote elsewhere. When this
    /// returns, it survives a loss of power; a crash before that leaves the old data or the
    /// new, never a part. The files may be moved away.
    ///
    /// # Errors
    /// [`ApplyError`]; the old data is then still there. After [`ApplyError::ReadOnly`] the
    /// files must be, too: the same call comes again a little later.
    fn install(&mut self, from: &Path, position: &Bytes) -> Result<(), ApplyError>;
}

/// Opens the machines of a node's replicas: at start, and again after a replica failed.
pub trait MachineSource: Send + Sync + 'static {
    /// The machine of a replica, empty if it never was here.
    ///
    /// # Errors
    /// [`ApplyError`], if there is something that cannot be opened.
    fn open(
        &self,
        shard: ShardId,
        replica: ReplicaId,
    ) -> Result<Box<dyn ReplicaMachine>, ApplyError>;
}

/// The position to be written into a shard that is fresh, or was kept by a log of another
/// kind up to `index`: with it the shard starts as a group of one voter, `replica` on `node`,
/// whose log begins after `index`.
#[must_use]
pub fn bootstrap_position(replica: ReplicaId, node: NodeId, index: LogIndex) -> Bytes {
    let log_id = LogId::new(LeaderId::new(0, replica), index.get());
    let voters = vec![BTreeSet::from([replica])];
    let nodes = BTreeMap::from([(replica, node)]);
    let membership = Membership::new(voters, nodes).unwrap_or_default();
    let membership = StoredMembership::new(Some(log_id), membership);
    Position { log_id, membership, stamp: Timestamp::MIN }.encode()
}

/// The index of the last entry that a position covers.
///
/// # Errors
/// [`DecodeError`] if the bytes are no position.
pub fn position_index(position: &Bytes) -> Result<LogIndex, DecodeError> {
    Position::decode(position.clone()).map(|position| LogIndex::new(position.log_id.index()))
}

/// How far a log is applied.
///
/// ```text
/// version u8 = 1 | stamp zigzag | log id | stored membership
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    /// The last entry applied.
    pub(crate) log_id: LogId,
    /// The last membership applied.
    pub(crate) membership: StoredMembership,
    /// The latest instant that any applied command had.
    pub(crate) stamp: Timestamp,
}

impl Position {
    pub(crate) fn encode(&self) -> Bytes {
        let mut encoded = Vec::with_capacity(96);
        let mut to = Writer::new(&mut encoded);
        to.put_u8(POSITION_VERSION);
        to.put_zigzag(self.stamp.as_micros());
        codec::put_log_id(&mut to, &self.log_id);
        codec::put_stored_membership(&mut to, &self.membership);
        Bytes::from(encoded)
    }

    pub(crate) fn decode(encoded: Bytes) -> Result<Self, DecodeError> {
        let mut from = Reader::new(encoded);
        let version = from.take_u8()?;
        if version != POSITION_VERSION {
            return Err(DecodeError::UnknownVersion { version });
        }
        let stamp = Timestamp::from_micros(from.take_zigzag()?);
        let log_id = codec::take_log_id(&mut from)?;
        let membership = codec::take_stored_membership(&mut from)?;
        from.finish()?;
        Ok(Self { log_id, membership, stamp })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bootstrapped_position_is_a_group_of_one_voter_after_its_index() {
        let (replica, node) = (ReplicaId::new(7), NodeId::new(9));
        let encoded = bootstrap_position(replica, node, LogIndex::new(400));
        assert_eq!(position_index(&encoded), Ok(LogIndex::new(400)));
        let position = Position::decode(encoded.clone()).expect("a position");
        let voters: Vec<_> = position.membership.membership().voter_ids().collect();
        assert_eq!(voters, [replica]);
        assert_eq!(position.membership.membership().get_node(&replica), Some(&node));
        assert_eq!(position.encode(), encoded);
    }

    #[test]
    fn the_position_of_a_replica_that_knows_no_membership_yet_comes_back() {
        let log_id = LogId::new(LeaderId::new(2, ReplicaId::new(1)), 9);
        let membership = StoredMembership::default();
        let position = Position { log_id, membership, stamp: Timestamp::from_micros(-1) };
        assert_eq!(Position::decode(position.encode()), Ok(position));
    }

    #[test]
    fn a_position_of_another_version_is_refused() {
        let mut encoded =
            bootstrap_position(ReplicaId::new(1), NodeId::new(1), LogIndex::new(0)).to_vec();
        encoded[0] = 9;
        let refused = Position::decode(Bytes::from(encoded));
        assert_eq!(refused, Err(DecodeError::UnknownVersion { version: 9 }));
    }
}
