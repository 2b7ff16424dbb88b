//! The service `Import`.

use std::sync::Arc;

use breccia_api::v1;
use breccia_api::v1::import_response::Event;
use breccia_api::v1::import_server::Import;
use breccia_node::Node;
use breccia_types::{RequestError, Table, Timestamp};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{busy, status_of, wire};
use crate::http::admission::Held;
use crate::http::command::RowCommand;
use crate::http::deadline::Deadline;
use crate::http::importer::{Importer, Summary};
use crate::http::limits::{
    IMPORT_PROGRESS_INTERVAL, IMPORT_SILENCE_MAX, STREAM_MESSAGES_WAITING_MAX,
};

/// Writes many rows to a node.
pub(super) struct ImportService {
    node: Node,
}

type Events = mpsc::Sender<Result<v1::ImportResponse, Status>>;

#[tonic::async_trait]
impl Import for ImportService {
    type ImportStream = ReceiverStream<Result<v1::ImportResponse, Status>>;

    async fn import(
        &self,
        request: Request<Streaming<v1::ImportRequest>>,
    ) -> Result<Response<Self::ImportStream>, Status> {
        let deadline = Deadline::of(request.extensions());
        let body = Held::of(request.extensions());
        let (events, receiver) = mpsc::channel(STREAM_MESSAGES_WAITING_MAX);
        let node = self.node.clone();
        let messages = request.into_inner();
        tokio::spawn(async move {
            let import = deadline.limit(run(node, messages, body.clone(), &events));
            let result = tokio::select! {
                result = import => result.map_err(|error| status_of(&error)).flatten(),
                // The client is gone.
                () = events.closed() => return,
            };
            let result = result.map_err(|status| body.overload().map_or(status, busy));
            let last = result.map(|summary| event(Event::Summary(summary)));
            let _gone = events.send(last).await;
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

impl ImportService {
    pub(super) const fn new(node: Node) -> Self {
        Self { node }
    }
}

async fn run(
    node: Node,
    mut messages: Streaming<v1::ImportRequest>,
    body: Held,
    events: &Events,
) -> Result<v1::ImportSummary, Status> {
    let refuse = |error: RequestError| status_of(&error);
    let Some(first) = next(&mut messages).await? else {
        return Ok(v1::ImportSummary::default());
    };
    let table = node.table_now(&first.table).await.map_err(refuse)?;
    let mut intake = Intake {
        importer: Importer::new(node, Arc::clone(&table), body),
        table,
        mode: first.mode(),
        rows: 0,
    };
    let mut told = Instant::now();
    let mut message = Some(first);
    while let Some(present) = message {
        intake.take(present).await.map_err(refuse)?;
        if told.elapsed() >= IMPORT_PROGRESS_INTERVAL {
            told = Instant::now();
            let progress = Event::Progress(progress(intake.importer.summary()));
            // A client that does not read misses this one; the next says more anyway.
            let _skipped = events.try_send(Ok(event(progress)));
        }
        message = next(&mut messages).await?;
    }
    intake.importer.finish().await.map(summary).map_err(refuse)
}

/// An import and where in it we are.
struct Intake {
    importer: Importer,
    table: Arc<Table>,
    mode: v1::ImportMode,
    rows: u64,
}

impl Intake {
    async fn take(&mut self, message: v1::ImportRequest) -> Result<(), RequestError> {
        if !message.table.is_empty() && message.table != self.table.name {
            return Err(wire::invalid("table", "an import goes to one table"));
        }
        for row in message.rows {
            let position = self.rows;
            self.rows += 1;
            let key = row.key.clone();
            match command(row, self.mode) {
                Ok(command) => self.importer.add(position, key, command).await?,
                Err(error) => self.importer.refuse(position, key, error),
            }
        }
        Ok(())
    }
}

async fn next(
    messages: &mut Streaming<v1::ImportRequest>,
) -> Result<Option<v1::ImportRequest>, Status> {
    match timeout(IMPORT_SILENCE_MAX, messages.message()).await {
        Ok(message) => message,
        Err(_) => Err(status_of(&RequestError::DeadlineExceeded)),
    }
}

fn command(row: v1::ImportRow, mode: v1::ImportMode) -> Result<RowCommand, RequestError> {
    let content = wire::import_content(row.content)?;
    match mode {
        v1::ImportMode::Unspecified | v1::ImportMode::Put => Ok(RowCommand::Put {
            key: row.key,
            content,
            expiry: wire::expiry(row.expiry)?,
            version: row.version_micros.map(Timestamp::from_micros),
        }),
        v1::ImportMode::Merge => Ok(RowCommand::Merge { key: row.key, content }),
    }
}

const fn event(event: Event) -> v1::ImportResponse {
    v1::ImportResponse { event: Some(event) }
}

const fn progress(summary: &Summary) -> v1::ImportProgress {
    v1::ImportProgress { rows_written: summary.rows_written, rows_failed: summary.rows_failed }
}

fn summary(summary: Summary) -> v1::ImportSummary {
    let failures = summary.failures.into_iter().map(|failure| v1::ImportFailure {
        row: failure.position,
        key: failure.key,
        code: failure.error.code().to_owned(),
        message: failure.error.to_string(),
    });
    v1::ImportSummary {
        rows_written: summary.rows_written,
        rows_failed: summary.rows_failed,
        bytes_written: summary.bytes_written,
        failures: failures.collect(),
    }
}
