//! The frames of a connection, and their bytes.
//!
//! After the greetings (see `greeting`) both directions of a connection are a sequence of
//! frames: a head of 32 bytes and a body. Integers are big-endian.
//!
//! ```text
//! at  bytes
//!  0  1   version: 1
//!  1  1   kind, below
//!  2  1   method (calls and opens; otherwise 0)
//!  3  1   verdict (replies and resets; otherwise 0)
//!  4  4   epoch: the connection's, as the accepting side drew it at the greeting
//!  8  8   id of the call or stream, counted from 1 by the side that dialed (0: neither)
//! 16  4   length of the body, in bytes
//! 20  4   amount: the call's timeout in milliseconds, or the credit's bytes (otherwise 0)
//! 24  4   CRC-32C of the body
//! 28  4   CRC-32C of the 28 bytes before
//! ```
//!
//! | kind | name | sent by | body |
//! |---|---|---|---|
//! | 1 | call | dialing side | the message |
//! | 2 | reply | accepting side | the reply, or the refusal |
//! | 3 | cancel | dialing side | |
//! | 4 | open | dialing side | the stream's header |
//! | 5 | message | both | a message of a stream |
//! | 6 | end | both: no more messages will come | |
//! | 7 | stop | both: no more messages are wanted | |
//! | 8 | reset | both: the stream is lost, for the reason that the verdict gives | |
//! | 9 | credit | both: room for more messages | |
//! | 10 | ping | dialing side | |
//! | 11 | pong | accepting side | |
//! | 12 | goodbye | accepting side: dial again for what is new | |
//!
//! Verdicts: 0 done, 1 refused, 2 busy, 3 not served, 4 not a member, 5 too large, 6 failed,
//! 7 closing.
//!
//! A frame that breaks these rules closes the connection, and nothing of it is delivered.
//! The epoch is there so that a frame can never be taken for one of another connection,
//! whatever goes wrong below us.

use breccia_types::NodeId;
use bytes::Bytes;
use thiserror::Error;

use crate::transport::{Method, Refusal, TransportError};

use super::limits::FRAME_BODY_BYTES_MAX;

/// The version of frames that this build writes and reads.
const FRAME_VERSION: u8 = 1;
/// The length of a head, in bytes.
pub(crate) const HEAD_BYTES: usize = 32;

/// A frame's bytes, of which the body is not copied.
pub(crate) struct Encoded {
    pub(crate) head: [u8; HEAD_BYTES],
    pub(crate) body: Bytes,
}

/// What one side tells the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    Call { id: u64, method: Method, timeout_ms: u32, body: Bytes },
    Reply { id: u64, verdict: Verdict, body: Bytes },
    Cancel { id: u64 },
    Open { id: u64, method: Method, header: Bytes },
    Message { id: u64, body: Bytes },
    End { id: u64 },
    Stop { id: u64 },
    Reset { id: u64, verdict: Verdict },
    Credit { id: u64, charge: u32 },
    Ping,
    Pong,
    Goodbye,
}

/// How a call or a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done,
    Refused,
    Busy,
    NotServed,
    NotAMember,
    TooLarge,
    /// The handler panicked.
    Failed,
    /// The other side shuts down.
    Closing,
}

/// A frame that is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum FrameError {
    #[error("a frame's head is corrupted")]
    Head,
    #[error("a frame's body is corrupted")]
    Body,
    #[error("frame version {version} is not known")]
    Version { version: u8 },
    #[error("a frame of epoch {theirs} came on a connection of epoch {ours}")]
    Epoch { ours: u32, theirs: u32 },
    #[error("a frame claims {bytes} bytes, more than {bytes_max}")]
    TooLarge { bytes: usize, bytes_max: usize },
    #[error("a frame of kind {kind} with verdict {verdict} is not known")]
    Unknown { kind: u8, verdict: u8 },
    #[error("the connection ended within a frame")]
    Truncated,
}

/// A head whose checksum is right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    kind: u8,
    method: u8,
    verdict: u8,
    id: u64,
    pub(crate) body_bytes: usize,
    amount: u32,
    body_crc: u32,
}

/// The fields of a head that differ from kind to kind.
#[derive(Default)]
struct Fields {
    kind: u8,
    method: u8,
    verdict: u8,
    id: u64,
    amount: u32,
}

impl Frame {
    /// The frame's bytes, on a connection of this epoch.
    pub(crate) fn encode(self, epoch: u32) -> Encoded {
        let (fields, body) = self.into_fields();
        let mut head = [0; HEAD_BYTES];
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let mut put = Put { head: &mut head, at: 0 };
        put.bytes([FRAME_VERSION, fields.kind, fields.method, fields.verdict]);
        put.bytes(epoch.to_be_bytes());
        put.bytes(fields.id.to_be_bytes());
        put.bytes(length.to_be_bytes());
        put.bytes(fields.amount.to_be_bytes());
        put.bytes(crc32c::crc32c(&body).to_be_bytes());
        let crc = crc32c::crc32c(put.written());
        put.bytes(crc.to_be_bytes());
        Encoded { head, body }
    }

    fn into_fields(self) -> (Fields, Bytes) {
        let of = |kind, id| Fields { kind, id, ..Fields::default() };
        match self {
            Self::Call { id, method, timeout_ms, body } => {
                (Fields { method: method.0, amount: timeout_ms, ..of(1, id) }, body)
            }
            Self::Reply { id, verdict, body } => {
                (Fields { verdict: verdict.to_u8(), ..of(2, id) }, body)
            }
            Self::Cancel { id } => (of(3, id), Bytes::new()),
            Self::Open { id, method, header } => (Fields { method: method.0, ..of(4, id) }, header),
            Self::Message { id, body } => (of(5, id), body),
            Self::End { id } => (of(6, id), Bytes::new()),
            Self::Stop { id } => (of(7, id), Bytes::new()),
            Self::Reset { id, verdict } => {
                (Fields { verdict: verdict.to_u8(), ..of(8, id) }, Bytes::new())
            }
            Self::Credit { id, charge } => (Fields { amount: charge, ..of(9, id) }, Bytes::new()),
            Self::Ping => (of(10, 0), Bytes::new()),
            Self::Pong => (of(11, 0), Bytes::new()),
            Self::Goodbye => (of(12, 0), Bytes::new()),
        }
    }

    /// The frame of a head and the body that followed it.
    pub(crate) fn decode(head: Head, body: Bytes) -> Result<Self, FrameError> {
        if crc32c::crc32c(&body) != head.body_crc {
            return Err(FrameError::Body);
        }
        let Head { id, kind, amount, .. } = head;
        let unknown = FrameError::Unknown { kind, verdict: head.verdict };
        let method = Method(head.method);
        let verdict = Verdict::from_u8(head.verdict).ok_or(unknown)?;
        Ok(match kind {
            1 => Self::Call { id, method, timeout_ms: amount, body },
            2 => Self::Reply { id, verdict, body },
            3 => Self::Cancel { id },
            4 => Self::Open { id, method, header: body },
            5 => Self::Message { id, body },
            6 => Self::End { id },
            7 => Self::Stop { id },
            8 => Self::Reset { id, verdict },
            9 => Self::Credit { id, charge: amount },
            10 => Self::Ping,
            11 => Self::Pong,
            12 => Self::Goodbye,
            _ => return Err(unknown),
        })
    }
}

impl Head {
    /// The head in these bytes, on a connection of this epoch whose frames have at most
    /// `body_bytes_max`.
    pub(crate) fn decode(
        bytes: &[u8; HEAD_BYTES],
        epoch: u32,
        body_bytes_max: usize,
    ) -> Result<Self, FrameError> {
        let mut take = Take { rest: bytes };
        let [version, kind, method, verdict] = take.bytes()?;
        let theirs = u32::from_be_bytes(take.bytes()?);
        let id = u64::from_be_bytes(take.bytes()?);
        let length = u32::from_be_bytes(take.bytes()?);
        let amount = u32::from_be_bytes(take.bytes()?);
        let body_crc = u32::from_be_bytes(take.bytes()?);
        let crc = u32::from_be_bytes(take.bytes()?);
        let covered = bytes.first_chunk::<{ HEAD_BYTES - 4 }>().ok_or(FrameError::Head)?;
        if crc32c::crc32c(covered) != crc {
            return Err(FrameError::Head);
        }
        if version != FRAME_VERSION {
            return Err(FrameError::Version { version });
        }
        if theirs != epoch {
            return Err(FrameError::Epoch { ours: epoch, theirs });
        }
        let body_bytes = usize::try_from(length).unwrap_or(usize::MAX);
        if body_bytes > body_bytes_max {
            return Err(FrameError::TooLarge { bytes: body_bytes, bytes_max: body_bytes_max });
        }
        Ok(Self { kind, method, verdict, id, body_bytes, amount, body_crc })
    }
}

impl Verdict {
    const ALL: [Self; 8] = [
        Self::Done,
        Self::Refused,
        Self::Busy,
        Self::NotServed,
        Self::NotAMember,
        Self::TooLarge,
        Self::Failed,
        Self::Closing,
    ];

    const fn to_u8(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::Busy => 2,
            Self::NotServed => 3,
            Self::NotAMember => 4,
            Self::TooLarge => 5,
            Self::Failed => 6,
            Self::Closing => 7,
        }
    }

    fn from_u8(raw: u8) -> Option<Self> {
        Self::ALL.get(usize::from(raw)).copied()
    }

    /// What the caller of `node` is told; `body` came with a reply.
    pub(crate) fn outcome(
        self,
        node: NodeId,
        method: Method,
        body: Bytes,
    ) -> Result<Bytes, TransportError> {
        Err(match self {
            Self::Done => return Ok(body),
            Self::Refused => TransportError::Refused { node, refusal: Refusal(body) },
            Self::Busy => TransportError::Busy { node },
            Self::NotServed => TransportError::NotServed { node, method },
            Self::NotAMember => TransportError::NotAMember { node, method },
            Self::TooLarge => TransportError::TooLarge { node, bytes_max: FRAME_BODY_BYTES_MAX },
            Self::Failed => TransportError::Lost { node },
            Self::Closing => {
                TransportError::Unreachable { node, reason: "it is shutting down".to_owned() }
            }
        })
    }
}

/// Writes fields of a head from its start.
struct Put<'a> {
    head: &'a mut [u8; HEAD_BYTES],
    at: usize,
}

impl Put<'_> {
    fn bytes<const N: usize>(&mut self, bytes: [u8; N]) {
        if let Some(field) = self.head.get_mut(self.at..self.at + N) {
            field.copy_from_slice(&bytes);
        }
        self.at += N;
    }

    fn written(&self) -> &[u8] {
        self.head.get(..self.at).unwrap_or_default()
    }
}

/// Reads fields of a head from its start.
struct Take<'a> {
    rest: &'a [u8],
}

impl Take<'_> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (field, rest) = self.rest.split_first_chunk::<N>().ok_or(FrameError::Head)?;
        self.rest = rest;
        Ok(*field)
    }
}

#[cfg(test)]
mod tests;
