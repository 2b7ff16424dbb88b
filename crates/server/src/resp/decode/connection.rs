//! PING, HELLO and the other commands of a connection but CLIENT.

use breccia_types::NodeClock;
use bytes::Bytes;

use super::super::arguments::Arguments;
use super::super::command::{Command, Decoded, Fixed, ReadFrom, Session};
use super::super::encoder::Protocol;
use super::super::error::{ReplyError, shown};
use super::client::checked_name;
use super::number::integer;

pub(crate) fn ping(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    match arguments.len() {
        1 => Ok(Command::Fixed(Fixed::Pong)),
        2 => Ok(Command::Fixed(Fixed::Bulk(arguments.bytes(1)))),
        _ => Err(ReplyError::Arity { command: "ping" }),
    }
}

pub(crate) fn echo(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    Ok(Command::Fixed(Fixed::Bulk(arguments.bytes(1))))
}

pub(crate) fn ok(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    Ok(Command::Fixed(Fixed::Ok))
}

pub(crate) fn hello(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    let protocol = match arguments.len() {
        1 => None,
        _ => match integer(arguments.get(1)) {
            Ok(2) => Some(Protocol::Resp2),
            Ok(3) => Some(Protocol::Resp3),
            Ok(_) => return Err(ReplyError::UnsupportedProtocol),
            Err(_) => return Err(ReplyError::ProtocolNotAnInteger),
        },
    };
    let mut name: Option<Bytes> = None;
    let mut at = 2;
    while at < arguments.len() {
        let more = arguments.len() - 1 - at;
        if arguments.is(at, "AUTH") && more >= 2 {
            check_user(arguments.get(at + 1))?;
            at += 2;
        } else if arguments.is(at, "SETNAME") && more >= 1 {
            name = Some(checked_name(arguments.bytes(at + 1))?);
            at += 1;
        } else {
            return Err(ReplyError::HelloOption { option: shown(arguments.get(at)) });
        }
        at += 1;
    }
    Ok(Command::Session(Session::Hello { protocol, name }))
}

/// The one user there is needs no password, and so has every one.
fn check_user(user: &[u8]) -> Result<(), ReplyError> {
    match user {
        b"default" => Ok(()),
        _ => Err(ReplyError::WrongPassword),
    }
}

pub(crate) fn auth(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    match arguments.len() {
        2 => Err(ReplyError::NoPasswordSet),
        3 => check_user(arguments.get(1)).map(|()| Command::Fixed(Fixed::Ok)),
        _ => Err(ReplyError::Syntax),
    }
}

pub(crate) fn select(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    match integer(arguments.get(1))? {
        0 => Ok(Command::Fixed(Fixed::Ok)),
        _ => Err(ReplyError::NotInClusterMode { what: "SELECT" }),
    }
}

pub(crate) fn quit(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    Ok(Command::Session(Session::Quit))
}

pub(crate) fn reset(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    Ok(Command::Session(Session::Reset))
}

pub(crate) fn read_only(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    Ok(Command::Session(Session::ReadFrom(ReadFrom::Replicas)))
}

pub(crate) fn read_write(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    Ok(Command::Session(Session::ReadFrom(ReadFrom::Leaders)))
}
