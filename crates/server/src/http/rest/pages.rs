//! What is not about data: health, metrics, the description of the interface.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, Method, Uri, header};
use axum::response::IntoResponse;
use breccia_types::RequestError;
use serde::Serialize;

use super::problem::Problem;
use crate::http::app::{App, blocking};
use crate::http::metrics;

/// The description of this interface.
pub(super) const OPENAPI: &str = include_str!("../../../openapi.json");

const WELCOME: &str = "Breccia serves gRPC and REST here.\n\n\
    /openapi.json    describes REST\n\
    /v1/tables       lists the tables\n\
    /v1/status       tells how this node stands\n\
    /v1/doctor       tells what an operator should know\n\
    /metrics         is for Prometheus\n\
    /health/ready    is for load balancers\n\n\
    gRPC has server reflection: try `grpcurl -plaintext <address> list`.\n";

#[derive(Debug, Serialize)]
pub(super) struct HealthBody {
    status: &'static str,
}

pub(super) async fn welcome() -> &'static str {
    WELCOME
}

pub(super) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], OPENAPI)
}

/// The process answers.
pub(super) async fn live() -> Json<HealthBody> {
    Json(HealthBody { status: "live" })
}

/// The node takes all reads and writes.
pub(super) async fn ready(State(app): State<App>) -> Result<Json<HealthBody>, Problem> {
    if app.node.is_ready() {
        return Ok(Json(HealthBody { status: "ready" }));
    }
    let status = app.status().await?;
    let quarantined = status.shards.iter().filter(|shard| shard.quarantined.is_some()).count();
    let detail = match status.read_only {
        Some(reason) => format!("the node takes no writes: {reason}"),
        None if quarantined > 0 => {
            format!("{quarantined} shards are out of service; /v1/doctor says what to do")
        }
        None if app.node.is_closing() => "the node is shutting down".to_owned(),
        None => "some shards have not heard a leader, or a majority, in the last seconds; \
                 /v1/doctor says which"
            .to_owned(),
    };
    Err(Problem::not_ready(detail))
}

pub(super) async fn metrics(State(app): State<App>) -> Result<impl IntoResponse, Problem> {
    let registered = std::sync::Arc::clone(&app.metrics);
    let text = blocking(move || registered.text()).await?;
    let text = text.map_err(|error| RequestError::Internal { reason: error.to_string() })?;
    let content_type = HeaderValue::from_static(metrics::CONTENT_TYPE);
    Ok(([(header::CONTENT_TYPE, content_type)], text))
}

pub(super) async fn no_such_route(uri: Uri) -> Problem {
    Problem::no_such_route(uri.path())
}

pub(super) async fn method_not_allowed(method: Method) -> Problem {
    Problem::method_not_allowed(method.as_str())
}
