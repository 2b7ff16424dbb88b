//! The second pass over a file: each line becomes a row, or a bad line.

use anyhow::{Context, Result};
use breccia_types::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use breccia_types::{Column, ColumnType, Timestamp};
use bytes::Bytes;
use serde_json::{Map, Value};

use super::delimited::{Record, Records};
use super::inference::{is_missing, write_json};
use super::key_template::BoundTemplate;
use super::lines::{BadLine, Lines};
use super::survey::{damaged, header, next_line, object};
use crate::exit::Failure;
use crate::exported::{Content, ExportedRow};
use crate::units::parse_instant;

/// How rows are made of the columns.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// The columns, with the types that values are written in.
    pub(crate) columns: Vec<Column>,
    /// Makes keys.
    pub(crate) key: BoundTemplate,
    /// The position of the column that holds the version's instant.
    pub(crate) version: Option<usize>,
}

/// Reads the rows of a file.
pub(crate) enum Rows {
    /// Of a CSV or TSV file.
    Delimited(DelimitedRows),
    /// Of an NDJSON file.
    Ndjson(Lines, Layout),
    /// Of a file that an export wrote.
    Exported(Lines),
}

/// The rows of a CSV or TSV file.
pub(crate) struct DelimitedRows {
    records: Records,
    layout: Layout,
    /// Each column's name as JSON, with what stands before and after it in an object.
    members: Vec<Vec<u8>>,
}

impl Rows {
    /// The rows of a CSV or TSV file.
    ///
    /// # Errors
    /// If its header is no longer that of the layout.
    pub(crate) fn delimited(mut records: Records, layout: Layout) -> Result<Self> {
        let names = header(&mut records)?;
        if !names.iter().eq(layout.columns.iter().map(|column| &column.name)) {
            return Err(Failure::fix("the file was changed while it was read").into());
        }
        let mut members = Vec::with_capacity(names.len());
        for name in &names {
            let mut member = vec![if members.is_empty() { b'{' } else { b',' }];
            serde_json::to_writer(&mut member, name)?;
            member.push(b':');
            members.push(member);
        }
        Ok(Self::Delimited(DelimitedRows { records, layout, members }))
    }

    /// The next row, or what is wrong with the next line; `None` at the end.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) fn next(&mut self) -> Result<Option<Result<ExportedRow, BadLine>>> {
        match self {
            Self::Delimited(rows) => {
                let next = rows.records.next();
                let next = next.with_context(|| damaged(rows.records.last_line()))?;
                Ok(next.map(|record| rows.row(&record?)))
            }
            Self::Ndjson(lines, layout) => Ok(next_line(lines)?.map(|line| {
                let row = object(&line).and_then(|object| layout.row_of(&object, &line.bytes));
                numbered(line.number, row)
            })),
            Self::Exported(lines) => Ok(next_line(lines)?.map(|line| {
                let text = std::str::from_utf8(&line.bytes).map_err(|_| "it is not UTF-8".into());
                numbered(line.number, text.and_then(ExportedRow::read))
            })),
        }
    }
}

fn numbered(line: u64, row: Result<ExportedRow, String>) -> Result<ExportedRow, BadLine> {
    let row = row.and_then(|row| match (row.key.len(), row.content.bytes().len()) {
        (key, _) if key > KEY_BYTES_MAX => {
            Err(format!("its key has {key} bytes; at most {KEY_BYTES_MAX} are allowed"))
        }
        (_, value) if value > VALUE_BYTES_MAX => {
            Err(format!("its value has {value} bytes; at most {VALUE_BYTES_MAX} are allowed"))
        }
        _ => Ok(row),
    });
    row.map_err(|reason| BadLine { number: line, reason })
}

impl DelimitedRows {
    fn row(&self, record: &Record) -> Result<ExportedRow, BadLine> {
        let present = |index: usize| record.get(index).filter(|field| !is_missing(field));
        let row = self.layout.key_and_version(present).and_then(|(key, version)| {
            let value = self.value(record)?;
            Ok(ExportedRow { key, content: Content::Value(value), version, expires_at: None })
        });
        numbered(record.line, row)
    }

    fn value(&self, record: &Record) -> Result<Bytes, String> {
        let mut value = Vec::with_capacity(512);
        let columns = self.layout.columns.iter().zip(&self.members);
        for ((column, member), field) in columns.zip(record.iter()) {
            value.extend_from_slice(member);
            if !write_json(&mut value, column.column_type, field) {
                return Err(format!("{field:?} does not fit the column {}", column.name));
            }
        }
        value.push(b'}');
        Ok(Bytes::copy_from_slice(&value))
    }
}

impl Layout {
    fn row_of(&self, object: &Map<String, Value>, line: &[u8]) -> Result<ExportedRow, String> {
        let single = |index: usize| {
            let name = &self.columns.get(index)?.name;
            match object.get(name)? {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                Value::Bool(value) => Some(value.to_string()),
                Value::Null | Value::Array(_) | Value::Object(_) => None,
            }
        };
        let (key, version) = self.key_and_version(single)?;
        let value = Bytes::copy_from_slice(line.trim_ascii());
        Ok(ExportedRow { key, content: Content::Value(value), version, expires_at: None })
    }

    fn key_and_version<T: AsRef<str>>(
        &self,
        field: impl Fn(usize) -> Option<T>,
    ) -> Result<(Bytes, Option<Timestamp>), String> {
        let version = match self.version {
            None => None,
            Some(index) => {
                let name = self.columns.get(index).map_or("", |column| column.name.as_str());
                let text =
                    field(index).ok_or_else(|| format!("{name}, the version, is missing"))?;
                let instant = parse_instant(text.as_ref());
                Some(instant.map_err(|error| format!("{name}, the version: {error}"))?)
            }
        };
        Ok((Bytes::from(self.key.render(field)?), version))
    }
}

/// The columns of the file with the types that its values are written in: those that the
/// table already gives them where they hold the file's values too.
///
/// A column that the table knows as text gets text from a file in which it happens to hold
/// numbers only.
pub(crate) fn written_columns(file: &[Column], merged: &[Column]) -> Vec<Column> {
    let written = file.iter().map(|column| {
        let known = merged.iter().find(|other| other.name == column.name);
        let column_type = match known.map(|known| known.column_type) {
            None | Some(ColumnType::Json) => column.column_type,
            Some(known) => known,
        };
        Column { column_type, ..column.clone() }
    });
    written.collect()
}

#[cfg(test)]
mod tests {
    use super::super::key_template::KeyTemplate;
    use super::super::survey::{survey_delimited, survey_ndjson};
    use super::*;

    fn layout(columns: Vec<Column>, key: &str, version: Option<usize>) -> Layout {
        let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        let key = KeyTemplate::parse(key).expect("valid").bind(&names).expect("bound");
        Layout { columns, key, version }
    }

    fn all(mut rows: Rows) -> Vec<Result<(String, String), (u64, String)>> {
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let mut all = Vec::new();
        while let Some(next) = rows.next().expect("reads") {
            all.push(match next {
                Ok(row) => Ok((text(&row.key), text(row.content.bytes()))),
                Err(bad) => Err((bad.number, bad.reason)),
            });
        }
        all
    }

    #[test]
    fn rows_of_a_csv_file_are_typed_objects_and_bad_lines_are_numbered() {
        const TEXT: &str = "a,b\n1,x\n2\n,y\n3,NA\n";
        let records = || Records::new(Lines::of(TEXT), b',');
        let survey = survey_delimited(records()).expect("valid");
        let layout = layout(survey.columns, "{a}", None);
        let rows = all(Rows::delimited(records(), layout).expect("same header"));
        assert_eq!(rows[0], Ok(("1".into(), r#"{"a":1,"b":"x"}"#.into())));
        assert_eq!(rows[1].as_ref().expect_err("short").0, 3);
        assert_eq!(rows[2].as_ref().expect_err("no key").0, 4);
        assert_eq!(rows[3], Ok(("3".into(), r#"{"a":3,"b":null}"#.into())));
    }

    #[test]
    fn rows_of_an_ndjson_file_keep_their_bytes() {
        const TEXT: &str = "{\"a\": 1.50}\nnope\n {\"a\":\"x\"} \n{\"a\":null}\n";
        let survey = survey_ndjson(Lines::of(TEXT)).expect("valid");
        let rows = all(Rows::Ndjson(Lines::of(TEXT), layout(survey.columns, "k{a}", None)));
        assert_eq!(rows[0], Ok(("k1.5".into(), "{\"a\": 1.50}".into())));
        assert_eq!(rows[1].as_ref().expect_err("no JSON").0, 2);
        assert_eq!(rows[2], Ok(("kx".into(), "{\"a\":\"x\"}".into())));
        assert_eq!(rows[3].as_ref().expect_err("null key").0, 4);
    }

    #[test]
    fn a_version_column_gives_each_row_its_instant() {
        const TEXT: &str = "k,at\na,1970-01-01T00:00:01Z\na,never\na,\n";
        let records = || Records::new(Lines::of(TEXT), b',');
        let survey = survey_delimited(records()).expect("valid");
        let mut rows =
            Rows::delimited(records(), layout(survey.columns, "{k}", Some(1))).expect("header");
        let first = rows.next().expect("reads").expect("a row").expect("good");
        assert_eq!(first.version, Some(Timestamp::from_micros(1_000_000)));
        let bad: Vec<u64> =
            all(rows).into_iter().filter_map(|row| row.err().map(|bad| bad.0)).collect();
        assert_eq!(bad, [3, 4]);
    }

    #[test]
    fn values_take_the_types_that_the_table_has() {
        let column = |name: &str, column_type| Column {
            name: name.to_owned(),
            column_type,
            nullable: false,
        };
        let file = [column("zip", ColumnType::Integer), column("n", ColumnType::Integer)];
        let merged = [column("zip", ColumnType::Text), column("n", ColumnType::Json)];
        let types: Vec<_> =
            written_columns(&file, &merged).into_iter().map(|column| column.column_type).collect();
        assert_eq!(types, [ColumnType::Text, ColumnType::Integer]);
    }
}
