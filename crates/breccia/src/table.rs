//! `table`: create, list, describe and drop tables.

use std::time::Duration;

use anyhow::Result;
use breccia_api::v1::{
    Column, ColumnType, CountRequest, CreateTableRequest, DescribeTableRequest, DropTableRequest,
    ListTablesRequest, Table, TableOptions,
};
use breccia_types::Partition;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::client::{Client, ServerArgs};
use crate::exit::{Exit, Failure};
use crate::rows::write_line;
use crate::table_view::TableView;
use crate::units::{parse_duration, show_duration};

/// Arguments of `table`.
#[derive(Debug, Args)]
pub(crate) struct TableArgs {
    /// What to do
    #[command(subcommand)]
    command: TableCommand,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Subcommand)]
enum TableCommand {
    /// Create a table
    Create(CreateArgs),
    /// List the tables
    List,
    /// Show a table's options and columns
    Describe {
        /// The table
        name: String,
        /// Count its rows too, by reading all their keys
        #[arg(long)]
        count: bool,
    },
    /// Drop a table with all its rows
    Drop {
        /// The table
        name: String,
    },
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// Its name: a letter, then letters, digits, _, - and .
    name: String,
    /// What a row is: one value, a history of values, or one mergeable value
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// How values merge, such as sum:i64 or max:f64; makes it a monoid table
    #[arg(long, value_name = "M")]
    monoid: Option<String>,
    /// How long a row lives after its last write, such as 30d
    #[arg(long, value_name = "D", value_parser = parse_duration)]
    ttl: Option<Duration>,
    /// Which part of a key decides its shard: key, before:BYTE, first:BYTES or tag
    #[arg(long, value_name = "RULE")]
    partition: Option<Partition>,
    /// The most versions kept of one key
    #[arg(long, value_name = "N")]
    keep: Option<u32>,
    /// A member of the JSON values and its type, such as price:float; may be repeated. Types:
    /// boolean, integer, float, timestamp, text, json
    #[arg(long = "column", value_name = "NAME:TYPE", value_parser = parse_column)]
    columns: Vec<Column>,
    /// How long a version is kept after a newer one took its place
    #[arg(long, value_name = "D", value_parser = parse_duration)]
    keep_for: Option<Duration>,
}

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// One value per key.
    Plain,
    /// A history per key.
    Versioned,
    /// One mergeable value per key.
    Monoid,
}

impl CreateArgs {
    fn options(&self) -> Result<TableOptions, Failure> {
        let kind = match (self.kind, &self.monoid) {
            (None | Some(Kind::Monoid), Some(monoid)) => format!("monoid:{monoid}"),
            (Some(Kind::Monoid), None) => {
                return Err(Failure::usage(
                    "a monoid table needs --monoid M, which says how values merge, such as \
                     --monoid sum:i64",
                ));
            }
            (Some(_), Some(_)) => {
                return Err(Failure::usage("--monoid belongs to --kind monoid"));
            }
            (Some(Kind::Versioned), None) => "versioned".to_owned(),
            (None | Some(Kind::Plain), None) => "plain".to_owned(),
        };
        Ok(TableOptions {
            kind,
            partition: self.partition.map(|rule| rule.to_string()).unwrap_or_default(),
            ttl_ms: self.ttl.map(millis),
            keep_versions: self.keep,
            keep_for_ms: self.keep_for.map(millis),
            columns: self.columns.clone(),
            ..TableOptions::default()
        })
    }
}

/// Reads `name:type`. The name may have colons.
fn parse_column(text: &str) -> Result<Column, String> {
    let form = || format!("{text:?} is not NAME:TYPE, such as price:float");
    let (name, type_of) =
        text.rsplit_once(':').filter(|(name, _)| !name.is_empty()).ok_or_else(form)?;
    let all = [
        ColumnType::Boolean,
        ColumnType::Integer,
        ColumnType::Float,
        ColumnType::Timestamp,
        ColumnType::Text,
        ColumnType::Json,
    ];
    let found = all.into_iter().find(|column_type| type_name(*column_type) == type_of);
    let unknown = || {
        let names = all.map(type_name).join(", ");
        format!("{type_of:?} is no type of a column; there are {names}")
    };
    let column_type = found.ok_or_else(unknown)?;
    // Nobody promises that every row has it.
    Ok(Column { name: name.to_owned(), r#type: column_type.into(), nullable: true })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Carries out a `table` command.
pub(crate) async fn run(args: TableArgs) -> Result<Exit> {
    let json = args.server.json;
    match args.command {
        TableCommand::Create(create) => {
            let options = Some(create.options()?);
            let client = Client::connect(&args.server.server).await?;
            let request = CreateTableRequest { name: create.name, options };
            let reply = client.tables().create(request).await;
            let table = reply.map_err(|status| client.failed(&status))?.into_inner();
            if json {
                write_line(&document(&table).to_string())?;
            }
        }
        TableCommand::List => list(&Client::connect(&args.server.server).await?, json).await?,
        TableCommand::Describe { name, count } => {
            let client = Client::connect(&args.server.server).await?;
            describe(&client, name, count, json).await?;
        }
        TableCommand::Drop { name } => {
            let client = Client::connect(&args.server.server).await?;
            let reply = client.tables().drop(DropTableRequest { name }).await;
            reply.map_err(|status| client.failed(&status))?;
        }
    }
    Ok(Exit::Done)
}

async fn list(client: &Client, json: bool) -> Result<()> {
    let reply = client.tables().list(ListTablesRequest {}).await;
    let tables = reply.map_err(|status| client.failed(&status))?.into_inner().tables;
    if json {
        let documents: Vec<Value> = tables.iter().map(document).collect();
        return write_line(&Value::from(documents).to_string());
    }
    let mut view = TableView::new(&["name", "kind", "partition", "ttl", "columns"]);
    for table in &tables {
        let options = table.options.clone().unwrap_or_default();
        view.row([
            table.name.clone(),
            options.kind,
            options.partition,
            options.ttl_ms.map(shown_millis).unwrap_or_default(),
            options.columns.len().to_string(),
        ]);
    }
    write_line(&view.to_string())
}

async fn describe(client: &Client, name: String, count: bool, json: bool) -> Result<()> {
    let reply = client.tables().describe(DescribeTableRequest { name: name.clone() }).await;
    let table = reply.map_err(|status| client.failed(&status))?.into_inner();
    let rows = match count {
        false => None,
        true => {
            let reply = client.key_value().count(CountRequest { table: name }).await;
            Some(reply.map_err(|status| client.failed(&status))?.into_inner().rows)
        }
    };
    if json {
        let mut document = document(&table);
        if let (Some(rows), Some(members)) = (rows, document.as_object_mut()) {
            members.insert("rows".to_owned(), rows.into());
        }
        return write_line(&document.to_string());
    }
    let options = table.options.clone().unwrap_or_default();
    let mut view = TableView::new(&["table", &table.name]);
    view.row(["id".to_owned(), table.id.to_string()]);
    view.row(["kind".to_owned(), options.kind]);
    view.row(["partition".to_owned(), options.partition]);
    let optional = [
        ("ttl", options.ttl_ms.map(shown_millis)),
        ("keep", options.keep_versions.map(|versions| format!("{versions} versions"))),
        ("keep for", options.keep_for_ms.map(shown_millis)),
        ("key template", options.key_template),
        ("rows", rows.map(|rows| rows.to_string())),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            view.row([name.to_owned(), value]);
        }
    }
    write_line(&view.to_string())?;
    if !options.columns.is_empty() {
        let mut columns = TableView::new(&["column", "type", "missing values"]);
        for column in &options.columns {
            let missing = if column.nullable { "yes" } else { "no" };
            columns.row([column.name.as_str(), type_name(column.r#type()), missing]);
        }
        write_line(&format!("\n{columns}"))?;
    }
    Ok(())
}

/// A table as a JSON document.
fn document(table: &Table) -> Value {
    let options = table.options.clone().unwrap_or_default();
    let columns: Vec<Value> = options
        .columns
        .iter()
        .map(|column| {
            json!({
                "name": column.name,
                "type": type_name(column.r#type()),
                "nullable": column.nullable,
            })
        })
        .collect();
    json!({
        "id": table.id,
        "name": table.name,
        "kind": options.kind,
        "partition": options.partition,
        "ttl_ms": options.ttl_ms,
        "keep_versions": options.keep_versions,
        "keep_for_ms": options.keep_for_ms,
        "key_template": options.key_template,
        "columns": columns,
    })
}

const fn type_name(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::Boolean => "boolean",
        ColumnType::Integer => "integer",
        ColumnType::Float => "float",
        ColumnType::Timestamp => "timestamp",
        ColumnType::Text => "text",
        ColumnType::Json => "json",
        ColumnType::Unspecified => "unknown",
    }
}

fn shown_millis(millis: u64) -> String {
    show_duration(Duration::from_millis(millis))
}
