//! The service `Sql`.

use std::pin::Pin;

use breccia_api::v1;
use breccia_api::v1::sql_server::Sql;
use breccia_sql::Asked;
use breccia_sql::format::Format;
use breccia_types::reduce::{Gaps, Misfits, Progress};
use futures::stream::{Stream, TryStreamExt};
use tonic::{Request, Response, Status};

use super::{busy, status_of, wire};
use crate::http::app::App;
use crate::http::deadline::Deadline;
use crate::http::sql::{Column, End, Event, Query, run};
use crate::http::{consistency, reduction};

/// Answers queries over the tables of a cluster.
pub(super) struct SqlService {
    app: App,
}

type QueryStream = Pin<Box<dyn Stream<Item = Result<v1::QueryResponse, Status>> + Send>>;

impl SqlService {
    pub(super) const fn new(app: App) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl Sql for SqlService {
    type QueryStream = QueryStream;

    async fn query(
        &self,
        request: Request<v1::QueryRequest>,
    ) -> Result<Response<QueryStream>, Status> {
        let permit = self.app.admission.open_scan().map_err(busy)?;
        let consistency = request.metadata().get(consistency::HEADER).map(|value| value.as_bytes());
        let app = self.app.reading(consistency).map_err(|error| status_of(&error))?;
        let within = reduction::within(Deadline::of(request.extensions()));
        let shards = app.node.placement().shards().count();
        let request = request.into_inner();
        let query = Query {
            format: match request.format() {
                v1::QueryFormat::Unspecified | v1::QueryFormat::Ndjson => Format::Ndjson,
                v1::QueryFormat::Csv => Format::Csv,
                v1::QueryFormat::Arrow => Format::Arrow,
            },
            asked: Asked {
                misfits: if request.strict { Misfits::Refuse } else { Misfits::Count },
                gaps: if request.allow_partial { Gaps::Allow } else { Gaps::Refuse },
                within,
            },
            sql: request.sql,
        };
        let events = run(&app.sql, app.node, query, permit);
        let messages =
            events.map_ok(move |event| response(event, shards)).map_err(|error| status_of(&error));
        Ok(Response::new(Box::pin(messages)))
    }
}

fn response(event: Event, shards: usize) -> v1::QueryResponse {
    use v1::query_response::Event as Wire;
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let event = match event {
        Event::Columns(columns) => {
            let columns = columns
                .into_iter()
                .map(|Column { name, data_type }| v1::QueryColumn { name, r#type: data_type });
            Wire::Columns(v1::QueryColumns { columns: columns.collect() })
        }
        Event::Rows(rows) => Wire::Rows(rows),
        Event::Progress(Progress { shards: shards_done, rows, bytes }) => {
            let shards = count(shards);
            Wire::Progress(v1::ReduceProgress { shards_done, shards, rows, bytes })
        }
        Event::End(End { rows, coverage, bytes_gathered }) => Wire::End(v1::QueryEnd {
            rows,
            shards_asked: count(coverage.shards_asked),
            shards_answered: count(coverage.shards_answered()),
            rows_read: coverage.read.rows,
            bytes_read: coverage.read.bytes,
            skipped: coverage.read.skipped,
            bytes_gathered: count(bytes_gathered),
            missing: wire::missing_shards(coverage.missing),
        }),
    };
    v1::QueryResponse { event: Some(event) }
}
