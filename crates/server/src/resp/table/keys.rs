//! The rows of the command table: the commands on keys, whatever their values.

use super::super::decode::{expiry, keys, scan, server};
use super::flags::{
    DANGEROUS, DENY_OOM, FAST, KEYSPACE, LOADING, NO_SCRIPT, NONE, READ, STALE, WRITE,
};
use super::key_range::{ALL, FIRST, FIRST_TWO, NO_KEYS, SECOND};
use super::{Group, Spec};

pub(super) static ROWS: [Spec; 26] = [
    Spec::new("del", -2, WRITE | KEYSPACE, ALL, keys::del).docs(
        Group::Generic,
        "1.0.0",
        "O(N)",
        "Deletes keys.",
    ),
    Spec::new("unlink", -2, WRITE | FAST | KEYSPACE, ALL, keys::del).docs(
        Group::Generic,
        "4.0.0",
        "O(1)",
        "Deletes keys.",
    ),
    Spec::new("exists", -2, READ | FAST | KEYSPACE, ALL, keys::exists).docs(
        Group::Generic,
        "1.0.0",
        "O(N)",
        "Counts the keys that exist.",
    ),
    Spec::new("touch", -2, READ | FAST | KEYSPACE, ALL, keys::exists).docs(
        Group::Generic,
        "3.2.1",
        "O(N)",
        "Counts the keys that exist.",
    ),
    Spec::new("type", 2, READ | FAST | KEYSPACE, FIRST, keys::type_of).docs(
        Group::Generic,
        "1.0.0",
        "O(1)",
        "Returns the type of a value.",
    ),
    Spec::new("rename", 3, WRITE | KEYSPACE, FIRST_TWO, keys::rename).docs(
        Group::Generic,
        "1.0.0",
        "O(1)",
        "Renames a key within its slot.",
    ),
    Spec::new("renamenx", 3, WRITE | FAST | KEYSPACE, FIRST_TWO, keys::renamenx).docs(
        Group::Generic,
        "1.0.0",
        "O(1)",
        "Renames a key within its slot unless the new name is taken.",
    ),
    Spec::new("copy", -3, WRITE | DENY_OOM | KEYSPACE, FIRST_TWO, keys::copy).docs(
        Group::Generic,
        "6.2.0",
        "O(N)",
        "Copies a value to another key of its slot.",
    ),
    Spec::new("move", 3, WRITE | FAST | KEYSPACE, FIRST, keys::move_key).docs(
        Group::Generic,
        "1.0.0",
        "O(1)",
        "Is refused: there is one database.",
    ),
    Spec::new("keys", 2, READ | KEYSPACE | DANGEROUS, NO_KEYS, keys::keys).docs(
        Group::Generic,
        "1.0.0",
        "O(N)",
        "Returns every key that fits a pattern.",
    ),
    Spec::new("scan", -2, READ | KEYSPACE, NO_KEYS, scan::scan).docs(
        Group::Generic,
        "2.8.0",
        "O(1)",
        "Returns a page of keys.",
    ),
    Spec::new("randomkey", 1, READ | KEYSPACE, NO_KEYS, keys::randomkey).docs(
        Group::Generic,
        "1.0.0",
        "O(1)",
        "Returns some key.",
    ),
    Spec::new("expire", -3, WRITE | FAST | KEYSPACE, FIRST, expiry::expire).docs(
        Group::Generic,
        "1.0.0",
        "O(1)",
        "Sets the time to live of a key in seconds.",
    ),
    Spec::new("pexpire", -3, WRITE | FAST | KEYSPACE, FIRST, expiry::pexpire).docs(
        Group::Generic,
        "2.6.0",
        "O(1)",
        "Sets the time to live of a key in milliseconds.",
    ),
    Spec::new("expireat", -3, WRITE | FAST | KEYSPACE, FIRST, expiry::expireat).docs(
        Group::Generic,
        "1.2.0",
        "O(1)",
        "Sets when a key expires, in seconds since 1970.",
    ),
    Spec::new("pexpireat", -3, WRITE | FAST | KEYSPACE, FIRST, expiry::pexpireat).docs(
        Group::Generic,
        "2.6.0",
        "O(1)",
        "Sets when a key expires, in milliseconds since 1970.",
    ),
    Spec::new("ttl", 2, READ | FAST | KEYSPACE, FIRST, expiry::ttl).docs(
        Group::Generic,
        "1.0.0",
        "O(1)",
        "Returns the time to live of a key in seconds.",
    ),
    Spec::new("pttl", 2, READ | FAST | KEYSPACE, FIRST, expiry::pttl).docs(
        Group::Generic,
        "2.6.0",
        "O(1)",
        "Returns the time to live of a key in milliseconds.",
    ),
    Spec::new("expiretime", 2, READ | FAST | KEYSPACE, FIRST, expiry::expiretime).docs(
        Group::Generic,
        "7.0.0",
        "O(1)",
        "Returns when a key expires, in seconds since 1970.",
    ),
    Spec::new("pexpiretime", 2, READ | FAST | KEYSPACE, FIRST, expiry::pexpiretime).docs(
        Group::Generic,
        "7.0.0",
        "O(1)",
        "Returns when a key expires, in milliseconds since 1970.",
    ),
    Spec::new("persist", 2, WRITE | FAST | KEYSPACE, FIRST, expiry::persist).docs(
        Group::Generic,
        "2.2.0",
        "O(1)",
        "Removes the expiry of a key.",
    ),
    Spec::new("object", -2, NONE, NO_KEYS, server::container)
        .docs(Group::Generic, "2.2.3", "O(N)", "Tells how a value is kept.")
        .containing(&OBJECT_SUBCOMMANDS),
    Spec::new("wait", 3, NO_SCRIPT, NO_KEYS, keys::wait).docs(
        Group::Generic,
        "3.0.0",
        "O(1)",
        "Returns how many other nodes hold the writes so far.",
    ),
    Spec::new("dbsize", 1, READ | FAST | KEYSPACE, NO_KEYS, keys::dbsize).docs(
        Group::Server,
        "1.0.0",
        "O(1)",
        "Counts the keys.",
    ),
    Spec::new("flushdb", -1, WRITE | KEYSPACE | DANGEROUS, NO_KEYS, keys::flush).docs(
        Group::Server,
        "1.0.0",
        "O(N)",
        "Deletes all keys.",
    ),
    Spec::new("flushall", -1, WRITE | KEYSPACE | DANGEROUS, NO_KEYS, keys::flush).docs(
        Group::Server,
        "1.0.0",
        "O(N)",
        "Deletes all keys.",
    ),
];

static OBJECT_SUBCOMMANDS: [Spec; 5] = [
    Spec::new("object|encoding", 3, READ | KEYSPACE, SECOND, keys::object_encoding).docs(
        Group::Generic,
        "2.2.3",
        "O(1)",
        "Returns how Redis would encode a value.",
    ),
    Spec::new("object|freq", 3, READ | KEYSPACE, SECOND, keys::object_freq).docs(
        Group::Generic,
        "4.0.0",
        "O(1)",
        "Is refused: how often keys are asked for is not counted.",
    ),
    Spec::new("object|idletime", 3, READ | KEYSPACE, SECOND, keys::object_idletime).docs(
        Group::Generic,
        "2.2.3",
        "O(1)",
        "Returns 0: when keys were asked for is not kept.",
    ),
    Spec::new("object|refcount", 3, READ | KEYSPACE, SECOND, keys::object_refcount).docs(
        Group::Generic,
        "2.2.3",
        "O(1)",
        "Returns 1 for a key that exists.",
    ),
    Spec::new("object|help", 2, LOADING | STALE | KEYSPACE, NO_KEYS, server::object_help).docs(
        Group::Generic,
        "6.2.0",
        "O(1)",
        "Lists the subcommands.",
    ),
];
