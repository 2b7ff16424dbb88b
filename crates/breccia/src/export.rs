//! `export`: writes a table to standard output.

use std::collections::HashMap;
use std::io::{BufWriter, Write};

use anyhow::{Context, Result};
use breccia_api::v1::{DescribeTableRequest, Row, ScanRequest, TableOptions};
use breccia_types::Timestamp;
use clap::{Args, ValueEnum};
use serde_json::value::RawValue;

use crate::client::{Client, ServerArgs};
use crate::exit::{Exit, Failure};
use crate::exported::{Content, ExportedRow};
use crate::payload;
use crate::progress;

/// Rows that are asked for at a time.
const PAGE_ROWS: u32 = 5_000;

/// Arguments of `export`.
#[derive(Debug, Args)]
#[command(after_help = "\
ndjson writes one document a line: {\"key\":...,\"value\":...}. A value that is a JSON object or \
array stands there as it is, any other text as a string, other bytes as \"value_base64\"; versions \
and expiries are kept. `import` of such a file, without --key, restores the same bytes. Of a \
versioned table the latest versions are written.

csv writes the key and the columns of the table's description; null is an empty field.")]
pub(crate) struct ExportArgs {
    /// The table
    table: String,
    /// How rows are written
    #[arg(long, value_enum, default_value = "ndjson")]
    format: ExportFormat,
    #[command(flatten)]
    server: ServerArgs,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExportFormat {
    /// One JSON document a line, with everything that a row has.
    Ndjson,
    /// A header, then the key and the columns of each row.
    Csv,
}

/// Writes rows in one of the formats.
enum RowWriter<W: Write> {
    Ndjson { out: W, monoid: bool },
    Csv { out: Box<csv::Writer<W>>, columns: Vec<String> },
}

/// Writes a table.
pub(crate) async fn run(args: ExportArgs) -> Result<Exit> {
    let client = Client::connect(&args.server.server).await?;
    let request = DescribeTableRequest { name: args.table.clone() };
    let table = client.tables().describe(request).await;
    let table = table.map_err(|status| client.failed(&status))?.into_inner();
    let options = table.options.unwrap_or_default();
    let mut writer =
        RowWriter::new(BufWriter::new(std::io::stdout()), args.format, &args.table, &options)?;
    let request =
        ScanRequest { table: args.table.clone(), page_rows: PAGE_ROWS, ..ScanRequest::default() };
    let reply = client.key_value().scan(request).await;
    let mut pages = reply.map_err(|status| client.failed(&status))?.into_inner();
    let bar = progress::spinner(&format!("exporting {}", args.table));
    let mut rows: u64 = 0;
    while let Some(page) = pages.message().await.map_err(|status| client.failed(&status))? {
        for row in page.rows {
            rows += 1;
            writer.write(row)?;
        }
        bar.set_message(format!("exporting {}: {rows} rows", args.table));
    }
    writer.finish()?;
    bar.finish_and_clear();
    Ok(Exit::Done)
}

impl<W: Write> RowWriter<W> {
    fn new(out: W, format: ExportFormat, table: &str, options: &TableOptions) -> Result<Self> {
        if format == ExportFormat::Ndjson {
            return Ok(Self::Ndjson { out, monoid: options.kind.starts_with("monoid") });
        }
        let columns: Vec<String> =
            options.columns.iter().map(|column| column.name.clone()).collect();
        if columns.is_empty() {
            return Err(Failure::fix(format!(
                "the description of table {table:?} names no columns, so there is no header for \
                 csv: use --format ndjson",
            ))
            .into());
        }
        let mut out = Box::new(csv::Writer::from_writer(out));
        let key = if columns.iter().any(|name| name == "key") { "_key" } else { "key" };
        out.write_record(std::iter::once(key).chain(columns.iter().map(String::as_str)))?;
        Ok(Self::Csv { out, columns })
    }

    fn write(&mut self, row: Row) -> Result<()> {
        match self {
            Self::Ndjson { out, monoid } => {
                let content = match monoid {
                    true => Content::State(row.value),
                    false => Content::Value(row.value),
                };
                let exported = ExportedRow {
                    key: row.key,
                    content,
                    version: row.version_micros.map(Timestamp::from_micros),
                    expires_at: row.expires_at_micros.map(Timestamp::from_micros),
                };
                exported.write(out)
            }
            Self::Csv { out, columns } => {
                out.write_record(&csv_record(&row, columns)?)?;
                Ok(())
            }
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Self::Ndjson { mut out, .. } => out.flush()?,
            Self::Csv { mut out, .. } => out.flush()?,
        }
        Ok(())
    }
}

/// The fields of a row: its key, then its columns.
fn csv_record(row: &Row, columns: &[String]) -> Result<Vec<String>> {
    let key = payload::show(&row.key).into_owned();
    let members: HashMap<String, &RawValue> = serde_json::from_slice(&row.value).map_err(|_| {
        Failure::fix(format!(
            "the value of key {key} is no JSON object, so it has no columns: use --format \
                 ndjson",
        ))
    })?;
    let mut record = vec![key];
    for column in columns {
        let raw = members.get(column).map_or("null", |value| value.get());
        record.push(match raw {
            "null" => String::new(),
            text if text.starts_with('"') => {
                serde_json::from_str(text).context("a string of a value cannot be read")?
            }
            other => other.to_owned(),
        });
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn record(value: &'static str) -> Result<Vec<String>> {
        let row = Row {
            key: Bytes::from_static(b"k"),
            value: Bytes::from_static(value.as_bytes()),
            ..Row::default()
        };
        csv_record(&row, &["a".to_owned(), "b".to_owned()])
    }

    #[test]
    fn columns_are_written_as_they_were_read() {
        assert_eq!(record(r#"{"b":"x\ny","a":1.50}"#).expect("object"), ["k", "1.50", "x\ny"]);
        assert_eq!(record(r#"{"a":null,"c":1}"#).expect("object"), ["k", "", ""]);
        assert_eq!(record(r#"{"a":[1, 2],"b":true}"#).expect("object"), ["k", "[1, 2]", "true"]);
    }

    #[test]
    fn a_value_without_columns_is_refused() {
        assert!(record("5").is_err());
        assert!(record("text").is_err());
    }
}
