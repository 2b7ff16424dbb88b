//! The messages between the replicas of a shard.
//!
//! Every message starts with whom it is for, so that no replica ever takes one that was meant
//! for another, a predecessor on the same node above all.
//!
//! ```text
//! envelope    version u8 = 2 | shard varint | from replica varint | to replica varint
//! append      flag [voucher] | vote | flag [prev log id] | flag [committed log id]
//!             | count, entries
//! appended    0 | stamp | flag [matched]   1 | stamp | conflicting log id
//!             2 | stamp | higher vote      3 | refusal
//! stamp       run u64 BE | microseconds varint
//! voucher     stamp | age of the lead varint, microseconds | applied index varint
//! vote        vote | flag [last log id] | flag: by transfer of leadership
//! voted       vote | flag: granted | flag [last log id]
//! transfer    vote | replica varint | flag [last log id]
//! transferred 0   1 | length, reason of the refusal
//! ```
//!
//! Messages in a stream have no envelope: the first message of the stream is one, and speaks for
//! all. Version 1 had neither stamps nor vouchers; it is refused.

use std::time::Duration;

use breccia_transport::{Method, Refusal};
use breccia_types::wire::{DecodeError, Reader, Writer};
use breccia_types::{LogIndex, ReplicaId, ShardId};
use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use thiserror::Error;

use super::codec;
use super::freshness::{Run, Stamp, Voucher};
use super::refusal::Refused;
use super::types::{GroupConfig, LogId};

const VERSION: u8 = 2;

/// One request to append, or a heartbeat: a call.
pub(crate) const APPEND: Method = Method(1);
/// A request for a vote: a call.
pub(crate) const VOTE: Method = Method(2);
/// Whether a vote would be given: a call.
pub(crate) const PRE_VOTE: Method = Method(3);
/// Leadership is to move: a call.
pub(crate) const TRANSFER: Method = Method(4);
/// Requests to append and their replies, in order: a stream.
pub(crate) const APPEND_STREAM: Method = Method(5);
/// A shard's files: a stream.
pub(crate) const SNAPSHOT: Method = Method(6);

/// Whom a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Envelope {
    pub(crate) shard: ShardId,
    pub(crate) from: ReplicaId,
    pub(crate) to: ReplicaId,
}

impl Envelope {
    /// A message: the envelope, then what `put` writes.
    pub(crate) fn enclose(&self, put: impl FnOnce(&mut Writer<'_>)) -> Bytes {
        encoded(|to| {
            to.put_u8(VERSION);
            to.put_varint(u64::from(self.shard.get()));
            to.put_varint(self.from.get());
            to.put_varint(self.to.get());
            put(to);
        })
    }

    /// Reads the envelope; the reader is then at the content.
    pub(crate) fn open(message: Bytes) -> Result<(Self, Reader), DecodeError> {
        let mut from = Reader::new(message);
        let version = from.take_u8()?;
        if version != VERSION {
            return Err(DecodeError::UnknownVersion { version });
        }
        let at = from.position();
        let shard = u32::try_from(from.take_varint()?);
        let shard = ShardId::new(shard.map_err(|_| DecodeError::OutOfRange { at })?);
        let sender = ReplicaId::new(from.take_varint()?);
        let to = ReplicaId::new(from.take_varint()?);
        Ok((Self { shard, from: sender, to }, from))
    }
}

pub(crate) fn encoded(put: impl FnOnce(&mut Writer<'_>)) -> Bytes {
    let mut bytes = Vec::new();
    put(&mut Writer::new(&mut bytes));
    Bytes::from(bytes)
}

pub(crate) fn put_append(
    to: &mut Writer<'_>,
    request: &AppendEntriesRequest<GroupConfig>,
    voucher: Option<&Voucher>,
) {
    to.put_option(voucher, put_voucher);
    codec::put_vote(to, &request.vote);
    put_position(to, request.prev_log_id.as_ref());
    put_position(to, request.leader_commit.as_ref());
    to.put_many(&request.entries, codec::put_entry);
}

pub(crate) fn take_append(
    mut from: Reader,
) -> Result<(Option<Voucher>, AppendEntriesRequest<GroupConfig>), DecodeError> {
    let voucher = from.take_option(take_voucher)?;
    let vote = codec::take_vote(&mut from)?;
    let prev_log_id = take_position(&mut from)?;
    let leader_commit = take_position(&mut from)?;
    let entries = from.take_many(4, codec::take_entry)?;
    from.finish()?;
    Ok((voucher, AppendEntriesRequest { vote, prev_log_id, entries, leader_commit }))
}

pub(crate) fn put_appended(
    to: &mut Writer<'_>,
    stamp: Stamp,
    result: &StreamAppendResult<GroupConfig>,
) {
    match result {
        Ok(matched) => {
            to.put_u8(0);
            put_stamp(to, stamp);
            put_position(to, matched.as_ref());
        }
        Err(StreamAppendError::Conflict(at)) => {
            to.put_u8(1);
            put_stamp(to, stamp);
            codec::put_log_id(to, at);
        }
        Err(StreamAppendError::HigherVote(vote)) => {
            to.put_u8(2);
            put_stamp(to, stamp);
            codec::put_vote(to, vote);
        }
    }
}

/// Writes, in a stream, why nothing is appended.
pub(crate) fn put_not_appended(to: &mut Writer<'_>, refused: Refused) {
    to.put_u8(3);
    to.put_array(&refused.to_refusal().0);
}

/// A reply that says nothing about the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum NoAnswer {
    #[error("the reply cannot be read: {0}")]
    Unreadable(#[from] DecodeError),
    #[error(transparent)]
    Refused(Refused),
}

pub(crate) fn take_appended(
    message: Bytes,
) -> Result<(Stamp, StreamAppendResult<GroupConfig>), NoAnswer> {
    let mut from = Reader::new(message.clone());
    let tag = from.take_u8()?;
    if tag == 3 {
        let refusal = Refusal(message.slice(from.position()..));
        return Err(NoAnswer::Refused(Refused::from_refusal(&refusal)?));
    }
    let stamp = take_stamp(&mut from)?;
    let result = match tag {
        0 => Ok(take_position(&mut from)?),
        1 => Err(StreamAppendError::Conflict(codec::take_log_id(&mut from)?)),
        2 => Err(StreamAppendError::HigherVote(codec::take_vote(&mut from)?)),
        tag => {
            return Err(DecodeError::UnknownTag { at: 0, field: "reply to append", tag }.into());
        }
    };
    from.finish()?;
    Ok((stamp, result))
}

pub(crate) fn put_vote_request(to: &mut Writer<'_>, request: &VoteRequest<GroupConfig>) {
    codec::put_vote(to, &request.vote);
    put_position(to, request.last_log_id.as_ref());
    to.put_bool(request.leadership_transfer);
}

pub(crate) fn take_vote_request(mut from: Reader) -> Result<VoteRequest<GroupConfig>, DecodeError> {
    let vote = codec::take_vote(&mut from)?;
    let mut request = VoteRequest::new(vote, take_position(&mut from)?);
    request.leadership_transfer = from.take_bool()?;
    from.finish()?;
    Ok(request)
}

pub(crate) fn put_voted(to: &mut Writer<'_>, response: &VoteResponse<GroupConfig>) {
    codec::put_vote(to, &response.vote);
    to.put_bool(response.vote_granted);
    put_position(to, response.last_log_id.as_ref());
}

pub(crate) fn take_voted(message: Bytes) -> Result<VoteResponse<GroupConfig>, DecodeError> {
    let mut from = Reader::new(message);
    let vote = codec::take_vote(&mut from)?;
    let is_granted = from.take_bool()?;
    let last_log_id = take_position(&mut from)?;
    from.finish()?;
    Ok(VoteResponse::new(vote, last_log_id, is_granted))
}

pub(crate) fn put_transfer(to: &mut Writer<'_>, request: &TransferLeaderRequest<GroupConfig>) {
    codec::put_vote(to, request.from_leader());
    to.put_varint(request.to_node_id().get());
    put_position(to, request.last_log_id());
}

pub(crate) fn take_transfer(
    mut from: Reader,
) -> Result<TransferLeaderRequest<GroupConfig>, DecodeError> {
    let vote = codec::take_vote(&mut from)?;
    let target = ReplicaId::new(from.take_varint()?);
    let last_log_id = take_position(&mut from)?;
    from.finish()?;
    Ok(TransferLeaderRequest::new(vote, target, last_log_id))
}

pub(crate) fn put_transferred(to: &mut Writer<'_>, response: &TransferLeaderResponse<GroupConfig>) {
    match response {
        Ok(()) => to.put_u8(0),
        Err(refused) => {
            to.put_u8(1);
            to.put_bytes(refused.to_string().as_bytes());
        }
    }
}

/// Reads what [`put_transferred`] writes: the reason, if leadership was refused.
pub(crate) fn take_transferred(message: Bytes) -> Result<Result<(), String>, DecodeError> {
    let mut from = Reader::new(message);
    let response = match from.take_u8()? {
        0 => Ok(()),
        1 => Err(String::from_utf8_lossy(&from.take_bytes()?).into_owned()),
        tag => return Err(DecodeError::UnknownTag { at: 0, field: "reply to transfer", tag }),
    };
    from.finish()?;
    Ok(response)
}

fn put_stamp(to: &mut Writer<'_>, stamp: Stamp) {
    to.put_array(&stamp.run.get().to_be_bytes());
    to.put_varint(stamp.micros);
}

fn take_stamp(from: &mut Reader) -> Result<Stamp, DecodeError> {
    let run = Run::new(u64::from_be_bytes(from.take_array()?));
    Ok(Stamp { run, micros: from.take_varint()? })
}

fn put_voucher(to: &mut Writer<'_>, voucher: &Voucher) {
    put_stamp(to, voucher.echo);
    // Rounded up: never younger than it is.
    let lead_age = voucher.lead_age.as_nanos().div_ceil(1_000);
    to.put_varint(u64::try_from(lead_age).unwrap_or(u64::MAX));
    to.put_varint(voucher.applied.get());
}

fn take_voucher(from: &mut Reader) -> Result<Voucher, DecodeError> {
    let echo = take_stamp(from)?;
    let lead_age = Duration::from_micros(from.take_varint()?);
    Ok(Voucher { echo, lead_age, applied: LogIndex::new(from.take_varint()?) })
}

fn put_position(to: &mut Writer<'_>, log_id: Option<&LogId>) {
    to.put_option(log_id, codec::put_log_id);
}

fn take_position(from: &mut Reader) -> Result<Option<LogId>, DecodeError> {
    from.take_option(codec::take_log_id)
}

#[cfg(test)]
mod tests;
