//! Errors as RFC 9457 problem details.

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use breccia_types::{Actor, RequestError};
use serde::Serialize;

use crate::http::admission::Overload;
use crate::status::{BUSY, BUSY_CODE, actor_name, codes_of};

const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// What went wrong, and who must act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    actor: Actor,
}

/// A problem as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct ProblemBody {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: String,
    code: &'static str,
    actor: &'static str,
    instance: String,
}

impl Problem {
    /// There is no row with this key.
    pub(crate) fn no_such_row() -> Self {
        Self::fix(
            StatusCode::NOT_FOUND,
            "no-such-row",
            "No such row",
            "there is no row with this key".to_owned(),
        )
    }

    /// There is nothing at this path.
    pub(crate) fn no_such_route(path: &str) -> Self {
        Self::fix(
            StatusCode::NOT_FOUND,
            "no-such-route",
            "No such route",
            format!("there is nothing at {path}; /openapi.json lists what there is"),
        )
    }

    /// The path has other methods.
    pub(crate) fn method_not_allowed(method: &str) -> Self {
        Self::fix(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "Method not allowed",
            format!("{method} is no method of this path; the Allow header lists those it has"),
        )
    }

    /// The body is of a type that this route does not read.
    pub(crate) fn unsupported_media_type(expected: &str) -> Self {
        Self::fix(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "Unsupported media type",
            format!("send the header Content-Type: {expected}"),
        )
    }

    /// The body is longer than a body may be.
    pub(crate) fn body_too_long(bytes_max: usize) -> Self {
        Self::fix(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-long",
            "Body too long",
            format!("a body has at most {bytes_max} bytes; send several requests, or an import"),
        )
    }

    /// The node does not take all requests for now.
    pub(crate) fn not_ready(detail: String) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "not-ready",
            title: "Not ready",
            detail,
            actor: Actor::Operator,
        }
    }

    /// The problem as JSON, of a request to this path.
    pub(crate) fn into_body(self, instance: String) -> ProblemBody {
        ProblemBody {
            r#type: format!("urn:breccia:error:{}", self.code),
            title: self.title,
            status: self.status.as_u16(),
            detail: self.detail,
            code: self.code,
            actor: actor_name(self.actor),
            instance,
        }
    }

    const fn fix(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: String,
    ) -> Self {
        Self { status, code, title, detail, actor: Actor::Fix }
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        let codes = codes_of(&error);
        Self {
            status: codes.http,
            code: error.code(),
            title: codes.title,
            detail: error.to_string(),
            actor: error.actor(),
        }
    }
}

impl From<Overload> for Problem {
    fn from(overload: Overload) -> Self {
        Self {
            status: BUSY.http,
            code: BUSY_CODE,
            title: BUSY.title,
            detail: overload.to_string(),
            actor: Actor::Retry,
        }
    }
}

/// The response carries the problem as an extension: only [`render_problems`] knows the
/// path that the body names.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the bodies of problems.
pub(crate) async fn render_problems(request: Request, next: Next) -> Response {
    let instance = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    let Some(problem) = response.extensions_mut().remove::<Problem>() else {
        return response;
    };
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    let is_retry = problem.actor == Actor::Retry;
    let mut rendered = (parts, Json(problem.into_body(instance))).into_response();
    rendered.headers_mut().insert(header::CONTENT_TYPE, MEDIA_TYPE);
    if is_retry {
        rendered.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
    rendered
}
