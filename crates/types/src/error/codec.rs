//! The bytes of an error that travels between nodes.
//!
//! ```text
//! code | text | length of the fields | fields
//! ```
//!
//! The code is [`RequestError::code`], the text what people read. Whoever does not know the
//! code, because the error comes from a newer build, still has the text. Text is bytes with
//! their count, a number a varint; see [`crate::wire`].

use super::{RequestError, words};
use crate::id::{ShardId, TableId};
use crate::table::TableError;
use crate::wire::{DecodeError, Reader, Writer};

const NAME: &str = "name";
const KIND: &str = "kind";
const PARTITION: &str = "partition";
const RETENTION: &str = "retention";
const ZERO: &str = "zero";

impl RequestError {
    /// Writes the error.
    pub fn put(&self, to: &mut Writer<'_>) {
        let mut fields = Vec::new();
        self.put_fields(&mut Writer::new(&mut fields));
        put_text(to, self.code());
        put_text(to, &self.to_string());
        to.put_bytes(&fields);
    }

    /// Reads what [`RequestError::put`] wrote. An error that this build does not know
    /// becomes [`RequestError::Internal`] with its text.
    ///
    /// # Errors
    /// [`DecodeError`]; the bytes are no error.
    pub fn take(from: &mut Reader) -> Result<Self, DecodeError> {
        let code = take_text(from)?;
        let text = take_text(from)?;
        let mut fields = Reader::new(from.take_bytes()?);
        let Some(error) = Self::take_fields(&code, &mut fields)? else {
            return Ok(Self::Internal { reason: text });
        };
        fields.finish()?;
        Ok(error)
    }

    fn put_fields(&self, to: &mut Writer<'_>) {
        match self {
            Self::CrossSlot | Self::InvalidCursor | Self::DeadlineExceeded | Self::ShuttingDown => {
            }
            Self::UnknownTable { name: text }
            | Self::TableExists { name: text }
            | Self::TableProtected { name: text }
            | Self::InvalidOperand { reason: text }
            | Self::InvalidQuery { reason: text }
            | Self::UnknownFunction { name: text }
            | Self::InvalidModule { reason: text }
            | Self::ReadOnly { reason: text }
            | Self::Storage { reason: text }
            | Self::Internal { reason: text } => put_text(to, text),
            Self::TooManyTables { max: count }
            | Self::TooManyFunctions { max: count }
            | Self::KeyTooLong { bytes: count }
            | Self::ValueTooLong { bytes: count }
            | Self::TooManyKeys { keys: count }
            | Self::GuardFailed { index: count } => to.put_count(*count),
            Self::Busy { shard } | Self::OutcomeUnknown { shard } => put_shard(to, *shard),
            Self::TableDropped { id } => to.put_varint(u64::from(id.get())),
            Self::InvalidTable(error) => put_table_error(to, error),
            Self::WrongKind { table, kind, operation, needed } => {
                put_text(to, table);
                put_text(to, kind);
                put_text(to, operation);
                put_text(to, needed);
            }
            Self::BatchTooLarge { commands, bytes } => {
                to.put_count(*commands);
                to.put_count(*bytes);
            }
            Self::InvalidArgument { argument, reason } => {
                put_text(to, argument);
                put_text(to, reason);
            }
            Self::UnfitRow { key, reason } => put_texts(to, &[key, reason]),
            Self::FunctionFailed { name, reason } => put_texts(to, &[name, reason]),
            Self::WrongFunctionKind { name, kind, needed } => {
                put_texts(to, &[name, kind.name(), needed.name()]);
            }
            Self::ShardUnavailable { shard, reason } => {
                put_shard(to, *shard);
                put_text(to, reason);
            }
        }
    }

    /// `None`: there is no such error in this build.
    fn take_fields(code: &str, from: &mut Reader) -> Result<Option<Self>, DecodeError> {
        Ok(Some(match code {
            "unknown-table" => Self::UnknownTable { name: take_text(from)? },
            "table-exists" => Self::TableExists { name: take_text(from)? },
            "table-protected" => Self::TableProtected { name: take_text(from)? },
            "table-dropped" => Self::TableDropped { id: take_table(from)? },
            "too-many-tables" => Self::TooManyTables { max: take_number(from)? },
            "invalid-table" => return Ok(take_table_error(from)?.map(Self::InvalidTable)),
            "wrong-kind" => Self::WrongKind {
                table: take_text(from)?,
                kind: take_word(from)?,
                operation: take_word(from)?,
                needed: take_word(from)?,
            },
            "key-too-long" => Self::KeyTooLong { bytes: take_number(from)? },
            "value-too-long" => Self::ValueTooLong { bytes: take_number(from)? },
            "batch-too-large" => {
                Self::BatchTooLarge { commands: take_number(from)?, bytes: take_number(from)? }
            }
            "too-many-keys" => Self::TooManyKeys { keys: take_number(from)? },
            "cross-slot" => Self::CrossSlot,
            "invalid-operand" => Self::InvalidOperand { reason: take_text(from)? },
            "invalid-cursor" => Self::InvalidCursor,
            "invalid-argument" => {
                Self::InvalidArgument { argument: take_word(from)?, reason: take_text(from)? }
            }
            "unfit-row" => Self::UnfitRow { key: take_text(from)?, reason: take_text(from)? },
            "unknown-function" => Self::UnknownFunction { name: take_text(from)? },
            "wrong-function-kind" => {
                let (name, kind, needed) = (take_text(from)?, take_text(from)?, take_text(from)?);
                let (Ok(kind), Ok(needed)) = (kind.parse(), needed.parse()) else {
                    return Ok(None);
                };
                Self::WrongFunctionKind { name, kind, needed }
            }
            "too-many-functions" => Self::TooManyFunctions { max: take_number(from)? },
            "invalid-module" => Self::InvalidModule { reason: take_text(from)? },
            "function-failed" => {
                Self::FunctionFailed { name: take_text(from)?, reason: take_text(from)? }
            }
            "invalid-query" => Self::InvalidQuery { reason: take_text(from)? },
            "guard-failed" => Self::GuardFailed { index: take_number(from)? },
            "busy" => Self::Busy { shard: ShardId::take(from)? },
            "read-only" => Self::ReadOnly { reason: take_text(from)? },
            "shard-unavailable" => {
                Self::ShardUnavailable { shard: ShardId::take(from)?, reason: take_text(from)? }
            }
            "deadline-exceeded" => Self::DeadlineExceeded,
            "outcome-unknown" => Self::OutcomeUnknown { shard: ShardId::take(from)? },
            "shutting-down" => Self::ShuttingDown,
            "storage" => Self::Storage { reason: take_text(from)? },
            "internal" => Self::Internal { reason: take_text(from)? },
            _ => return Ok(None),
        }))
    }
}

fn put_table_error(to: &mut Writer<'_>, error: &TableError) {
    match error {
        TableError::Name { name } => put_texts(to, &[NAME, name]),
        TableError::Kind { text, reason } => put_texts(to, &[KIND, text, reason]),
        TableError::Partition { text } => put_texts(to, &[PARTITION, text]),
        TableError::RetentionWithoutVersions { kind } => put_texts(to, &[RETENTION, kind]),
        TableError::Zero { option } => put_texts(to, &[ZERO, option]),
    }
}

fn take_table_error(from: &mut Reader) -> Result<Option<TableError>, DecodeError> {
    Ok(Some(match take_text(from)?.as_str() {
        NAME => TableError::Name { name: take_text(from)? },
        KIND => TableError::Kind { text: take_text(from)?, reason: take_text(from)? },
        PARTITION => TableError::Partition { text: take_text(from)? },
        RETENTION => TableError::RetentionWithoutVersions { kind: take_word(from)? },
        ZERO => TableError::Zero { option: take_word(from)? },
        _ => return Ok(None),
    }))
}

fn put_text(to: &mut Writer<'_>, text: &str) {
    to.put_bytes(text.as_bytes());
}

fn put_texts(to: &mut Writer<'_>, texts: &[&str]) {
    for text in texts {
        put_text(to, text);
    }
}

fn put_shard(to: &mut Writer<'_>, shard: ShardId) {
    to.put_varint(u64::from(shard.get()));
}

/// Bytes that are not UTF-8 are shown as such, not refused: an error must get through.
fn take_text(from: &mut Reader) -> Result<String, DecodeError> {
    Ok(String::from_utf8_lossy(&from.take_bytes()?).into_owned())
}

fn take_word(from: &mut Reader) -> Result<&'static str, DecodeError> {
    Ok(words::kept(&take_text(from)?))
}

fn take_number(from: &mut Reader) -> Result<usize, DecodeError> {
    Ok(usize::try_from(from.take_varint()?).unwrap_or(usize::MAX))
}

fn take_table(from: &mut Reader) -> Result<TableId, DecodeError> {
    let at = from.position();
    let raw = u32::try_from(from.take_varint()?);
    raw.map(TableId::new).map_err(|_| DecodeError::OutOfRange { at })
}

#[cfg(test)]
mod tests;
