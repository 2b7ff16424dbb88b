//! The rows of the command table: the commands of a connection.

use super::super::decode::{client, connection, server};
use super::flags::{ADMIN, ALLOW_BUSY, FAST, LOADING, NO_AUTH, NO_SCRIPT, NONE, STALE};
use super::key_range::NO_KEYS;
use super::{Group, Spec};

pub(super) static ROWS: [Spec; 11] = [
    Spec::new("ping", -1, FAST, NO_KEYS, connection::ping).docs(
        Group::Connection,
        "1.0.0",
        "O(1)",
        "Answers PONG, or the argument.",
    ),
    Spec::new("echo", 2, LOADING | STALE | FAST, NO_KEYS, connection::echo).docs(
        Group::Connection,
        "1.0.0",
        "O(1)",
        "Answers the argument.",
    ),
    Spec::new(
        "hello",
        -1,
        NO_SCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY,
        NO_KEYS,
        connection::hello,
    )
    .docs(
        Group::Connection,
        "6.0.0",
        "O(1)",
        "Chooses the protocol version and tells about the server.",
    ),
    Spec::new(
        "auth",
        -2,
        NO_SCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY,
        NO_KEYS,
        connection::auth,
    )
    .docs(Group::Connection, "1.0.0", "O(N)", "Is for servers with passwords."),
    Spec::new("select", 2, LOADING | STALE | FAST, NO_KEYS, connection::select).docs(
        Group::Connection,
        "1.0.0",
        "O(1)",
        "Chooses database 0, the only one.",
    ),
    Spec::new(
        "quit",
        -1,
        NO_SCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY,
        NO_KEYS,
        connection::quit,
    )
    .docs(Group::Connection, "1.0.0", "O(1)", "Ends the connection."),
    Spec::new(
        "reset",
        1,
        NO_SCRIPT | LOADING | STALE | FAST | NO_AUTH | ALLOW_BUSY,
        NO_KEYS,
        connection::reset,
    )
    .docs(Group::Connection, "6.2.0", "O(1)", "Puts the connection into its first state."),
    Spec::new("asking", 1, FAST, NO_KEYS, connection::ok).docs(
        Group::Cluster,
        "3.0.0",
        "O(1)",
        "Does nothing: no slot is being moved.",
    ),
    Spec::new("readonly", 1, LOADING | STALE | FAST, NO_KEYS, connection::read_only).docs(
        Group::Cluster,
        "3.0.0",
        "O(1)",
        "Lets replicas answer reads, which may then be up to ten seconds old.",
    ),
    Spec::new("readwrite", 1, LOADING | STALE | FAST, NO_KEYS, connection::read_write).docs(
        Group::Cluster,
        "3.0.0",
        "O(1)",
        "Lets leaders alone answer reads, as at the start.",
    ),
    Spec::new("client", -2, NONE, NO_KEYS, server::container)
        .docs(Group::Connection, "2.4.0", "O(N)", "Tells about connections and changes them.")
        .containing(&CLIENT_SUBCOMMANDS),
];

static CLIENT_SUBCOMMANDS: [Spec; 14] = [
    Spec::new("client|id", 2, NO_SCRIPT | LOADING | STALE, NO_KEYS, client::id).docs(
        Group::Connection,
        "5.0.0",
        "O(1)",
        "Returns the connection's id.",
    ),
    Spec::new("client|info", 2, NO_SCRIPT | LOADING | STALE, NO_KEYS, client::info).docs(
        Group::Connection,
        "6.2.0",
        "O(1)",
        "Describes the connection.",
    ),
    Spec::new("client|list", -2, ADMIN | NO_SCRIPT | LOADING | STALE, NO_KEYS, client::list).docs(
        Group::Connection,
        "2.4.0",
        "O(N)",
        "Describes connections.",
    ),
    Spec::new("client|kill", -3, ADMIN | NO_SCRIPT | LOADING | STALE, NO_KEYS, client::kill).docs(
        Group::Connection,
        "2.4.0",
        "O(N)",
        "Ends connections.",
    ),
    Spec::new("client|getname", 2, NO_SCRIPT | LOADING | STALE, NO_KEYS, client::getname).docs(
        Group::Connection,
        "2.6.9",
        "O(1)",
        "Returns the connection's name.",
    ),
    Spec::new("client|setname", 3, NO_SCRIPT | LOADING | STALE, NO_KEYS, client::setname).docs(
        Group::Connection,
        "2.6.9",
        "O(1)",
        "Names the connection.",
    ),
    Spec::new("client|setinfo", 4, NO_SCRIPT | LOADING | STALE, NO_KEYS, client::setinfo).docs(
        Group::Connection,
        "7.2.0",
        "O(1)",
        "Notes the client's library.",
    ),
    Spec::new("client|reply", 3, NO_SCRIPT | LOADING | STALE, NO_KEYS, client::reply).docs(
        Group::Connection,
        "3.2.0",
        "O(1)",
        "Chooses which commands are replied to.",
    ),
    Spec::new(
        "client|no-evict",
        3,
        ADMIN | NO_SCRIPT | LOADING | STALE,
        NO_KEYS,
        client::on_or_off,
    )
    .docs(Group::Connection, "7.0.0", "O(1)", "Does nothing: connections are not evicted."),
    Spec::new("client|no-touch", 3, NO_SCRIPT | LOADING | STALE, NO_KEYS, client::on_or_off).docs(
        Group::Connection,
        "7.2.0",
        "O(1)",
        "Does nothing: reads leave no traces.",
    ),
    Spec::new("client|unblock", -3, ADMIN | NO_SCRIPT | LOADING | STALE, NO_KEYS, client::unblock)
        .docs(Group::Connection, "5.0.0", "O(N)", "Returns 0: no connection is ever blocked."),
    Spec::new("client|unpause", 2, ADMIN | NO_SCRIPT | LOADING | STALE, NO_KEYS, client::unpause)
        .docs(Group::Connection, "6.2.0", "O(N)", "Does nothing: connections are never paused."),
    Spec::new("client|getredir", 2, NO_SCRIPT | LOADING | STALE, NO_KEYS, client::getredir).docs(
        Group::Connection,
        "6.0.0",
        "O(1)",
        "Returns -1: nothing is redirected.",
    ),
    Spec::new("client|help", 2, LOADING | STALE, NO_KEYS, client::help).docs(
        Group::Connection,
        "5.0.0",
        "O(1)",
        "Lists the subcommands.",
    ),
];
