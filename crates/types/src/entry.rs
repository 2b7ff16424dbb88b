//! Log entries: the commands of many clients, in the order in which every replica applies
//! them.

use bytes::Bytes;
use thiserror::Error;

use crate::id::{LogIndex, RequestId, ServiceId};
use crate::time::Timestamp;

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
}
