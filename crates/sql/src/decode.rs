//! Makes record batches of rows, of the columns that a query needs.

use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use breccia_monoid::Monoid;
use breccia_service::reduce::Misfit;
use breccia_store::RowRef;
use breccia_types::{ColumnType, TableKind};
use datafusion::arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Float64Builder, Int64Builder, RecordBatch,
    RecordBatchOptions, StringBuilder, TimestampMicrosecondBuilder,
};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::limits::{BATCH_BYTES, BATCH_ROWS};
use crate::relation::{Scan, Source};

/// Gathers rows until they make a batch. A row that lacks what its table declares, or is no
/// text where text is asked for, does not fit and leaves no trace.
pub(crate) struct Decoder {
    schema: SchemaRef,
    columns: Vec<(Place, Builder)>,
    members: Vec<Member>,
    monoid: Option<Monoid>,
    rows: usize,
    bytes: usize,
    /// One row's members, and their texts.
    cells: Vec<Cell>,
    texts: Vec<u8>,
}

/// Where a column's value is in a row.
enum Place {
    Key,
    Version,
    Value,
    State,
    Member(usize),
}

struct Member {
    name: String,
    column_type: ColumnType,
}

enum Builder {
    Boolean(BooleanBuilder),
    Integer(Int64Builder),
    Float(Float64Builder),
    Instant(TimestampMicrosecondBuilder),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
}

/// What a row has in a column.
#[derive(Clone, Default)]
enum Cell {
    #[default]
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    /// In microseconds since 1970.
    Instant(i64),
    /// Where among the texts.
    Text(Range<usize>),
    /// Something else than the table declares.
    Misfit(&'static str),
}

impl Decoder {
    pub(crate) fn new(scan: &Scan, schema: SchemaRef) -> Self {
        let mut members = Vec::new();
        let mut place = |source: &Source| match source {
            Source::Key => (Place::Key, Builder::new(ColumnType::Text)),
            Source::Version => (Place::Version, Builder::new(ColumnType::Timestamp)),
            Source::Value => (Place::Value, Builder::new(ColumnType::Text)),
            Source::State => (Place::State, Builder::Bytes(BinaryBuilder::new())),
            Source::Member(column) => {
                let (name, column_type) = (column.name.clone(), column.column_type);
                members.push(Member { name, column_type });
                (Place::Member(members.len() - 1), Builder::new(column_type))
            }
        };
        let columns = scan.sources.iter().map(&mut place).collect();
        let monoid = match scan.table.options.kind {
            TableKind::Monoid(monoid) => Some(monoid),
            _ => None,
        };
        let cells = vec![Cell::Null; members.len()];
        Self { schema, columns, members, monoid, rows: 0, bytes: 0, cells, texts: Vec::new() }
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    /// Takes a row.
    ///
    /// # Errors
    /// [`Misfit`]: the row is not taken.
    pub(crate) fn push(&mut self, row: RowRef<'_>) -> Result<(), Misfit> {
        if !self.members.is_empty() {
            self.read_members(row.value)?;
        }
        let presented = match self.monoid {
            Some(monoid) if self.columns.iter().any(|(place, _)| matches!(place, Place::Value)) => {
                let presented = monoid.present(row.value);
                Some(presented.map_err(|error| Misfit(error.to_string().into()))?.to_string())
            }
            _ => None,
        };
        // Nothing is appended before it is known that everything fits.
        for (place, _) in &self.columns {
            let (bytes, what) = match place {
                Place::Key => (row.key, "the key is no text in UTF-8"),
                Place::Value if presented.is_none() => (row.value, "the value is no text in UTF-8"),
                _ => continue,
            };
            if std::str::from_utf8(bytes).is_err() {
                return Err(Misfit(what.into()));
            }
        }
        for (place, builder) in &mut self.columns {
            let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
            match place {
                Place::Key => builder.append_text(text(row.key)),
                Place::Value => {
                    builder.append_text(presented.as_deref().unwrap_or_else(|| text(row.value)));
                }
                Place::State => builder.append_bytes(row.value),
                Place::Version => {
                    let version = row.version.map(breccia_types::Timestamp::as_micros);
                    builder.append(version.map_or(Cell::Null, Cell::Instant), &[]);
                }
                Place::Member(at) => {
                    let cell = self.cells.get_mut(*at).map(std::mem::take).unwrap_or_default();
                    builder.append(cell, &self.texts);
                }
            }
        }
        self.rows += 1;
        self.bytes += row.key.len() + row.value.len();
        Ok(())
    }

    /// The rows taken so far, if there are any.
    pub(crate) fn finish(&mut self) -> Result<Option<RecordBatch>> {
        if self.rows == 0 {
            return Ok(None);
        }
        let arrays = self.columns.iter_mut().map(|(_, builder)| builder.finish()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let schema = Arc::clone(&self.schema);
        (self.rows, self.bytes) = (0, 0);
        Ok(Some(RecordBatch::try_new_with_options(schema, arrays, &options)?))
    }

    fn read_members(&mut self, value: &[u8]) -> Result<(), Misfit> {
        self.cells.fill(Cell::Null);
        self.texts.clear();
        let mut json = serde_json::Deserializer::from_slice(value);
        let object =
            Object { members: &self.members, cells: &mut self.cells, texts: &mut self.texts };
        let read = json.deserialize_map(object).and_then(|()| json.end());
        read.map_err(|error| Misfit(format!("the value is no JSON object: {error}").into()))?;
        for (member, cell) in self.members.iter().zip(&self.cells) {
            if let Cell::Misfit(what) = cell {
                let Member { name, column_type } = member;
                let declared = match column_type {
                    ColumnType::Boolean => "a boolean",
                    ColumnType::Integer => "an integer",
                    ColumnType::Float => "a number",
                    ColumnType::Timestamp => "an instant",
                    ColumnType::Text => "text",
                    ColumnType::Json => "JSON",
                };
                return Err(Misfit(format!("{name:?} is {what}, and declared {declared}").into()));
            }
        }
        Ok(())
    }
}

impl Builder {
    fn new(column_type: ColumnType) -> Self {
        match column_type {
            ColumnType::Boolean => Self::Boolean(BooleanBuilder::new()),
            ColumnType::Integer => Self::Integer(Int64Builder::new()),
            ColumnType::Float => Self::Float(Float64Builder::new()),
            ColumnType::Timestamp => Self::Instant(TimestampMicrosecondBuilder::new()),
            ColumnType::Text | ColumnType::Json => Self::Text(StringBuilder::new()),
        }
    }

    /// A cell is of the column's type, or null.
    fn append(&mut self, cell: Cell, texts: &[u8]) {
        match (self, cell) {
            (Self::Boolean(to), Cell::Boolean(value)) => to.append_value(value),
            (Self::Boolean(to), _) => to.append_null(),
            (Self::Integer(to), Cell::Integer(value)) => to.append_value(value),
            (Self::Integer(to), _) => to.append_null(),
            (Self::Float(to), Cell::Float(value)) => to.append_value(value),
            (Self::Float(to), _) => to.append_null(),
            (Self::Instant(to), Cell::Instant(value)) => to.append_value(value),
            (Self::Instant(to), _) => to.append_null(),
            (Self::Text(to), Cell::Text(range)) => {
                let text = texts.get(range).and_then(|text| std::str::from_utf8(text).ok());
                to.append_option(text);
            }
            (Self::Text(to), _) => to.append_null(),
            (Self::Bytes(to), _) => to.append_null(),
        }
    }

    fn append_bytes(&mut self, bytes: &[u8]) {
        if let Self::Bytes(to) = self {
            to.append_value(bytes);
        }
    }

    fn append_text(&mut self, text: &str) {
        if let Self::Text(to) = self {
            to.append_value(text);
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Boolean(builder) => Arc::new(builder.finish()),
            Self::Integer(builder) => Arc::new(builder.finish()),
            Self::Float(builder) => Arc::new(builder.finish()),
            Self::Instant(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Bytes(builder) => Arc::new(builder.finish()),
        }
    }
}

/// Reads the members that are asked for; of those with the same name the last one counts.
struct Object<'o> {
    members: &'o [Member],
    cells: &'o mut [Cell],
    texts: &'o mut Vec<u8>,
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut next = 0;
        while let Some(found) = map.next_key_seed(Name { members: self.members, next })? {
            let Some(at) = found else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            next = at + 1;
            let (Some(member), Some(cell)) = (self.members.get(at), self.cells.get_mut(at)) else {
                continue;
            };
            *cell = match member.column_type {
                ColumnType::Json => {
                    let raw = map.next_value::<&RawValue>()?.get();
                    if raw == "null" { Cell::Null } else { keep(self.texts, raw) }
                }
                column_type => map.next_value_seed(Scalar { column_type, texts: self.texts })?,
            };
        }
        Ok(())
    }
}

/// Which member has this name. Members mostly come in the order in which they are declared.
struct Name<'m> {
    members: &'m [Member],
    next: usize,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<usize>, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Option<usize>, E> {
        let (before, after) = self.members.split_at(self.next.min(self.members.len()));
        let is_it = |member: &Member| member.name == name;
        let behind = after.iter().position(is_it).map(|at| at + before.len());
        Ok(behind.or_else(|| before.iter().position(is_it)))
    }
}

/// A value of a member whose type is declared.
struct Scalar<'s> {
    column_type: ColumnType,
    texts: &'s mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Scalar<'_> {
    type Value = Cell;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Cell, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scalar<'_> {
    type Value = Cell;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Cell, E> {
        let fits = self.column_type == ColumnType::Boolean;
        Ok(if fits { Cell::Boolean(value) } else { Cell::Misfit("a boolean") })
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Cell, E> {
        Ok(match self.column_type {
            ColumnType::Integer => Cell::Integer(value),
            #[allow(clippy::cast_precision_loss, reason = "as every reader of JSON does")]
            ColumnType::Float => Cell::Float(value as f64),
            _ => Cell::Misfit("a number"),
        })
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Cell, E> {
        match (self.column_type, i64::try_from(value)) {
            (ColumnType::Integer, Err(_)) => Ok(Cell::Misfit("beyond 64 bits")),
            #[allow(clippy::cast_precision_loss, reason = "as every reader of JSON does")]
            (ColumnType::Float, _) => Ok(Cell::Float(value as f64)),
            (_, Ok(value)) => self.visit_i64(value),
            (_, Err(_)) => Ok(Cell::Misfit("a number")),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Cell, E> {
        Ok(match self.column_type {
            ColumnType::Float => Cell::Float(value),
            ColumnType::Integer => Cell::Misfit("a number with a fraction or exponent"),
            _ => Cell::Misfit("a number"),
        })
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Cell, E> {
        Ok(match self.column_type {
            ColumnType::Text => keep(self.texts, value),
            ColumnType::Timestamp => {
                instant(value).map_or(Cell::Misfit("text that is no instant"), Cell::Instant)
            }
            _ => Cell::Misfit("text"),
        })
    }

    fn visit_unit<E: Error>(self) -> Result<Cell, E> {
        Ok(Cell::Null)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Cell, A::Error> {
        IgnoredAny.visit_map(map)?;
        Ok(Cell::Misfit("an object"))
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, items: A) -> Result<Cell, A::Error> {
        IgnoredAny.visit_seq(items)?;
        Ok(Cell::Misfit("an array"))
    }
}

fn keep(texts: &mut Vec<u8>, text: &str) -> Cell {
    let start = texts.len();
    texts.extend_from_slice(text.as_bytes());
    Cell::Text(start..texts.len())
}

/// An RFC 3339 instant, or a date with a time, which is taken for UTC; in microseconds.
fn instant(text: &str) -> Option<i64> {
    let instant = jiff::Timestamp::from_str(text).ok().or_else(|| {
        let civil = jiff::civil::DateTime::from_str(text).ok()?;
        Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    });
    instant.map(jiff::Timestamp::as_microsecond)
}
