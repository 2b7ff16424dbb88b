//! `sql`: asks a question of the tables, or opens a shell for many.

mod answer;
mod shell;

use std::io::{IsTerminal, Read};
use std::time::Duration;

use anyhow::{Context, Result};
use breccia_api::v1::{QueryFormat, QueryRequest};
use clap::{Args, ValueEnum};

use crate::client::{Client, ServerArgs, StalenessArgs};
use crate::exit::{Exit, Failure};
use crate::units::parse_duration;

/// Arguments of `sql`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Rows do not travel: filters, first halves of aggregations and the best rows of a sort with a \
limit run in the nodes that hold the rows. `explain` before a query says what runs where, \
`explain analyze` also what it took.

  breccia sql \"select carrier, count(*) from flights where origin = 'JFK' group by carrier\"
  breccia sql \"select approx_percentile_cont(dep_delay, 0.9) from flights\"
  breccia sql --format csv \"select * from flights where _key like 'UA/%'\" > ua.csv
  breccia sql < question.sql
  breccia sql                                    a shell; \\? lists what it knows

Every table has _key, its declared columns and _value; a versioned one has _version. Time, rows \
and bytes are told on standard error.")]
pub(crate) struct SqlArgs {
    /// The query. Without one it is read from standard input, or typed in a shell
    #[arg(value_name = "QUERY")]
    query: Option<String>,
    /// How the rows are written
    #[arg(long, value_enum, conflicts_with = "json")]
    format: Option<Format>,
    /// Fail at a row that is not as its table declares it
    #[arg(long)]
    strict: bool,
    /// Answer without shards that cannot be read in time, and say which
    #[arg(long)]
    allow_partial: bool,
    /// How long it may take
    #[arg(long, value_name = "D", default_value = "5m", value_parser = parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    staleness: StalenessArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people: no more than the first 1,000 rows
    Table,
    /// One JSON document with columns, rows and what was read
    Json,
    /// One JSON object per line
    Ndjson,
    /// With a line of names at the top
    Csv,
    /// An Arrow IPC stream
    Arrow,
}

impl SqlArgs {
    fn format(&self) -> Format {
        let default = if self.server.json { Format::Json } else { Format::Table };
        self.format.unwrap_or(default)
    }

    fn request(&self, sql: &str) -> tonic::Request<QueryRequest> {
        let format = match self.format() {
            Format::Table | Format::Json | Format::Ndjson => QueryFormat::Ndjson,
            Format::Csv => QueryFormat::Csv,
            Format::Arrow => QueryFormat::Arrow,
        };
        let mut request = self.staleness.request(QueryRequest {
            sql: sql.to_owned(),
            format: format.into(),
            strict: self.strict,
            allow_partial: self.allow_partial,
        });
        request.set_timeout(self.timeout);
        request
    }
}

/// Answers a query, or opens a shell.
pub(crate) async fn run(args: SqlArgs) -> Result<Exit> {
    let client = Client::connect(&args.server.server).await?;
    let query = match &args.query {
        Some(query) => query.clone(),
        None if std::io::stdin().is_terminal() => return shell::run(client, args).await,
        None => {
            let mut query = String::new();
            let read = std::io::stdin().read_to_string(&mut query);
            read.context("cannot read the query from standard input")?;
            query
        }
    };
    let query = query.trim().trim_end_matches(';');
    if query.is_empty() {
        return Err(Failure::usage("there is no query: give one, or see breccia sql --help").into());
    }
    answer::show(&client, &args, query).await?;
    Ok(Exit::Done)
}
