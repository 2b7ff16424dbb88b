//! Tables: a named keyspace with a kind, a partition rule and a retention.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use breccia_monoid::Monoid;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::TableId;
use crate::limits::{KEY_BYTES_MAX, TABLE_NAME_BYTES_MAX};

/// The table that the Redis protocol reads and writes. It always exists.
pub const REDIS_TABLE: &str = "redis";
/// The id of [`REDIS_TABLE`].
pub const REDIS_TABLE_ID: TableId = TableId::new(1);
/// The first id of people's own tables.
pub const FIRST_USER_TABLE_ID: TableId = TableId::new(16);

/// A table as the catalog describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Its id, never reused.
    pub id: TableId,
    /// Its name, unique among the tables that exist.
    pub name: String,
    /// What was chosen when it was created.
    pub options: TableOptions,
}

/// What is chosen when a table is created.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TableOptions {
    /// What a row is.
    #[serde(with = "as_text")]
    pub kind: TableKind,
    /// Which part of a key decides its shard.
    #[serde(with = "as_text")]
    pub partition: Partition,
    /// How long a row lives after its last write, unless the write itself says.
    pub ttl: Option<Duration>,
    /// Which versions are kept; only for versioned tables.
    pub retention: Retention,
    /// The columns of the JSON values, if known: declared, or inferred by an import.
    #[serde(default)]
    pub columns: Vec<Column>,
    /// How an import made keys from columns, such as `{carrier}/{flight}`.
    #[serde(default)]
    pub key_template: Option<String>,
}

/// What a row of a table is.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum TableKind {
    /// One value per key.
    #[default]
    Plain,
    /// A history per key: one value per instant, newest first.
    Versioned,
    /// One mergeable value per key.
    Monoid(Monoid),
}

impl TableKind {
    /// The kind without its parameters, as log entries carry it.
    #[must_use]
    pub const fn row_kind(&self) -> RowKind {
        match self {
            Self::Plain => RowKind::Plain,
            Self::Versioned => RowKind::Versioned,
            Self::Monoid(_) => RowKind::Monoid,
        }
    }

    /// `plain`, `versioned` or `monoid`, without parameters.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Versioned => "versioned",
            Self::Monoid(_) => "monoid",
        }
    }
}

/// A table's kind without parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowKind {
    /// See [`TableKind::Plain`].
    Plain,
    /// See [`TableKind::Versioned`].
    Versioned,
    /// See [`TableKind::Monoid`].
    Monoid,
}

/// A table as commands name it: enough to apply them without a catalog, so that replicas
/// agree whatever each of them knows of the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TableRef {
    /// The table.
    pub id: TableId,
    /// How its rows are laid out.
    pub kind: RowKind,
}

/// A table as reads name it: enough to read it without a catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableView {
    /// The table.
    pub id: TableId,
    /// How its rows are laid out.
    pub kind: RowKind,
    /// Which versions are hidden.
    pub retention: Retention,
}

impl Table {
    /// This table as reads name it.
    #[must_use]
    pub const fn view(&self) -> TableView {
        let TableRef { id, kind } = self.to_ref();
        TableView { id, kind, retention: self.options.retention }
    }

    /// This table as commands name it.
    #[must_use]
    pub const fn to_ref(&self) -> TableRef {
        TableRef { id: self.id, kind: self.options.kind.row_kind() }
    }
}

/// Which part of a key decides its slot, and so its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Partition {
    /// The whole key.
    #[default]
    WholeKey,
    /// What stands before the first such byte; the whole key if there is none.
    Before(u8),
    /// The first so many bytes; the whole key if it is shorter. At least 1.
    FirstBytes(u16),
    /// Redis's rule: what stands between the first `{` and the next `}`, if not empty.
    HashTag,
}

/// Which versions of a row are kept. A version that is kept by neither rule is hidden from
/// reads at once and its space comes back by compaction. The newest version always stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Retention {
    /// The most versions kept of one key; `None` keeps all.
    pub keep_versions: Option<u32>,
    /// How long a version is kept after a newer one took its place; `None` keeps it for ever.
    pub keep_for: Option<Duration>,
}

impl Retention {
    /// Whether every version is kept.
    #[must_use]
    pub const fn keeps_all(&self) -> bool {
        self.keep_versions.is_none() && self.keep_for.is_none()
    }
}

/// A column of a table's JSON values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// The JSON member's name.
    pub name: String,
    /// The type that all present values share.
    pub column_type: ColumnType,
    /// Whether some rows lack it.
    pub nullable: bool,
}

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// `true` or `false`.
    Boolean,
    /// A whole number of 64 bits.
    Integer,
    /// A floating-point number of 64 bits.
    Float,
    /// An RFC 3339 instant or date with time.
    Timestamp,
    /// Text.
    Text,
    /// Arrays, objects, or mixed types.
    Json,
}

/// Why a table's name or options were refused.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableError {
    /// The name is empty, too long, or holds other than letters, digits, `_`, `-` and `.`.
    #[error(
        "table name {name:?} is not valid: use 1 to {TABLE_NAME_BYTES_MAX} letters, digits, '_', '-' or '.', starting with a letter"
    )]
    Name {
        /// The name given.
        name: String,
    },
    /// The kind is none of the known ones.
    #[error("unknown kind {text:?}: use plain, versioned, or monoid:<name>; {reason}")]
    Kind {
        /// The text given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The partition rule is none of the known ones.
    #[error(
        "unknown partition rule {text:?}: use key, before:<byte>, first:<1..{KEY_BYTES_MAX}> or tag"
    )]
    Partition {
        /// The text given.
        text: String,
    },
    /// Retention was asked of a table that keeps no versions.
    #[error("--keep and --keep-for need a versioned table, not a {kind} one")]
    RetentionWithoutVersions {
        /// The table's kind.
        kind: &'static str,
    },
    /// A limit of zero would keep or let live nothing.
    #[error("{option} must be greater than zero")]
    Zero {
        /// Which option.
        option: &'static str,
    },
}

/// Checks a table's name: a letter, then letters, digits, `_`, `-` and `.`.
///
/// # Errors
/// [`TableError::Name`].
pub fn check_name(name: &str) -> Result<(), TableError> {
    let valid = name.len() <= TABLE_NAME_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    if valid { Ok(()) } else { Err(TableError::Name { name: name.to_owned() }) }
}

impl TableOptions {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// [`TableError::RetentionWithoutVersions`] or [`TableError::Zero`].
    pub fn check(&self) -> Result<(), TableError> {
        if !self.retention.keeps_all() && self.kind.row_kind() != RowKind::Versioned {
            return Err(TableError::RetentionWithoutVersions { kind: self.kind.name() });
        }
        let zero = |option| Err(TableError::Zero { option });
        // Instants are microseconds: less than one is none.
        let is_zero = |duration: Option<Duration>| duration.is_some_and(|d| d.as_micros() == 0);
        if is_zero(self.ttl) {
            return zero("--ttl");
        }
        if self.retention.keep_versions == Some(0) {
            return zero("--keep");
        }
        if is_zero(self.retention.keep_for) {
            return zero("--keep-for");
        }
        if self.partition == Partition::FirstBytes(0) {
            return zero("the bytes of --partition first:");
        }
        Ok(())
    }
}

impl fmt::Display for TableKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("plain"),
            Self::Versioned => f.write_str("versioned"),
            Self::Monoid(monoid) => write!(f, "monoid:{monoid}"),
        }
    }
}

impl FromStr for TableKind {
    type Err = TableError;

    fn from_str(text: &str) -> Result<Self, TableError> {
        let refuse = |reason: String| TableError::Kind { text: text.to_owned(), reason };
        match text {
            "plain" => Ok(Self::Plain),
            "versioned" => Ok(Self::Versioned),
            "monoid" => Err(refuse("a monoid table needs the name of its monoid".into())),
            _ => match text.strip_prefix("monoid:") {
                Some(name) => {
                    name.parse().map(Self::Monoid).map_err(|error| refuse(error.to_string()))
                }
                None => Err(refuse("there is no such kind".into())),
            },
        }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WholeKey => f.write_str("key"),
            Self::Before(byte) if byte.is_ascii_graphic() => {
                write!(f, "before:{}", char::from(*byte))
            }
            Self::Before(byte) => write!(f, "before:0x{byte:02x}"),
            Self::FirstBytes(count) => write!(f, "first:{count}"),
            Self::HashTag => f.write_str("tag"),
        }
    }
}

impl FromStr for Partition {
    type Err = TableError;

    fn from_str(text: &str) -> Result<Self, TableError> {
        let refuse = || TableError::Partition { text: text.to_owned() };
        if let Some(delimiter) = text.strip_prefix("before:") {
            return match (delimiter.as_bytes(), delimiter.strip_prefix("0x")) {
                ([byte], _) => Ok(Self::Before(*byte)),
                (_, Some(hex)) => {
                    u8::from_str_radix(hex, 16).map(Self::Before).map_err(|_| refuse())
                }
                _ => Err(refuse()),
            };
        }
        if let Some(count) = text.strip_prefix("first:") {
            return match count.parse() {
                Ok(count) if count > 0 => Ok(Self::FirstBytes(count)),
                _ => Err(refuse()),
            };
        }
        match text {
            "key" => Ok(Self::WholeKey),
            "tag" => Ok(Self::HashTag),
            _ => Err(refuse()),
        }
    }
}

/// Stores a type by its `Display` and `FromStr`.
mod as_text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<T: Display, S: Serializer>(
        value: &T,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_rules_read_what_they_show() {
        for text in ["key", "tag", "before:/", "before:0x00", "first:8"] {
            let rule: Partition = text.parse().expect(text);
            assert_eq!(rule.to_string(), text);
        }
        for text in ["", "before:", "before:ab", "first:0", "first:x", "Key"] {
            assert!(text.parse::<Partition>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_start_with_a_letter_and_hold_no_blanks() {
        for name in ["a", "flights", "prices-2013.v1"] {
            assert_eq!(check_name(name), Ok(()));
        }
        for name in ["", "1st", "a b", "ü", &"x".repeat(129)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn retention_is_refused_where_there_are_no_versions() {
        let mut options = TableOptions::default();
        options.retention.keep_versions = Some(3);
        assert_eq!(options.check(), Err(TableError::RetentionWithoutVersions { kind: "plain" }));
        options.kind = TableKind::Versioned;
        assert_eq!(options.check(), Ok(()));
        options.retention.keep_versions = Some(0);
        assert_eq!(options.check(), Err(TableError::Zero { option: "--keep" }));
    }
}
