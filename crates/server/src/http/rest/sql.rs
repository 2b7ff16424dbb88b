//! SQL queries: answered as one JSON document, or as a stream of NDJSON, CSV or Arrow.

use axum::Json;
use axum::body::Body;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use breccia_sql::Asked;
use breccia_sql::format::Format;
use breccia_types::RequestError;
use breccia_types::reduce::{Gaps, Misfits};
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, unfold};
use http_body::Frame;
use http_body_util::StreamBody;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::extract::{JsonBody, Reading, accepts};
use super::problem::Problem;
use super::reduce::CoverageBody;
use super::scan::{ErrorLine, NDJSON, line};
use crate::http::deadline::Deadline;
use crate::http::limits::QUERY_JSON_BYTES_MAX;
use crate::http::reduction;
use crate::http::sql::{Column, End, Event, Query, run};

const CSV: &str = "text/csv";
const ARROW: &str = "application/vnd.apache.arrow.stream";
/// The trailer of a stream that says what was read for it.
const COVERAGE: &str = "breccia-coverage";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QueryBody {
    sql: String,
    #[serde(default)]
    strict: bool,
    #[serde(default)]
    allow_partial: bool,
}

#[derive(Debug, Serialize)]
struct AnswerBody {
    columns: Vec<ColumnBody>,
    rows: Vec<Box<RawValue>>,
    coverage: CoverageBody,
    /// Bytes that came from the shards to the node that was asked.
    bytes_gathered: usize,
}

#[derive(Debug, Serialize)]
struct ColumnBody {
    name: String,
    r#type: String,
}

type Events = BoxStream<'static, Result<Event, RequestError>>;

pub(super) async fn query(
    Reading(app): Reading,
    headers: HeaderMap,
    extensions: Extensions,
    JsonBody(body): JsonBody<QueryBody>,
) -> Result<Response, Problem> {
    let formats = [(NDJSON, Format::Ndjson), (CSV, Format::Csv), (ARROW, Format::Arrow)];
    let chosen = formats.into_iter().find(|(media_type, _)| accepts(&headers, media_type));
    let query = Query {
        sql: body.sql,
        format: chosen.map_or(Format::Ndjson, |(_, format)| format),
        asked: Asked {
            misfits: if body.strict { Misfits::Refuse } else { Misfits::Count },
            gaps: if body.allow_partial { Gaps::Allow } else { Gaps::Refuse },
            within: reduction::within(Deadline::of(&extensions)),
        },
    };
    let permit = app.admission.open_scan()?;
    let events = run(&app.sql, app.node, query, permit).boxed();
    match chosen {
        Some((media_type, _)) => Ok(streamed(events, media_type).await?),
        None => Ok(Json(document(events).await?).into_response()),
    }
}

async fn document(mut events: Events) -> Result<AnswerBody, RequestError> {
    let (mut columns, mut lines) = (Vec::new(), Vec::new());
    while let Some(event) = events.next().await {
        match event? {
            Event::Progress(_) => {}
            Event::Columns(named) => {
                let body = |Column { name, data_type }| ColumnBody { name, r#type: data_type };
                columns = named.into_iter().map(body).collect();
            }
            Event::Rows(rows) if lines.len() + rows.len() > QUERY_JSON_BYTES_MAX => {
                let reason = format!(
                    "the answer has more than {QUERY_JSON_BYTES_MAX} bytes; ask for fewer rows, \
                     or send the header Accept: {NDJSON}"
                );
                return Err(RequestError::InvalidQuery { reason });
            }
            Event::Rows(rows) => lines.extend_from_slice(&rows),
            Event::End(End { coverage, bytes_gathered, .. }) => {
                let rows = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                let rows = rows.map(serde_json::from_slice).collect::<Result<_, _>>();
                let rows =
                    rows.map_err(|error| RequestError::Internal { reason: error.to_string() })?;
                let coverage = CoverageBody::new(&coverage);
                return Ok(AnswerBody { columns, rows, coverage, bytes_gathered });
            }
        }
    }
    Err(RequestError::Internal { reason: "the answer has no end".to_owned() })
}

/// What a stream of rows has left to say.
enum Left {
    Events(Events),
    /// The last line was an error: the stream must not end as if it were complete.
    Broken,
}

/// A stream that ended early breaks off; one of lines has a last line `{"error": ...}`.
#[derive(Debug, thiserror::Error)]
#[error("the query failed")]
struct QueryFailed;

async fn streamed(mut events: Events, media_type: &'static str) -> Result<Response, RequestError> {
    // What is wrong before the first rows is told as every other problem is.
    let first = loop {
        match events.next().await.transpose()? {
            Some(Event::Rows(rows)) => break Event::Rows(rows),
            Some(Event::Columns(_) | Event::Progress(_)) => {}
            Some(end @ Event::End(_)) => break end,
            None => break Event::Rows(Bytes::new()),
        }
    };
    let events = stream::iter([Ok(first)]).chain(events).boxed();
    let frames = unfold(Some(Left::Events(events)), move |left| async move {
        let Left::Events(mut events) = left? else { return Some((Err(QueryFailed), None)) };
        loop {
            let frame = match events.next().await? {
                Ok(Event::Columns(_) | Event::Progress(_)) => continue,
                Ok(Event::Rows(rows)) => Frame::data(rows),
                Ok(Event::End(end)) => Frame::trailers(trailers(&end)),
                Err(error) if media_type == NDJSON => {
                    let error = Problem::from(error).into_body(String::new());
                    let line = line(&ErrorLine { error }).unwrap_or_default();
                    return Some((Ok(Frame::data(Bytes::from(line))), Some(Left::Broken)));
                }
                Err(_) => return Some((Err(QueryFailed), None)),
            };
            return Some((Ok(frame), Some(Left::Events(events))));
        }
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (header::TRAILER, HeaderValue::from_static(COVERAGE)),
    ];
    Ok((headers, Body::new(StreamBody::new(frames))).into_response())
}

fn trailers(end: &End) -> HeaderMap {
    let coverage = serde_json::to_string(&CoverageBody::new(&end.coverage)).unwrap_or_default();
    let value = HeaderValue::from_str(&coverage).ok();
    value.map(|value| (HeaderName::from_static(COVERAGE), value)).into_iter().collect()
}
