//! Until when a request must be answered.

use std::future::Future;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use breccia_types::RequestError;
use breccia_types::limits::REQUEST_DEADLINE_DEFAULT;
use tokio::time::{Instant, timeout_at};

use super::grpc;
use super::rest::Problem;

/// The query parameter of REST.
pub(crate) const TIMEOUT_PARAMETER: &str = "timeout_ms";
const TIMEOUT_HEADER: &str = "grpc-timeout";
/// The routes that take as long as their client keeps sending.
const UPLOAD_SUFFIX: &str = "/import";

/// The deadline that a client set for its request, if it did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// Waits for the future, but not beyond the deadline.
    pub(crate) async fn limit<F: Future>(self, future: F) -> Result<F::Output, RequestError> {
        match self.0 {
            None => Ok(future.await),
            Some(at) => timeout_at(at, future).await.map_err(|_| RequestError::DeadlineExceeded),
        }
    }

    /// How long the client still waits, if it said so.
    pub(crate) fn time_left(self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// The deadline of a request that [`enforce`] has seen.
    pub(crate) fn of(extensions: &axum::http::Extensions) -> Self {
        extensions.get().copied().unwrap_or_default()
    }
}

/// Answers in time, whatever the handler does. What is streamed after that is limited only
/// if the client set a deadline itself; the handlers see to that by [`Deadline::limit`].
pub(crate) async fn enforce(mut request: Request, next: Next) -> Response {
    let is_grpc = grpc::is_grpc(request.headers());
    let refuse = |error: RequestError| match is_grpc {
        true => grpc::status_of(&error).into_http(),
        false => Problem::from(error).into_response(),
    };
    let asked = match is_grpc {
        true => from_header(request.headers()),
        false => from_query(request.uri()),
    };
    let asked = match asked {
        Ok(asked) => asked.and_then(|timeout| Instant::now().checked_add(timeout)),
        Err(error) => return refuse(error),
    };
    let deadline = match asked {
        None if request.uri().path().ends_with(UPLOAD_SUFFIX) => Deadline(None),
        None => Deadline(Instant::now().checked_add(REQUEST_DEADLINE_DEFAULT)),
        asked => Deadline(asked),
    };
    request.extensions_mut().insert(Deadline(asked));
    match deadline.limit(next.run(request)).await {
        Ok(response) => response,
        Err(error) => refuse(error),
    }
}

fn from_query(uri: &Uri) -> Result<Option<Duration>, RequestError> {
    let pairs = uri.query().unwrap_or_default().split('&');
    let mut values = pairs.filter_map(|pair| pair.split_once('='));
    let Some((_, text)) = values.find(|(name, _)| *name == TIMEOUT_PARAMETER) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(millis) if millis > 0 => Ok(Some(Duration::from_millis(millis))),
        _ => Err(RequestError::InvalidArgument {
            argument: TIMEOUT_PARAMETER,
            reason: format!("{text:?} is not a number of milliseconds greater than 0"),
        }),
    }
}

/// Reads `grpc-timeout`: at most eight digits and a unit.
fn from_header(headers: &HeaderMap) -> Result<Option<Duration>, RequestError> {
    let Some(value) = headers.get(TIMEOUT_HEADER) else {
        return Ok(None);
    };
    let timeout = value.to_str().ok().and_then(parse_grpc_timeout);
    timeout.map(Some).ok_or_else(|| RequestError::InvalidArgument {
        argument: TIMEOUT_HEADER,
        reason: "write up to eight digits and one of the units H, M, S, m, u, n".to_owned(),
    })
}

fn parse_grpc_timeout(text: &str) -> Option<Duration> {
    let unit_at = text.len().checked_sub(1)?;
    let (digits, unit) = text.split_at_checked(unit_at)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3_600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeouts_have_digits_and_a_unit() {
        assert_eq!(parse_grpc_timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse_grpc_timeout("99999999H"), Some(Duration::from_secs(359_999_996_400)));
        for text in ["", "S", "123456789S", "+1S", "1", "1x", "1ü"] {
            assert_eq!(parse_grpc_timeout(text), None, "{text}");
        }
    }

    #[test]
    fn a_timeout_of_the_query_is_more_than_nothing() {
        let parse = |query: &str| from_query(&format!("/v1?{query}").parse().expect("a uri"));
        assert_eq!(parse("limit=2&timeout_ms=250"), Ok(Some(Duration::from_millis(250))));
        assert_eq!(parse("limit=2"), Ok(None));
        assert!(parse("timeout_ms=0").is_err());
        assert!(parse("timeout_ms=soon").is_err());
    }
}
