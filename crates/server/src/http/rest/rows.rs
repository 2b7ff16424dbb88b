//! One row: reading, writing and removing it.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use breccia_node::{Named, Node};
use breccia_types::kv::{self, Expiry, KvReply};
use breccia_types::{RequestError, RequestId, Table, Timestamp};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::extract::{
    Idempotency, JsonBody, Params, PathParts, RawBody, Reading, accepts, invalid,
};
use super::octets::{KeyEncoding, Octets};
use super::problem::Problem;
use crate::http::app::App;
use crate::http::command::{self, Content, RowCommand};
use crate::http::presented::presented;

const OCTET_STREAM: &str = "application/octet-stream";
const VERSION_HEADER: HeaderName = HeaderName::from_static("breccia-version-micros");
const EXPIRES_HEADER: HeaderName = HeaderName::from_static("breccia-expires-at-micros");

/// A row as JSON.
#[derive(Debug, Serialize)]
pub(super) struct RowBody {
    key: Octets,
    value: Octets,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_micros: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at_micros: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presented: Option<Value>,
}

impl RowBody {
    pub(super) fn new(table: &Table, row: kv::Row) -> Result<Self, RequestError> {
        Ok(Self {
            presented: presented(table, &row)?,
            key: Octets(row.key),
            value: Octets(row.value),
            version_micros: row.version.map(Timestamp::as_micros),
            expires_at_micros: row.expires_at.map(Timestamp::as_micros),
        })
    }
}

/// When a row expires, as bodies and queries say it. At most one may be given.
pub(super) fn expiry(
    ttl_ms: Option<u64>,
    expires_at_micros: Option<i64>,
) -> Result<Option<Expiry>, RequestError> {
    match (ttl_ms, expires_at_micros) {
        (None, None) => Ok(None),
        (Some(0), None) => Err(invalid("ttl_ms", "it must be greater than 0".to_owned())),
        (Some(millis), None) => Ok(Some(Expiry::After(Duration::from_millis(millis)))),
        (None, Some(micros)) => Ok(Some(Expiry::At(Timestamp::from_micros(micros)))),
        (Some(_), Some(_)) => {
            Err(invalid("ttl_ms", "give ttl_ms or expires_at_micros, not both".to_owned()))
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GetParams {
    #[serde(default)]
    key_encoding: KeyEncoding,
    as_of_micros: Option<i64>,
}

pub(super) async fn get(
    Reading(app): Reading,
    PathParts((table, key)): PathParts<(String, String)>,
    Params(params): Params<GetParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let key = params.key_encoding.decode(key)?;
    let as_of = params.as_of_micros.map(Timestamp::from_micros);
    let (node, key) = (&app.node, &key);
    let found = node.on_table(&table, async |Named { table, .. }: Named| {
        let row = match as_of {
            None => node.get(&table, key).await?,
            Some(as_of) => node.get_as_of(&table, key, as_of).await?,
        };
        Ok(row.map(|row| (table, row)))
    });
    let (table, row) = found.await?.ok_or_else(Problem::no_such_row)?;
    if accepts(&headers, OCTET_STREAM) {
        return Ok(raw(row));
    }
    Ok(Json(RowBody::new(&table, row)?).into_response())
}

/// The value alone; what else there is to say is in headers.
fn raw(row: kv::Row) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(OCTET_STREAM));
    let instants = [(VERSION_HEADER, row.version), (EXPIRES_HEADER, row.expires_at)];
    for (name, instant) in instants {
        if let Some(instant) = instant {
            headers.insert(name, HeaderValue::from(instant.as_micros()));
        }
    }
    (headers, row.value).into_response()
}

/// What a body of a put is.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ContentKind {
    #[default]
    Value,
    EncodedState,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PutParams {
    #[serde(default)]
    key_encoding: KeyEncoding,
    ttl_ms: Option<u64>,
    expires_at_micros: Option<i64>,
    version_micros: Option<i64>,
    #[serde(default)]
    content: ContentKind,
}

/// The reply to a put or a merge.
#[derive(Debug, Serialize)]
pub(super) struct WrittenBody {
    version_micros: i64,
}

pub(super) async fn put(
    State(app): State<App>,
    PathParts((table, key)): PathParts<(String, String)>,
    Params(params): Params<PutParams>,
    Idempotency(request_id): Idempotency,
    RawBody(body): RawBody,
) -> Result<Json<WrittenBody>, Problem> {
    let put = RowCommand::Put {
        key: params.key_encoding.decode(key)?,
        content: match params.content {
            ContentKind::Value => Content::Value(body),
            ContentKind::EncodedState => Content::EncodedState(body),
        },
        expiry: expiry(params.ttl_ms, params.expires_at_micros)?,
        version: params.version_micros.map(Timestamp::from_micros),
    };
    let version = written(&app.node, &table, put, request_id, command::done).await?;
    Ok(Json(WrittenBody { version_micros: version.as_micros() }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteParams {
    #[serde(default)]
    key_encoding: KeyEncoding,
    version_micros: Option<i64>,
}

/// The reply to a deletion.
#[derive(Debug, Serialize)]
pub(super) struct DeletedBody {
    existed: bool,
}

pub(super) async fn delete(
    State(app): State<App>,
    PathParts((table, key)): PathParts<(String, String)>,
    Params(params): Params<DeleteParams>,
    Idempotency(request_id): Idempotency,
) -> Result<Json<DeletedBody>, Problem> {
    let delete = RowCommand::Delete {
        key: params.key_encoding.decode(key)?,
        version: params.version_micros.map(Timestamp::from_micros),
    };
    let existed = written(&app.node, &table, delete, request_id, command::deleted).await?;
    Ok(Json(DeletedBody { existed }))
}

/// The parameters of routes that know a key and nothing more.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyParams {
    #[serde(default)]
    key_encoding: KeyEncoding,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SwapBody {
    expected: Option<Octets>,
    new: Option<Octets>,
    ttl_ms: Option<u64>,
    expires_at_micros: Option<i64>,
}

impl SwapBody {
    fn into_command(self, key: Bytes) -> Result<RowCommand, RequestError> {
        Ok(RowCommand::CompareAndSet {
            key,
            expected: self.expected.map(|octets| octets.0),
            new: self.new.map(|octets| octets.0),
            expiry: expiry(self.ttl_ms, self.expires_at_micros)?,
        })
    }
}

/// The reply to a compare-and-set.
#[derive(Debug, Serialize)]
pub(super) struct SwappedBody {
    swapped: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    actual: Option<Octets>,
}

pub(super) async fn compare_and_set(
    State(app): State<App>,
    PathParts((table, key)): PathParts<(String, String)>,
    Params(params): Params<KeyParams>,
    Idempotency(request_id): Idempotency,
    JsonBody(body): JsonBody<SwapBody>,
) -> Result<Json<SwappedBody>, Problem> {
    let swap = body.into_command(params.key_encoding.decode(key)?)?;
    let swap = written(&app.node, &table, swap, request_id, command::swapped).await?;
    Ok(Json(SwappedBody { swapped: swap.swapped, actual: swap.actual.map(Octets) }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MergeBody {
    operand: Option<Octets>,
    encoded_state: Option<Octets>,
}

pub(super) async fn merge(
    State(app): State<App>,
    PathParts((table, key)): PathParts<(String, String)>,
    Params(params): Params<KeyParams>,
    Idempotency(request_id): Idempotency,
    JsonBody(body): JsonBody<MergeBody>,
) -> Result<Json<WrittenBody>, Problem> {
    let merge = RowCommand::Merge {
        key: params.key_encoding.decode(key)?,
        content: content("operand", body.operand, body.encoded_state)?,
    };
    let version = written(&app.node, &table, merge, request_id, command::done).await?;
    Ok(Json(WrittenBody { version_micros: version.as_micros() }))
}

/// Writes to the table of a name, and reads the reply.
async fn written<T>(
    node: &Node,
    table: &str,
    command: RowCommand,
    request_id: Option<RequestId>,
    reply: fn(KvReply, &Table) -> Result<T, RequestError>,
) -> Result<T, RequestError> {
    let command = &command;
    let writing = node.on_table(table, async |on: Named| {
        let write = command.clone().into_write(&on.table)?;
        reply(node.write(&on.table, write, on.request_id(request_id)).await?, &on.table)
    });
    writing.await
}

/// A value or operand, or else an encoded state.
pub(super) fn content(
    name: &'static str,
    value: Option<Octets>,
    encoded_state: Option<Octets>,
) -> Result<Content, RequestError> {
    match (value, encoded_state) {
        (Some(value), None) => Ok(Content::Value(value.0)),
        (None, Some(state)) => Ok(Content::EncodedState(state.0)),
        _ => Err(invalid(name, format!("give {name} or encoded_state"))),
    }
}
