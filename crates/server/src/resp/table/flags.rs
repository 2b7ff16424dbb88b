//! What kind of command it is.

/// A set of flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flags(u16);

/// One flag, or several joined by `|`.
type Bits = u16;

pub(crate) const NONE: Bits = 0;
pub(crate) const WRITE: Bits = 1;
pub(crate) const READ: Bits = 1 << 1;
pub(crate) const DENY_OOM: Bits = 1 << 2;
pub(crate) const ADMIN: Bits = 1 << 3;
pub(crate) const NO_SCRIPT: Bits = 1 << 4;
pub(crate) const LOADING: Bits = 1 << 5;
pub(crate) const STALE: Bits = 1 << 6;
pub(crate) const FAST: Bits = 1 << 7;
pub(crate) const NO_AUTH: Bits = 1 << 8;
pub(crate) const ALLOW_BUSY: Bits = 1 << 9;
/// Of the ACL category `keyspace`. Not told as a flag.
pub(crate) const KEYSPACE: Bits = 1 << 10;
/// Of the ACL category `dangerous`, which admin commands are anyway. Not told as a flag.
pub(crate) const DANGEROUS: Bits = 1 << 11;

const NAMES: [(Bits, &str); 10] = [
    (WRITE, "write"),
    (READ, "readonly"),
    (DENY_OOM, "denyoom"),
    (ADMIN, "admin"),
    (NO_SCRIPT, "noscript"),
    (LOADING, "loading"),
    (STALE, "stale"),
    (FAST, "fast"),
    (NO_AUTH, "no_auth"),
    (ALLOW_BUSY, "allow_busy"),
];

impl Flags {
    /// A set of these.
    pub(super) const fn new(bits: Bits) -> Self {
        Self(bits)
    }

    /// Whether the flags are among these.
    pub(crate) const fn has(self, bits: Bits) -> bool {
        self.0 & bits == bits
    }

    /// What Redis calls them.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> + Clone {
        NAMES.iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, name)| *name)
    }
}
