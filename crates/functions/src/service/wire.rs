//! What travels to a shard, and what comes back.
//!
//! ```text
//! write:  format u8 | 1 | call          call      format u8 | head | keys | arguments
//!         format u8 | 2 | digest, 32 bytes | module                           install
//!         format u8 | 3 | digest, 32 bytes                                    uninstall
//! call:   head: JSON, the function's version and the table | keys | arguments
//! reply:  format u8 | 1 | bytes         what the function returned
//!         format u8 | 2 | text          why it failed
//!         format u8 | 3                 the table is dropped
//!         format u8 | 4                 done
//! ```
//!
//! Bytes and text are preceded by their count, lists by theirs; see `breccia_types::wire`.

use breccia_ring::slot_of;
use breccia_types::wire::{DecodeError, Reader, Writer};
use breccia_types::{
    Function, FunctionLimits, ModuleDigest, RequestError, Slot, Table, TableOptions, Timestamp,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::rows::Place;
use crate::FunctionError;

const FORMAT: u8 = 1;

const CALL: u8 = 1;
const INSTALL: u8 = 2;
const UNINSTALL: u8 = 3;

const RETURNED: u8 = 1;
const FAILED: u8 = 2;
const TABLE_DROPPED: u8 = 3;
const DONE: u8 = 4;

/// A version of a function, as one call keeps to it on all nodes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FunctionVersion {
    pub(crate) name: String,
    pub(crate) version: u64,
    pub(crate) digest: ModuleDigest,
    pub(crate) limits: FunctionLimits,
}

impl From<&Function> for FunctionVersion {
    fn from(function: &Function) -> Self {
        let Function { name, version, digest, limits, .. } = function;
        Self { name: name.clone(), version: *version, digest: *digest, limits: *limits }
    }
}

impl FunctionVersion {
    /// The function's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a call may use.
    #[must_use]
    pub const fn limits(&self) -> &FunctionLimits {
        &self.limits
    }

    /// The error of a call that came to this.
    pub(crate) fn failed(&self, error: &FunctionError) -> RequestError {
        RequestError::FunctionFailed { name: self.name.clone(), reason: error.to_string() }
    }
}

/// A call of a read or write function.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub(crate) function: FunctionVersion,
    /// The table, without its columns.
    pub(crate) table: Table,
    pub(crate) keys: Vec<Bytes>,
    pub(crate) args: Vec<Bytes>,
}

/// What is put into a shard's log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Write {
    Call(Box<Call>),
    Install { digest: ModuleDigest, module: Bytes },
    Uninstall { digest: ModuleDigest },
}

/// What comes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Returned(Bytes),
    Failed(String),
    TableDropped,
    Done,
}

#[derive(Serialize, Deserialize)]
struct Head {
    function: FunctionVersion,
    table: Table,
}

impl Call {
    /// A call on rows of a table.
    pub(crate) fn new(
        function: &Function,
        table: &Table,
        keys: Vec<Bytes>,
        args: Vec<Bytes>,
    ) -> Self {
        let options =
            TableOptions { columns: Vec::new(), key_template: None, ..table.options.clone() };
        let table = Table { id: table.id, name: table.name.clone(), options };
        Self { function: function.into(), table, keys, args }
    }

    /// Where it works: the slot that its first key gives.
    pub(super) fn place(&self) -> Result<Place<'_>, DecodeError> {
        let slot = self.slot().ok_or(DecodeError::Truncated { at: 0, needed: 1 })?;
        Ok(Place { table: &self.table, slot })
    }

    /// The slot of its keys; `None` if it has none.
    pub(crate) fn slot(&self) -> Option<Slot> {
        let key = self.keys.first()?;
        Some(slot_of(self.table.options.partition, key))
    }

    pub(super) fn input(&self, now: Timestamp) -> crate::Call<'_> {
        crate::Call { keys: &self.keys, args: &self.args, now: now.as_micros() }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut out = vec![FORMAT];
        self.put(&mut Writer::new(&mut out));
        out.into()
    }

    pub(super) fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut from = formatted(bytes)?;
        let call = Self::take(&mut from)?;
        from.finish()?;
        Ok(call)
    }

    fn put(&self, to: &mut Writer<'_>) {
        let head = Head { function: self.function.clone(), table: self.table.clone() };
        // Only a map with keys that are no text could fail, and there is none.
        to.put_bytes(&serde_json::to_vec(&head).unwrap_or_default());
        to.put_many(&self.keys, |to, key| to.put_bytes(key));
        to.put_many(&self.args, |to, arg| to.put_bytes(arg));
    }

    fn take(from: &mut Reader) -> Result<Self, DecodeError> {
        let at = from.position();
        let head = from.take_bytes()?;
        let Head { function, table } =
            serde_json::from_slice(&head).map_err(|_| DecodeError::OutOfRange { at })?;
        let keys = from.take_many(1, Reader::take_bytes)?;
        let args = from.take_many(1, Reader::take_bytes)?;
        Ok(Self { function, table, keys, args })
    }
}

impl Write {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = vec![FORMAT];
        let mut to = Writer::new(&mut out);
        match self {
            Self::Call(call) => {
                to.put_u8(CALL);
                call.put(&mut to);
            }
            Self::Install { digest, module } => {
                to.put_u8(INSTALL);
                to.put_array(digest.as_bytes());
                to.put_bytes(module);
            }
            Self::Uninstall { digest } => {
                to.put_u8(UNINSTALL);
                to.put_array(digest.as_bytes());
            }
        }
        out.into()
    }

    pub(super) fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut from = formatted(bytes)?;
        let write = match from.take_u8()? {
            CALL => Self::Call(Box::new(Call::take(&mut from)?)),
            INSTALL => {
                let digest = ModuleDigest::new(from.take_array()?);
                Self::Install { digest, module: from.take_bytes()? }
            }
            UNINSTALL => Self::Uninstall { digest: ModuleDigest::new(from.take_array()?) },
            tag => return Err(from.unknown("command on functions", tag)),
        };
        from.finish()?;
        Ok(write)
    }
}

impl Reply {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = vec![FORMAT];
        let mut to = Writer::new(&mut out);
        match self {
            Self::Returned(bytes) => {
                to.put_u8(RETURNED);
                to.put_bytes(bytes);
            }
            Self::Failed(reason) => {
                to.put_u8(FAILED);
                to.put_bytes(reason.as_bytes());
            }
            Self::TableDropped => to.put_u8(TABLE_DROPPED),
            Self::Done => to.put_u8(DONE),
        }
        out.into()
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut from = formatted(bytes)?;
        let reply = match from.take_u8()? {
            RETURNED => Self::Returned(from.take_bytes()?),
            FAILED => Self::Failed(String::from_utf8_lossy(&from.take_bytes()?).into_owned()),
            TABLE_DROPPED => Self::TableDropped,
            DONE => Self::Done,
            tag => return Err(from.unknown("reply on functions", tag)),
        };
        from.finish()?;
        Ok(reply)
    }
}

fn formatted(bytes: Bytes) -> Result<Reader, DecodeError> {
    let mut from = Reader::new(bytes);
    match from.take_u8()? {
        FORMAT => Ok(from),
        version => Err(DecodeError::UnknownVersion { version }),
    }
}
