//! `reduce`: asks the nodes for one value that all rows of a table come to.

use std::time::{Duration, Instant};

use anyhow::Result;
use breccia_api::v1::reduce_request::Input;
use breccia_api::v1::reduce_response::Event;
use breccia_api::v1::{ReduceProgress, ReduceRequest, ReduceResult};
use bytes::Bytes;
use clap::Args;
use indicatif::{HumanBytes, HumanCount, ProgressBar};
use serde_json::{Map, Value, json};

use crate::client::{Client, ServerArgs, StalenessArgs};
use crate::exit::{Exit, Failure};
use crate::payload::Encoding;
use crate::progress;
use crate::units::parse_duration;

/// Arguments of `reduce`.
#[derive(Debug, Args)]
#[command(after_help = "\
Rows do not travel: the nodes that hold them reduce them, and one value comes back.

  breccia reduce flights count
  breccia reduce flights sum:f64 --field dep_delay
  breccia reduce flights quantiles --field dep_delay --prefix UA/
  breccia reduce flights top:5 --field dep_delay      the keys of the five greatest
  breccia reduce flights hll --field tailnum          how many distinct ones, roughly
  breccia reduce visitors merge                       all states of a monoid table
  breccia reduce redis fn:total                       by a function of your own, see breccia fn

Rows whose input does not fit (no such field, null, text where a number is asked for) are left out \
and counted as skipped. Time, rows and bytes are told on standard error.")]
pub(crate) struct ReduceArgs {
    /// The table
    table: String,
    /// count, merge, or a monoid such as sum:f64, mean:i64, min:bytes, moments, top:10, hll or
    /// quantiles; or fn: and the name of a reduce function
    #[arg(value_name = "count|merge|MONOID|fn:NAME")]
    reduction: String,
    /// Reduce a scalar of the JSON value: names with dots between them, or a JSON pointer
    #[arg(long, value_name = "PATH", conflicts_with_all = ["key", "value"])]
    field: Option<String>,
    /// Reduce the key
    #[arg(long, conflicts_with = "value")]
    key: bool,
    /// Reduce the whole value, as text
    #[arg(long)]
    value: bool,
    /// What a function is given beside the rows
    #[arg(
        long,
        value_name = "A",
        default_value = "",
        allow_hyphen_values = true,
        hide_default_value = true
    )]
    arg: String,
    /// Only keys that start so
    #[arg(long, value_name = "P", allow_hyphen_values = true)]
    prefix: Option<String>,
    /// The smallest key
    #[arg(long, value_name = "K", allow_hyphen_values = true)]
    from: Option<String>,
    /// The end: keys below it only
    #[arg(long, value_name = "K", allow_hyphen_values = true)]
    to: Option<String>,
    /// P and K are base64
    #[arg(long)]
    key_base64: bool,
    /// Fail at a row whose input does not fit
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

impl ReduceArgs {
    fn request(&self) -> Result<ReduceRequest, Failure> {
        let encoding = Encoding::from_flag(self.key_base64);
        let read = |text: &Option<String>| text.as_deref().map(|text| encoding.read(text));
        let input = match (&self.field, self.key, self.value) {
            (Some(path), ..) => Some(Input::Field(path.clone())),
            (None, true, _) => Some(Input::Key(true)),
            (None, false, true) => Some(Input::Value(true)),
            (None, false, false) => None,
        };
        Ok(ReduceRequest {
            table: self.table.clone(),
            reduction: self.reduction.clone(),
            input,
            prefix: read(&self.prefix).transpose()?.unwrap_or_default(),
            from: read(&self.from).transpose()?,
            to: read(&self.to).transpose()?,
            strict: self.strict,
            allow_partial: self.allow_partial,
            argument: Bytes::copy_from_slice(self.arg.as_bytes()),
        })
    }
}

/// Reduces a table.
pub(crate) async fn run(args: ReduceArgs) -> Result<Exit> {
    let mut request = args.staleness.request(args.request()?);
    request.set_timeout(args.timeout);
    let client = Client::connect(&args.server.server).await?;
    let began = Instant::now();
    let reply = client.key_value().reduce(request).await;
    let mut events = reply.map_err(|status| client.failed(&status))?.into_inner();
    let bar = progress::count(0, &format!("reducing {}", args.table));
    let result = loop {
        let message = events.message().await.map_err(|status| client.failed(&status))?;
        match message.map(|message| message.event) {
            Some(Some(Event::Progress(progress))) => show_progress(&bar, &args.table, &progress),
            Some(Some(Event::Result(result))) => break result,
            // An event of a later version.
            Some(None) => {}
            None => return Err(Failure::new(Exit::Unreachable, "the answer broke off").into()),
        }
    };
    bar.finish_and_clear();
    show(&result, began.elapsed(), args.server.json)?;
    Ok(Exit::Done)
}

fn show_progress(bar: &ProgressBar, table: &str, progress: &ReduceProgress) {
    let ReduceProgress { shards_done, shards, rows, bytes } = *progress;
    bar.set_length(shards);
    bar.set_position(shards_done);
    let (rows, bytes) = (HumanCount(rows), HumanBytes(bytes));
    bar.set_message(format!("reducing {table}: {rows} rows, {bytes}, shards"));
}

fn show(result: &ReduceResult, took: Duration, json: bool) -> Result<()> {
    let value: Value = serde_json::from_str(&result.presented)?;
    if json {
        println!("{}", document(result, value, took));
        return Ok(());
    }
    match &value {
        Value::Array(items) => items.iter().for_each(|item| println!("{item}")),
        Value::Object(members) => show_members(members),
        Value::String(text) => println!("{text}"),
        value => println!("{value}"),
    }
    let (rows, bytes) = (HumanCount(result.rows), HumanBytes(result.bytes));
    eprintln!("{rows} rows, {bytes}, in {took:.3?}");
    if result.skipped > 0 {
        eprintln!("{} of the rows have no such input and were left out", result.skipped);
    }
    for missing in &result.missing {
        eprintln!("without shard s{}: {}", missing.shard, missing.reason);
    }
    Ok(())
}

fn show_members(members: &Map<String, Value>) {
    for (name, value) in members {
        println!("{name}\t{value}");
    }
}

fn document(result: &ReduceResult, value: Value, took: Duration) -> Value {
    let missing = result.missing.iter();
    let missing: Vec<Value> = missing
        .map(|missing| json!({ "shard": missing.shard, "reason": missing.reason }))
        .collect();
    json!({
        "result": value,
        "coverage": {
            "shards_asked": result.shards_asked,
            "shards_answered": result.shards_answered,
            "missing": missing,
            "rows": result.rows,
            "bytes": result.bytes,
            "skipped": result.skipped,
        },
        "seconds": took.as_secs_f64(),
    })
}
