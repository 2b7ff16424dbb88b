//! Log entries: the commands of many clients, in the order in which every replica applies
//! them.

use bytes::Bytes;
use thiserror::Error;

use crate::id::{LogIndex, RequestId, ServiceId};
use crate::time::Timestamp;
use crate::wire::{DecodeError, Reader, Writer};

/// One client's write command on its way through a shard's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Which service applies it.
    pub service: ServiceId,
    /// Names the request, if the client wants a retry of it to be applied once.
    pub request_id: Option<RequestId>,
    /// The command as its service encodes it.
    pub payload: Bytes,
}

impl Command {
    /// The fewest bytes that a command takes: service, flag, length.
    pub const BYTES_MIN: usize = 3;

    /// Writes the command: service varint, optional request id of 16 bytes, payload.
    pub fn put(&self, to: &mut Writer<'_>) {
        to.put_varint(u64::from(self.service.get()));
        to.put_option(self.request_id, |to, id| to.put_array(id.as_bytes()));
        to.put_bytes(&self.payload);
    }

    /// Reads what [`Command::put`] wrote; the payload shares the reader's memory.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn take(from: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            service: ServiceId::take(from)?,
            request_id: from.take_option(Reader::take_array)?.map(RequestId::new),
            payload: from.take_bytes()?,
        })
    }
}

/// A batch of commands at one position of a shard's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The position.
    pub index: LogIndex,
    /// When the leader took it in: the instant of its first command. Each further command's
    /// instant is one microsecond later, and the next entry's stamp later than all of them.
    pub stamp: Timestamp,
    /// The commands.
    pub commands: Vec<Command>,
}

/// What became of a command: its reply as its service encodes it.
pub type Outcome = Result<Bytes, Rejected>;

/// Why a command that reached the log was not applied. Every replica agrees on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Rejected {
    /// No such service runs here.
    #[error("no {service} runs here")]
    UnknownService {
        /// The service asked for.
        service: ServiceId,
    },
    /// The service cannot read the command.
    #[error("{service} cannot read the command")]
    Malformed {
        /// The service asked.
        service: ServiceId,
    },
    /// The shard lacks something that must be put into its log before the command. Nothing
    /// of it was done, and a request id that came with it is still unused.
    #[error("{service} needs something in the shard first; nothing was done")]
    Missing {
        /// The service asked.
        service: ServiceId,
    },
    /// The commands before it in its entry write or return so much that it was left out.
    /// Nothing of it was done.
    #[error("too much at once; nothing was done by this one, send it again")]
    TooMuch {
        /// The service asked.
        service: ServiceId,
    },
}

const UNKNOWN_SERVICE: u8 = 1;
const MALFORMED: u8 = 2;
const TOO_MUCH: u8 = 3;
const MISSING: u8 = 4;

impl Rejected {
    /// Writes the rejection: its number, then the service's.
    pub fn put(&self, to: &mut Writer<'_>) {
        let (tag, service) = match self {
            Self::UnknownService { service } => (UNKNOWN_SERVICE, service),
            Self::Malformed { service } => (MALFORMED, service),
            Self::TooMuch { service } => (TOO_MUCH, service),
            Self::Missing { service } => (MISSING, service),
        };
        to.put_u8(tag);
        to.put_varint(u64::from(service.get()));
    }

    /// Reads what [`Rejected::put`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn take(from: &mut Reader) -> Result<Self, DecodeError> {
        match from.take_u8()? {
            UNKNOWN_SERVICE => Ok(Self::UnknownService { service: ServiceId::take(from)? }),
            MALFORMED => Ok(Self::Malformed { service: ServiceId::take(from)? }),
            MISSING => Ok(Self::Missing { service: ServiceId::take(from)? }),
            TOO_MUCH => Ok(Self::TooMuch { service: ServiceId::take(from)? }),
            tag => Err(from.unknown("rejection", tag)),
        }
    }
}
