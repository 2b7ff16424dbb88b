//! The byte format of the string service's commands and replies in the log.
//!
//! A command is a version byte, then an operation byte and its fields in the order of the
//! vocabulary; a reply has the same shape. Numbers of operations, replies and refusals are
//! never used again for something else. Keys and values are decoded as slices of the entry.

use breccia_types::Timestamp;
use breccia_types::strings::{
    ExpireCondition, ExpiryChange, SetCondition, StringRefusal, StringReply, StringWrite,
};
use bytes::Bytes;

use breccia_types::wire::{DecodeError, Reader, Writer};

const VERSION: u8 = 1;
/// What a command's or a reply's numbers and flags take, about, in bytes.
const FIELDS_BYTES: usize = 32;
/// What a length takes, mostly, in bytes.
const LENGTH_BYTES: usize = 2;
/// The fewest bytes that an item of a list takes: an empty key; a pair of them.
const KEY_BYTES_MIN: usize = 1;
const PAIR_BYTES_MIN: usize = 2;

const SET: u8 = 1;
const SET_MANY: u8 = 2;
const APPEND: u8 = 3;
const SET_RANGE: u8 = 4;
const SET_BIT: u8 = 5;
const INCREMENT: u8 = 6;
const INCREMENT_FLOAT: u8 = 7;
const GET_DELETE: u8 = 8;
const GET_EXPIRE: u8 = 9;
const DELETE: u8 = 10;
const EXPIRE: u8 = 11;
const PERSIST: u8 = 12;
const RENAME: u8 = 13;
const COPY: u8 = 14;
const SKETCH_ADD: u8 = 15;
const SKETCH_MERGE: u8 = 16;
const FLUSH: u8 = 17;

const OK: u8 = 1;
const NIL: u8 = 2;
const INTEGER: u8 = 3;
const BULK: u8 = 4;
const REFUSED: u8 = 5;

/// Encodes a command.
#[must_use]
pub fn encode_write(command: &StringWrite) -> Bytes {
    let mut out = Vec::with_capacity(bytes_of(command).saturating_add(FIELDS_BYTES));
    let mut to = Writer::new(&mut out);
    to.put_u8(VERSION);
    to.put_u8(operation_of(command));
    put_fields(&mut to, command);
    out.into()
}

/// Decodes a command.
///
/// # Errors
/// [`DecodeError`]; the bytes are no command of a version that this build reads.
pub fn decode_write(bytes: Bytes) -> Result<StringWrite, DecodeError> {
    let mut from = versioned(bytes)?;
    let command = match from.take_u8()? {
        operation @ SET..=GET_EXPIRE => take_value_command(&mut from, operation)?,
        operation => take_key_command(&mut from, operation)?,
    };
    from.finish()?;
    Ok(command)
}

/// Encodes a reply.
#[must_use]
pub fn encode_reply(reply: &StringReply) -> Bytes {
    let value_bytes = if let StringReply::Bulk(value) = reply { value.len() } else { 0 };
    let mut out = Vec::with_capacity(value_bytes.saturating_add(FIELDS_BYTES));
    let mut to = Writer::new(&mut out);
    to.put_u8(VERSION);
    match reply {
        StringReply::Ok => to.put_u8(OK),
        StringReply::Nil => to.put_u8(NIL),
        StringReply::Integer(number) => {
            to.put_u8(INTEGER);
            to.put_zigzag(*number);
        }
        StringReply::Bulk(value) => {
            to.put_u8(BULK);
            to.put_bytes(value);
        }
        StringReply::Refused(refusal) => {
            to.put_u8(REFUSED);
            put_refusal(&mut to, *refusal);
        }
    }
    out.into()
}

/// Decodes a reply.
///
/// # Errors
/// [`DecodeError`]; the bytes are no reply of a version that this build reads.
pub fn decode_reply(bytes: Bytes) -> Result<StringReply, DecodeError> {
    let mut from = versioned(bytes)?;
    let reply = match from.take_u8()? {
        OK => StringReply::Ok,
        NIL => StringReply::Nil,
        INTEGER => StringReply::Integer(from.take_zigzag()?),
        BULK => StringReply::Bulk(from.take_bytes()?),
        REFUSED => StringReply::Refused(take_refusal(&mut from)?),
        reply => return Err(from.unknown("reply", reply)),
    };
    from.finish()?;
    Ok(reply)
}

fn versioned(bytes: Bytes) -> Result<Reader, DecodeError> {
    let mut from = Reader::new(bytes);
    match from.take_u8()? {
        VERSION => Ok(from),
        version => Err(DecodeError::UnknownVersion { version }),
    }
}

/// Bytes of keys and values, the lengths of those in lists included.
fn bytes_of(command: &StringWrite) -> usize {
    let others = match command {
        StringWrite::Set { value, .. }
        | StringWrite::Append { value, .. }
        | StringWrite::SetRange { value, .. }
        | StringWrite::IncrementFloat { by: value, .. }
        | StringWrite::Rename { to: value, .. }
        | StringWrite::Copy { to: value, .. } => value.len(),
        StringWrite::SetMany { pairs, .. } => {
            pairs.iter().map(|(key, value)| key.len() + value.len() + 2 * LENGTH_BYTES).sum()
        }
        StringWrite::Delete { keys: many }
        | StringWrite::SketchAdd { elements: many, .. }
        | StringWrite::SketchMerge { sources: many, .. } => {
            many.iter().map(|key| key.len() + LENGTH_BYTES).sum()
        }
        _ => 0,
    };
    others + first_key(command).map_or(0, Bytes::len)
}

const fn operation_of(command: &StringWrite) -> u8 {
    match command {
        StringWrite::Set { .. } => SET,
        StringWrite::SetMany { .. } => SET_MANY,
        StringWrite::Append { .. } => APPEND,
        StringWrite::SetRange { .. } => SET_RANGE,
        StringWrite::SetBit { .. } => SET_BIT,
        StringWrite::Increment { .. } => INCREMENT,
        StringWrite::IncrementFloat { .. } => INCREMENT_FLOAT,
        StringWrite::GetDelete { .. } => GET_DELETE,
        StringWrite::GetExpire { .. } => GET_EXPIRE,
        StringWrite::Delete { .. } => DELETE,
        StringWrite::Expire { .. } => EXPIRE,
        StringWrite::Persist { .. } => PERSIST,
        StringWrite::Rename { .. } => RENAME,
        StringWrite::Copy { .. } => COPY,
        StringWrite::SketchAdd { .. } => SKETCH_ADD,
        StringWrite::SketchMerge { .. } => SKETCH_MERGE,
        StringWrite::Flush => FLUSH,
    }
}

/// The key that is the first field, of the commands that have such a field.
const fn first_key(command: &StringWrite) -> Option<&Bytes> {
    match command {
        StringWrite::Set { key, .. }
        | StringWrite::Append { key, .. }
        | StringWrite::SetRange { key, .. }
        | StringWrite::SetBit { key, .. }
        | StringWrite::Increment { key, .. }
        | StringWrite::IncrementFloat { key, .. }
        | StringWrite::GetDelete { key }
        | StringWrite::GetExpire { key, .. }
        | StringWrite::Expire { key, .. }
        | StringWrite::Persist { key }
        | StringWrite::Rename { from: key, .. }
        | StringWrite::Copy { from: key, .. }
        | StringWrite::SketchAdd { key, .. }
        | StringWrite::SketchMerge { destination: key, .. } => Some(key),
        StringWrite::SetMany { .. } | StringWrite::Delete { .. } | StringWrite::Flush => None,
    }
}

fn put_fields(to: &mut Writer<'_>, command: &StringWrite) {
    if let Some(key) = first_key(command) {
        to.put_bytes(key);
    }
    match command {
        StringWrite::Set { value, condition, expiry, return_previous, .. } => {
            to.put_bytes(value);
            put_condition(to, *condition);
            put_expiry(to, *expiry);
            to.put_bool(*return_previous);
        }
        StringWrite::SetMany { pairs, only_if_none_exists } => {
            to.put_many(pairs, |to, (key, value)| {
                to.put_bytes(key);
                to.put_bytes(value);
            });
            to.put_bool(*only_if_none_exists);
        }
        StringWrite::Append { value, .. } | StringWrite::IncrementFloat { by: value, .. } => {
            to.put_bytes(value);
        }
        StringWrite::SetRange { offset, value, .. } => {
            to.put_varint(*offset);
            to.put_bytes(value);
        }
        StringWrite::SetBit { offset, bit, .. } => {
            to.put_varint(*offset);
            to.put_bool(*bit);
        }
        StringWrite::Increment { by, .. } => to.put_zigzag(*by),
        StringWrite::GetExpire { expiry, .. } => put_expiry(to, *expiry),
        StringWrite::Expire { at, condition, .. } => {
            to.put_zigzag(at.as_micros());
            put_expire_condition(to, *condition);
        }
        StringWrite::Rename { to: target, only_if_absent: flag, .. }
        | StringWrite::Copy { to: target, replace: flag, .. } => {
            to.put_bytes(target);
            to.put_bool(*flag);
        }
        StringWrite::Delete { keys }
        | StringWrite::SketchAdd { elements: keys, .. }
        | StringWrite::SketchMerge { sources: keys, .. } => put_keys(to, keys),
        StringWrite::GetDelete { .. } | StringWrite::Persist { .. } | StringWrite::Flush => {}
    }
}

/// The commands about values.
fn take_value_command(from: &mut Reader, operation: u8) -> Result<StringWrite, DecodeError> {
    Ok(match operation {
        SET => StringWrite::Set {
            key: from.take_bytes()?,
            value: from.take_bytes()?,
            condition: take_condition(from)?,
            expiry: take_expiry(from)?,
            return_previous: from.take_bool()?,
        },
        SET_MANY => StringWrite::SetMany {
            pairs: from
                .take_many(PAIR_BYTES_MIN, |from| Ok((from.take_bytes()?, from.take_bytes()?)))?,
            only_if_none_exists: from.take_bool()?,
        },
        APPEND => StringWrite::Append { key: from.take_bytes()?, value: from.take_bytes()? },
        SET_RANGE => StringWrite::SetRange {
            key: from.take_bytes()?,
            offset: from.take_varint()?,
            value: from.take_bytes()?,
        },
        SET_BIT => StringWrite::SetBit {
            key: from.take_bytes()?,
            offset: from.take_varint()?,
            bit: from.take_bool()?,
        },
        INCREMENT => StringWrite::Increment { key: from.take_bytes()?, by: from.take_zigzag()? },
        INCREMENT_FLOAT => {
            StringWrite::IncrementFloat { key: from.take_bytes()?, by: from.take_bytes()? }
        }
        GET_DELETE => StringWrite::GetDelete { key: from.take_bytes()? },
        GET_EXPIRE => {
            StringWrite::GetExpire { key: from.take_bytes()?, expiry: take_expiry(from)? }
        }
        operation => return Err(from.unknown("operation", operation)),
    })
}

/// The commands about keys, expiry and sketches.
fn take_key_command(from: &mut Reader, operation: u8) -> Result<StringWrite, DecodeError> {
    Ok(match operation {
        DELETE => StringWrite::Delete { keys: take_keys(from)? },
        EXPIRE => StringWrite::Expire {
            key: from.take_bytes()?,
            at: Timestamp::from_micros(from.take_zigzag()?),
            condition: take_expire_condition(from)?,
        },
        PERSIST => StringWrite::Persist { key: from.take_bytes()? },
        RENAME => StringWrite::Rename {
            from: from.take_bytes()?,
            to: from.take_bytes()?,
            only_if_absent: from.take_bool()?,
        },
        COPY => StringWrite::Copy {
            from: from.take_bytes()?,
            to: from.take_bytes()?,
            replace: from.take_bool()?,
        },
        SKETCH_ADD => {
            StringWrite::SketchAdd { key: from.take_bytes()?, elements: take_keys(from)? }
        }
        SKETCH_MERGE => {
            StringWrite::SketchMerge { destination: from.take_bytes()?, sources: take_keys(from)? }
        }
        FLUSH => StringWrite::Flush,
        operation => return Err(from.unknown("operation", operation)),
    })
}

fn put_keys(to: &mut Writer<'_>, keys: &[Bytes]) {
    to.put_many(keys, |to, key| to.put_bytes(key));
}

fn take_keys(from: &mut Reader) -> Result<Vec<Bytes>, DecodeError> {
    from.take_many(KEY_BYTES_MIN, Reader::take_bytes)
}

fn put_condition(to: &mut Writer<'_>, condition: SetCondition) {
    to.put_u8(match condition {
        SetCondition::Always => 0,
        SetCondition::IfAbsent => 1,
        SetCondition::IfPresent => 2,
    });
}

fn take_condition(from: &mut Reader) -> Result<SetCondition, DecodeError> {
    match from.take_u8()? {
        0 => Ok(SetCondition::Always),
        1 => Ok(SetCondition::IfAbsent),
        2 => Ok(SetCondition::IfPresent),
        condition => Err(from.unknown("condition", condition)),
    }
}

fn put_expiry(to: &mut Writer<'_>, expiry: ExpiryChange) {
    match expiry {
        ExpiryChange::Clear => to.put_u8(0),
        ExpiryChange::Keep => to.put_u8(1),
        ExpiryChange::At(at) => {
            to.put_u8(2);
            to.put_zigzag(at.as_micros());
        }
    }
}

fn take_expiry(from: &mut Reader) -> Result<ExpiryChange, DecodeError> {
    match from.take_u8()? {
        0 => Ok(ExpiryChange::Clear),
        1 => Ok(ExpiryChange::Keep),
        2 => Ok(ExpiryChange::At(Timestamp::from_micros(from.take_zigzag()?))),
        expiry => Err(from.unknown("expiry", expiry)),
    }
}

fn put_expire_condition(to: &mut Writer<'_>, condition: ExpireCondition) {
    let ExpireCondition { if_none, if_some, if_later, if_earlier } = condition;
    for flag in [if_none, if_some, if_later, if_earlier] {
        to.put_bool(flag);
    }
}

fn take_expire_condition(from: &mut Reader) -> Result<ExpireCondition, DecodeError> {
    Ok(ExpireCondition {
        if_none: from.take_bool()?,
        if_some: from.take_bool()?,
        if_later: from.take_bool()?,
        if_earlier: from.take_bool()?,
    })
}

fn put_refusal(to: &mut Writer<'_>, refusal: StringRefusal) {
    to.put_u8(match refusal {
        StringRefusal::NotAnInteger => 1,
        StringRefusal::NotAFloat => 2,
        StringRefusal::Overflow => 3,
        StringRefusal::NotFinite => 4,
        StringRefusal::NoSuchKey => 5,
        StringRefusal::TooLong => 6,
        StringRefusal::NotASketch => 7,
        StringRefusal::CorruptSketch => 8,
    });
}

fn take_refusal(from: &mut Reader) -> Result<StringRefusal, DecodeError> {
    match from.take_u8()? {
        1 => Ok(StringRefusal::NotAnInteger),
        2 => Ok(StringRefusal::NotAFloat),
        3 => Ok(StringRefusal::Overflow),
        4 => Ok(StringRefusal::NotFinite),
        5 => Ok(StringRefusal::NoSuchKey),
        6 => Ok(StringRefusal::TooLong),
        7 => Ok(StringRefusal::NotASketch),
        8 => Ok(StringRefusal::CorruptSketch),
        refusal => Err(from.unknown("refusal", refusal)),
    }
}

#[cfg(test)]
mod tests;
