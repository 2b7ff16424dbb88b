//! GET, SET and the other commands on one value, and those on several values at once.

use breccia_types::limits::RESP_BULK_BYTES_MAX;
use breccia_types::strings::{ExpiryChange, SetCondition, StringWrite};
use breccia_types::{NodeClock, Timestamp};
use bytes::Bytes;

use super::super::arguments::Arguments;
use super::super::command::{Command, Decoded, LcsShown, Read, View, WriteReply};
use super::super::error::ReplyError;
use super::expiry::{Moment, SetOptions};
use super::number::integer;
use super::slots;

const fn plain(write: StringWrite) -> Decoded {
    Ok(Command::Write(write, WriteReply::Plain))
}

fn view(arguments: Arguments<'_>, view: View) -> Decoded {
    Ok(Command::Read(Read::One { key: arguments.bytes(1), view }))
}

pub(crate) fn get(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    view(arguments, View::Value)
}

pub(crate) fn strlen(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    view(arguments, View::Length)
}

pub(crate) fn getrange(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    let (start, end) = (integer(arguments.get(2))?, integer(arguments.get(3))?);
    view(arguments, View::Range { start, end })
}

pub(crate) fn getbit(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    view(arguments, View::Bit { offset: bit_offset(arguments.get(2))? })
}

pub(crate) fn set(arguments: Arguments<'_>, clock: &NodeClock) -> Decoded {
    if arguments.len() == 3 {
        return plain(set_always(arguments, 2, ExpiryChange::Clear));
    }
    let options = SetOptions::parse(arguments, 3, true)?;
    let expiry = match options.expiry {
        Some(moment) => ExpiryChange::At(moment.resolve("set", clock)?),
        None if options.keep => ExpiryChange::Keep,
        None => ExpiryChange::Clear,
    };
    plain(StringWrite::Set {
        key: arguments.bytes(1),
        value: arguments.bytes(2),
        condition: options.condition,
        expiry,
        return_previous: options.return_previous,
    })
}

fn set_always(arguments: Arguments<'_>, value_at: usize, expiry: ExpiryChange) -> StringWrite {
    StringWrite::Set {
        key: arguments.bytes(1),
        value: arguments.bytes(value_at),
        condition: SetCondition::Always,
        expiry,
        return_previous: false,
    }
}

pub(crate) fn setnx(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    let write = StringWrite::Set {
        key: arguments.bytes(1),
        value: arguments.bytes(2),
        condition: SetCondition::IfAbsent,
        expiry: ExpiryChange::Clear,
        return_previous: false,
    };
    Ok(Command::Write(write, WriteReply::OneOrZero))
}

pub(crate) fn setex(arguments: Arguments<'_>, clock: &NodeClock) -> Decoded {
    let at = Moment::SecondsFromNow(integer(arguments.get(2))?).resolve("setex", clock)?;
    plain(set_always(arguments, 3, ExpiryChange::At(at)))
}

pub(crate) fn psetex(arguments: Arguments<'_>, clock: &NodeClock) -> Decoded {
    let at = Moment::MillisecondsFromNow(integer(arguments.get(2))?).resolve("psetex", clock)?;
    plain(set_always(arguments, 3, ExpiryChange::At(at)))
}

pub(crate) fn getset(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    plain(StringWrite::Set {
        key: arguments.bytes(1),
        value: arguments.bytes(2),
        condition: SetCondition::Always,
        expiry: ExpiryChange::Clear,
        return_previous: true,
    })
}

pub(crate) fn getdel(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    plain(StringWrite::GetDelete { key: arguments.bytes(1) })
}

pub(crate) fn getex(arguments: Arguments<'_>, clock: &NodeClock) -> Decoded {
    let options = SetOptions::parse(arguments, 2, false)?;
    let expiry = match options.expiry {
        Some(moment) => ExpiryChange::At(moment.resolve("getex", clock)?),
        None if options.persist => ExpiryChange::Clear,
        None => return get(arguments, clock),
    };
    plain(StringWrite::GetExpire { key: arguments.bytes(1), expiry })
}

pub(crate) fn append(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    plain(StringWrite::Append { key: arguments.bytes(1), value: arguments.bytes(2) })
}

pub(crate) fn setrange(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    let offset = u64::try_from(integer(arguments.get(2))?);
    let offset = offset.map_err(|_| ReplyError::OffsetOutOfRange)?;
    plain(StringWrite::SetRange { key: arguments.bytes(1), offset, value: arguments.bytes(3) })
}

pub(crate) fn setbit(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    let offset = bit_offset(arguments.get(2))?;
    let bit = match integer(arguments.get(3)) {
        Ok(0) => false,
        Ok(1) => true,
        _ => return Err(ReplyError::Bit),
    };
    plain(StringWrite::SetBit { key: arguments.bytes(1), offset, bit })
}

fn bit_offset(text: &[u8]) -> Result<u64, ReplyError> {
    let offset = integer(text).ok().and_then(|offset| u64::try_from(offset).ok());
    let inside =
        |offset: &u64| usize::try_from(offset / 8).is_ok_and(|at| at < RESP_BULK_BYTES_MAX);
    offset.filter(inside).ok_or(ReplyError::BitOffset)
}

fn increment(key: Bytes, by: i64) -> Decoded {
    plain(StringWrite::Increment { key, by })
}

pub(crate) fn incr(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    increment(arguments.bytes(1), 1)
}

pub(crate) fn decr(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    increment(arguments.bytes(1), -1)
}

pub(crate) fn incrby(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    increment(arguments.bytes(1), integer(arguments.get(2))?)
}

pub(crate) fn decrby(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    let by = integer(arguments.get(2))?;
    increment(arguments.bytes(1), by.checked_neg().ok_or(ReplyError::DecrementOverflow)?)
}

pub(crate) fn incrbyfloat(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    plain(StringWrite::IncrementFloat { key: arguments.bytes(1), by: arguments.bytes(2) })
}

pub(crate) fn mget(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    Ok(Command::Read(Read::Values { keys: arguments.bytes_from(1).collect() }))
}

pub(crate) fn mset(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    Ok(Command::Write(set_many(arguments, "mset", false)?, WriteReply::Ok))
}

pub(crate) fn msetnx(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    plain(set_many(arguments, "msetnx", true)?)
}

fn set_many(
    arguments: Arguments<'_>,
    command: &'static str,
    only_if_none_exists: bool,
) -> Result<StringWrite, ReplyError> {
    let keys = (1..arguments.len()).step_by(2);
    slots::check_one(keys.clone().map(|at| arguments.get(at)))?;
    if arguments.len().is_multiple_of(2) {
        return Err(ReplyError::Arity { command });
    }
    let pairs = keys.map(|at| (arguments.bytes(at), arguments.bytes(at + 1))).collect();
    Ok(StringWrite::SetMany { pairs, only_if_none_exists })
}

pub(crate) fn lcs(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    slots::check_one([arguments.get(1), arguments.get(2)].into_iter())?;
    let (mut length, mut indexes, mut with_length, mut length_min) = (false, false, false, 0);
    let mut at = 3;
    while at < arguments.len() {
        if arguments.is(at, "IDX") {
            indexes = true;
        } else if arguments.is(at, "LEN") {
            length = true;
        } else if arguments.is(at, "WITHMATCHLEN") {
            with_length = true;
        } else if arguments.is(at, "MINMATCHLEN") && at + 1 < arguments.len() {
            at += 1;
            length_min = u64::try_from(integer(arguments.get(at))?).unwrap_or(0);
        } else {
            return Err(ReplyError::Syntax);
        }
        at += 1;
    }
    let shown = match (length, indexes) {
        (true, true) => return Err(ReplyError::LengthAndIndexes),
        (true, false) => LcsShown::Length,
        (false, true) => LcsShown::Indexes { length_min, with_length },
        (false, false) => LcsShown::Subsequence,
    };
    let (first, second) = (arguments.bytes(1), arguments.bytes(2));
    Ok(Command::Read(Read::CommonSubsequence { first, second, shown }))
}

/// The instant of so many milliseconds since 1970; the first or the last there is if that
/// is out of range.
pub(super) fn instant(millis: i64) -> Timestamp {
    let end = if millis < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_millis(millis).unwrap_or(end)
}
