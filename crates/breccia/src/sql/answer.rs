//! The answer to one query.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Result;
use breccia_api::v1::query_response::Event;
use breccia_api::v1::{QueryColumn, QueryEnd, ReduceProgress};
use indicatif::{HumanBytes, HumanCount, ProgressBar};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{Format, SqlArgs};
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::progress;
use crate::table_view::TableView;

/// Rows that people are shown.
const ROWS_SHOWN_MAX: usize = 1_000;

/// Asks a query and writes its answer.
pub(super) async fn show(client: &Client, args: &SqlArgs, sql: &str) -> Result<()> {
    let began = Instant::now();
    let bar = progress::count(0, "planning");
    let reply = client.sql().query(args.request(sql)).await;
    let mut events = reply.map_err(|status| client.failed(&status))?.into_inner();
    let mut rows = Rows::new(args.format());
    let end = loop {
        let message = events.message().await.map_err(|status| client.failed(&status))?;
        match message.map(|message| message.event) {
            Some(Some(Event::Progress(progress))) => show_progress(&bar, &progress),
            Some(Some(Event::Columns(columns))) => rows.columns = columns.columns,
            Some(Some(Event::Rows(piece))) => bar.suspend(|| rows.take(&piece))?,
            Some(Some(Event::End(end))) => break end,
            // An event of a later version.
            Some(None) => {}
            None => return Err(Failure::new(Exit::Unreachable, "the answer broke off").into()),
        }
    };
    bar.finish_and_clear();
    rows.finish(&end, began.elapsed())
}

fn show_progress(bar: &ProgressBar, progress: &ReduceProgress) {
    let ReduceProgress { shards_done, shards, rows, bytes } = *progress;
    bar.set_length(shards.max(shards_done));
    bar.set_position(shards_done);
    bar.set_message(format!("{} rows, {} read, shards", HumanCount(rows), HumanBytes(bytes)));
}

/// The rows of an answer, as they come.
struct Rows {
    format: Format,
    columns: Vec<QueryColumn>,
    /// What is kept until the end.
    kept: Vec<Box<RawValue>>,
    count: usize,
}

impl Rows {
    const fn new(format: Format) -> Self {
        Self { format, columns: Vec::new(), kept: Vec::new(), count: 0 }
    }

    fn take(&mut self, piece: &[u8]) -> Result<()> {
        let kept_max = match self.format {
            Format::Ndjson | Format::Csv | Format::Arrow => {
                std::io::stdout().lock().write_all(piece)?;
                return Ok(());
            }
            Format::Table => ROWS_SHOWN_MAX,
            Format::Json => usize::MAX,
        };
        for line in piece.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.count += 1;
            if self.kept.len() < kept_max {
                self.kept.push(serde_json::from_slice(line)?);
            }
        }
        Ok(())
    }

    fn finish(self, end: &QueryEnd, took: Duration) -> Result<()> {
        let mut out = std::io::stdout().lock();
        match self.format {
            Format::Ndjson | Format::Csv | Format::Arrow => {}
            Format::Json => writeln!(out, "{}", self.document(end, took)?)?,
            Format::Table => {
                write!(out, "{}", self.table()?)?;
                if self.count > self.kept.len() {
                    let left_out = self.count - self.kept.len();
                    eprintln!(
                        "... and {left_out} rows more: --format ndjson or csv writes all of them"
                    );
                }
            }
        }
        out.flush()?;
        tell(end, took);
        Ok(())
    }

    fn table(&self) -> Result<String> {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        let mut table = TableView::new(&names);
        for row in &self.kept {
            let cells: Map<String, Value> = serde_json::from_str(row.get())?;
            table.row(names.iter().map(|name| match cells.get(*name) {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            }));
        }
        Ok(if names.is_empty() { String::new() } else { format!("{table}\n") })
    }

    fn document(&self, end: &QueryEnd, took: Duration) -> Result<String> {
        #[derive(serde::Serialize)]
        struct Document<'d> {
            columns: Vec<Value>,
            rows: &'d [Box<RawValue>],
            coverage: Value,
            bytes_gathered: u64,
            seconds: f64,
        }
        let column = |column: &QueryColumn| json!({ "name": column.name, "type": column.r#type });
        let missing = end.missing.iter();
        let missing: Vec<Value> = missing
            .map(|missing| json!({ "shard": missing.shard, "reason": missing.reason }))
            .collect();
        let document = Document {
            columns: self.columns.iter().map(column).collect(),
            rows: &self.kept,
            coverage: json!({
                "shards_asked": end.shards_asked,
                "shards_answered": end.shards_answered,
                "missing": missing,
                "rows": end.rows_read,
                "bytes": end.bytes_read,
                "skipped": end.skipped,
            }),
            bytes_gathered: end.bytes_gathered,
            seconds: took.as_secs_f64(),
        };
        Ok(serde_json::to_string(&document)?)
    }
}

/// What was read, and what the answer lacks.
fn tell(end: &QueryEnd, took: Duration) {
    let rows = if end.rows == 1 { "row" } else { "rows" };
    eprintln!(
        "{} {rows} in {took:.3?}; read {} rows, {}; {} came from the shards",
        HumanCount(end.rows),
        HumanCount(end.rows_read),
        HumanBytes(end.bytes_read),
        HumanBytes(end.bytes_gathered),
    );
    if end.skipped > 0 {
        eprintln!(
            "{} of the rows read are not as their table declares them and were left out; \
             --strict names the first",
            HumanCount(end.skipped),
        );
    }
    for missing in &end.missing {
        eprintln!("without shard s{}: {}", missing.shard, missing.reason);
    }
}
