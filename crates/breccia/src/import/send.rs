//! Sends rows: a thread reads the file, and a stream carries batches to the node, which
//! holds the thread back when it cannot keep up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use breccia_api::v1::{
    Expiry, ImportMode, ImportRequest, ImportSummary, expiry, import_response, import_row,
};
use breccia_types::Timestamp;
use indicatif::ProgressBar;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::lines::BadLine;
use super::rows::Rows;
use crate::client::Client;
use crate::exported::{Content, ExportedRow};

/// Rows of one message.
const MESSAGE_ROWS_MAX: usize = 2_000;
/// Bytes of keys and values after which a message is sent.
const MESSAGE_BYTES: usize = 512 << 10;
/// Messages that wait to be sent.
const MESSAGES_WAITING_MAX: usize = 4;
/// Bad lines that are shown; the others are counted.
pub(crate) const BAD_LINES_SHOWN: usize = 20;

/// What the reading thread found.
#[derive(Debug, Default)]
pub(crate) struct BadLines {
    /// The first of them.
    pub(crate) first: Vec<BadLine>,
    /// How many there are.
    pub(crate) count: u64,
}

/// Sends all rows to a table.
///
/// # Errors
/// If the file cannot be read to its end, or the node ends the import early; the rows sent
/// before may have been written.
pub(crate) async fn send(
    client: &Client,
    table: &str,
    rows: Rows,
    consumed: Arc<AtomicU64>,
    bar: &ProgressBar,
) -> Result<(ImportSummary, BadLines)> {
    let (sender, receiver) = mpsc::channel(MESSAGES_WAITING_MAX);
    let reader = Reader {
        rows,
        table: table.to_owned(),
        sender,
        consumed,
        bar: bar.clone(),
        bad: BadLines::default(),
    };
    let reading = tokio::task::spawn_blocking(move || reader.run());
    let summary = summary_of(client, receiver).await;
    let bad = reading.await.context("the thread that reads the file failed")?;
    match (summary, bad) {
        (Ok(summary), Ok(bad)) => Ok((summary, bad)),
        // What the file did is the cause of what the import did.
        (_, Err(error)) => Err(error.context("the rows before that are written")),
        (Err(error), Ok(_)) => Err(error),
    }
}

async fn summary_of(
    client: &Client,
    receiver: mpsc::Receiver<ImportRequest>,
) -> Result<ImportSummary> {
    let reply = client.import().import(ReceiverStream::new(receiver)).await;
    let mut events = reply.map_err(|status| client.failed(&status))?.into_inner();
    let mut summary = None;
    while let Some(event) = events.message().await.map_err(|status| client.failed(&status))? {
        if let Some(import_response::Event::Summary(said)) = event.event {
            summary = Some(said);
        }
    }
    summary.context("the node ended the import without a summary")
}

struct Reader {
    rows: Rows,
    table: String,
    sender: mpsc::Sender<ImportRequest>,
    consumed: Arc<AtomicU64>,
    bar: ProgressBar,
    bad: BadLines,
}

impl Reader {
    fn run(mut self) -> Result<BadLines> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(next) = self.rows.next()? {
            match next {
                Err(bad) => self.note(bad),
                Ok(row) => {
                    bytes += row.key.len() + row.content.bytes().len();
                    batch.push(to_wire(row));
                }
            }
            if batch.len() >= MESSAGE_ROWS_MAX || bytes >= MESSAGE_BYTES {
                bytes = 0;
                if !self.send(std::mem::take(&mut batch)) {
                    // The node ended the import, and says why.
                    return Ok(self.bad);
                }
            }
        }
        // The first message names the table, so there is one even if there are no rows.
        self.send(batch);
        Ok(self.bad)
    }

    /// Whether somebody still listens.
    fn send(&mut self, rows: Vec<breccia_api::v1::ImportRow>) -> bool {
        self.bar.set_position(self.consumed.load(Ordering::Relaxed));
        let request =
            ImportRequest { table: self.table.clone(), mode: ImportMode::Put.into(), rows };
        self.sender.blocking_send(request).is_ok()
    }

    fn note(&mut self, bad: BadLine) {
        self.bad.count += 1;
        if self.bad.first.len() < BAD_LINES_SHOWN {
            self.bar.suspend(|| eprintln!("line {}: {}", bad.number, bad.reason));
            self.bad.first.push(bad);
        }
    }
}

fn to_wire(row: ExportedRow) -> breccia_api::v1::ImportRow {
    let expiry =
        row.expires_at.map(|at| Expiry { when: Some(expiry::When::AtMicros(at.as_micros())) });
    let content = match row.content {
        Content::Value(value) => import_row::Content::Value(value),
        Content::State(state) => import_row::Content::EncodedState(state),
    };
    breccia_api::v1::ImportRow {
        key: row.key,
        content: Some(content),
        expiry,
        version_micros: row.version.map(Timestamp::as_micros),
    }
}
