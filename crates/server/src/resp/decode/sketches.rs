//! PFADD, PFCOUNT and PFMERGE.

use breccia_types::NodeClock;
use breccia_types::strings::StringWrite;

use super::super::arguments::Arguments;
use super::super::command::{Command, Decoded, Read, WriteReply};
use super::slots;

pub(crate) fn pfadd(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    let (key, elements) = (arguments.bytes(1), arguments.bytes_from(2).collect());
    Ok(Command::Write(StringWrite::SketchAdd { key, elements }, WriteReply::Plain))
}

pub(crate) fn pfcount(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    Ok(Command::Read(Read::Distinct { keys: arguments.bytes_from(1).collect() }))
}

pub(crate) fn pfmerge(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    slots::check_one(arguments.from(1))?;
    let (destination, sources) = (arguments.bytes(1), arguments.bytes_from(2).collect());
    Ok(Command::Write(StringWrite::SketchMerge { destination, sources }, WriteReply::Plain))
}
