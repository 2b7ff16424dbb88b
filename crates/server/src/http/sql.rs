//! A query as gRPC and REST bring it, and its answer as it comes.

use std::sync::Arc;

use breccia_node::Node;
use breccia_sql::format::{Encoder, Format};
use breccia_sql::{Answer, Asked, Report, Sql, SqlError};
use breccia_types::RequestError;
use breccia_types::limits::REDUCE_PROGRESS_INTERVAL;
use breccia_types::reduce::{Coverage, Meter, Progress};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{Stream, StreamExt, unfold};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::admission::ScanPermit;

/// A query that a client asks.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) sql: String,
    pub(crate) format: Format,
    pub(crate) asked: Asked,
}

/// What a client hears of a query, in this order but for progress.
pub(crate) enum Event {
    Columns(Vec<Column>),
    Rows(Bytes),
    Progress(Progress),
    End(End),
}

/// A column of an answer.
pub(crate) struct Column {
    pub(crate) name: String,
    /// Its type, as Arrow names it.
    pub(crate) data_type: String,
}

/// What was read for an answer.
pub(crate) struct End {
    /// Rows of the answer.
    pub(crate) rows: u64,
    pub(crate) coverage: Coverage,
    pub(crate) bytes_gathered: usize,
}

/// Runs a query. Dropping the stream ends the work on all nodes.
pub(crate) fn run(
    sql: &Sql,
    node: Node,
    query: Query,
    permit: ScanPermit,
) -> impl Stream<Item = Result<Event, RequestError>> + Send + use<> {
    let sql = sql.at(node);
    let meter = Arc::new(Meter::default());
    let told = Arc::clone(&meter);
    let Query { sql: text, format, asked } = query;
    let planning = async move { sql.query(&text, &asked, &meter).await };
    let mut ticks = interval(REDUCE_PROGRESS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let state = State::Planning(planning.boxed());
    let running = Running { state, format, ticks, meter: told, _permit: permit };
    unfold(running, |mut running| async {
        let event = running.next().await?;
        Some((event, running))
    })
}

struct Running {
    state: State,
    format: Format,
    ticks: Interval,
    meter: Arc<Meter>,
    _permit: ScanPermit,
}

enum State {
    Planning(BoxFuture<'static, Result<Answer, SqlError>>),
    Reading(Box<Reading>),
    Ending(End),
    Over,
}

struct Reading {
    answer: Answer,
    encoder: Encoder,
    rows: u64,
}

impl Running {
    async fn next(&mut self) -> Option<Result<Event, RequestError>> {
        let event = match &mut self.state {
            State::Over => return None,
            State::Planning(planning) => tokio::select! {
                answer = planning => answer.map_err(Into::into).and_then(|answer| self.begin(answer)),
                _ = self.ticks.tick() => Ok(Event::Progress(self.meter.progress())),
            },
            State::Reading(reading) => tokio::select! {
                batch = reading.answer.batches.next() => match batch {
                    Some(batch) => batch.map_err(Into::into).and_then(|batch| {
                        reading.rows += u64::try_from(batch.num_rows()).unwrap_or_default();
                        let rows = reading.encoder.encode(&batch).map_err(unwritable)?;
                        Ok(Event::Rows(rows.into()))
                    }),
                    None => self.end(),
                },
                _ = self.ticks.tick() => Ok(Event::Progress(self.meter.progress())),
            },
            State::Ending(_) => match std::mem::replace(&mut self.state, State::Over) {
                State::Ending(end) => Ok(Event::End(end)),
                _ => return None,
            },
        };
        if event.is_err() {
            self.state = State::Over;
        }
        Some(event)
    }

    fn begin(&mut self, answer: Answer) -> Result<Event, RequestError> {
        let encoder = Encoder::new(self.format, &answer.schema).map_err(unwritable)?;
        let columns = answer.schema.fields().iter().map(|field| Column {
            name: field.name().clone(),
            data_type: field.data_type().to_string(),
        });
        let columns = columns.collect();
        self.state = State::Reading(Box::new(Reading { answer, encoder, rows: 0 }));
        Ok(Event::Columns(columns))
    }

    /// The last bytes of the rows.
    fn end(&mut self) -> Result<Event, RequestError> {
        let State::Reading(reading) = std::mem::replace(&mut self.state, State::Over) else {
            return Err(unwritable("the answer has ended already"));
        };
        let Reading { answer: Answer { schema, report, .. }, encoder, rows } = *reading;
        let last = encoder.finish(&schema).map_err(unwritable)?;
        self.state = State::Ending(End::new(rows, &report));
        Ok(Event::Rows(last.into()))
    }
}

impl End {
    fn new(rows: u64, report: &Report) -> Self {
        Self { rows, coverage: report.coverage(), bytes_gathered: report.bytes_gathered() }
    }
}

fn unwritable(error: impl ToString) -> RequestError {
    let reason = format!("the answer cannot be written in this format: {}", error.to_string());
    RequestError::InvalidQuery { reason }
}
