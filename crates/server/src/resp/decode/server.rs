//! INFO, CONFIG, COMMAND and the other commands about the server.

use breccia_types::NodeClock;
use bytes::Bytes;

use super::super::arguments::Arguments;
use super::super::command::{Command, CommandQuery, Decoded, Fixed, ListFilter, Query};
use super::super::error::ReplyError;

const fn query(query: Query) -> Decoded {
    Ok(Command::Query(query))
}

pub(super) const fn help_of(container: &'static str) -> Decoded {
    query(Query::Help { container })
}

pub(crate) fn time(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    query(Query::Time)
}

pub(crate) fn info(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    let lower = |word: &[u8]| String::from_utf8_lossy(word).to_ascii_lowercase();
    query(Query::Info { sections: arguments.from(1).map(lower).collect() })
}

pub(crate) fn config_get(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    let lower = |word: &[u8]| Bytes::from(word.to_ascii_lowercase());
    query(Query::GetSettings { patterns: arguments.from(2).map(lower).collect() })
}

pub(crate) fn config_set(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    if arguments.len() % 2 == 1 {
        return Err(ReplyError::Arity { command: "config|set" });
    }
    let change =
        |at| (Bytes::from(arguments.get(at).to_ascii_lowercase()), arguments.bytes(at + 1));
    let changes = (2..arguments.len()).step_by(2).map(change).collect();
    query(Query::ChangeSettings { changes })
}

pub(crate) fn config_resetstat(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    query(Query::ResetStatistics)
}

pub(crate) fn command(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    query(Query::Commands(CommandQuery::All))
}

pub(crate) fn command_count(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    query(Query::Commands(CommandQuery::Count))
}

pub(crate) fn command_info(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    query(Query::Commands(match arguments.len() {
        2 => CommandQuery::All,
        _ => CommandQuery::Info(arguments.bytes_from(2).collect()),
    }))
}

pub(crate) fn command_docs(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    query(Query::Commands(CommandQuery::Docs(arguments.bytes_from(2).collect())))
}

pub(crate) fn command_getkeys(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    query(Query::Commands(CommandQuery::Keys(arguments.bytes_from(2).collect())))
}

pub(crate) fn command_list(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    let filter = match arguments.len() {
        2 => ListFilter::All,
        5 if arguments.is(2, "FILTERBY") && arguments.is(3, "MODULE") => ListFilter::Nothing,
        5 if arguments.is(2, "FILTERBY") && arguments.is(3, "ACLCAT") => {
            ListFilter::Category(arguments.bytes(4))
        }
        5 if arguments.is(2, "FILTERBY") && arguments.is(3, "PATTERN") => {
            ListFilter::Pattern(arguments.bytes(4))
        }
        _ => return Err(ReplyError::Syntax),
    };
    query(Query::Commands(CommandQuery::List(filter)))
}

/// There are no functions that could be flushed.
pub(crate) fn function_flush(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    match arguments.len() {
        2 => {}
        3 if arguments.is(2, "SYNC") || arguments.is(2, "ASYNC") => {}
        _ => return Err(ReplyError::FunctionFlush),
    }
    Ok(Command::Fixed(Fixed::Ok))
}

pub(crate) fn function_list(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    Ok(Command::Fixed(Fixed::EmptyArray))
}

pub(crate) fn debug(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    Err(ReplyError::NoDebug)
}

/// A container cannot be called without a subcommand; the arity check sees to it.
pub(crate) fn container(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    Err(ReplyError::Syntax)
}

pub(crate) fn command_help(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    help_of("command")
}

pub(crate) fn config_help(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    help_of("config")
}

pub(crate) fn object_help(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    help_of("object")
}

pub(crate) fn function_help(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    help_of("function")
}
