//! Commands on many rows or versions: `scan` and `history`.

use std::io::Write;

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use breccia_api::v1::{Direction, HistoryRequest, ScanRequest, Version};
use breccia_types::Timestamp;
use breccia_types::limits::PAGE_ROWS_MAX;
use bytes::Bytes;
use clap::Args;
use serde_json::{Map, Value};

use crate::client::{Client, ServerArgs, StalenessArgs};
use crate::exit::{Exit, Failure};
use crate::payload::{self, Encoding};
use crate::rows::{document, shown_value};
use crate::units::{parse_instant, show_instant};

/// Rows or versions that are shown if --limit does not say.
const LIMIT_DEFAULT: u64 = 100;

/// Arguments of `scan`.
#[derive(Debug, Args)]
#[command(after_help = "\
Rows are lines: key, tab, value (with the version between them in a versioned table). With \
--json each row is a document on a line of its own. When more rows remain, standard error says \
how to go on.")]
pub(crate) struct ScanArgs {
    /// The table
    table: String,
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
    /// The most rows
    #[arg(long, value_name = "N", default_value_t = LIMIT_DEFAULT,
        value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Largest key first
    #[arg(long)]
    reverse: bool,
    /// The rows as they were at this instant, in a versioned table
    #[arg(long, value_name = "T", value_parser = parse_instant, allow_hyphen_values = true)]
    as_of: Option<Timestamp>,
    /// Where the scan before ended, as it said
    #[arg(long, value_name = "C", allow_hyphen_values = true)]
    cursor: Option<String>,
    #[command(flatten)]
    staleness: StalenessArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// Arguments of `history`.
#[derive(Debug, Args)]
#[command(after_help = "\
Versions are lines, newest first: instant, tab, value; (deleted) where the row was deleted.")]
pub(crate) struct HistoryArgs {
    /// The table
    table: String,
    /// The row's key
    key: String,
    /// KEY is base64
    #[arg(long)]
    key_base64: bool,
    /// The oldest instant
    #[arg(long, value_name = "T", value_parser = parse_instant, allow_hyphen_values = true)]
    from: Option<Timestamp>,
    /// The newest instant
    #[arg(long, value_name = "T", value_parser = parse_instant, allow_hyphen_values = true)]
    to: Option<Timestamp>,
    /// The most versions
    #[arg(long, value_name = "N", default_value_t = LIMIT_DEFAULT,
        value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    #[command(flatten)]
    staleness: StalenessArgs,
    #[command(flatten)]
    server: ServerArgs,
}

impl ScanArgs {
    fn request(&self) -> Result<ScanRequest, Failure> {
        let encoding = Encoding::from_flag(self.key_base64);
        let read = |text: &Option<String>| text.as_deref().map(|text| encoding.read(text));
        let cursor = match &self.cursor {
            None => Bytes::new(),
            Some(text) => match URL_SAFE_NO_PAD.decode(text) {
                Ok(cursor) => Bytes::from(cursor),
                Err(_) => return Err(Failure::usage("--cursor is not one that a scan gave out")),
            },
        };
        let direction = if self.reverse { Direction::Reverse } else { Direction::Forward };
        Ok(ScanRequest {
            table: self.table.clone(),
            prefix: read(&self.prefix).transpose()?.unwrap_or_default(),
            from: read(&self.from).transpose()?,
            to: read(&self.to).transpose()?,
            direction: direction.into(),
            as_of_micros: self.as_of.map(Timestamp::as_micros),
            limit: self.limit,
            page_rows: 0,
            cursor,
        })
    }
}

/// Reads rows in key order.
pub(crate) async fn scan(args: ScanArgs) -> Result<Exit> {
    let request = args.request()?;
    let client = Client::connect(&args.server.server).await?;
    let reply = client.key_value().scan(args.staleness.request(request)).await;
    let mut pages = reply.map_err(|status| client.failed(&status))?.into_inner();
    let mut cursor = Bytes::new();
    loop {
        let page = pages.message().await.map_err(|status| client.failed(&status))?;
        let Some(page) = page else { break };
        let mut out = std::io::stdout().lock();
        for row in &page.rows {
            if args.server.json {
                writeln!(out, "{}", document(row))?;
                continue;
            }
            write!(out, "{}\t", payload::show(&row.key))?;
            if let Some(version) = row.version_micros {
                write!(out, "{}\t", show_instant(Timestamp::from_micros(version)))?;
            }
            writeln!(out, "{}", shown_value(row))?;
        }
        cursor = page.cursor;
    }
    if !cursor.is_empty() {
        let cursor = URL_SAFE_NO_PAD.encode(&cursor);
        eprintln!("more rows remain: scan again with the same words and --cursor {cursor}");
    }
    Ok(Exit::Done)
}

/// Reads the versions of a row.
pub(crate) async fn history(args: HistoryArgs) -> Result<Exit> {
    let key = Encoding::from_flag(args.key_base64).read(&args.key)?;
    let client = Client::connect(&args.server.server).await?;
    let page_max = u64::try_from(PAGE_ROWS_MAX).unwrap_or(u64::MAX);
    let mut left = args.limit;
    let mut to_micros = args.to.map(Timestamp::as_micros);
    let mut seen = false;
    while left > 0 {
        let request = HistoryRequest {
            table: args.table.clone(),
            key: key.clone(),
            from_micros: args.from.map(Timestamp::as_micros),
            to_micros,
            limit: u32::try_from(left.min(page_max)).unwrap_or(u32::MAX),
        };
        let reply = client.key_value().history(args.staleness.request(request)).await;
        let page = reply.map_err(|status| client.failed(&status))?.into_inner();
        write_versions(&page.versions, args.server.json)?;
        seen |= !page.versions.is_empty();
        left = left.saturating_sub(u64::try_from(page.versions.len()).unwrap_or(u64::MAX));
        to_micros = page.next_to_micros;
        if to_micros.is_none() || page.versions.is_empty() {
            break;
        }
    }
    if let (0, Some(to)) = (left, to_micros) {
        eprintln!("more versions remain: ask again with --to {to}");
    }
    if !seen && !args.server.json {
        eprintln!("there is no such version");
    }
    Ok(if seen { Exit::Done } else { Exit::Negative })
}

fn write_versions(versions: &[Version], json: bool) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for version in versions {
        if json {
            let mut document = Map::new();
            document.insert("version".to_owned(), version.version_micros.into());
            match &version.value {
                Some(value) => payload::insert(&mut document, "value", value),
                None => {
                    document.insert("deleted".to_owned(), true.into());
                }
            }
            writeln!(out, "{}", Value::Object(document))?;
            continue;
        }
        let at = show_instant(Timestamp::from_micros(version.version_micros));
        match &version.value {
            Some(value) => writeln!(out, "{at}\t{}", payload::show(value))?,
            None => writeln!(out, "{at}\t(deleted)")?,
        }
    }
    Ok(())
}
