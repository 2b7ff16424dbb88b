//! CLIENT.

use breccia_types::NodeClock;
use bytes::Bytes;

use super::super::arguments::Arguments;
use super::super::command::{
    ClientList, Command, Decoded, Fixed, Kill, LibraryAttribute, ReplyMode, Session,
};
use super::super::error::{ReplyError, shown};
use super::super::limits::CLIENT_NAME_BYTES_MAX;
use super::number::integer;

pub(crate) fn id(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    Ok(Command::Session(Session::Id))
}

pub(crate) fn info(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    Ok(Command::Session(Session::Info))
}

pub(crate) fn getname(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    Ok(Command::Session(Session::GetName))
}

pub(crate) fn setname(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    checked_name(arguments.bytes(2)).map(|name| Command::Session(Session::SetName(name)))
}

/// A name without blanks: those would break CLIENT LIST. A copy, because a name outlives
/// by far the bytes that it came in.
pub(super) fn checked_name(name: Bytes) -> Result<Bytes, ReplyError> {
    if !name.iter().all(u8::is_ascii_graphic) {
        return Err(ReplyError::ClientName);
    }
    match name.len() <= CLIENT_NAME_BYTES_MAX {
        true => Ok(Bytes::copy_from_slice(&name)),
        false => Err(ReplyError::ClientNameTooLong),
    }
}

pub(crate) fn setinfo(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    let (attribute, name) = if arguments.is(2, "LIB-NAME") {
        (LibraryAttribute::Name, "lib-name")
    } else if arguments.is(2, "LIB-VER") {
        (LibraryAttribute::Version, "lib-ver")
    } else {
        return Err(ReplyError::ClientInfoOption { option: shown(arguments.get(2)) });
    };
    let value = checked_name(arguments.bytes(3));
    let value = value.map_err(|_| ReplyError::ClientInfoValue { attribute: name })?;
    Ok(Command::Session(Session::SetLibrary { attribute, value }))
}

pub(crate) fn reply(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    let mode = if arguments.is(2, "ON") {
        ReplyMode::On
    } else if arguments.is(2, "OFF") {
        ReplyMode::Off
    } else if arguments.is(2, "SKIP") {
        ReplyMode::SkipNext
    } else {
        return Err(ReplyError::Syntax);
    };
    Ok(Command::Session(Session::Reply(mode)))
}

/// NO-EVICT and NO-TOUCH: clients are not evicted here, and reads leave no traces.
pub(crate) fn on_or_off(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    match arguments.is(2, "ON") || arguments.is(2, "OFF") {
        true => Ok(Command::Fixed(Fixed::Ok)),
        false => Err(ReplyError::Syntax),
    }
}

/// Nobody is ever blocked here.
pub(crate) fn unblock(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    match arguments.len() {
        3 => {}
        4 if arguments.is(3, "TIMEOUT") || arguments.is(3, "ERROR") => {}
        4 => return Err(ReplyError::UnblockReason),
        _ => return Err(ReplyError::Syntax),
    }
    integer(arguments.get(2))?;
    Ok(Command::Fixed(Fixed::Integer(0)))
}

/// Without tracking nothing is redirected.
pub(crate) fn getredir(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    Ok(Command::Fixed(Fixed::Integer(-1)))
}

pub(crate) fn list(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    let list = if arguments.len() == 2 {
        ClientList::All
    } else if arguments.len() == 4 && arguments.is(2, "TYPE") {
        match is_normal(arguments.get(3))? {
            true => ClientList::All,
            false => ClientList::Nobody,
        }
    } else if arguments.len() > 3 && arguments.is(2, "ID") {
        let id = |text| {
            let id = integer(text).map_err(|_| ReplyError::InvalidClientId)?;
            Ok(u64::try_from(id).unwrap_or(0))
        };
        ClientList::Ids(arguments.from(3).map(id).collect::<Result<_, ReplyError>>()?)
    } else {
        return Err(ReplyError::Syntax);
    };
    Ok(Command::Session(Session::List(list)))
}

fn is_normal(name: &[u8]) -> Result<bool, ReplyError> {
    let lower = name.to_ascii_lowercase();
    match lower.as_slice() {
        b"normal" => Ok(true),
        b"slave" | b"replica" | b"pubsub" | b"master" => Ok(false),
        _ => Err(ReplyError::UnknownClientType { name: shown(name) }),
    }
}

pub(crate) fn kill(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    if arguments.len() == 3 {
        let address = Some(arguments.bytes(2));
        let kill = Kill { address, old_style: true, ..Kill::default() };
        return Ok(Command::Session(Session::Kill(kill)));
    }
    let mut kill = Kill { skip_me: true, ..Kill::default() };
    for at in (2..arguments.len()).step_by(2) {
        let value_at = at + 1;
        if value_at == arguments.len() {
            return Err(ReplyError::Syntax);
        }
        let value = arguments.get(value_at);
        if arguments.is(at, "ID") {
            let id = integer(value).ok().and_then(|id| u64::try_from(id).ok());
            let id = id.filter(|id| *id > 0);
            kill.id = Some(id.ok_or(ReplyError::ClientIdRange)?);
        } else if arguments.is(at, "TYPE") {
            kill.nobody |= !is_normal(value)?;
        } else if arguments.is(at, "ADDR") {
            kill.address = Some(arguments.bytes(value_at));
        } else if arguments.is(at, "LADDR") {
            kill.local_address = Some(arguments.bytes(value_at));
        } else if arguments.is(at, "USER") {
            if value != b"default" {
                return Err(ReplyError::NoSuchUser { name: shown(value) });
            }
        } else if arguments.is(at, "SKIPME") {
            kill.skip_me = arguments.is(value_at, "YES");
            if !kill.skip_me && !arguments.is(value_at, "NO") {
                return Err(ReplyError::Syntax);
            }
        } else {
            return Err(ReplyError::Syntax);
        }
    }
    Ok(Command::Session(Session::Kill(kill)))
}

/// Clients are never paused here.
pub(crate) fn unpause(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    Ok(Command::Fixed(Fixed::Ok))
}

pub(crate) fn help(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    super::server::help_of("client")
}
