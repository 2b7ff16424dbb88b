//! Writes rows as they come, in bounded batches, and counts what became of them.

use std::sync::Arc;
use std::time::Duration;

use breccia_node::Node;
use breccia_types::kv::KvWrite;
use breccia_types::table::RowKind;
use breccia_types::{Actor, RequestError, Table};
use bytes::Bytes;

use super::admission::Held;
use super::command::RowCommand;
use super::limits::{
    IMPORT_BATCH_BYTES, IMPORT_BATCH_ROWS_MAX, IMPORT_BUSY_RETRIES_MAX,
    IMPORT_FAILURES_REPORTED_MAX,
};

const BUSY_PAUSE_FIRST: Duration = Duration::from_millis(20);

/// An import into one table.
pub(crate) struct Importer {
    node: Node,
    table: Arc<Table>,
    waiting: Vec<Waiting>,
    waiting_bytes: usize,
    body: Held,
    summary: Summary,
}

/// A row that is yet to be written.
struct Waiting {
    position: u64,
    key: Bytes,
    write: KvWrite,
}

/// What became of an import.
#[derive(Debug, Clone, Default)]
pub(crate) struct Summary {
    pub(crate) rows_written: u64,
    pub(crate) rows_failed: u64,
    pub(crate) bytes_written: u64,
    pub(crate) failures: Vec<Failure>,
}

/// A row that was refused.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) position: u64,
    pub(crate) key: Bytes,
    pub(crate) error: RequestError,
}

impl Importer {
    /// An import whose rows come from the request that holds `body`.
    pub(crate) const fn new(node: Node, table: Arc<Table>, body: Held) -> Self {
        let summary =
            Summary { rows_written: 0, rows_failed: 0, bytes_written: 0, failures: Vec::new() };
        Self { node, table, waiting: Vec::new(), waiting_bytes: 0, body, summary }
    }

    /// What became of the rows that no longer wait.
    pub(crate) const fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Takes a row in; writes those that wait if they are many.
    ///
    /// # Errors
    /// As [`Importer::flush`]. A row that is wrong is noted in the summary instead.
    pub(crate) async fn add(
        &mut self,
        position: u64,
        key: Bytes,
        command: RowCommand,
    ) -> Result<(), RequestError> {
        match command.into_write(&self.table) {
            Ok(write) => {
                self.waiting_bytes += write.bytes();
                self.waiting.push(Waiting { position, key, write });
            }
            Err(error) => self.refuse(position, key, error),
        }
        let is_full =
            self.waiting.len() >= IMPORT_BATCH_ROWS_MAX || self.waiting_bytes >= IMPORT_BATCH_BYTES;
        if is_full { self.flush().await } else { Ok(()) }
    }

    /// Notes a row that cannot be written.
    pub(crate) fn refuse(&mut self, position: u64, key: Bytes, error: RequestError) {
        let summary = &mut self.summary;
        summary.rows_failed = summary.rows_failed.saturating_add(1);
        if summary.failures.len() < IMPORT_FAILURES_REPORTED_MAX {
            summary.failures.push(Failure { position, key, error });
        }
    }

    /// Writes the rows that wait. Those that a shard is too busy for, or whose leader is lost,
    /// are tried again: the client is held back in the meantime.
    ///
    /// # Errors
    /// [`RequestError::ReadOnly`] or [`RequestError::ShuttingDown`]: no row after this one
    /// could be written either.
    pub(crate) async fn flush(&mut self) -> Result<(), RequestError> {
        let mut rows = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        let mut pause = BUSY_PAUSE_FIRST;
        for attempt in 0..=IMPORT_BUSY_RETRIES_MAX {
            let may_retry = attempt < IMPORT_BUSY_RETRIES_MAX;
            rows = self.write(rows, may_retry).await?;
            if rows.is_empty() {
                break;
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2);
        }
        self.body.release();
        Ok(())
    }

    /// Writes the last rows.
    ///
    /// # Errors
    /// As [`Importer::flush`].
    pub(crate) async fn finish(mut self) -> Result<Summary, RequestError> {
        self.flush().await?;
        self.summary.failures.sort_by_key(|failure| failure.position);
        Ok(self.summary)
    }

    /// Writes rows once and returns those to try again.
    async fn write(
        &mut self,
        rows: Vec<Waiting>,
        may_retry: bool,
    ) -> Result<Vec<Waiting>, RequestError> {
        if rows.is_empty() {
            return Ok(rows);
        }
        let writes = rows.iter().map(|row| row.write.clone()).collect();
        let results = self.node.write_many(&self.table, writes).await;
        let mut again = Vec::new();
        let mut fatal = None;
        for (row, result) in rows.into_iter().zip(results) {
            match result {
                Ok(_) => self.count(&row.write),
                Err(error) if may_retry && may_repeat(&row.write, &error) => again.push(row),
                Err(error) => {
                    if is_fatal(&error) {
                        fatal = Some(error.clone());
                    }
                    self.refuse(row.position, row.key, error);
                }
            }
        }
        fatal.map_or(Ok(again), Err)
    }

    fn count(&mut self, write: &KvWrite) {
        let bytes = u64::try_from(write.bytes()).unwrap_or(u64::MAX);
        self.summary.rows_written = self.summary.rows_written.saturating_add(1);
        self.summary.bytes_written = self.summary.bytes_written.saturating_add(bytes);
    }
}

/// Whether a row that was not written, as far as is known, may be written again: also one that
/// may have been, if twice is the same as once.
fn may_repeat(write: &KvWrite, error: &RequestError) -> bool {
    match error {
        RequestError::OutcomeUnknown { .. } | RequestError::DeadlineExceeded => match write {
            KvWrite::Put { table, version, .. } => {
                version.is_some() || table.kind != RowKind::Versioned
            }
            _ => false,
        },
        error => error.actor() == Actor::Retry && !is_fatal(error),
    }
}

const fn is_fatal(error: &RequestError) -> bool {
    matches!(error, RequestError::ReadOnly { .. } | RequestError::ShuttingDown)
}
