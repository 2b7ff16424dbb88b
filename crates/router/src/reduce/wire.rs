//! The bytes of a reduction between nodes: the header of a stream, and what comes back.
//!
//! ```text
//! request   01 | time left varint, microseconds | consistency | order
//!           | own shards: count, varints | others: count, (node u64 BE | shards: count, varints)
//! message   01 | kind, and
//!   1 progress: shards varint | rows varint | bytes varint
//!   2 gathered: part | covered: count, varints
//!               | missed: count, (shard varint | flag [asked u64 BE] | flag [leader u64 BE]
//!                 | reason bytes)
//!   3 failed: an error, see `RequestError::put`
//! ```
//!
//! The consistency is as in `crate::wire`, orders and parts as `breccia_types::reduce` writes
//! them. Progress comes from time to time, then one of the other two, then nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use breccia_types::reduce::{Order, Part, Progress};
use breccia_types::wire::{DecodeError, Reader, Writer};
use breccia_types::{RequestError, ShardId};
use bytes::Bytes;

use super::gathered::{Gathered, Missed};
use super::plan::Task;
use crate::route::Consistency;
use crate::wire::{
    put_consistency, put_duration, put_node, take_consistency, take_duration, take_node,
};

const VERSION: u8 = 1;

const PROGRESS: u8 = 1;
const GATHERED: u8 = 2;
const FAILED: u8 = 3;

/// What is asked of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) time_left: Duration,
    pub(crate) consistency: Consistency,
    pub(crate) order: Order,
    /// The shards that it reduces itself.
    pub(crate) own: Vec<ShardId>,
    /// What it asks other nodes.
    pub(crate) others: Vec<Task>,
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    Progress(Progress),
    Gathered(Gathered),
    Failed(RequestError),
}

impl Request {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(128);
        let mut to = Writer::new(&mut out);
        to.put_u8(VERSION);
        put_duration(&mut to, self.time_left);
        put_consistency(&mut to, self.consistency);
        self.order.put(&mut to);
        put_shards(&mut to, &self.own);
        to.put_many(&self.others, |to, task| {
            put_node(to, task.node);
            put_shards(to, &task.shards);
        });
        out.into()
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut from = versioned(bytes)?;
        let request = Self {
            time_left: take_duration(&mut from)?,
            consistency: take_consistency(&mut from)?,
            order: Order::take(&mut from)?,
            own: take_shards(&mut from)?,
            others: from.take_many(size_of::<u64>() + 1, |from| {
                Ok(Task { node: take_node(from)?, shards: take_shards(from)? })
            })?,
        };
        from.finish()?;
        Ok(request)
    }
}

impl Message {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(64);
        let mut to = Writer::new(&mut out);
        to.put_u8(VERSION);
        match self {
            Self::Progress(Progress { shards, rows, bytes }) => {
                to.put_u8(PROGRESS);
                to.put_varint(*shards);
                to.put_varint(*rows);
                to.put_varint(*bytes);
            }
            Self::Gathered(Gathered { part, covered, missed }) => {
                to.put_u8(GATHERED);
                part.put(&mut to);
                to.put_count(covered.len());
                covered.iter().for_each(|shard| to.put_varint(u64::from(shard.get())));
                to.put_many(missed, |to, missed| {
                    to.put_varint(u64::from(missed.shard.get()));
                    to.put_option(missed.asked, put_node);
                    to.put_option(missed.leader, put_node);
                    to.put_bytes(missed.reason.as_bytes());
                });
            }
            Self::Failed(error) => {
                to.put_u8(FAILED);
                error.put(&mut to);
            }
        }
        out.into()
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut from = versioned(bytes)?;
        let message = match from.take_u8()? {
            PROGRESS => Self::Progress(Progress {
                shards: from.take_varint()?,
                rows: from.take_varint()?,
                bytes: from.take_varint()?,
            }),
            GATHERED => Self::Gathered(Gathered {
                part: Part::take(&mut from)?,
                covered: take_covered(&mut from)?,
                missed: from.take_many(4, take_missed)?,
            }),
            FAILED => Self::Failed(RequestError::take(&mut from)?),
            kind => return Err(from.unknown("kind of message", kind)),
        };
        from.finish()?;
        Ok(message)
    }
}

fn take_missed(from: &mut Reader) -> Result<Missed, DecodeError> {
    Ok(Missed {
        shard: ShardId::take(from)?,
        asked: from.take_option(take_node)?,
        leader: from.take_option(take_node)?,
        reason: String::from_utf8_lossy(&from.take_bytes()?).into_owned(),
    })
}

/// A shard that is named twice might have been counted twice.
fn take_covered(from: &mut Reader) -> Result<BTreeSet<ShardId>, DecodeError> {
    let at = from.position();
    let shards = take_shards(from)?;
    let covered: BTreeSet<ShardId> = shards.iter().copied().collect();
    if covered.len() == shards.len() { Ok(covered) } else { Err(DecodeError::OutOfRange { at }) }
}

fn versioned(bytes: Bytes) -> Result<Reader, DecodeError> {
    let mut from = Reader::new(bytes);
    match from.take_u8()? {
        VERSION => Ok(from),
        version => Err(DecodeError::UnknownVersion { version }),
    }
}

fn put_shards(to: &mut Writer<'_>, shards: &[ShardId]) {
    to.put_many(shards, |to, shard| to.put_varint(u64::from(shard.get())));
}

fn take_shards(from: &mut Reader) -> Result<Vec<ShardId>, DecodeError> {
    from.take_many(1, ShardId::take)
}

#[cfg(test)]
mod tests;
