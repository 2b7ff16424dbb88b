//! Commands on one row: `put`, `get`, `del`, `cas`, `merge`.

use std::io::{Read, Write};
use std::time::Duration;

use anyhow::{Context, Result};
use breccia_api::v1::{
    CompareAndSetRequest, DeleteRequest, Expiry, GetRequest, MergeRequest, PutRequest, Row, expiry,
    merge_request, put_request,
};
use breccia_types::Timestamp;
use bytes::Bytes;
use clap::Args;
use serde_json::{Map, Value, json};

use crate::client::{Client, ServerArgs, StalenessArgs};
use crate::exit::{Exit, Failure};
use crate::payload::{self, Encoding};
use crate::units::{parse_duration, parse_instant};

/// A row as it is named on the command line.
#[derive(Debug, Args)]
struct KeyArgs {
    /// The table
    table: String,
    /// The row's key
    key: String,
    /// KEY is base64
    #[arg(long)]
    key_base64: bool,
}

impl KeyArgs {
    fn bytes(&self) -> Result<Bytes, Failure> {
        Encoding::from_flag(self.key_base64).read(&self.key)
    }
}

/// Arguments of `put`.
#[derive(Debug, Args)]
pub(crate) struct PutArgs {
    #[command(flatten)]
    row: KeyArgs,
    /// Its value; - reads it from standard input
    #[arg(allow_hyphen_values = true)]
    value: String,
    /// VALUE is base64
    #[arg(long)]
    value_base64: bool,
    /// Let the row expire after this time, such as 30d
    #[arg(long, value_name = "D", value_parser = parse_duration)]
    ttl: Option<Duration>,
    /// The version's instant, in a versioned table; now if not given
    #[arg(long, value_name = "T", value_parser = parse_instant, allow_hyphen_values = true)]
    version: Option<Timestamp>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Arguments of `get`.
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    row: KeyArgs,
    /// The row as it was at this instant, in a versioned table
    #[arg(long, value_name = "T", value_parser = parse_instant, allow_hyphen_values = true)]
    as_of: Option<Timestamp>,
    /// Write the value's bytes and nothing else
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    #[command(flatten)]
    staleness: StalenessArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// Arguments of `del`.
#[derive(Debug, Args)]
pub(crate) struct DelArgs {
    #[command(flatten)]
    row: KeyArgs,
    /// The row is absent from this instant on, in a versioned table; from now on if not given
    #[arg(long, value_name = "T", value_parser = parse_instant, allow_hyphen_values = true)]
    version: Option<Timestamp>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Arguments of `cas`.
#[derive(Debug, Args)]
pub(crate) struct CasArgs {
    #[command(flatten)]
    row: KeyArgs,
    /// EXPECTED NEW: the value that must be there, and the one to write. Just NEW after
    /// --if-absent, just EXPECTED after --delete
    #[arg(value_names = ["EXPECTED", "NEW"], num_args = 1..=2, required = true)]
    values: Vec<String>,
    /// There must be no row
    #[arg(long, conflicts_with = "delete")]
    if_absent: bool,
    /// Remove the row instead of writing it
    #[arg(long)]
    delete: bool,
    /// EXPECTED and NEW are base64
    #[arg(long)]
    value_base64: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Arguments of `merge`.
#[derive(Debug, Args)]
pub(crate) struct MergeArgs {
    #[command(flatten)]
    row: KeyArgs,
    /// What is merged in, as the table's monoid reads it
    #[arg(allow_hyphen_values = true)]
    operand: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Writes a row.
pub(crate) async fn put(args: PutArgs) -> Result<Exit> {
    let key = args.row.bytes()?;
    let value = match args.value.as_str() {
        "-" => read_input()?,
        text => Encoding::from_flag(args.value_base64).read(text)?,
    };
    let expiry = args.ttl.map(|ttl| Expiry {
        when: Some(expiry::When::TtlMs(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))),
    });
    let client = Client::connect(&args.server.server).await?;
    let request = PutRequest {
        table: args.row.table,
        key,
        content: Some(put_request::Content::Value(value)),
        expiry,
        version_micros: args.version.map(Timestamp::as_micros),
        ..PutRequest::default()
    };
    let reply = client.key_value().put(request).await;
    let reply = reply.map_err(|status| client.failed(&status))?.into_inner();
    if args.server.json {
        write_line(&json!({"version": reply.version_micros}).to_string())?;
    }
    Ok(Exit::Done)
}

/// Reads a row.
pub(crate) async fn get(args: GetArgs) -> Result<Exit> {
    let key = args.row.bytes()?;
    let client = Client::connect(&args.server.server).await?;
    let as_of_micros = args.as_of.map(Timestamp::as_micros);
    let request = GetRequest { table: args.row.table, key, as_of_micros };
    let reply = client.key_value().get(args.staleness.request(request)).await;
    let row = reply.map_err(|status| client.failed(&status))?.into_inner().row;
    match row {
        None if args.server.json => {
            write_line("null")?;
            Ok(Exit::Negative)
        }
        None => Ok(say_no("there is no such row")),
        Some(row) => {
            if args.server.json {
                write_line(&document(&row).to_string())?;
            } else if args.raw {
                std::io::stdout().lock().write_all(&row.value)?;
            } else {
                write_line(&shown_value(&row))?;
            }
            Ok(Exit::Done)
        }
    }
}

/// Removes a row.
pub(crate) async fn del(args: DelArgs) -> Result<Exit> {
    let key = args.row.bytes()?;
    let client = Client::connect(&args.server.server).await?;
    let request = DeleteRequest {
        table: args.row.table,
        key,
        version_micros: args.version.map(Timestamp::as_micros),
        ..DeleteRequest::default()
    };
    let reply = client.key_value().delete(request).await;
    let existed = reply.map_err(|status| client.failed(&status))?.into_inner().existed;
    if args.server.json {
        write_line(&json!({"existed": existed}).to_string())?;
        return Ok(if existed { Exit::Done } else { Exit::Negative });
    }
    Ok(if existed { Exit::Done } else { say_no("there was no such row") })
}

/// Writes a row if it is as expected.
pub(crate) async fn cas(args: CasArgs) -> Result<Exit> {
    let (expected, new) = expected_and_new(&args)?;
    let key = args.row.bytes()?;
    let client = Client::connect(&args.server.server).await?;
    let table = args.row.table;
    let request =
        CompareAndSetRequest { table, key, expected, new, ..CompareAndSetRequest::default() };
    let reply = client.key_value().compare_and_set(request).await;
    let reply = reply.map_err(|status| client.failed(&status))?.into_inner();
    if args.server.json {
        let mut said = Map::new();
        said.insert("swapped".to_owned(), reply.swapped.into());
        if let Some(actual) = &reply.actual {
            payload::insert(&mut said, "actual", actual);
        }
        write_line(&Value::Object(said).to_string())?;
    }
    Ok(match (reply.swapped, reply.actual) {
        (true, _) => Exit::Done,
        (false, _) if args.server.json => Exit::Negative,
        (false, None) => say_no("nothing was written: there is no such row"),
        (false, Some(actual)) => {
            say_no(&format!("nothing was written: the value is {}", payload::show(&actual)))
        }
    })
}

fn expected_and_new(args: &CasArgs) -> Result<(Option<Bytes>, Option<Bytes>), Failure> {
    let encoding = Encoding::from_flag(args.value_base64);
    match (args.if_absent, args.delete, args.values.as_slice()) {
        (true, false, [new]) => Ok((None, Some(encoding.read(new)?))),
        (false, true, [expected]) => Ok((Some(encoding.read(expected)?), None)),
        (false, false, [expected, new]) => {
            Ok((Some(encoding.read(expected)?), Some(encoding.read(new)?)))
        }
        _ => Err(Failure::usage(
            "cas needs EXPECTED and NEW, or --if-absent and NEW, or --delete and EXPECTED",
        )),
    }
}

/// Merges an operand into a row.
pub(crate) async fn merge(args: MergeArgs) -> Result<Exit> {
    let key = args.row.bytes()?;
    let client = Client::connect(&args.server.server).await?;
    let request = MergeRequest {
        table: args.row.table,
        key,
        content: Some(merge_request::Content::Operand(Bytes::from(args.operand))),
        ..MergeRequest::default()
    };
    let reply = client.key_value().merge(request).await;
    let reply = reply.map_err(|status| client.failed(&status))?.into_inner();
    if args.server.json {
        write_line(&json!({"version": reply.version_micros}).to_string())?;
    }
    Ok(Exit::Done)
}

/// A row as a JSON document. Instants are microseconds since 1970.
pub(crate) fn document(row: &Row) -> Value {
    let mut document = Map::new();
    payload::insert(&mut document, "key", &row.key);
    let presented = row.presented.as_deref().and_then(|text| serde_json::from_str(text).ok());
    match presented {
        Some(Value::Null) | None => payload::insert(&mut document, "value", &row.value),
        Some(value) => {
            document.insert("value".to_owned(), value);
        }
    }
    if let Some(version) = row.version_micros {
        document.insert("version".to_owned(), version.into());
    }
    if let Some(expires_at) = row.expires_at_micros {
        document.insert("expires_at".to_owned(), expires_at.into());
    }
    Value::Object(document)
}

/// A row's value for people: in monoid tables what the state says.
pub(crate) fn shown_value(row: &Row) -> String {
    match &row.presented {
        Some(presented) => presented.clone(),
        None => payload::show(&row.value).into_owned(),
    }
}

/// Writes a line to standard output.
pub(crate) fn write_line(line: &str) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{line}")?;
    Ok(())
}

/// Says on standard error why the answer is no.
fn say_no(reason: &str) -> Exit {
    eprintln!("{reason}");
    Exit::Negative
}

fn read_input() -> Result<Bytes> {
    let mut value = Vec::new();
    std::io::stdin().lock().read_to_end(&mut value).context("cannot read standard input")?;
    Ok(Bytes::from(value))
}
