//! Rows in key order: as pages of JSON, or all of them as a stream of lines.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Extensions, HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use breccia_node::Named;
use breccia_types::kv::{Cursor, Direction, Page, Scan};
use breccia_types::{RequestError, Table, Timestamp};
use bytes::Bytes;
use futures::stream::unfold;
use serde::{Deserialize, Serialize};

use super::extract::{Idempotency, Params, PathParts, Reading, accepts, invalid};
use super::octets::{KeyEncoding, decode_base64url, encode_base64url};
use super::problem::{Problem, ProblemBody};
use super::rows::RowBody;
use crate::http::app::App;
use crate::http::command;
use crate::http::deadline::Deadline;
use crate::http::scanner::{ScanBounds, Scanner};

/// The media type of a stream of lines.
pub(super) const NDJSON: &str = "application/x-ndjson";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScanParams {
    #[serde(default)]
    key_encoding: KeyEncoding,
    prefix: Option<String>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<u64>,
    #[serde(default)]
    reverse: bool,
    as_of_micros: Option<i64>,
    cursor: Option<String>,
}

impl ScanParams {
    fn into_scan(self) -> Result<Scan, RequestError> {
        let encoding = self.key_encoding;
        let decode = |text: Option<String>| text.map(|text| encoding.decode(text)).transpose();
        let cursor = self.cursor.map(|text| match decode_base64url("cursor", &text) {
            Ok(bytes) => Cursor::decode(&bytes),
            Err(_) => Err(RequestError::InvalidCursor),
        });
        Ok(Scan {
            prefix: decode(self.prefix)?.unwrap_or_default(),
            from: decode(self.from)?,
            to: decode(self.to)?,
            direction: if self.reverse { Direction::Reverse } else { Direction::Forward },
            as_of: self.as_of_micros.map(Timestamp::from_micros),
            limit: 0,
            cursor: cursor.transpose()?,
        })
    }
}

#[derive(Debug, Serialize)]
pub(super) struct PageBody {
    rows: Vec<RowBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

pub(super) async fn scan(
    Reading(app): Reading,
    PathParts(table): PathParts<String>,
    Params(params): Params<ScanParams>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Result<Response, Problem> {
    if params.limit == Some(0) {
        return Err(invalid("limit", "it must be greater than 0".to_owned()).into());
    }
    let limit = params.limit;
    let mut scan = params.into_scan()?;
    if accepts(&headers, NDJSON) {
        let bounds = ScanBounds {
            rows_max: limit,
            deadline: Deadline::of(&extensions),
            permit: app.admission.open_scan()?,
        };
        let table = app.node.table(&table).await?;
        return Ok(stream(Scanner::new(app.node, table, scan, bounds)));
    }
    scan.limit = limit.map_or(0, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let (node, scan) = (&app.node, &scan);
    let body = node.on_table(&table, async |on: Named| {
        let page = node.scan(&on.table, scan.clone()).await?;
        let rows = page.rows.into_iter().map(|row| RowBody::new(&on.table, row));
        let rows = rows.collect::<Result<_, _>>()?;
        let cursor = page.cursor.map(|cursor| encode_base64url(&cursor.encode()));
        Ok(PageBody { rows, cursor })
    });
    Ok(Json(body.await?).into_response())
}

/// What a stream of lines has left to say.
enum Lines {
    Rows(Box<Scanner>),
    /// The last line was an error: the stream must not end as if it were complete.
    Broken,
}

/// The last line of a stream that broke off.
#[derive(Debug, Serialize)]
pub(super) struct ErrorLine {
    pub(super) error: ProblemBody,
}

/// A stream that ended early has a last line `{"error": ...}`, and breaks off.
#[derive(Debug, thiserror::Error)]
#[error("the scan failed")]
struct ScanFailed;

fn stream(scanner: Scanner) -> Response {
    let lines = unfold(Some(Lines::Rows(Box::new(scanner))), |lines| async {
        match lines? {
            Lines::Broken => Some((Err(ScanFailed), None)),
            Lines::Rows(mut scanner) => match next_lines(&mut scanner).await {
                Ok(None) => None,
                Ok(Some(lines)) => Some((Ok(lines), Some(Lines::Rows(scanner)))),
                Err(error) => {
                    let error = Problem::from(error).into_body(String::new());
                    let line = line(&ErrorLine { error }).unwrap_or_default();
                    Some((Ok(Bytes::from(line)), Some(Lines::Broken)))
                }
            },
        }
    });
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON))];
    (content_type, Body::from_stream(lines)).into_response()
}

async fn next_lines(scanner: &mut Scanner) -> Result<Option<Bytes>, RequestError> {
    let Some(page) = scanner.next_page().await? else {
        return Ok(None);
    };
    page_lines(scanner.table(), page).map(Some)
}

fn page_lines(table: &Table, page: Page) -> Result<Bytes, RequestError> {
    let mut lines = Vec::new();
    for row in page.rows {
        lines.extend_from_slice(&line(&RowBody::new(table, row)?)?);
    }
    Ok(lines.into())
}

/// A value as one line.
pub(super) fn line<T: Serialize>(value: &T) -> Result<Vec<u8>, RequestError> {
    let mut line = serde_json::to_vec(value)
        .map_err(|error| RequestError::Internal { reason: error.to_string() })?;
    line.push(b'\n');
    Ok(line)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RangeParams {
    #[serde(default)]
    key_encoding: KeyEncoding,
    from: Option<String>,
    to: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct RangeDeletedBody {}

/// Removes a range. One of its ends must be given: to empty a table by leaving both out
/// would be too easy a mistake.
pub(super) async fn delete_range(
    State(app): State<App>,
    PathParts(table): PathParts<String>,
    Params(params): Params<RangeParams>,
    Idempotency(request_id): Idempotency,
) -> Result<Json<RangeDeletedBody>, Problem> {
    if params.from.is_none() && params.to.is_none() {
        let reason = "give from, to or both; drop the table to remove all its rows".to_owned();
        return Err(invalid("from", reason).into());
    }
    let decode = |text: String| params.key_encoding.decode(text);
    let from = params.from.map(decode).transpose()?.unwrap_or_default();
    let to = params.to.map(decode).transpose()?;
    let (node, range) = (&app.node, &(from, to));
    let deleted = node.on_table(&table, async |on: Named| {
        let request_id = on.request_id(request_id);
        command::delete_range(node, &on.table, range.clone(), request_id).await
    });
    deleted.await?;
    Ok(Json(RangeDeletedBody {}))
}
