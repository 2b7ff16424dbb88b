//! Bulk writes: one row per line of the body.

use axum::Json;
use axum::body::{Body, BodyDataStream};
use axum::extract::{Request, State};
use breccia_types::limits::HTTP_BODY_BYTES_MAX;
use breccia_types::{RequestError, Timestamp};
use bytes::Bytes;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::extract::{Params, PathParts, invalid, require_type};
use super::lines::{Line, Lines};
use super::octets::Octets;
use super::problem::Problem;
use super::rows::{content, expiry};
use super::scan::NDJSON;
use crate::http::admission::Held;
use crate::http::app::App;
use crate::http::command::RowCommand;
use crate::http::deadline::Deadline;
use crate::http::importer::{Failure, Importer, Summary};
use crate::http::limits::IMPORT_SILENCE_MAX;

const MEDIA_TYPES: [&str; 3] = [NDJSON, "application/jsonl", "application/x-jsonlines"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ImportParams {
    #[serde(default)]
    mode: Mode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    #[default]
    Put,
    Merge,
}

/// A row, as a line has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RowLine {
    key: Octets,
    value: Option<Octets>,
    encoded_state: Option<Octets>,
    ttl_ms: Option<u64>,
    expires_at_micros: Option<i64>,
    version_micros: Option<i64>,
    /// Scans write it; it follows from the value.
    #[serde(default, rename = "presented")]
    _presented: serde::de::IgnoredAny,
}

impl RowLine {
    fn into_command(self, mode: Mode) -> Result<RowCommand, RequestError> {
        let key = self.key.0;
        let content = content("value", self.value, self.encoded_state)?;
        Ok(match mode {
            Mode::Merge => RowCommand::Merge { key, content },
            Mode::Put => RowCommand::Put {
                key,
                content,
                expiry: expiry(self.ttl_ms, self.expires_at_micros)?,
                version: self.version_micros.map(Timestamp::from_micros),
            },
        })
    }
}

/// What became of an import.
#[derive(Debug, Serialize)]
pub(super) struct SummaryBody {
    rows_written: u64,
    rows_failed: u64,
    bytes_written: u64,
    failures: Vec<FailureBody>,
}

#[derive(Debug, Serialize)]
struct FailureBody {
    line: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Octets>,
    code: &'static str,
    message: String,
}

impl From<Failure> for FailureBody {
    fn from(failure: Failure) -> Self {
        Self {
            line: failure.position,
            key: (!failure.key.is_empty()).then_some(Octets(failure.key)),
            code: failure.error.code(),
            message: failure.error.to_string(),
        }
    }
}

impl From<Summary> for SummaryBody {
    fn from(summary: Summary) -> Self {
        Self {
            rows_written: summary.rows_written,
            rows_failed: summary.rows_failed,
            bytes_written: summary.bytes_written,
            failures: summary.failures.into_iter().map(FailureBody::from).collect(),
        }
    }
}

pub(super) async fn import(
    State(app): State<App>,
    PathParts(table): PathParts<String>,
    Params(params): Params<ImportParams>,
    request: Request,
) -> Result<Json<SummaryBody>, Problem> {
    require_type(request.headers(), &MEDIA_TYPES)?;
    let table = app.node.table_now(&table).await?;
    let deadline = Deadline::of(request.extensions());
    let intake = Intake {
        importer: Importer::new(app.node, table, Held::of(request.extensions())),
        mode: params.mode,
        line: 0,
    };
    let summary = deadline.limit(intake.run(request.into_body())).await??;
    Ok(Json(summary.into()))
}

/// An import and where in it we are.
struct Intake {
    importer: Importer,
    mode: Mode,
    line: u64,
}

impl Intake {
    async fn run(mut self, body: Body) -> Result<Summary, RequestError> {
        let mut body = body.into_data_stream();
        let mut lines = Lines::new(HTTP_BODY_BYTES_MAX);
        while let Some(piece) = next_piece(&mut body).await? {
            lines.push(&piece);
            while let Some(line) = lines.next_line() {
                self.take(line).await?;
            }
        }
        if let Some(line) = lines.finish() {
            self.take(line).await?;
        }
        self.importer.finish().await
    }

    async fn take(&mut self, line: Line) -> Result<(), RequestError> {
        self.line += 1;
        let text = match line {
            Line::Whole(text) if text.iter().all(u8::is_ascii_whitespace) => return Ok(()),
            Line::Whole(text) => text,
            Line::TooLong => {
                let reason = format!("it has more than {HTTP_BODY_BYTES_MAX} bytes");
                self.importer.refuse(self.line, Bytes::new(), invalid("line", reason));
                return Ok(());
            }
        };
        match serde_json::from_slice::<RowLine>(&text) {
            Err(error) => {
                let error = invalid("line", error.to_string());
                self.importer.refuse(self.line, Bytes::new(), error);
                Ok(())
            }
            Ok(row) => {
                let key = row.key.0.clone();
                match row.into_command(self.mode) {
                    Ok(command) => self.importer.add(self.line, key, command).await,
                    Err(error) => {
                        self.importer.refuse(self.line, key, error);
                        Ok(())
                    }
                }
            }
        }
    }
}

async fn next_piece(body: &mut BodyDataStream) -> Result<Option<Bytes>, RequestError> {
    match timeout(IMPORT_SILENCE_MAX, body.next()).await {
        Ok(Some(Ok(piece))) => Ok(Some(piece)),
        Ok(Some(Err(error))) => Err(invalid("body", format!("it broke off: {error}"))),
        Ok(None) => Ok(None),
        Err(_) => Err(RequestError::DeadlineExceeded),
    }
}
