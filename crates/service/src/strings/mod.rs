//! The string service: Redis's strings and keys as deterministic write commands.
//!
//! A Redis key is a row of the table `redis`. Each command reads and writes the rows it
//! names and replies what Redis 7.0 would, also to the last bit of a sum of floats and the
//! last byte of a sketch. Reads such as GET and PFCOUNT are no commands: front ends read
//! the rows, and [`sketch`] and [`number`] say what is in them.

pub mod codec;
pub mod number;
pub mod sketch;

mod extended;
mod keys;
mod natural;
mod rows;
mod value;

use breccia_store::{StoreError, Transaction};
use breccia_types::ServiceId;
use breccia_types::strings::{StringReply, StringWrite};
use bytes::Bytes;

use self::rows::{Outcome, Rows, Stop};
use self::value::SetMode;
use crate::service::{Service, ServiceContext, WriteError};

/// The id of this service in log entries.
pub const SERVICE_ID: ServiceId = ServiceId::new(2);

/// Redis's write commands on strings and keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct StringService;

impl Service for StringService {
    fn id(&self) -> ServiceId {
        SERVICE_ID
    }

    fn write(
        &self,
        context: &mut ServiceContext<'_, '_>,
        command: Bytes,
    ) -> Result<Bytes, WriteError> {
        let command = codec::decode_write(command)?;
        let reply = apply(context.transaction, &command)?;
        Ok(codec::encode_reply(&reply))
    }
}

/// Applies one command. A refused one has written nothing.
///
/// # Errors
/// What reading the shard reports.
pub fn apply(
    transaction: &mut Transaction<'_>,
    command: &StringWrite,
) -> Result<StringReply, StoreError> {
    match run(&mut Rows::new(transaction), command) {
        Ok(reply) => Ok(reply),
        Err(Stop::Refused(refusal)) => Ok(StringReply::Refused(refusal)),
        Err(Stop::Store(error)) => Err(error),
    }
}

fn run(rows: &mut Rows<'_, '_>, command: &StringWrite) -> Outcome {
    match command {
        StringWrite::Set { key, value, condition, expiry, return_previous } => {
            let (condition, expiry, return_previous) = (*condition, *expiry, *return_previous);
            value::set(rows, key, value, &SetMode { condition, expiry, return_previous })
        }
        StringWrite::SetMany { pairs, only_if_none_exists } => {
            value::set_many(rows, pairs, *only_if_none_exists)
        }
        StringWrite::Append { key, value } => value::append(rows, key, value),
        StringWrite::SetRange { key, offset, value } => value::set_range(rows, key, *offset, value),
        StringWrite::SetBit { key, offset, bit } => value::set_bit(rows, key, *offset, *bit),
        StringWrite::Increment { key, by } => value::increment(rows, key, *by),
        StringWrite::IncrementFloat { key, by } => value::increment_float(rows, key, by),
        StringWrite::GetDelete { key } => value::get_delete(rows, key),
        StringWrite::GetExpire { key, expiry } => value::get_expire(rows, key, *expiry),
        StringWrite::Delete { keys } => keys::delete(rows, keys),
        StringWrite::Expire { key, at, condition } => keys::expire(rows, key, *at, *condition),
        StringWrite::Persist { key } => keys::persist(rows, key),
        StringWrite::Rename { from, to, only_if_absent } => {
            keys::rename(rows, from, to, *only_if_absent)
        }
        StringWrite::Copy { from, to, replace } => keys::copy(rows, from, to, *replace),
        StringWrite::SketchAdd { key, elements } => keys::sketch_add(rows, key, elements),
        StringWrite::SketchMerge { destination, sources } => {
            keys::sketch_merge(rows, destination, sources)
        }
        StringWrite::Flush => {
            rows.delete_all()?;
            Ok(StringReply::Ok)
        }
    }
}

#[cfg(test)]
mod tests;
