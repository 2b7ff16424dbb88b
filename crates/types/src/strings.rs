//! The vocabulary of the string service: Redis's strings and keys. A Redis key is a row of
//! the table `redis`; its value is the row's value.

use bytes::Bytes;

use crate::time::Timestamp;

/// What becomes of a row's expiry when its value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExpiryChange {
    /// It has none from now on.
    #[default]
    Clear,
    /// It keeps what it has.
    Keep,
    /// It expires at this instant; an instant that is past removes the row.
    At(Timestamp),
}

/// When a SET writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SetCondition {
    /// Always.
    #[default]
    Always,
    /// Only if there is no row (NX).
    IfAbsent,
    /// Only if there is a row (XX).
    IfPresent,
}

/// When an EXPIRE takes effect; the flags NX, XX, GT and LT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExpireCondition {
    /// NX: only if the row has no expiry.
    pub if_none: bool,
    /// XX: only if the row has an expiry.
    pub if_some: bool,
    /// GT: only if later than the present expiry (no expiry counts as infinitely late).
    pub if_later: bool,
    /// LT: only if earlier than the present expiry.
    pub if_earlier: bool,
}

/// One write command on strings, all of whose keys lie in one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StringWrite {
    /// SET and its kin. Replies `Ok`, or `Nil` if the condition did not hold; with
    /// `return_previous` the value before (or `Nil`) in any case.
    Set {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
        /// When to write.
        condition: SetCondition,
        /// The expiry from now on.
        expiry: ExpiryChange,
        /// Whether to reply the value before.
        return_previous: bool,
    },
    /// MSET and MSETNX. Replies `Integer(1)`, or `Integer(0)` if `only_if_none_exists` and
    /// one did.
    SetMany {
        /// Keys and values; later ones win.
        pairs: Vec<(Bytes, Bytes)>,
        /// Write nothing if any of the keys exists.
        only_if_none_exists: bool,
    },
    /// APPEND. Replies the new length.
    Append {
        /// The key.
        key: Bytes,
        /// What to append.
        value: Bytes,
    },
    /// SETRANGE. Replies the new length.
    SetRange {
        /// The key.
        key: Bytes,
        /// Offset in bytes; the gap is filled with zeros.
        offset: u64,
        /// What to write there.
        value: Bytes,
    },
    /// SETBIT. Replies the bit before.
    SetBit {
        /// The key.
        key: Bytes,
        /// Offset in bits, most significant first.
        offset: u64,
        /// The bit.
        bit: bool,
    },
    /// INCRBY and its kin. Replies the new value.
    Increment {
        /// The key.
        key: Bytes,
        /// By how much.
        by: i64,
    },
    /// INCRBYFLOAT. Replies the new value as text.
    IncrementFloat {
        /// The key.
        key: Bytes,
        /// By how much: the argument's text, as Redis reads it. Text that is no number is
        /// refused with `NotAFloat`, infinity with `NotFinite`.
        by: Bytes,
    },
    /// GETDEL. Replies the value, or `Nil`.
    GetDelete {
        /// The key.
        key: Bytes,
    },
    /// GETEX. Replies the value, or `Nil`.
    GetExpire {
        /// The key.
        key: Bytes,
        /// The expiry from now on; `Clear` is PERSIST.
        expiry: ExpiryChange,
    },
    /// DEL and UNLINK of the keys in one slot. Replies how many there were.
    Delete {
        /// The keys.
        keys: Vec<Bytes>,
    },
    /// EXPIRE and its kin. Replies 1, or 0 if there is no row or a condition does not hold.
    Expire {
        /// The key.
        key: Bytes,
        /// When; an instant that is past removes the row.
        at: Timestamp,
        /// When to take effect.
        condition: ExpireCondition,
    },
    /// PERSIST. Replies 1 if there was an expiry.
    Persist {
        /// The key.
        key: Bytes,
    },
    /// RENAME and RENAMENX; the expiry travels along. Replies `Ok`/1, or 0 if
    /// `only_if_absent` and the target exists, or refuses if there is no source.
    Rename {
        /// The row's key.
        from: Bytes,
        /// Its new key.
        to: Bytes,
        /// RENAMENX.
        only_if_absent: bool,
    },
    /// COPY; the expiry is copied too. Replies 1, or 0 if there is no source or, without
    /// `replace`, the target exists.
    Copy {
        /// The row's key.
        from: Bytes,
        /// The copy's key.
        to: Bytes,
        /// Overwrite the target.
        replace: bool,
    },
    /// PFADD. Replies 1 if the sketch changed or was created.
    SketchAdd {
        /// The key.
        key: Bytes,
        /// What to count.
        elements: Vec<Bytes>,
    },
    /// PFMERGE. Replies `Ok`.
    SketchMerge {
        /// The key that receives the union, and is part of it.
        destination: Bytes,
        /// The keys merged into it.
        sources: Vec<Bytes>,
    },
    /// FLUSHDB and FLUSHALL, of one shard. Replies `Ok`.
    Flush,
}

impl StringWrite {
    /// The keys that the command names; none for a flush.
    pub fn keys(&self) -> impl Iterator<Item = &Bytes> {
        let (one, many, pairs): (_, &[Bytes], &[(Bytes, Bytes)]) = match self {
            Self::Set { key, .. }
            | Self::Append { key, .. }
            | Self::SetRange { key, .. }
            | Self::SetBit { key, .. }
            | Self::Increment { key, .. }
            | Self::IncrementFloat { key, .. }
            | Self::GetDelete { key }
            | Self::GetExpire { key, .. }
            | Self::Expire { key, .. }
            | Self::Persist { key }
            | Self::SketchAdd { key, .. } => ([Some(key), None], &[], &[]),
            Self::Rename { from, to, .. } | Self::Copy { from, to, .. } => {
                ([Some(from), Some(to)], &[], &[])
            }
            Self::SketchMerge { destination, sources } => ([Some(destination), None], sources, &[]),
            Self::Delete { keys } => ([None, None], keys, &[]),
            Self::SetMany { pairs, .. } => ([None, None], &[], pairs),
            Self::Flush => ([None, None], &[], &[]),
        };
        one.into_iter().flatten().chain(many).chain(pairs.iter().map(|(key, _)| key))
    }

    /// The key whose slot is the command's; `None` if it is for every slot.
    #[must_use]
    pub fn first_key(&self) -> Option<&Bytes> {
        self.keys().next()
    }

    /// Bytes of the keys and values that the command brings.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.keys().map(Bytes::len).sum::<usize>() + self.value_bytes()
    }

    /// Bytes of the values that the command brings.
    #[must_use]
    pub fn value_bytes(&self) -> usize {
        match self {
            Self::Set { value, .. } | Self::Append { value, .. } | Self::SetRange { value, .. } => {
                value.len()
            }
            Self::SetMany { pairs, .. } => pairs.iter().map(|(_, value)| value.len()).sum(),
            Self::SketchAdd { elements, .. } => elements.iter().map(Bytes::len).sum(),
            _ => 0,
        }
    }
}

/// The reply to a write command on strings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StringReply {
    /// `OK`.
    Ok,
    /// Nothing there, or not written.
    Nil,
    /// A number.
    Integer(i64),
    /// A value.
    Bulk(Bytes),
    /// Refused; nothing was written.
    Refused(StringRefusal),
}

/// Why a command on strings was refused when it was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StringRefusal {
    /// `ERR value is not an integer or out of range`
    NotAnInteger,
    /// `ERR value is not a valid float`
    NotAFloat,
    /// `ERR increment or decrement would overflow`
    Overflow,
    /// `ERR increment would produce NaN or Infinity`
    NotFinite,
    /// `ERR no such key`
    NoSuchKey,
    /// `ERR string exceeds maximum allowed size (proto-max-bulk-len)`
    TooLong,
    /// `WRONGTYPE Key is not a valid HyperLogLog string value.`
    NotASketch,
    /// `INVALIDOBJ Corrupted HLL object detected`
    CorruptSketch,
}
