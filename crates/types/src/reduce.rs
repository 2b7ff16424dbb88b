//! Reductions: what is asked of all rows of a table at once, and what an answer covers.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use breccia_monoid::Monoid;
use bytes::Bytes;
use thiserror::Error;

use crate::id::{ReductionId, ShardId};
use crate::limits::{FIELD_PATH_BYTES_MAX, REQUEST_DEADLINE_DEFAULT};
use crate::table::TableView;

mod codec;
mod meter;

pub use meter::{Meter, Progress};

/// A reduction that every node has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aggregate {
    /// How many rows there are.
    Count,
    /// What the operands found in the rows come to.
    Operands {
        /// How they merge.
        monoid: Monoid,
        /// Where in a row its operand is.
        input: Input,
    },
    /// What the states of a monoid table come to together.
    Merge,
}

/// The part of a row that is reduced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Its key.
    Key,
    /// Its value, as text.
    Value,
    /// A scalar within its value, which is JSON.
    Field(FieldPath),
}

/// Where in a JSON document a value is: the members, or positions in arrays, that lead there.
///
/// Its text is the steps with dots between them, `address.city`; or, for names with dots, a
/// JSON pointer (RFC 6901), `/a.b/0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPath {
    text: String,
    steps: Vec<String>,
}

/// The text is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "a path is names with dots between them, such as address.city, or a JSON pointer, such as \
     /a.b/0, of at most {FIELD_PATH_BYTES_MAX} bytes"
)]
pub struct FieldPathError;

impl FieldPath {
    /// The names that lead to the value, outermost first; at least one.
    #[must_use]
    pub fn steps(&self) -> &[String] {
        &self.steps
    }
}

impl FromStr for FieldPath {
    type Err = FieldPathError;

    fn from_str(text: &str) -> Result<Self, FieldPathError> {
        if text.len() > FIELD_PATH_BYTES_MAX {
            return Err(FieldPathError);
        }
        let steps: Vec<String> = match text.strip_prefix('/') {
            Some(pointer) => {
                let unescaped = |step: &str| step.replace("~1", "/").replace("~0", "~");
                pointer.split('/').map(unescaped).collect()
            }
            None => text.split('.').map(str::to_owned).collect(),
        };
        if !text.starts_with('/') && steps.iter().any(String::is_empty) {
            return Err(FieldPathError);
        }
        Ok(Self { text: text.to_owned(), steps })
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The rows that are reduced, by key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyRange {
    /// Only keys that start so.
    pub prefix: Bytes,
    /// The smallest key, included.
    pub from: Option<Bytes>,
    /// The end, excluded.
    pub to: Option<Bytes>,
}

impl KeyRange {
    /// The only key in it, if it is so narrow.
    #[must_use]
    pub fn only_key(&self) -> Option<&Bytes> {
        let (from, to) = (self.from.as_ref()?, self.to.as_ref()?);
        let is_narrow = to.strip_suffix(&[0]).is_some_and(|last| last == from);
        (is_narrow && from.starts_with(&self.prefix)).then_some(from)
    }
}

/// What becomes of rows that have no operand for a reduction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Misfits {
    /// They are left out, and counted.
    #[default]
    Count,
    /// The first that is found is an error which names it.
    Refuse,
}

/// What becomes of a reduction if a shard cannot be read in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gaps {
    /// It is an error which names the shard.
    #[default]
    Refuse,
    /// The answer is that of the other shards, and its coverage names the shard.
    Allow,
}

/// Which rows a reduction covers, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Which rows.
    pub keys: KeyRange,
    /// The only shard whose rows count, if not all.
    pub shard: Option<ShardId>,
    /// What becomes of rows without an operand.
    pub misfits: Misfits,
    /// What becomes of shards that do not answer.
    pub gaps: Gaps,
    /// How long it may take.
    pub within: Duration,
}

impl Default for Scope {
    fn default() -> Self {
        Self {
            keys: KeyRange::default(),
            shard: None,
            misfits: Misfits::default(),
            gaps: Gaps::default(),
            within: REQUEST_DEADLINE_DEFAULT,
        }
    }
}

/// A reduction as it travels to the nodes that lead the shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Which reduction.
    pub reduction: ReductionId,
    /// What is asked of it, in its own encoding.
    pub request: Bytes,
    /// Of which table.
    pub table: TableView,
    /// Which rows.
    pub keys: KeyRange,
    /// What becomes of rows without an operand.
    pub misfits: Misfits,
}

/// What some shards come to together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Part {
    /// The reduction's own encoding of it; `None` if no shard was reduced.
    pub partial: Option<Bytes>,
    /// What was read for it.
    pub read: Read,
}

/// What was read for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Read {
    /// Rows, those without an operand included.
    pub rows: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Rows without an operand, which the answer leaves out.
    pub skipped: u64,
}

impl Read {
    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            rows: self.rows.saturating_add(other.rows),
            bytes: self.bytes.saturating_add(other.bytes),
            skipped: self.skipped.saturating_add(other.skipped),
        }
    }
}

/// What an answer covers: each shard that was asked and is not missing, wholly and once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Coverage {
    /// How many shards the table's rows lie in.
    pub shards_asked: usize,
    /// Those of them that the answer lacks, by id.
    pub missing: Vec<MissingShard>,
    /// What was read in the others.
    pub read: Read,
}

impl Coverage {
    /// How many shards the answer covers.
    #[must_use]
    pub const fn shards_answered(&self) -> usize {
        self.shards_asked.saturating_sub(self.missing.len())
    }
}

/// A shard that an answer lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingShard {
    /// Which.
    pub shard: ShardId,
    /// What kept it.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_names_with_dots_or_a_json_pointer() {
        for (text, steps) in [
            ("delay", &["delay"][..]),
            ("a.b.0", &["a", "b", "0"]),
            ("/a.b/0", &["a.b", "0"]),
            ("/a~1b/~0c", &["a/b", "~c"]),
            ("/", &[""]),
        ] {
            let path: FieldPath = text.parse().expect("a path");
            assert_eq!(path.steps(), steps);
            assert_eq!(path.to_string(), text);
        }
        for text in ["", ".", "a.", "a..b", &"x".repeat(FIELD_PATH_BYTES_MAX + 1)] {
            assert_eq!(text.parse::<FieldPath>(), Err(FieldPathError), "{text:.10}");
        }
    }
}
