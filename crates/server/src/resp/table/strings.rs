//! The rows of the command table: the commands on values.

use super::super::decode::{sketches, strings};
use super::flags::{DENY_OOM, FAST, READ, WRITE};
use super::key_range::{ALL, EVERY_OTHER, FIRST, FIRST_TWO};
use super::{Group, Spec};

pub(super) static ROWS: [Spec; 27] = [
    Spec::new("get", 2, READ | FAST, FIRST, strings::get).docs(
        Group::String,
        "1.0.0",
        "O(1)",
        "Returns the value of a key.",
    ),
    Spec::new("set", -3, WRITE | DENY_OOM, FIRST, strings::set).docs(
        Group::String,
        "1.0.0",
        "O(1)",
        "Sets the value of a key, on conditions and with an expiry if asked for.",
    ),
    Spec::new("setnx", 3, WRITE | DENY_OOM | FAST, FIRST, strings::setnx).docs(
        Group::String,
        "1.0.0",
        "O(1)",
        "Sets the value of a key that does not exist.",
    ),
    Spec::new("setex", 4, WRITE | DENY_OOM, FIRST, strings::setex).docs(
        Group::String,
        "2.0.0",
        "O(1)",
        "Sets the value of a key and its expiry in seconds.",
    ),
    Spec::new("psetex", 4, WRITE | DENY_OOM, FIRST, strings::psetex).docs(
        Group::String,
        "2.6.0",
        "O(1)",
        "Sets the value of a key and its expiry in milliseconds.",
    ),
    Spec::new("getset", 3, WRITE | DENY_OOM | FAST, FIRST, strings::getset).docs(
        Group::String,
        "1.0.0",
        "O(1)",
        "Sets the value of a key and returns the one before.",
    ),
    Spec::new("getdel", 2, WRITE | FAST, FIRST, strings::getdel).docs(
        Group::String,
        "6.2.0",
        "O(1)",
        "Returns the value of a key and deletes the key.",
    ),
    Spec::new("getex", -2, WRITE | FAST, FIRST, strings::getex).docs(
        Group::String,
        "6.2.0",
        "O(1)",
        "Returns the value of a key and changes its expiry.",
    ),
    Spec::new("mget", -2, READ | FAST, ALL, strings::mget).docs(
        Group::String,
        "1.0.0",
        "O(N)",
        "Returns the values of several keys.",
    ),
    Spec::new("mset", -3, WRITE | DENY_OOM, EVERY_OTHER, strings::mset).docs(
        Group::String,
        "1.0.1",
        "O(N)",
        "Sets the values of several keys of one slot.",
    ),
    Spec::new("msetnx", -3, WRITE | DENY_OOM, EVERY_OTHER, strings::msetnx).docs(
        Group::String,
        "1.0.1",
        "O(N)",
        "Sets the values of several keys of one slot if none of them exists.",
    ),
    Spec::new("append", 3, WRITE | DENY_OOM | FAST, FIRST, strings::append).docs(
        Group::String,
        "2.0.0",
        "O(1)",
        "Appends to the value of a key.",
    ),
    Spec::new("strlen", 2, READ | FAST, FIRST, strings::strlen).docs(
        Group::String,
        "2.2.0",
        "O(1)",
        "Returns the length of a value.",
    ),
    Spec::new("getrange", 4, READ, FIRST, strings::getrange).docs(
        Group::String,
        "2.4.0",
        "O(N)",
        "Returns a part of a value.",
    ),
    Spec::new("substr", 4, READ, FIRST, strings::getrange).docs(
        Group::String,
        "1.0.0",
        "O(N)",
        "Returns a part of a value.",
    ),
    Spec::new("setrange", 4, WRITE | DENY_OOM, FIRST, strings::setrange).docs(
        Group::String,
        "2.2.0",
        "O(1)",
        "Overwrites a part of a value.",
    ),
    Spec::new("incr", 2, WRITE | DENY_OOM | FAST, FIRST, strings::incr).docs(
        Group::String,
        "1.0.0",
        "O(1)",
        "Adds one to a whole number.",
    ),
    Spec::new("decr", 2, WRITE | DENY_OOM | FAST, FIRST, strings::decr).docs(
        Group::String,
        "1.0.0",
        "O(1)",
        "Takes one from a whole number.",
    ),
    Spec::new("incrby", 3, WRITE | DENY_OOM | FAST, FIRST, strings::incrby).docs(
        Group::String,
        "1.0.0",
        "O(1)",
        "Adds to a whole number.",
    ),
    Spec::new("decrby", 3, WRITE | DENY_OOM | FAST, FIRST, strings::decrby).docs(
        Group::String,
        "1.0.0",
        "O(1)",
        "Takes from a whole number.",
    ),
    Spec::new("incrbyfloat", 3, WRITE | DENY_OOM | FAST, FIRST, strings::incrbyfloat).docs(
        Group::String,
        "2.6.0",
        "O(1)",
        "Adds to a decimal number.",
    ),
    Spec::new("lcs", -3, READ, FIRST_TWO, strings::lcs).docs(
        Group::String,
        "7.0.0",
        "O(N)",
        "Finds the longest common subsequence of two values.",
    ),
    Spec::new("setbit", 4, WRITE | DENY_OOM, FIRST, strings::setbit).docs(
        Group::Bitmap,
        "2.2.0",
        "O(1)",
        "Sets or clears a bit of a value.",
    ),
    Spec::new("getbit", 3, READ | FAST, FIRST, strings::getbit).docs(
        Group::Bitmap,
        "2.2.0",
        "O(1)",
        "Returns a bit of a value.",
    ),
    Spec::new("pfadd", -2, WRITE | DENY_OOM | FAST, FIRST, sketches::pfadd).docs(
        Group::Hyperloglog,
        "2.8.9",
        "O(1)",
        "Adds elements to a sketch of how many are distinct.",
    ),
    Spec::new("pfcount", -2, READ, ALL, sketches::pfcount).docs(
        Group::Hyperloglog,
        "2.8.9",
        "O(1)",
        "Estimates how many distinct elements sketches have seen together.",
    ),
    Spec::new("pfmerge", -2, WRITE | DENY_OOM, ALL, sketches::pfmerge).docs(
        Group::Hyperloglog,
        "2.8.9",
        "O(N)",
        "Merges sketches of one slot into one.",
    ),
];
