//! Commands on keys, whatever their values.

use breccia_types::NodeClock;
use breccia_types::strings::StringWrite;

use super::super::arguments::Arguments;
use super::super::command::{Command, Decoded, Fixed, Read, View, Visit, WriteReply};
use super::super::error::ReplyError;
use super::number::integer;
use super::slots;

pub(crate) fn del(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    let mut writes: Vec<_> = slots::grouped(arguments.bytes_from(1))
        .into_values()
        .map(|keys| StringWrite::Delete { keys })
        .collect();
    match (writes.len(), writes.pop()) {
        (1, Some(write)) => Ok(Command::Write(write, WriteReply::Plain)),
        (_, last) => {
            writes.extend(last);
            Ok(Command::WriteScattered(writes))
        }
    }
}

pub(crate) fn exists(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    Ok(Command::Read(Read::Existing { keys: arguments.bytes_from(1).collect() }))
}

pub(crate) fn type_of(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    Ok(Command::Read(Read::One { key: arguments.bytes(1), view: View::Type }))
}

fn object(arguments: Arguments<'_>, view: View) -> Decoded {
    Ok(Command::Read(Read::One { key: arguments.bytes(2), view }))
}

pub(crate) fn object_encoding(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    object(arguments, View::Encoding)
}

pub(crate) fn object_refcount(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    object(arguments, View::References)
}

pub(crate) fn object_idletime(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    object(arguments, View::IdleTime)
}

pub(crate) fn object_freq(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    object(arguments, View::Frequency)
}

pub(crate) fn rename(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    Ok(Command::Write(rename_write(arguments, false)?, WriteReply::Plain))
}

pub(crate) fn renamenx(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    Ok(Command::Write(rename_write(arguments, true)?, WriteReply::OneOrZero))
}

fn rename_write(arguments: Arguments<'_>, only_if_absent: bool) -> Result<StringWrite, ReplyError> {
    slots::check_one([arguments.get(1), arguments.get(2)].into_iter())?;
    Ok(StringWrite::Rename { from: arguments.bytes(1), to: arguments.bytes(2), only_if_absent })
}

pub(crate) fn copy(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    slots::check_one([arguments.get(1), arguments.get(2)].into_iter())?;
    let (mut replace, mut database) = (false, 0);
    let mut at = 3;
    while at < arguments.len() {
        if arguments.is(at, "REPLACE") {
            replace = true;
        } else if arguments.is(at, "DB") && at + 1 < arguments.len() {
            at += 1;
            database = integer(arguments.get(at))?;
        } else {
            return Err(ReplyError::Syntax);
        }
        at += 1;
    }
    if database != 0 {
        return Err(ReplyError::NotInClusterMode { what: "Copying to another database" });
    }
    let (from, to) = (arguments.bytes(1), arguments.bytes(2));
    if from == to {
        return Err(ReplyError::SameObject);
    }
    Ok(Command::Write(StringWrite::Copy { from, to, replace }, WriteReply::Plain))
}

pub(crate) fn move_key(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    Err(ReplyError::NotInClusterMode { what: "MOVE" })
}

pub(crate) fn keys(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    Ok(Command::Visit(Visit::Keys { pattern: arguments.bytes(1) }))
}

pub(crate) fn randomkey(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    Ok(Command::Visit(Visit::RandomKey))
}

pub(crate) fn dbsize(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    Ok(Command::Visit(Visit::Size))
}

pub(crate) fn flush(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    match arguments.len() {
        1 => {}
        2 if arguments.is(1, "SYNC") || arguments.is(1, "ASYNC") => {}
        _ => return Err(ReplyError::Syntax),
    }
    Ok(Command::Write(StringWrite::Flush, WriteReply::Ok))
}

/// There is no copy of a row elsewhere to wait for.
pub(crate) fn wait(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    integer(arguments.get(1))?;
    match integer(arguments.get(2)) {
        Err(_) => Err(ReplyError::TimeoutNotAnInteger),
        Ok(..0) => Err(ReplyError::NegativeTimeout),
        Ok(_) => Ok(Command::Fixed(Fixed::Integer(0))),
    }
}
