//! Functions of users: deploying, listing, removing and calling them.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use breccia_functions::Asked;
use breccia_node::Named;
use breccia_types::{Function, FunctionLimits};
use serde::{Deserialize, Serialize};

use super::extract::{
    Idempotency, JsonBody, Params, PathParts, RawBody, Reading, accepts, require_type,
};
use super::octets::Octets;
use super::problem::Problem;
use crate::http::app::App;

const OCTET_STREAM: &str = "application/octet-stream";
/// What a module may be sent as.
const MODULE_TYPES: [&str; 3] = ["application/wasm", OCTET_STREAM, "text/plain"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitParams {
    fuel: Option<u64>,
    /// Of one call; `timeout_ms` is of the request.
    time_ms: Option<u64>,
    memory_bytes: Option<u64>,
    output_bytes: Option<u64>,
    rows: Option<u64>,
}

impl From<LimitParams> for FunctionLimits {
    fn from(params: LimitParams) -> Self {
        let default = Self::default();
        Self {
            fuel: params.fuel.unwrap_or(default.fuel),
            time: params.time_ms.map_or(default.time, Duration::from_millis),
            memory_bytes: params.memory_bytes.unwrap_or(default.memory_bytes),
            output_bytes: params.output_bytes.unwrap_or(default.output_bytes),
            rows: params.rows.unwrap_or(default.rows),
        }
    }
}

/// A function as JSON.
#[derive(Debug, Serialize)]
pub(super) struct FunctionBody {
    name: String,
    kind: &'static str,
    version: u64,
    digest: String,
    module_bytes: u64,
    limits: FunctionLimits,
    deployed_at_micros: i64,
}

impl From<&Function> for FunctionBody {
    fn from(function: &Function) -> Self {
        Self {
            name: function.name.clone(),
            kind: function.kind.name(),
            version: function.version,
            digest: function.digest.to_string(),
            module_bytes: function.module_bytes,
            limits: function.limits,
            deployed_at_micros: function.deployed_at.as_micros(),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct FunctionsBody {
    functions: Vec<FunctionBody>,
}

pub(super) async fn list(State(app): State<App>) -> Result<Json<FunctionsBody>, Problem> {
    let functions = app.functions.list().await?;
    let functions = functions.iter().map(|function| FunctionBody::from(&**function));
    Ok(Json(FunctionsBody { functions: functions.collect() }))
}

pub(super) async fn deploy(
    State(app): State<App>,
    PathParts(name): PathParts<String>,
    Params(limits): Params<LimitParams>,
    headers: HeaderMap,
    RawBody(module): RawBody,
) -> Result<(StatusCode, Json<FunctionBody>), Problem> {
    require_type(&headers, &MODULE_TYPES)?;
    let deployed = app.functions.deploy(&name, limits.into(), module).await?;
    Ok((StatusCode::CREATED, Json(FunctionBody::from(&*deployed))))
}

pub(super) async fn remove(
    State(app): State<App>,
    PathParts(name): PathParts<String>,
) -> Result<Json<FunctionBody>, Problem> {
    Ok(Json(FunctionBody::from(&*app.functions.remove(&name).await?)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CallBody {
    keys: Vec<Octets>,
    #[serde(default)]
    args: Vec<Octets>,
}

#[derive(Debug, Serialize)]
pub(super) struct ReplyBody {
    reply: Octets,
}

pub(super) async fn call(
    Reading(app): Reading,
    PathParts((table, function)): PathParts<(String, String)>,
    Idempotency(request_id): Idempotency,
    headers: HeaderMap,
    JsonBody(CallBody { keys, args }): JsonBody<CallBody>,
) -> Result<Response, Problem> {
    let calling = app.node.on_table(&table, async |on: Named| {
        let bytes = |octets: &[Octets]| octets.iter().map(|octets| octets.0.clone()).collect();
        let asked = Asked {
            function: function.clone(),
            kind: None,
            keys: bytes(&keys),
            args: bytes(&args),
            request_id: on.request_id(request_id),
        };
        app.functions.call(&on.table, asked).await
    });
    let reply = calling.await?;
    if accepts(&headers, OCTET_STREAM) {
        let content_type = (header::CONTENT_TYPE, HeaderValue::from_static(OCTET_STREAM));
        return Ok(([content_type], reply).into_response());
    }
    Ok(Json(ReplyBody { reply: Octets(reply) }).into_response())
}
