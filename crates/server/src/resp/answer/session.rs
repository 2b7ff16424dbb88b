//! Questions about the connection, and changes of it.

use std::sync::Arc;

use bytes::Bytes;

use super::super::clients::{Client, Labels};
use super::super::command::{ClientList, Kill, LibraryAttribute, ReplyMode, Session};
use super::super::encoder::{Encoder, Protocol};
use super::super::error::ReplyError;
use super::super::front::Front;
use super::info::REDIS_VERSION;

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// It goes on.
    GoesOn,
    /// It goes on, with its replies in this mode.
    Replies(ReplyMode),
    /// It ends after the reply.
    Ends,
}

/// Answers.
///
/// # Errors
/// [`ReplyError::NoSuchClient`].
pub(crate) fn answer(
    front: &Front,
    client: &Arc<Client>,
    session: &Session,
    encoder: &mut Encoder,
) -> Result<Next, ReplyError> {
    match session {
        Session::Hello { protocol, name } => {
            if let Some(name) = name {
                client.label(|labels| labels.name = name.clone());
            }
            if let Some(protocol) = *protocol {
                speak(protocol, client, encoder);
            }
            encode_hello(client, encoder);
        }
        Session::Reset => {
            client.label(|labels| labels.name = Bytes::new());
            speak(Protocol::default(), client, encoder);
            encoder.simple("RESET");
            return Ok(Next::Replies(ReplyMode::On));
        }
        Session::ReadFrom(_) => encoder.ok(),
        Session::Quit => {
            encoder.ok();
            return Ok(Next::Ends);
        }
        Session::Id => encoder.integer(i64::try_from(client.id).unwrap_or(i64::MAX)),
        Session::Info => encoder.verbatim(&client.line(front.node.clock().now())),
        Session::List(list) => encoder.verbatim(&lines(front, list)),
        Session::Kill(kill) => return kill_clients(front, client, kill, encoder),
        Session::GetName => match client.labels() {
            Labels { name, .. } if name.is_empty() => encoder.null(),
            Labels { name, .. } => encoder.bulk(&name),
        },
        Session::SetName(name) => {
            client.label(|labels| labels.name = name.clone());
            encoder.ok();
        }
        Session::SetLibrary { attribute, value } => {
            client.label(|labels| match attribute {
                LibraryAttribute::Name => labels.library = value.clone(),
                LibraryAttribute::Version => labels.library_version = value.clone(),
            });
            encoder.ok();
        }
        Session::Reply(mode) => {
            if *mode == ReplyMode::On {
                encoder.ok();
            }
            return Ok(Next::Replies(*mode));
        }
    }
    Ok(Next::GoesOn)
}

fn speak(protocol: Protocol, client: &Client, encoder: &mut Encoder) {
    encoder.protocol = protocol;
    client.on_protocol(protocol);
}

/// `server` is `redis`: that is the protocol's name for what answers here, and clients
/// check `version` against Redis's. INFO tells Breccia's own version.
fn encode_hello(client: &Client, encoder: &mut Encoder) {
    encoder.map(7);
    for (name, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        encoder.bulk(name.as_bytes());
        encoder.bulk(value.as_bytes());
    }
    encoder.bulk(b"proto");
    encoder.integer(encoder.protocol.number());
    encoder.bulk(b"id");
    encoder.integer(i64::try_from(client.id).unwrap_or(i64::MAX));
    for (name, value) in [("mode", "cluster"), ("role", "master")] {
        encoder.bulk(name.as_bytes());
        encoder.bulk(value.as_bytes());
    }
    encoder.bulk(b"modules");
    encoder.array(0);
}

fn lines(front: &Front, list: &ClientList) -> String {
    let clients = match list {
        ClientList::All => front.clients.all(),
        ClientList::Nobody => Vec::new(),
        ClientList::Ids(ids) => ids.iter().filter_map(|id| front.clients.get(*id)).collect(),
    };
    let now = front.node.clock().now();
    clients.iter().map(|client| client.line(now)).collect()
}

fn kill_clients(
    front: &Front,
    client: &Client,
    kill: &Kill,
    encoder: &mut Encoder,
) -> Result<Next, ReplyError> {
    let killed = front.clients.kill(kill, client.id);
    match (kill.old_style, killed) {
        (true, 0) => return Err(ReplyError::NoSuchClient),
        (true, _) => encoder.ok(),
        (false, killed) => encoder.count(killed),
    }
    match client.stop.is_cancelled() {
        true => Ok(Next::Ends),
        false => Ok(Next::GoesOn),
    }
}
