//! The command table: everything that is known about a command before it is decoded.
//!
//! COMMAND tells clients what is here. Arity, flags and key positions are those of Redis
//! 7.0, because cluster-aware clients route by them.

mod beyond;
mod connection;
pub(crate) mod flags;
pub(crate) mod key_range;
mod keys;
mod lookup;
mod server;
mod strings;

use breccia_types::NodeClock;

use self::flags::Flags;
use self::key_range::KeyRange;
use super::arguments::Arguments;
use super::command::Decoded;
use super::error::{ReplyError, shown};

pub(crate) use self::lookup::{ROWS_MAX, find, name_at, rows};

/// Reads a command's arguments.
type Decode = fn(Arguments<'_>, &NodeClock) -> Decoded;

/// A command, or one of the subcommands of a container such as CLIENT.
pub(crate) struct Spec {
    /// Its name in lower case; of a subcommand with its container's: `client|id`.
    pub(crate) name: &'static str,
    /// How many arguments it has, its name included; negative: at least so many.
    pub(crate) arity: i64,
    pub(crate) flags: Flags,
    pub(crate) keys: KeyRange,
    pub(crate) group: Group,
    /// The version of Redis that first had it.
    pub(crate) since: &'static str,
    pub(crate) complexity: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) subcommands: &'static [Spec],
    decode: Decode,
}

/// What a command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    String,
    Bitmap,
    Hyperloglog,
    Generic,
    Connection,
    Server,
    Cluster,
    Scripting,
}

impl Group {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Bitmap => "bitmap",
            Self::Hyperloglog => "hyperloglog",
            Self::Generic => "generic",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Cluster => "cluster",
            Self::Scripting => "scripting",
        }
    }
}

impl Spec {
    const fn new(
        name: &'static str,
        arity: i64,
        flags: u16,
        keys: KeyRange,
        decode: Decode,
    ) -> Self {
        Self {
            name,
            arity,
            flags: Flags::new(flags),
            keys,
            group: Group::Generic,
            since: "",
            complexity: "",
            summary: "",
            subcommands: &[],
            decode,
        }
    }

    const fn docs(
        mut self,
        group: Group,
        since: &'static str,
        complexity: &'static str,
        summary: &'static str,
    ) -> Self {
        self.group = group;
        self.since = since;
        self.complexity = complexity;
        self.summary = summary;
        self
    }

    const fn containing(mut self, subcommands: &'static [Spec]) -> Self {
        self.subcommands = subcommands;
        self
    }

    /// Reads arguments that start with this command's name.
    ///
    /// # Errors
    /// What Redis would answer to a command that it cannot read.
    pub(crate) fn decode(&self, arguments: Arguments<'_>, clock: &NodeClock) -> Decoded {
        let spec = self.called(arguments)?;
        if !spec.takes(arguments.len()) {
            return Err(ReplyError::Arity { command: spec.name });
        }
        (spec.decode)(arguments, clock)
    }

    /// The command itself, or its subcommand that is called.
    fn called(&self, arguments: Arguments<'_>) -> Result<&Self, ReplyError> {
        if self.subcommands.is_empty() || arguments.len() < 2 {
            return Ok(self);
        }
        self.subcommand(arguments.get(1)).ok_or_else(|| ReplyError::UnknownSubcommand {
            name: shown(arguments.get(1)),
            container: self.name.to_ascii_uppercase(),
        })
    }

    /// The subcommand of this name, in any case.
    pub(crate) fn subcommand(&self, name: &[u8]) -> Option<&'static Self> {
        self.subcommands.iter().find(|sub| sub.own_name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Its name without that of its container.
    pub(crate) fn own_name(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, own)| own)
    }

    /// Whether it takes so many arguments, its name included.
    pub(crate) fn takes(&self, count: usize) -> bool {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        if self.arity < 0 { count >= -self.arity } else { count == self.arity }
    }

    /// Its ACL categories, in the order in which Redis tells them.
    pub(crate) fn categories(&self) -> Vec<&'static str> {
        let is = |flag| self.flags.has(flag);
        let of = |group| self.group == group;
        [
            (is(flags::KEYSPACE), "@keyspace"),
            (is(flags::READ), "@read"),
            (is(flags::WRITE), "@write"),
            (of(Group::String), "@string"),
            (of(Group::Bitmap), "@bitmap"),
            (of(Group::Hyperloglog), "@hyperloglog"),
            (is(flags::ADMIN), "@admin"),
            (is(flags::FAST), "@fast"),
            (!is(flags::FAST), "@slow"),
            (is(flags::ADMIN) || is(flags::DANGEROUS), "@dangerous"),
            (of(Group::Connection), "@connection"),
            (of(Group::Scripting), "@scripting"),
        ]
        .into_iter()
        .filter_map(|(applies, category)| applies.then_some(category))
        .collect()
    }
}
