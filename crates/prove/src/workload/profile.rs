//! What is asked of a key.

use rand::RngExt;
use rand::rngs::StdRng;

use crate::history::{Call, Value};

/// What a key's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Profile {
    /// Any text, replaced as a whole.
    Register,
    /// A number that grows.
    Counter,
    /// A text that grows.
    Text,
}

impl Profile {
    pub(super) fn any(random: &mut StdRng) -> Self {
        match random.random_range(0..5) {
            0 | 1 => Self::Register,
            2 | 3 => Self::Counter,
            _ => Self::Text,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Counter => "counter",
            Self::Text => "text",
        }
    }

    /// A call. `seen` is a value that the key had lately, `unique` a number that no other
    /// call was made of.
    pub(super) fn call(self, random: &mut StdRng, seen: Option<Value>, unique: u64) -> Call {
        let value: Value = match self {
            Self::Register => format!("v{unique}").into(),
            Self::Counter => (unique * 1_000).to_string().into(),
            Self::Text => format!("w{unique}").into(),
        };
        match (self, random.random_range(0..100)) {
            (_, 0..40) => Call::Read,
            (_, 40..46) => Call::Delete,
            (_, 46..50) => Call::CompareAndSet { expected: None, new: Some(value) },
            (_, 50..53) => Call::CompareAndSet { expected: seen, new: None },
            (_, 53..65) => Call::CompareAndSet { expected: seen, new: Some(value) },
            (_, 65..68) => Call::Exchange(value),
            (Self::Register, _) => Call::Write(value),
            (_, 68..72) => Call::Write(value),
            (Self::Counter, _) => Call::Increment(random.random_range(1..10)),
            (Self::Text, _) => Call::Append(format!(".{unique}").into()),
        }
    }
}
