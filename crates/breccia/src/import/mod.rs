//! `import`: fills a table from a CSV, TSV or NDJSON file.
//!
//! The file is read twice: first to learn its columns and to see whether keys can be made at
//! all, then to send its rows. The table's description is written last, so that a table
//! with columns is one whose import came to its end.

mod delimited;
mod format;
mod inference;
mod key_template;
mod lines;
mod plan;
mod rows;
mod send;
mod source;
mod survey;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use breccia_api::v1::{
    CreateTableRequest, DescribeTableRequest, ImportFailure, SetColumnsRequest, Table,
};
use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;

use self::delimited::Records;
use self::format::Format;
use self::key_template::KeyTemplate;
use self::lines::Lines;
use self::plan::{Plan, Wish, decide};
use self::rows::Rows;
use self::send::{BAD_LINES_SHOWN, BadLines, send};
use self::source::Source;
use self::survey::{Survey, survey_delimited, survey_ndjson};
use crate::client::{Client, ServerArgs, is_unknown_table};
use crate::exit::{Exit, Failure};
use crate::payload;
use crate::progress;
use crate::rows::write_line;

/// How often the bar of the first pass is redrawn.
const SURVEY_TICK: Duration = Duration::from_millis(100);

/// Arguments of `import`.
#[derive(Debug, Args)]
#[command(after_help = "\
Each row becomes a JSON object with typed members; empty fields and NA are null. The types hold \
for the whole file and are kept in the table's description. A table that is absent is created: \
versioned if --version is given, else plain.

NDJSON lines keep their bytes. Without --key the file must be one that `export` wrote: then rows \
get back the bytes, versions and expiries that they had.

Bad lines are reported with their numbers and left out; the others are written, and the exit \
code is 4. Importing a file again writes the same rows again.")]
pub(crate) struct ImportArgs {
    /// The table
    table: String,
    /// The file; may end in .zst or .gz
    file: PathBuf,
    /// How rows are written; by the file's name if not given
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// How keys are made, such as '{carrier}/{flight}'
    #[arg(long, value_name = "TEMPLATE")]
    key: Option<String>,
    /// The column with each version's instant: RFC 3339, date, or microseconds
    #[arg(long, value_name = "COLUMN")]
    version: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

/// A file to be imported.
#[derive(Debug)]
pub(crate) struct Import {
    table: String,
    source: Source,
    format: Format,
    key: Option<String>,
    version: Option<String>,
}

/// What became of an import.
#[derive(Debug)]
pub(crate) struct Imported {
    /// Rows written.
    pub(crate) rows: u64,
    /// Lines that were no rows.
    bad: BadLines,
    /// Rows that the node refused.
    refused: u64,
    /// The first of them.
    failures: Vec<ImportFailure>,
    elapsed: Duration,
}

/// Imports a file, and says what became of it.
pub(crate) async fn run(args: ImportArgs) -> Result<Exit> {
    let import = Import {
        key: args.key,
        version: args.version,
        ..Import::new(args.table, &args.file, args.format)?
    };
    let client = Client::connect(&args.server.server).await?;
    let imported = import.run(&client).await?;
    imported.report_refusals();
    write_line(&match args.server.json {
        true => imported.to_json(&import.table).to_string(),
        false => imported.to_text(&import.table),
    })?;
    Ok(if imported.problems() == 0 { Exit::Done } else { Exit::Fix })
}

impl Import {
    /// An import of this file, in a format that its name tells if none is given, without a key.
    ///
    /// # Errors
    /// [`Failure`] if there is no such file, or its name tells no format.
    fn new(table: String, file: &Path, format: Option<Format>) -> Result<Self, Failure> {
        let source = Source::new(file)?;
        let format = match format {
            Some(format) => format,
            None => Format::of(&source)?,
        };
        Ok(Self { table, source, format, key: None, version: None })
    }

    /// An import of this file, with keys made by this template.
    ///
    /// # Errors
    /// As [`Import::new`].
    pub(crate) fn with_key(table: &str, file: &Path, key: &str) -> Result<Self, Failure> {
        let import = Self::new(table.to_owned(), file, None)?;
        Ok(Self { key: Some(key.to_owned()), ..import })
    }

    /// Imports the file.
    ///
    /// # Errors
    /// If the file, the key or the table does not allow it (nothing is written then), or if
    /// the import ends early.
    pub(crate) async fn run(&self, client: &Client) -> Result<Imported> {
        // A mistake of the command line is found before the file is read.
        self.key.as_deref().map(KeyTemplate::parse).transpose()?;
        let started = Instant::now();
        let survey = survey_of(self.source.clone(), self.format).await?;
        let existing = self.existing(client).await?;
        let wish = Wish {
            table: &self.table,
            format: self.format,
            key: self.key.as_deref(),
            version: self.version.as_deref(),
        };
        let plan = decide(wish, &survey, existing.as_ref())?;
        let consumed = Arc::new(AtomicU64::new(0));
        let rows = rows_of(&self.source, self.format, &plan, &consumed)?;
        if let Some(options) = plan.create {
            let request = CreateTableRequest { name: self.table.clone(), options: Some(options) };
            let reply = client.tables().create(request).await;
            reply.map_err(|status| client.failed(&status))?;
        }
        let bar = progress::bytes(self.source.bytes(), &format!("importing {}", self.table));
        let sent = send(client, &self.table, rows, consumed, &bar).await;
        bar.finish_and_clear();
        let (summary, bad) = sent?;
        if let Some(columns) = plan.columns {
            let request = SetColumnsRequest {
                name: self.table.clone(),
                columns: plan::to_wire(&columns),
                key_template: self.key.clone(),
            };
            let reply = client.tables().set_columns(request).await;
            reply.map_err(|status| client.failed(&status))?;
        }
        Ok(Imported {
            rows: summary.rows_written,
            bad,
            refused: summary.rows_failed,
            failures: summary.failures,
            elapsed: started.elapsed(),
        })
    }

    /// The table, if it is there.
    async fn existing(&self, client: &Client) -> Result<Option<Table>> {
        let request = DescribeTableRequest { name: self.table.clone() };
        match client.tables().describe(request).await {
            Ok(table) => Ok(Some(table.into_inner())),
            Err(status) if is_unknown_table(&status) => Ok(None),
            Err(status) => Err(client.failed(&status).into()),
        }
    }
}

/// The first pass.
async fn survey_of(source: Source, format: Format) -> Result<Survey> {
    let bar = progress::bytes(source.bytes(), "reading columns");
    let consumed = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&consumed);
    let mut surveying = tokio::task::spawn_blocking(move || {
        let lines = Lines::new(source.open(counted)?);
        match format.delimiter() {
            Some(delimiter) => survey_delimited(Records::new(lines, delimiter)),
            None => survey_ndjson(lines),
        }
    });
    let survey = loop {
        tokio::select! {
            survey = &mut surveying => break survey,
            () = tokio::time::sleep(SURVEY_TICK) => follow(&bar, &consumed),
        }
    };
    bar.finish_and_clear();
    survey.context("the thread that reads the file failed")?.context("nothing was written")
}

fn follow(bar: &ProgressBar, consumed: &AtomicU64) {
    bar.set_position(consumed.load(Ordering::Relaxed));
}

/// The second pass.
fn rows_of(
    source: &Source,
    format: Format,
    plan: &Plan,
    consumed: &Arc<AtomicU64>,
) -> Result<Rows> {
    let lines = Lines::new(source.open(Arc::clone(consumed))?);
    match (&plan.layout, format.delimiter()) {
        (None, _) => Ok(Rows::Exported(lines)),
        (Some(layout), None) => Ok(Rows::Ndjson(lines, layout.clone())),
        (Some(layout), Some(delimiter)) => {
            Rows::delimited(Records::new(lines, delimiter), layout.clone())
        }
    }
}

impl Imported {
    /// Bad lines and rows refused.
    pub(crate) const fn problems(&self) -> u64 {
        self.bad.count.saturating_add(self.refused)
    }

    /// Says what the bar left out: rows that the node refused.
    fn report_refusals(&self) {
        let shown = self.bad.first.len();
        let more = self.bad.count.saturating_sub(u64::try_from(shown).unwrap_or(u64::MAX));
        if more > 0 {
            eprintln!("... and {more} more bad lines");
        }
        for failure in self.failures.iter().take(BAD_LINES_SHOWN) {
            eprintln!("key {}: {}", payload::show(&failure.key), failure.message);
        }
    }

    fn rate(&self) -> f64 {
        self.rows as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// One line for people.
    pub(crate) fn to_text(&self, table: &str) -> String {
        let seconds = self.elapsed.as_secs_f64();
        let mut text = format!(
            "imported {} rows into {table} in {seconds:.1} s ({:.0} rows/s)",
            self.rows,
            self.rate()
        );
        if self.bad.count > 0 {
            text.push_str(&format!("; {} bad lines", self.bad.count));
        }
        if self.refused > 0 {
            text.push_str(&format!("; {} rows refused", self.refused));
        }
        text
    }

    fn to_json(&self, table: &str) -> serde_json::Value {
        let first: Vec<_> = self
            .bad
            .first
            .iter()
            .map(|bad| json!({"line": bad.number, "reason": bad.reason}))
            .collect();
        json!({
            "table": table,
            "rows": self.rows,
            "bad_lines": self.bad.count,
            "first_bad_lines": first,
            "refused_rows": self.refused,
            "seconds": self.elapsed.as_secs_f64(),
            "rows_per_second": self.rate(),
        })
    }
}
