//! What handlers take from a request; what is wrong with it is a problem.

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use breccia_types::limits::HTTP_BODY_BYTES_MAX;
use breccia_types::{RequestError, RequestId};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::http::app::App;
use crate::http::consistency;
use crate::http::deadline::TIMEOUT_PARAMETER;

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const JSON: &str = "application/json";

/// The parts of the path.
pub(super) struct PathParts<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for PathParts<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(values)) => Ok(Self(values)),
            Err(rejection) => Err(invalid("path", rejection.body_text()).into()),
        }
    }
}

/// The parameters of the query. Unknown ones are refused, so that a typing error in a
/// limit does not go unseen.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let own = own_query(&parts.uri)?;
        match Query::try_from_uri(&own) {
            Ok(Query(values)) => Ok(Self(values)),
            Err(rejection) => Err(invalid("query", rejection.body_text()).into()),
        }
    }
}

/// The query without what every route understands.
fn own_query(uri: &Uri) -> Result<Uri, Problem> {
    let pairs = uri.query().unwrap_or_default().split('&');
    let is_own = |pair: &&str| pair.split('=').next() != Some(TIMEOUT_PARAMETER);
    let own: Vec<&str> = pairs.filter(is_own).filter(|pair| !pair.is_empty()).collect();
    let text = format!("/?{}", own.join("&"));
    text.parse().map_err(|_| invalid("query", "it cannot be read".to_owned()).into())
}

/// What every handler has at hand, with reads that see what the client asked for.
pub(super) struct Reading(pub(super) App);

impl FromRequestParts<App> for Reading {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let asked = parts.headers.get(consistency::HEADER);
        Ok(Self(app.reading(asked.map(|value| value.as_bytes()))?))
    }
}

/// The client's name for this request, from the header `Idempotency-Key`.
pub(super) struct Idempotency(pub(super) Option<RequestId>);

impl<S: Send + Sync> FromRequestParts<S> for Idempotency {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(IDEMPOTENCY_KEY) else {
            return Ok(Self(None));
        };
        match value.to_str().ok().map(|text| text.trim_matches('"')).and_then(RequestId::parse) {
            Some(id) => Ok(Self(Some(id))),
            None => {
                let reason = "write a UUID, or 32 hexadecimal digits".to_owned();
                Err(invalid("Idempotency-Key", reason).into())
            }
        }
    }
}

/// A body that is JSON. The content type is required: a web page of another origin cannot
/// send it unasked.
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        require_type(request.headers(), &[JSON])?;
        let RawBody(bytes) = RawBody::from_request(request, state).await?;
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Self(value)),
            Err(error) => Err(invalid("body", error.to_string()).into()),
        }
    }
}

/// A body as it is, of at most `HTTP_BODY_BYTES_MAX` bytes.
pub(super) struct RawBody(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for RawBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if length.is_some_and(|length| length > HTTP_BODY_BYTES_MAX) {
            return Err(Problem::body_too_long(HTTP_BODY_BYTES_MAX));
        }
        read_all(request.into_body()).await.map(Self)
    }
}

async fn read_all(body: Body) -> Result<Bytes, Problem> {
    to_bytes(body, HTTP_BODY_BYTES_MAX).await.map_err(|error| {
        let is_limit = length_limit_reached(&error);
        match is_limit {
            true => Problem::body_too_long(HTTP_BODY_BYTES_MAX),
            false => invalid("body", format!("it broke off: {error}")).into(),
        }
    })
}

fn length_limit_reached(error: &axum::Error) -> bool {
    let source = std::error::Error::source(error);
    source.is_some_and(|source| source.to_string().contains("length limit"))
}

/// Refuses a body unless its type is one of those.
pub(super) fn require_type(headers: &HeaderMap, expected: &[&str]) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    if expected.iter().any(|media_type| given.eq_ignore_ascii_case(media_type)) {
        return Ok(());
    }
    Err(Problem::unsupported_media_type(expected.first().copied().unwrap_or(JSON)))
}

/// Whether a media type is among those that the client accepts by name.
pub(super) fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|range| {
        range.split(';').next().is_some_and(|range| range.trim().eq_ignore_ascii_case(media_type))
    })
}

/// An argument that cannot be as it is.
pub(super) const fn invalid(argument: &'static str, reason: String) -> RequestError {
    RequestError::InvalidArgument { argument, reason }
}
