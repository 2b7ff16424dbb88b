//! SCAN.

use breccia_types::NodeClock;

use super::super::arguments::Arguments;
use super::super::command::{Command, Decoded, ScanPage, Visit};
use super::super::error::ReplyError;
use super::number::{cursor, integer};

/// Keys visited if the client does not say.
const COUNT_DEFAULT: usize = 10;

pub(crate) fn scan(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    let mut page = ScanPage {
        cursor: cursor(arguments.get(1))?,
        pattern: None,
        count: COUNT_DEFAULT,
        strings: true,
    };
    for at in (2..arguments.len()).step_by(2) {
        if at + 1 == arguments.len() {
            return Err(ReplyError::Syntax);
        }
        if arguments.is(at, "COUNT") {
            let count = integer(arguments.get(at + 1))?;
            page.count = usize::try_from(count).unwrap_or(0);
            if page.count == 0 {
                return Err(ReplyError::Syntax);
            }
        } else if arguments.is(at, "MATCH") {
            let pattern = arguments.bytes(at + 1);
            page.pattern = Some(pattern).filter(|pattern| pattern.as_ref() != b"*");
        } else if arguments.is(at, "TYPE") {
            page.strings = arguments.is(at + 1, "string");
        } else {
            return Err(ReplyError::Syntax);
        }
    }
    Ok(Command::Visit(Visit::Scan(page)))
}
