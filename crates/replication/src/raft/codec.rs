//! How what openraft persists and sends is encoded: positions, votes, memberships, entries.
//!
//! Shared by the log on disk and the messages between replicas, each of which adds its own
//! version byte and checksum.
//!
//! ```text
//! leader      term varint | replica varint
//! log id      leader | index varint
//! vote        leader | committed flag
//! membership  configs: count, each (count, replica varint ...)
//!             nodes: count, each (replica varint | node u64 BE)
//! stored      flag [log id] | membership
//! entry       log id | 0                                blank
//!                    | 1 | length varint | payload      commands
//!                    | 2 | membership                   a change of replicas
//! payload     stamp zigzag | count, each (service varint | flag [id, 16 bytes] | length | bytes)
//! ```

use std::collections::{BTreeMap, BTreeSet};

use breccia_types::wire::{DecodeError, Reader, Writer};
use breccia_types::{Command, Entry, LogIndex, NodeId, ReplicaId, RequestId, ServiceId, Timestamp};
use bytes::Bytes;
use openraft::EntryPayload;
use openraft::vote::RaftLeaderId;

use super::types::{LeaderId, LogEntry, LogId, Membership, Payload, StoredMembership, Vote};

const BLANK: u8 = 0;
const COMMANDS: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// Writes a position.
pub fn put_log_id(to: &mut Writer<'_>, log_id: &LogId) {
    put_leader(to, log_id.committed_leader_id());
    to.put_varint(log_id.index());
}

/// Reads a position.
///
/// # Errors
/// [`DecodeError`] if the bytes are not what [`put_log_id`] writes.
pub fn take_log_id(from: &mut Reader) -> Result<LogId, DecodeError> {
    let leader = take_leader(from)?;
    Ok(LogId::new(leader, from.take_varint()?))
}

/// Writes a vote.
pub fn put_vote(to: &mut Writer<'_>, vote: &Vote) {
    put_leader(to, vote.leader_id());
    to.put_bool(vote.is_committed());
}

/// Reads a vote.
///
/// # Errors
/// [`DecodeError`] if the bytes are not what [`put_vote`] writes.
pub fn take_vote(from: &mut Reader) -> Result<Vote, DecodeError> {
    let leader = take_leader(from)?;
    let (term, replica) = (leader.term(), *leader.node_id());
    let is_committed = from.take_bool()?;
    Ok(if is_committed { Vote::new_committed(term, replica) } else { Vote::new(term, replica) })
}

/// Writes which replicas belong to a group, and since which position.
pub fn put_stored_membership(to: &mut Writer<'_>, stored: &StoredMembership) {
    to.put_option(stored.log_id().as_ref(), put_log_id);
    put_membership(to, stored.membership());
}

/// Reads which replicas belong to a group.
///
/// # Errors
/// [`DecodeError`] if the bytes are not what [`put_stored_membership`] writes.
pub fn take_stored_membership(from: &mut Reader) -> Result<StoredMembership, DecodeError> {
    let log_id = from.take_option(take_log_id)?;
    Ok(StoredMembership::new(log_id, take_membership(from)?))
}

/// Writes an entry.
pub fn put_entry(to: &mut Writer<'_>, entry: &LogEntry) {
    put_log_id(to, &entry.log_id);
    match &entry.payload {
        EntryPayload::Blank => to.put_u8(BLANK),
        EntryPayload::Normal(payload) => {
            to.put_u8(COMMANDS);
            to.put_bytes(payload.as_bytes());
        }
        EntryPayload::Membership(membership) => {
            to.put_u8(MEMBERSHIP);
            put_membership(to, membership);
        }
    }
}

/// Reads an entry; its payload shares the reader's memory.
///
/// # Errors
/// [`DecodeError`] if the bytes are not what [`put_entry`] writes.
pub fn take_entry(from: &mut Reader) -> Result<LogEntry, DecodeError> {
    let log_id = take_log_id(from)?;
    let at = from.position();
    let payload = match from.take_u8()? {
        BLANK => EntryPayload::Blank,
        COMMANDS => EntryPayload::Normal(Payload::new(from.take_bytes()?)),
        MEMBERSHIP => EntryPayload::Membership(take_membership(from)?),
        tag => return Err(DecodeError::UnknownTag { at, field: "kind of entry", tag }),
    };
    Ok(LogEntry { log_id, payload })
}

/// How many bytes an entry takes in memory and on disk, roughly.
#[must_use]
pub fn entry_bytes(entry: &LogEntry) -> usize {
    const OVERHEAD: usize = size_of::<LogEntry>();
    match &entry.payload {
        EntryPayload::Normal(payload) => OVERHEAD + payload.as_bytes().len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => OVERHEAD,
    }
}

/// Encodes what a leader took in: the instant and the commands of one entry.
#[must_use]
pub fn encode_payload(stamp: Timestamp, commands: &[Command]) -> Payload {
    let bytes: usize = commands.iter().map(|command| command.payload.len() + 24).sum();
    let mut encoded = Vec::with_capacity(bytes + 16);
    let mut to = Writer::new(&mut encoded);
    to.put_zigzag(stamp.as_micros());
    to.put_many(commands, |to, command| {
        to.put_varint(u64::from(command.service.get()));
        to.put_option(command.request_id, |to, id| to.put_array(id.as_bytes()));
        to.put_bytes(&command.payload);
    });
    Payload::new(Bytes::from(encoded))
}

/// Decodes a payload into the entry at a position; the commands share its memory.
///
/// # Errors
/// [`DecodeError`] if the bytes are not what [`encode_payload`] writes.
pub fn decode_payload(index: LogIndex, payload: &Payload) -> Result<Entry, DecodeError> {
    let mut from = Reader::new(payload.as_bytes().clone());
    let stamp = Timestamp::from_micros(from.take_zigzag()?);
    let commands = from.take_many(3, take_command)?;
    from.finish()?;
    Ok(Entry { index, stamp, commands })
}

fn take_command(from: &mut Reader) -> Result<Command, DecodeError> {
    let at = from.position();
    let service = u16::try_from(from.take_varint()?).map_err(|_| DecodeError::OutOfRange { at })?;
    let request_id = from.take_option(Reader::take_array)?.map(RequestId::new);
    let payload = from.take_bytes()?;
    Ok(Command { service: ServiceId::new(service), request_id, payload })
}

fn put_leader(to: &mut Writer<'_>, leader: &LeaderId) {
    to.put_varint(leader.term());
    to.put_varint(leader.node_id().get());
}

fn take_leader(from: &mut Reader) -> Result<LeaderId, DecodeError> {
    let term = from.take_varint()?;
    Ok(LeaderId::new(term, ReplicaId::new(from.take_varint()?)))
}

fn put_membership(to: &mut Writer<'_>, membership: &Membership) {
    to.put_many(membership.get_joint_config(), |to, config| {
        to.put_count(config.len());
        for replica in config {
            to.put_varint(replica.get());
        }
    });
    let nodes: Vec<_> = membership.nodes().collect();
    to.put_many(&nodes, |to, (replica, node)| {
        to.put_varint(replica.get());
        to.put_array(&node.get().to_be_bytes());
    });
}

fn take_membership(from: &mut Reader) -> Result<Membership, DecodeError> {
    let configs = from.take_many(1, |from| {
        let replicas = from.take_many(1, |from| Ok(ReplicaId::new(from.take_varint()?)))?;
        Ok(BTreeSet::from_iter(replicas))
    })?;
    let at = from.position();
    let nodes = from.take_many(9, |from| {
        let replica = ReplicaId::new(from.take_varint()?);
        Ok((replica, NodeId::new(u64::from_be_bytes(from.take_array()?))))
    })?;
    Membership::new(configs, BTreeMap::from_iter(nodes)).map_err(|_| DecodeError::OutOfRange { at })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_id(term: u64, index: u64) -> LogId {
        LogId::new(LeaderId::new(term, ReplicaId::new(7)), index)
    }

    fn membership() -> Membership {
        let [one, two] = [ReplicaId::new(1), ReplicaId::new(2)];
        let nodes = BTreeMap::from([(one, NodeId::new(u64::MAX)), (two, NodeId::new(3))]);
        Membership::new(vec![BTreeSet::from([one]), BTreeSet::from([one, two])], nodes)
            .expect("every voter has a node")
    }

    fn encoded(put: impl FnOnce(&mut Writer<'_>)) -> Bytes {
        let mut bytes = Vec::new();
        put(&mut Writer::new(&mut bytes));
        Bytes::from(bytes)
    }

    fn command(request_id: Option<RequestId>) -> Command {
        Command { service: ServiceId::new(300), request_id, payload: Bytes::from_static(b"set") }
    }

    #[test]
    fn every_kind_of_entry_comes_back_and_no_prefix_of_it_does() {
        let payload = encode_payload(Timestamp::from_micros(-5), &[command(None)]);
        for payload in [
            EntryPayload::Blank,
            EntryPayload::Normal(payload),
            EntryPayload::Membership(membership()),
        ] {
            let entry = LogEntry { log_id: log_id(9, 400), payload };
            let bytes = encoded(|to| put_entry(to, &entry));
            let mut from = Reader::new(bytes.clone());
            assert_eq!(take_entry(&mut from), Ok(entry));
            assert_eq!(from.finish(), Ok(()));
            for end in 0..bytes.len() {
                assert!(take_entry(&mut Reader::new(bytes.slice(..end))).is_err());
            }
        }
    }

    #[test]
    fn a_payload_comes_back_as_the_entry_at_its_position() {
        let commands = vec![command(None), command(Some(RequestId::new([9; 16])))];
        let stamp = Timestamp::from_micros(1_700_000_000_000_000);
        let index = LogIndex::new(12);
        let payload = encode_payload(stamp, &commands);
        assert_eq!(decode_payload(index, &payload), Ok(Entry { index, stamp, commands }));
    }

    #[test]
    fn votes_and_memberships_come_back() {
        for vote in [Vote::new(3, ReplicaId::new(1)), Vote::new_committed(4, ReplicaId::new(2))] {
            let bytes = encoded(|to| put_vote(to, &vote));
            assert_eq!(take_vote(&mut Reader::new(bytes)), Ok(vote));
        }
        let stored = StoredMembership::new(Some(log_id(1, 2)), membership());
        let bytes = encoded(|to| put_stored_membership(to, &stored));
        assert_eq!(take_stored_membership(&mut Reader::new(bytes)), Ok(stored));
    }

    #[test]
    fn a_membership_whose_voter_has_no_node_is_refused() {
        let bytes = encoded(|to| {
            to.put_many(&[1u64], |to, replica| {
                to.put_count(1);
                to.put_varint(*replica);
            });
            to.put_count(0);
        });
        assert_eq!(
            take_membership(&mut Reader::new(bytes)),
            Err(DecodeError::OutOfRange { at: 3 })
        );
    }
}
