//! What both sides of a new connection say about themselves, and its bytes.
//!
//! The dialing side says *hello*, the accepting side *welcome*, the dialing side *confirm*;
//! then frames follow. Each is a greeting:
//!
//! ```text
//! "BRCT" | length u16 BE | CRC-32C of the body, u32 BE | body of that length, at most 1 KiB
//! ```
//!
//! Fields of bodies are those of `breccia_types::wire`; `run`, nonces and echoes are 8 bytes.
//!
//! ```text
//! hello    1 | lowest version u8 | highest version u8 | purpose u8 | identity
//!            | option: expected node | nonce
//! welcome  2 | version u8 | identity | echo of hello's nonce | nonce | epoch, 4 bytes BE
//!            | option: rejection
//! confirm  3 | echo of welcome's nonce | option: rejection
//!
//! identity   option: cluster, 16 bytes | node | incarnation | run | address
//! purpose    0 control, 1 bulk, 2 probe
//! rejection  1 | lowest u8 | highest u8 | lowest u8 | highest u8           no common version
//!            2 | node | cluster, 16 bytes | node | cluster, 16 bytes       another cluster
//!            3 | expected node | found node                                another node
//!            4 | node | incarnation | seen incarnation | where seen        stale
//!            5 | node | incarnation | where seen | where found             twin
//!            6                                                             closing
//! ```
//!
//! The echoes show that the other side is alive and means this very connection; a greeting
//! that was recorded cannot be played back. They do not show that it is who it says it is:
//! that needs a secret, which nodes do not have yet.

use breccia_types::NodeId;
use breccia_types::wire::{DecodeError, Reader, Writer};
use bytes::Bytes;
use thiserror::Error;

use crate::transport::Peer;
use breccia_types::ClusterId;

use super::limits::ADDRESS_BYTES_MAX;

/// The lowest protocol version that this build speaks.
pub(crate) const PROTOCOL_VERSION_MIN: u8 = 1;
/// The highest protocol version that this build speaks.
pub(crate) const PROTOCOL_VERSION_MAX: u8 = 1;

/// Who a side says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// `None`: a member of no cluster yet.
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) peer: Peer,
    /// Drawn at random when the process starts: tells a node from its copy.
    pub(crate) run: u64,
    /// Where it says that it can be reached; may be empty.
    pub(crate) address: String,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Control,
    Bulk,
    /// To learn who is there.
    Probe,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) version_min: u8,
    pub(crate) version_max: u8,
    pub(crate) purpose: Purpose,
    pub(crate) identity: Identity,
    pub(crate) expects: Option<NodeId>,
    pub(crate) nonce: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Welcome {
    pub(crate) version: u8,
    pub(crate) identity: Identity,
    pub(crate) echo: u64,
    pub(crate) nonce: u64,
    pub(crate) epoch: u32,
    pub(crate) rejection: Option<Rejection>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Confirm {
    pub(crate) echo: u64,
    pub(crate) rejection: Option<Rejection>,
}

/// Why one side of a new connection will have nothing to do with the other.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The two builds have no protocol version in common. Update the older one.
    #[error("the dialing node speaks versions {dialing:?}, the accepting node {accepting:?}")]
    NoCommonVersion {
        /// Lowest and highest of the dialing node.
        dialing: (u8, u8),
        /// Lowest and highest of the accepting node.
        accepting: (u8, u8),
    },
    /// The two nodes belong to different clusters. An address is wrong.
    #[error(
        "{dialing} belongs to cluster {dialing_cluster}, but {accepting}, which it dialed, to \
         cluster {accepting_cluster}"
    )]
    OtherCluster {
        /// The node that dialed.
        dialing: NodeId,
        /// Its cluster.
        dialing_cluster: ClusterId,
        /// The node that was dialed.
        accepting: NodeId,
        /// Its cluster.
        accepting_cluster: ClusterId,
    },
    /// Another node than the expected one lives at the address.
    #[error("{expected} was expected at the address, but {found} is there")]
    OtherNode {
        /// The expected node.
        expected: NodeId,
        /// The node that answered.
        found: NodeId,
    },
    /// A later run of the node was seen already. Either this is a connection from before the
    /// node's restart, or the node's data directory was copied and both copies run.
    #[error(
        "{node} was seen at {seen_at} as incarnation {seen}; incarnation {incarnation} is \
         over, or runs on a copy of the node's data directory"
    )]
    Stale {
        /// The node.
        node: NodeId,
        /// What the connection says.
        incarnation: u64,
        /// The highest that was seen.
        seen: u64,
        /// Where that was seen.
        seen_at: String,
    },
    /// Two processes say that they are the same run of the same node: the node's data
    /// directory was copied. Stop one and remove its directory.
    #[error(
        "{node} runs twice as incarnation {incarnation}, at {seen_at} and at {found_at}: its \
         data directory was copied"
    )]
    Twin {
        /// The node.
        node: NodeId,
        /// What the rejected process says.
        incarnation: u64,
        /// Where the node was seen first.
        seen_at: String,
        /// Where the rejected process is.
        found_at: String,
    },
    /// The node shuts down.
    #[error("the node shuts down")]
    Closing,
}

impl Hello {
    pub(crate) fn encode(&self) -> Vec<u8> {
        encoded(|to| {
            to.put_u8(1);
            to.put_u8(self.version_min);
            to.put_u8(self.version_max);
            to.put_u8(match self.purpose {
                Purpose::Control => 0,
                Purpose::Bulk => 1,
                Purpose::Probe => 2,
            });
            put_identity(to, &self.identity);
            to.put_option(self.expects, put_node);
            to.put_array(&self.nonce.to_be_bytes());
        })
    }

    pub(crate) fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let mut from = reader_of(body, 1)?;
        let version_min = from.take_u8()?;
        let version_max = from.take_u8()?;
        let purpose = match from.take_u8()? {
            0 => Purpose::Control,
            1 => Purpose::Bulk,
            2 => Purpose::Probe,
            tag => return Err(from.unknown("purpose", tag)),
        };
        let identity = take_identity(&mut from)?;
        let expects = from.take_option(take_node)?;
        let nonce = u64::from_be_bytes(from.take_array()?);
        from.finish()?;
        Ok(Self { version_min, version_max, purpose, identity, expects, nonce })
    }
}

impl Welcome {
    pub(crate) fn encode(&self) -> Vec<u8> {
        encoded(|to| {
            to.put_u8(2);
            to.put_u8(self.version);
            put_identity(to, &self.identity);
            to.put_array(&self.echo.to_be_bytes());
            to.put_array(&self.nonce.to_be_bytes());
            to.put_array(&self.epoch.to_be_bytes());
            to.put_option(self.rejection.as_ref(), put_rejection);
        })
    }

    pub(crate) fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let mut from = reader_of(body, 2)?;
        let version = from.take_u8()?;
        let identity = take_identity(&mut from)?;
        let echo = u64::from_be_bytes(from.take_array()?);
        let nonce = u64::from_be_bytes(from.take_array()?);
        let epoch = u32::from_be_bytes(from.take_array()?);
        let rejection = from.take_option(take_rejection)?;
        from.finish()?;
        Ok(Self { version, identity, echo, nonce, epoch, rejection })
    }
}

impl Confirm {
    pub(crate) fn encode(&self) -> Vec<u8> {
        encoded(|to| {
            to.put_u8(3);
            to.put_array(&self.echo.to_be_bytes());
            to.put_option(self.rejection.as_ref(), put_rejection);
        })
    }

    pub(crate) fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let mut from = reader_of(body, 3)?;
        let echo = u64::from_be_bytes(from.take_array()?);
        let rejection = from.take_option(take_rejection)?;
        from.finish()?;
        Ok(Self { echo, rejection })
    }
}

fn encoded(put: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut Writer::new(&mut out));
    out
}

fn reader_of(body: Bytes, kind: u8) -> Result<Reader, DecodeError> {
    let mut from = Reader::new(body);
    match from.take_u8()? {
        tag if tag == kind => Ok(from),
        tag => Err(from.unknown("greeting", tag)),
    }
}

fn put_identity(to: &mut Writer<'_>, identity: &Identity) {
    to.put_option(identity.cluster, put_cluster);
    put_node(to, identity.peer.node);
    to.put_varint(identity.peer.incarnation);
    to.put_array(&identity.run.to_be_bytes());
    put_text(to, &identity.address);
}

fn take_identity(from: &mut Reader) -> Result<Identity, DecodeError> {
    let cluster = from.take_option(take_cluster)?;
    let peer = Peer { node: take_node(from)?, incarnation: from.take_varint()? };
    let run = u64::from_be_bytes(from.take_array()?);
    Ok(Identity { cluster, peer, run, address: take_text(from)? })
}

fn put_rejection(to: &mut Writer<'_>, rejection: &Rejection) {
    match rejection {
        Rejection::NoCommonVersion { dialing, accepting } => {
            to.put_array(&[1, dialing.0, dialing.1, accepting.0, accepting.1]);
        }
        Rejection::OtherCluster { dialing, dialing_cluster, accepting, accepting_cluster } => {
            to.put_u8(2);
            put_node(to, *dialing);
            put_cluster(to, *dialing_cluster);
            put_node(to, *accepting);
            put_cluster(to, *accepting_cluster);
        }
        Rejection::OtherNode { expected, found } => {
            to.put_u8(3);
            put_node(to, *expected);
            put_node(to, *found);
        }
        Rejection::Stale { node, incarnation, seen, seen_at } => {
            to.put_u8(4);
            put_node(to, *node);
            to.put_varint(*incarnation);
            to.put_varint(*seen);
            put_text(to, seen_at);
        }
        Rejection::Twin { node, incarnation, seen_at, found_at } => {
            to.put_u8(5);
            put_node(to, *node);
            to.put_varint(*incarnation);
            put_text(to, seen_at);
            put_text(to, found_at);
        }
        Rejection::Closing => to.put_u8(6),
    }
}

fn take_rejection(from: &mut Reader) -> Result<Rejection, DecodeError> {
    Ok(match from.take_u8()? {
        1 => Rejection::NoCommonVersion {
            dialing: (from.take_u8()?, from.take_u8()?),
            accepting: (from.take_u8()?, from.take_u8()?),
        },
        2 => Rejection::OtherCluster {
            dialing: take_node(from)?,
            dialing_cluster: take_cluster(from)?,
            accepting: take_node(from)?,
            accepting_cluster: take_cluster(from)?,
        },
        3 => Rejection::OtherNode { expected: take_node(from)?, found: take_node(from)? },
        4 => Rejection::Stale {
            node: take_node(from)?,
            incarnation: from.take_varint()?,
            seen: from.take_varint()?,
            seen_at: take_text(from)?,
        },
        5 => Rejection::Twin {
            node: take_node(from)?,
            incarnation: from.take_varint()?,
            seen_at: take_text(from)?,
            found_at: take_text(from)?,
        },
        6 => Rejection::Closing,
        tag => return Err(from.unknown("rejection", tag)),
    })
}

fn put_node(to: &mut Writer<'_>, node: NodeId) {
    to.put_varint(node.get());
}

fn take_node(from: &mut Reader) -> Result<NodeId, DecodeError> {
    Ok(NodeId::new(from.take_varint()?))
}

fn put_cluster(to: &mut Writer<'_>, cluster: ClusterId) {
    to.put_array(cluster.as_bytes());
}

fn take_cluster(from: &mut Reader) -> Result<ClusterId, DecodeError> {
    Ok(ClusterId::new(from.take_array()?))
}

fn put_text(to: &mut Writer<'_>, text: &str) {
    let end = text.floor_char_boundary(ADDRESS_BYTES_MAX);
    to.put_bytes(text.get(..end).unwrap_or_default().as_bytes());
}

fn take_text(from: &mut Reader) -> Result<String, DecodeError> {
    let bytes = from.take_bytes()?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests;
