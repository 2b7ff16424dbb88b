//! The bytes of a request that one node sends to another, and of the reply.
//!
//! ```text
//! request   01 | epoch varint | shard varint | hops left u8 | visited: count, (node u64 BE ...)
//!              | time left varint, microseconds | body
//! body      1 | commands: count, (service varint | flag [request id, 16 bytes] | bytes ...)
//!           2 | service varint | request bytes | consistency
//! consistency   0 linearizable; 1 strict; 2 | varint, microseconds: stale
//!
//! reply     01 | kind, and
//!   1 outcomes: by u64 BE | count, each 1 | bytes, or 0 | a rejection, see `Rejected::put`
//!   2 by u64 BE | bytes: the answer to a read
//!   3 wrong owner: flag [leader u64 BE] | epoch varint      nothing was done
//!   4 not now: reason bytes                                 nothing was done
//!   5 unknown                                               it may or may not have been done
//!   6 failed: an error, see `RequestError::put`             goes to the client as it is
//! ```

use std::time::Duration;

use breccia_types::wire::{DecodeError, Reader, Writer};
use breccia_types::{Command, Epoch, NodeId, Outcome, Rejected, RequestError, ServiceId, ShardId};
use bytes::Bytes;

use crate::local::ShardRead;
use crate::route::Consistency;

const VERSION: u8 = 1;

const WRITE: u8 = 1;
const READ: u8 = 2;

const LINEARIZABLE: u8 = 0;
const STRICT: u8 = 1;
const STALE: u8 = 2;

const OUTCOMES: u8 = 1;
const BYTES: u8 = 2;
const WRONG_OWNER: u8 = 3;
const NOT_NOW: u8 = 4;
const UNKNOWN: u8 = 5;
const FAILED: u8 = 6;

/// What is asked of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// To put commands into its log.
    Write {
        /// The commands.
        commands: Vec<Command>,
    },
    /// To answer a read.
    Read(ShardRead),
}

/// What it means to do a request twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Repetition {
    /// Nothing: it is a read.
    Harmless,
    /// It is done once: every command carries a request id.
    Recognised,
    /// It may be done twice.
    Harmful,
}

/// A request on its way from one node to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardedRequest {
    /// The epoch of the placement that the sender went by.
    pub epoch: Epoch,
    /// Of which shard.
    pub shard: ShardId,
    /// How many more nodes the receiver may pass it on to.
    pub hops_left: u8,
    /// The nodes that it came through, the sender last.
    pub visited: Vec<NodeId>,
    /// How long the client still waits.
    pub time_left: Duration,
    /// What is asked.
    pub body: Body,
}

/// What the node that was asked has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardedReply {
    /// To a write.
    Outcomes {
        /// The node that ran it.
        by: NodeId,
        /// The outcomes of the commands, in their order.
        outcomes: Vec<Outcome>,
    },
    /// To a read.
    Bytes {
        /// The node that ran it.
        by: NodeId,
        /// The answer in the service's encoding.
        bytes: Bytes,
    },
    /// Another node must be asked. Nothing was done.
    WrongOwner {
        /// Who leads the shard, if that is known.
        leader: Option<NodeId>,
        /// The epoch of the placement that says so.
        epoch: Epoch,
    },
    /// Nothing was done; a little later it may.
    NotNow {
        /// What keeps the node.
        reason: String,
    },
    /// The request may or may not have been done.
    Unknown,
    /// The answer is that there is none.
    Failed(RequestError),
}

impl ForwardedRequest {
    /// The bytes of the request.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(64 + self.body.bytes());
        let mut to = Writer::new(&mut out);
        to.put_u8(VERSION);
        to.put_varint(self.epoch.get());
        to.put_varint(u64::from(self.shard.get()));
        to.put_u8(self.hops_left);
        to.put_many(&self.visited, |to, node| put_node(to, *node));
        put_duration(&mut to, self.time_left);
        match &self.body {
            Body::Write { commands } => {
                to.put_u8(WRITE);
                to.put_many(commands, |to, command| command.put(to));
            }
            Body::Read(ShardRead { service, request, consistency }) => {
                to.put_u8(READ);
                to.put_varint(u64::from(service.get()));
                to.put_bytes(request);
                put_consistency(&mut to, *consistency);
            }
        }
        out.into()
    }

    /// Reads a request; its byte fields share the memory of `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`]; the bytes are no request of a version that this build reads.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut from = versioned(bytes)?;
        let request = Self {
            epoch: Epoch::new(from.take_varint()?),
            shard: ShardId::take(&mut from)?,
            hops_left: from.take_u8()?,
            visited: from.take_many(size_of::<u64>(), take_node)?,
            time_left: take_duration(&mut from)?,
            body: take_body(&mut from)?,
        };
        from.finish()?;
        Ok(request)
    }
}

impl ForwardedReply {
    /// The bytes of the reply.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(64);
        let mut to = Writer::new(&mut out);
        to.put_u8(VERSION);
        match self {
            Self::Outcomes { by, outcomes } => {
                to.put_u8(OUTCOMES);
                put_node(&mut to, *by);
                to.put_many(outcomes, put_outcome);
            }
            Self::Bytes { by, bytes } => {
                to.put_u8(BYTES);
                put_node(&mut to, *by);
                to.put_bytes(bytes);
            }
            Self::WrongOwner { leader, epoch } => {
                to.put_u8(WRONG_OWNER);
                to.put_option(*leader, put_node);
                to.put_varint(epoch.get());
            }
            Self::NotNow { reason } => {
                to.put_u8(NOT_NOW);
                to.put_bytes(reason.as_bytes());
            }
            Self::Unknown => to.put_u8(UNKNOWN),
            Self::Failed(error) => {
                to.put_u8(FAILED);
                error.put(&mut to);
            }
        }
        out.into()
    }

    /// Reads a reply; its byte fields share the memory of `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`]; the bytes are no reply of a version that this build reads.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut from = versioned(bytes)?;
        let reply = match from.take_u8()? {
            OUTCOMES => Self::Outcomes {
                by: take_node(&mut from)?,
                outcomes: from.take_many(2, take_outcome)?,
            },
            BYTES => Self::Bytes { by: take_node(&mut from)?, bytes: from.take_bytes()? },
            WRONG_OWNER => Self::WrongOwner {
                leader: from.take_option(take_node)?,
                epoch: Epoch::new(from.take_varint()?),
            },
            NOT_NOW => {
                let reason = String::from_utf8_lossy(&from.take_bytes()?).into_owned();
                Self::NotNow { reason }
            }
            UNKNOWN => Self::Unknown,
            FAILED => Self::Failed(RequestError::take(&mut from)?),
            kind => return Err(from.unknown("kind of reply", kind)),
        };
        from.finish()?;
        Ok(reply)
    }
}

impl Body {
    /// What it must have seen; a write sees everything before it.
    #[must_use]
    pub const fn consistency(&self) -> Consistency {
        match self {
            Self::Write { .. } => Consistency::Linearizable,
            Self::Read(read) => read.consistency,
        }
    }

    /// Bytes that it holds, for windows.
    #[must_use]
    pub fn bytes(&self) -> usize {
        /// Of a command, beside its payload.
        const OVERHEAD: usize = 32;
        match self {
            Self::Write { commands } => {
                commands.iter().map(|command| command.payload.len() + OVERHEAD).sum()
            }
            Self::Read(read) => read.request.len() + OVERHEAD,
        }
    }

    /// What it means to do it twice.
    #[must_use]
    pub fn repetition(&self) -> Repetition {
        match self {
            Self::Read(_) => Repetition::Harmless,
            Self::Write { commands } => {
                match commands.iter().all(|command| command.request_id.is_some()) {
                    true => Repetition::Recognised,
                    false => Repetition::Harmful,
                }
            }
        }
    }
}

fn versioned(bytes: Bytes) -> Result<Reader, DecodeError> {
    let mut from = Reader::new(bytes);
    match from.take_u8()? {
        VERSION => Ok(from),
        version => Err(DecodeError::UnknownVersion { version }),
    }
}

fn take_body(from: &mut Reader) -> Result<Body, DecodeError> {
    Ok(match from.take_u8()? {
        WRITE => Body::Write { commands: from.take_many(Command::BYTES_MIN, Command::take)? },
        READ => Body::Read(ShardRead {
            service: ServiceId::take(from)?,
            request: from.take_bytes()?,
            consistency: take_consistency(from)?,
        }),
        kind => return Err(from.unknown("kind of request", kind)),
    })
}

pub(crate) fn put_consistency(to: &mut Writer<'_>, consistency: Consistency) {
    match consistency {
        Consistency::Linearizable => to.put_u8(LINEARIZABLE),
        Consistency::Strict => to.put_u8(STRICT),
        Consistency::Stale { max } => {
            to.put_u8(STALE);
            put_duration(to, max);
        }
    }
}

pub(crate) fn take_consistency(from: &mut Reader) -> Result<Consistency, DecodeError> {
    Ok(match from.take_u8()? {
        LINEARIZABLE => Consistency::Linearizable,
        STRICT => Consistency::Strict,
        STALE => Consistency::Stale { max: take_duration(from)? },
        wanted => return Err(from.unknown("consistency", wanted)),
    })
}

fn put_outcome(to: &mut Writer<'_>, outcome: &Outcome) {
    to.put_bool(outcome.is_ok());
    match outcome {
        Ok(reply) => to.put_bytes(reply),
        Err(rejected) => rejected.put(to),
    }
}

fn take_outcome(from: &mut Reader) -> Result<Outcome, DecodeError> {
    Ok(if from.take_bool()? { Ok(from.take_bytes()?) } else { Err(Rejected::take(from)?) })
}

pub(crate) fn put_node(to: &mut Writer<'_>, node: NodeId) {
    to.put_array(&node.get().to_be_bytes());
}

pub(crate) fn take_node(from: &mut Reader) -> Result<NodeId, DecodeError> {
    from.take_array().map(|bytes| NodeId::new(u64::from_be_bytes(bytes)))
}

pub(crate) fn put_duration(to: &mut Writer<'_>, duration: Duration) {
    to.put_varint(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
}

pub(crate) fn take_duration(from: &mut Reader) -> Result<Duration, DecodeError> {
    from.take_varint().map(Duration::from_micros)
}

#[cfg(test)]
mod tests;
