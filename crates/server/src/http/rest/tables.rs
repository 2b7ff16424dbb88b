//! Tables: creating, describing and dropping them.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use breccia_node::Named;
use breccia_types::{Column, RequestError, Retention, Table, TableOptions};
use serde::{Deserialize, Serialize};

use super::extract::{JsonBody, PathParts};
use super::problem::Problem;
use crate::http::app::App;

/// A table as JSON.
#[derive(Debug, Serialize)]
pub(super) struct TableBody {
    id: u32,
    name: String,
    kind: String,
    partition: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_versions: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_for_ms: Option<u64>,
    columns: Vec<ColumnBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_template: Option<String>,
}

/// A column as JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ColumnBody {
    name: String,
    r#type: breccia_types::ColumnType,
    #[serde(default)]
    nullable: bool,
}

impl From<&Table> for TableBody {
    fn from(table: &Table) -> Self {
        let options = &table.options;
        Self {
            id: table.id.get(),
            name: table.name.clone(),
            kind: options.kind.to_string(),
            partition: options.partition.to_string(),
            ttl_ms: options.ttl.map(millis),
            keep_versions: options.retention.keep_versions,
            keep_for_ms: options.retention.keep_for.map(millis),
            columns: options.columns.iter().map(ColumnBody::from).collect(),
            key_template: options.key_template.clone(),
        }
    }
}

impl From<&Column> for ColumnBody {
    fn from(column: &Column) -> Self {
        Self { name: column.name.clone(), r#type: column.column_type, nullable: column.nullable }
    }
}

impl From<ColumnBody> for Column {
    fn from(column: ColumnBody) -> Self {
        Self { name: column.name, column_type: column.r#type, nullable: column.nullable }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateBody {
    name: String,
    kind: Option<String>,
    partition: Option<String>,
    ttl_ms: Option<u64>,
    keep_versions: Option<u32>,
    keep_for_ms: Option<u64>,
    #[serde(default)]
    columns: Vec<ColumnBody>,
    key_template: Option<String>,
}

impl CreateBody {
    fn into_options(self) -> Result<TableOptions, RequestError> {
        let kind = self.kind.map(|kind| kind.parse()).transpose()?;
        let partition = self.partition.map(|partition| partition.parse()).transpose()?;
        Ok(TableOptions {
            kind: kind.unwrap_or_default(),
            partition: partition.unwrap_or_default(),
            ttl: self.ttl_ms.map(Duration::from_millis),
            retention: Retention {
                keep_versions: self.keep_versions,
                keep_for: self.keep_for_ms.map(Duration::from_millis),
            },
            columns: self.columns.into_iter().map(Column::from).collect(),
            key_template: self.key_template,
        })
    }
}

#[derive(Debug, Serialize)]
pub(super) struct TablesBody {
    tables: Vec<TableBody>,
}

pub(super) async fn list(State(app): State<App>) -> Result<Json<TablesBody>, Problem> {
    let tables = app.node.tables().await?;
    Ok(Json(TablesBody { tables: tables.iter().map(|table| TableBody::from(&**table)).collect() }))
}

pub(super) async fn create(
    State(app): State<App>,
    JsonBody(body): JsonBody<CreateBody>,
) -> Result<(StatusCode, Json<TableBody>), Problem> {
    let name = body.name.clone();
    let table = app.node.create_table(&name, body.into_options()?).await?;
    Ok((StatusCode::CREATED, Json(TableBody::from(&*table))))
}

pub(super) async fn describe(
    State(app): State<App>,
    PathParts(name): PathParts<String>,
) -> Result<Json<TableBody>, Problem> {
    Ok(Json(TableBody::from(&*app.node.table_now(&name).await?)))
}

#[derive(Debug, Serialize)]
pub(super) struct DroppedBody {
    dropped: String,
}

pub(super) async fn drop_table(
    State(app): State<App>,
    PathParts(name): PathParts<String>,
) -> Result<Json<DroppedBody>, Problem> {
    app.node.drop_table(&name).await?;
    Ok(Json(DroppedBody { dropped: name }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ColumnsBody {
    columns: Vec<ColumnBody>,
    key_template: Option<String>,
}

pub(super) async fn set_columns(
    State(app): State<App>,
    PathParts(name): PathParts<String>,
    JsonBody(body): JsonBody<ColumnsBody>,
) -> Result<Json<TableBody>, Problem> {
    let columns = body.columns.into_iter().map(Column::from).collect();
    let table = app.node.describe_columns(&name, columns, body.key_template).await?;
    Ok(Json(TableBody::from(&*table)))
}

#[derive(Debug, Serialize)]
pub(super) struct CountBody {
    rows: u64,
}

pub(super) async fn count(
    State(app): State<App>,
    PathParts(name): PathParts<String>,
) -> Result<Json<CountBody>, Problem> {
    let node = &app.node;
    let rows = node.on_table(&name, async |on: Named| node.count(&on.table).await).await?;
    Ok(Json(CountBody { rows }))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
