//! Commands beyond the table `redis`: calls of functions, and rows of other tables.

use breccia_types::{NodeClock, RequestId};

use super::super::arguments::Arguments;
use super::super::command::{Beyond, Command, Decoded};
use super::super::error::ReplyError;
use super::number::integer;

/// The keyword before a request id.
const REQUEST: &str = "REQUEST";

#[cfg(feature = "functions")]
pub(crate) fn fcall(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    call(arguments, false)
}

#[cfg(feature = "functions")]
pub(crate) fn fcall_ro(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    call(arguments, true)
}

/// `FCALL function numkeys [key ...] [arg ...]`.
#[cfg(feature = "functions")]
fn call(arguments: Arguments<'_>, reads: bool) -> Decoded {
    let count = integer(arguments.get(2)).map_err(|_| ReplyError::BadKeyCount)?;
    let count = usize::try_from(count).map_err(|_| ReplyError::NegativeKeyCount)?;
    if count > arguments.len() - 3 {
        return Err(ReplyError::TooManyCallKeys);
    }
    let function = String::from_utf8_lossy(arguments.get(1)).into_owned();
    let keys: Vec<_> = arguments.bytes_from(3).take(count).collect();
    super::slots::check_one(keys.iter().map(AsRef::as_ref))?;
    let args = arguments.bytes_from(3 + count).collect();
    Ok(Command::Beyond(Beyond::Call { function, reads, keys, args }))
}

/// `BRECCIA.MERGE table key operand [REQUEST id]`.
pub(crate) fn merge(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    let request_id = match arguments.len() {
        4 => None,
        6 if arguments.is(4, REQUEST) => {
            let text = std::str::from_utf8(arguments.get(5)).ok();
            Some(text.and_then(RequestId::parse).ok_or(ReplyError::RequestId)?)
        }
        _ => return Err(ReplyError::Syntax),
    };
    Ok(Command::Beyond(Beyond::Merge {
        table: String::from_utf8_lossy(arguments.get(1)).into_owned(),
        key: arguments.bytes(2),
        operand: arguments.bytes(3),
        request_id,
    }))
}

/// `BRECCIA.GET table key`.
pub(crate) fn get(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    let table = String::from_utf8_lossy(arguments.get(1)).into_owned();
    Ok(Command::Beyond(Beyond::Get { table, key: arguments.bytes(2) }))
}
