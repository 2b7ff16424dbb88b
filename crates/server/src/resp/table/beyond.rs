//! The rows of the command table: calls of functions, and commands on other tables, which
//! Redis does not have.

use super::super::decode::beyond;
use super::flags::{DENY_OOM, FAST, READ, WRITE};
use super::key_range::NO_KEYS;
use super::{Group, Spec};

#[cfg(feature = "functions")]
const CALLS: usize = 2;
#[cfg(not(feature = "functions"))]
const CALLS: usize = 0;

/// Their keys are told to no client: a call has as many as it says, and another table has
/// slots by its own rule. Any node forwards them.
pub(super) static ROWS: [Spec; CALLS + 2] = [
    #[cfg(feature = "functions")]
    Spec::new("fcall", -3, WRITE | DENY_OOM, NO_KEYS, beyond::fcall).docs(
        Group::Scripting,
        "7.0.0",
        "Depends on the function that is called.",
        "Calls a function on keys of one slot.",
    ),
    #[cfg(feature = "functions")]
    Spec::new("fcall_ro", -3, READ, NO_KEYS, beyond::fcall_ro).docs(
        Group::Scripting,
        "7.0.0",
        "Depends on the function that is called.",
        "Calls a read function on keys of one slot.",
    ),
    Spec::new("breccia.merge", -4, WRITE | DENY_OOM | FAST, NO_KEYS, beyond::merge).docs(
        Group::Generic,
        "",
        "O(1)",
        "Merges an operand into a row of a monoid table, once per request id.",
    ),
    Spec::new("breccia.get", 3, READ | FAST, NO_KEYS, beyond::get).docs(
        Group::Generic,
        "",
        "O(1)",
        "Returns a row of any table; of a monoid table what its state says.",
    ),
];
