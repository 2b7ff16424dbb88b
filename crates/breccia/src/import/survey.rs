//! The first pass over a file: its columns and their types, from every row.

use std::collections::HashMap;
use std::io;

use anyhow::{Context, Result};
use breccia_types::{Column, ColumnType};
use serde_json::{Map, Value};

use super::delimited::Records;
use super::inference::Evidence;
use super::lines::{Line, Lines};
use crate::exit::Failure;
use crate::exported::{Content, ExportedRow};

/// The most columns of a file.
const COLUMNS_MAX: usize = 4_096;

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Survey {
    /// Its columns, in the order in which they first appear.
    pub(crate) columns: Vec<Column>,
    /// Lines that are rows, as far as their form goes.
    pub(crate) rows: u64,
    /// Lines of the form that an export writes.
    pub(crate) exported: u64,
    /// Whether exported rows carry versions.
    pub(crate) versions: bool,
    /// Whether exported rows hold states of a monoid.
    pub(crate) states: bool,
}

impl Survey {
    /// The columns' names in order.
    pub(crate) fn names(&self) -> Vec<String> {
        self.columns.iter().map(|column| column.name.clone()).collect()
    }

    /// Whether the file is an export.
    pub(crate) const fn is_export(&self) -> bool {
        self.rows > 0 && self.exported == self.rows
    }
}

/// The names in the header of a CSV or TSV file.
///
/// # Errors
/// If there is no header, or a name is empty or stands twice.
pub(crate) fn header(records: &mut Records) -> Result<Vec<String>> {
    let first = records.next().context("the file cannot be read")?;
    let record = match first {
        None => return Err(Failure::fix("the file is empty: it needs a header line").into()),
        Some(Err(bad)) => {
            return Err(
                Failure::fix(format!("line {}, the header: {}", bad.number, bad.reason)).into()
            );
        }
        Some(Ok(record)) => record,
    };
    let mut names: Vec<String> = Vec::with_capacity(record.len());
    for name in record.iter() {
        if name.is_empty() {
            let at = names.len() + 1;
            return Err(Failure::fix(format!("column {at} has no name in the header")).into());
        }
        if names.iter().any(|other| other == name) {
            return Err(Failure::fix(format!("the header names {name:?} twice")).into());
        }
        names.push(name.to_owned());
    }
    if names.len() > COLUMNS_MAX {
        return Err(too_many_columns().into());
    }
    records.require_fields(names.len());
    Ok(names)
}

/// Surveys a CSV or TSV file.
///
/// # Errors
/// If it has no valid header, or cannot be read to its end.
pub(crate) fn survey_delimited(mut records: Records) -> Result<Survey> {
    let names = header(&mut records)?;
    let mut evidence = vec![Evidence::default(); names.len()];
    let mut rows: u64 = 0;
    loop {
        let next = records.next();
        match next.with_context(|| damaged(records.last_line()))? {
            None => break,
            Some(Err(_)) => {}
            Some(Ok(record)) => {
                rows += 1;
                for (evidence, field) in evidence.iter_mut().zip(record.iter()) {
                    evidence.observe_text(field);
                }
            }
        }
    }
    let typed = names.into_iter().zip(evidence);
    let columns = typed
        .map(|(name, evidence)| column(name, &evidence, evidence.type_of_texts(), rows))
        .collect();
    Ok(Survey { columns, rows, ..Survey::default() })
}

/// Surveys an NDJSON file.
///
/// # Errors
/// If it has too many columns, or cannot be read to its end.
pub(crate) fn survey_ndjson(mut lines: Lines) -> Result<Survey> {
    let mut survey = Survey::default();
    let mut members = Members::default();
    while let Some(line) = next_line(&mut lines)? {
        let Ok(object) = object(&line) else { continue };
        survey.rows += 1;
        if looks_exported(&object)
            && let Ok(row) = std::str::from_utf8(&line.bytes)
            && let Ok(row) = ExportedRow::read(row)
        {
            survey.exported += 1;
            survey.versions |= row.version.is_some();
            survey.states |= matches!(row.content, Content::State(_));
        }
        members.observe(&object)?;
    }
    let rows = survey.rows;
    let typed = members.names.into_iter().zip(members.evidence);
    survey.columns = typed
        .map(|(name, evidence)| column(name, &evidence, evidence.type_of_json(), rows))
        .collect();
    Ok(survey)
}

/// The next line that is not blank.
pub(crate) fn next_line(lines: &mut Lines) -> Result<Option<Line>> {
    loop {
        let next: io::Result<_> = lines.next();
        match next.with_context(|| damaged(lines.last_number()))? {
            Some(line) if line.bytes.trim_ascii().is_empty() => {}
            other => return Ok(other),
        }
    }
}

/// The JSON object of a line.
///
/// # Errors
/// What is wrong with the line.
pub(crate) fn object(line: &Line) -> Result<Map<String, Value>, String> {
    if !line.complete {
        return Err("the line is longer than a value may be".to_owned());
    }
    match serde_json::from_slice(&line.bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("it is JSON but no object".to_owned()),
        // The position in the message counts from the line's start: its line is always 1.
        Err(error) => Err(error.to_string().replace(" at line 1 column", " at column")),
    }
}

/// The columns of JSON objects as they appear.
#[derive(Default)]
struct Members {
    names: Vec<String>,
    evidence: Vec<Evidence>,
    positions: HashMap<String, usize>,
}

impl Members {
    fn observe(&mut self, object: &Map<String, Value>) -> Result<(), Failure> {
        for (name, value) in object {
            let position = match self.positions.get(name) {
                Some(position) => *position,
                None => self.add(name)?,
            };
            if let Some(evidence) = self.evidence.get_mut(position) {
                evidence.observe_json(value);
            }
        }
        Ok(())
    }

    fn add(&mut self, name: &str) -> Result<usize, Failure> {
        let position = self.names.len();
        if position >= COLUMNS_MAX {
            return Err(too_many_columns());
        }
        self.names.push(name.to_owned());
        self.evidence.push(Evidence::default());
        self.positions.insert(name.to_owned(), position);
        Ok(position)
    }
}

fn looks_exported(object: &Map<String, Value>) -> bool {
    object.contains_key("key") || object.contains_key("key_base64")
}

fn column(name: String, evidence: &Evidence, column_type: ColumnType, rows: u64) -> Column {
    Column { name, column_type, nullable: evidence.present() < rows }
}

pub(crate) fn damaged(line: u64) -> String {
    format!("the file cannot be read after line {line}")
}

fn too_many_columns() -> Failure {
    Failure::fix(format!("the file has more than {COLUMNS_MAX} columns; nothing was written"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(text: &'static str) -> Result<Survey> {
        survey_delimited(Records::new(Lines::of(text), b','))
    }

    #[test]
    fn types_come_from_the_whole_file_and_not_from_bad_lines() {
        let survey = csv("a,b,c\n1,x,NA\n2,y,2.5\nbad\n3.5,z,1\n").expect("valid");
        let shown: Vec<_> = survey
            .columns
            .iter()
            .map(|column| (column.name.as_str(), column.column_type, column.nullable))
            .collect();
        assert_eq!(
            shown,
            [
                ("a", ColumnType::Float, false),
                ("b", ColumnType::Text, false),
                ("c", ColumnType::Float, true),
            ]
        );
        assert_eq!(survey.rows, 3);
    }

    #[test]
    fn a_header_that_cannot_name_columns_is_refused() {
        for text in ["", "a,,c\n", "a,b,a\n", "\"a\n"] {
            assert!(csv(text).is_err(), "{text}");
        }
    }

    #[test]
    fn members_of_any_line_are_columns() {
        let survey = survey_ndjson(Lines::of("{\"a\":1}\n\nnope\n[1]\n{\"b\":\"x\",\"a\":2}\n"));
        let survey = survey.expect("valid");
        assert_eq!(survey.names(), ["a", "b"]);
        assert_eq!(survey.rows, 2);
        assert!(survey.columns[1].nullable && !survey.columns[0].nullable);
        assert!(!survey.is_export());
    }

    #[test]
    fn an_export_is_recognised_if_every_line_is_of_its_form() {
        let export =
            "{\"key\":\"a\",\"value\":{\"x\":1}}\n{\"key_base64\":\"YQ==\",\"value\":\"t\"}\n";
        assert!(survey_ndjson(Lines::of(export)).expect("valid").is_export());
        let mixed = "{\"key\":\"a\",\"value\":1}\n{\"key\":\"a\",\"other\":1}\n";
        assert!(!survey_ndjson(Lines::of(mixed)).expect("valid").is_export());
    }
}
