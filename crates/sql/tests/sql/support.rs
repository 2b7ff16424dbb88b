//! A node with tables, and the same rows in DataFusion's own memory table.

use std::sync::Arc;

use breccia_functions::{Functions, Modules};
use breccia_node::{Node, NodeConfig, ReduceConfig};
use breccia_service::reduce::Reductions;
use breccia_sql::format::{Encoder, Format};
use breccia_sql::{Asked, Limits, Sql, SqlError, with_stages};
use breccia_types::{Column, ColumnType, Table, TableOptions};
use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;
use serde_json::{Value, json};

pub(crate) const SHARDS: u32 = 8;

pub(crate) async fn node() -> Node {
    node_with(&Modules::new()).await
}

/// A node whose queries may name functions.
pub(crate) async fn node_with(modules: &Arc<Modules>) -> Node {
    let reductions = with_stages(Reductions::default(), Arc::clone(modules));
    let reduce = ReduceConfig { reductions, ..ReduceConfig::default() };
    let config = NodeConfig { reduce, shards: Some(SHARDS), ..NodeConfig::in_memory() };
    Node::open(config).await.expect("opens")
}

pub(crate) fn column(name: &str, column_type: ColumnType) -> Column {
    Column { name: name.to_owned(), column_type, nullable: true }
}

pub(crate) async fn table(node: &Node, name: &str, options: TableOptions) -> Arc<Table> {
    node.create_table(name, options).await.expect("creates")
}

pub(crate) async fn put(node: &Node, table: &Table, key: &str, value: impl Into<Bytes>) {
    let put = table.put(Bytes::copy_from_slice(key.as_bytes()), value.into());
    node.write(table, put, None).await.expect("writes");
}

pub(crate) fn sql(node: &Node) -> Sql {
    sql_with(node, Limits::default())
}

pub(crate) fn sql_with(node: &Node, limits: Limits) -> Sql {
    Sql::new(node.clone(), Functions::new(node.clone(), Modules::new()), limits)
}

pub(crate) async fn batches(sql: &Sql, text: &str) -> Result<Vec<RecordBatch>, SqlError> {
    let answer = sql.query(text, &Asked::default(), &Arc::default()).await?;
    answer.batches.try_collect().await
}

/// The rows of an answer as people see them: equal if values, types and order are.
pub(crate) fn shown(batches: &[RecordBatch]) -> String {
    pretty_format_batches(batches).expect("formats").to_string()
}

/// The rows of an answer as JSON.
pub(crate) async fn rows(sql: &Sql, text: &str) -> Vec<Value> {
    as_json(&batches(sql, text).await.unwrap_or_else(|error| panic!("{text}: {error}")))
}

/// Rows as JSON.
pub(crate) fn as_json(batches: &[RecordBatch]) -> Vec<Value> {
    let mut lines = Vec::new();
    for batch in batches {
        let mut encoder = Encoder::new(Format::Ndjson, &batch.schema()).expect("a format");
        lines.extend(encoder.encode(batch).expect("encodes"));
    }
    let lines = String::from_utf8(lines).expect("text");
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// A table of flights, some of which lack something.
pub(crate) fn flights(count: usize) -> Vec<(String, Value)> {
    const CARRIERS: [&str; 5] = ["UA", "B6", "EV", "DL", "9E"];
    const ORIGINS: [&str; 3] = ["JFK", "EWR", "LGA"];
    (0..count)
        .map(|row| {
            let carrier = CARRIERS[row * 7 % 11 % CARRIERS.len()];
            let origin = ORIGINS[row * 5 % 13 % ORIGINS.len()];
            let delay = (row * 37 % 101) as i64 - 20;
            let value = json!({
                "carrier": carrier,
                "flight": row % 90,
                "origin": origin,
                "delay": (row % 17 != 0).then_some(delay),
                "distance": 100.5 + (row * 13 % 997) as f64,
                "is_late": (row % 19 != 0).then_some(delay > 30),
                "time": format!("2013-{:02}-{:02}T{:02}:30:00Z", row % 12 + 1, row % 28 + 1, row % 24),
                "tail": (row % 7 != 0).then(|| format!("N{}", row % 53)),
                "crew": { "pilots": row % 3, "lead": format!("p{}", row % 5) },
            });
            (format!("{carrier}/{row:05}"), value)
        })
        .collect()
}

pub(crate) fn flight_options() -> TableOptions {
    let columns = vec![
        column("carrier", ColumnType::Text),
        column("flight", ColumnType::Integer),
        column("origin", ColumnType::Text),
        column("delay", ColumnType::Integer),
        column("distance", ColumnType::Float),
        column("is_late", ColumnType::Boolean),
        column("time", ColumnType::Timestamp),
        column("tail", ColumnType::Text),
        column("crew", ColumnType::Json),
    ];
    TableOptions { columns, ..TableOptions::default() }
}

pub(crate) fn carriers() -> Vec<(String, Value)> {
    let names = [("UA", "United"), ("B6", "JetBlue"), ("EV", "ExpressJet"), ("XX", "Nobody")];
    let row = |(code, name): (&str, &str)| (code.to_owned(), json!({ "code": code, "name": name }));
    names.into_iter().map(row).collect()
}

pub(crate) fn carrier_options() -> TableOptions {
    let columns = vec![column("code", ColumnType::Text), column("name", ColumnType::Text)];
    TableOptions { columns, ..TableOptions::default() }
}

/// A table with these rows.
pub(crate) async fn filled(
    node: &Node,
    name: &str,
    options: TableOptions,
    rows: &[(String, Value)],
) -> Arc<Table> {
    let table = table(node, name, options).await;
    for (key, value) in rows {
        put(node, &table, key, value.to_string()).await;
    }
    table
}
