//! The service `KeyValue`.

use std::pin::Pin;

use breccia_api::v1;
use breccia_api::v1::key_value_server::KeyValue;
use breccia_node::Named;
use breccia_types::kv::KvWrite;
use breccia_types::limits::MULTI_GET_KEYS_MAX;
use breccia_types::{RequestError, Timestamp};
use futures::stream::{self, Stream, StreamExt, TryStreamExt, try_unfold};
use tonic::{Request, Response, Status};

use super::{answer, busy, status_of, wire};
use crate::http::admission::ScanPermit;
use crate::http::app::App;
use crate::http::command::{self, RowCommand};
use crate::http::consistency;
use crate::http::deadline::Deadline;
use crate::http::multi_get::multi_get;
use crate::http::reduction::{self, Asked};
use crate::http::scanner::{ScanBounds, Scanner};
use crate::http::versions::version_page;

/// Reads and writes the rows of a node.
pub(super) struct KeyValueService {
    app: App,
}

type ScanStream = Pin<Box<dyn Stream<Item = Result<v1::ScanPage, Status>> + Send>>;

type ReduceStream = Pin<Box<dyn Stream<Item = Result<v1::ReduceResponse, Status>> + Send>>;

#[tonic::async_trait]
impl KeyValue for KeyValueService {
    type ScanStream = ScanStream;
    type ReduceStream = ReduceStream;

    async fn get(
        &self,
        request: Request<v1::GetRequest>,
    ) -> Result<Response<v1::GetResponse>, Status> {
        let reading = self.reading(&request)?;
        let request = request.into_inner();
        let node = &reading.app.node;
        answer(node.on_table(&request.table, |on| reading.on_get(request.clone(), on)).await)
    }

    async fn multi_get(
        &self,
        request: Request<v1::MultiGetRequest>,
    ) -> Result<Response<v1::MultiGetResponse>, Status> {
        let reading = self.reading(&request)?;
        let request = request.into_inner();
        let node = &reading.app.node;
        answer(node.on_table(&request.table, |on| reading.on_multi_get(&request, on)).await)
    }

    async fn put(
        &self,
        request: Request<v1::PutRequest>,
    ) -> Result<Response<v1::PutResponse>, Status> {
        let request = request.into_inner();
        let node = &self.app.node;
        answer(node.on_table(&request.table, |on| self.on_put(request.clone(), on)).await)
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteRequest>,
    ) -> Result<Response<v1::DeleteResponse>, Status> {
        let request = request.into_inner();
        let node = &self.app.node;
        answer(node.on_table(&request.table, |on| self.on_delete(request.clone(), on)).await)
    }

    async fn compare_and_set(
        &self,
        request: Request<v1::CompareAndSetRequest>,
    ) -> Result<Response<v1::CompareAndSetResponse>, Status> {
        let request = request.into_inner();
        let node = &self.app.node;
        answer(
            node.on_table(&request.table, |on| self.on_compare_and_set(request.clone(), on)).await,
        )
    }

    async fn merge(
        &self,
        request: Request<v1::MergeRequest>,
    ) -> Result<Response<v1::MergeResponse>, Status> {
        let request = request.into_inner();
        let node = &self.app.node;
        answer(node.on_table(&request.table, |on| self.on_merge(request.clone(), on)).await)
    }

    async fn batch(
        &self,
        request: Request<v1::BatchRequest>,
    ) -> Result<Response<v1::BatchResponse>, Status> {
        let request = request.into_inner();
        let node = &self.app.node;
        answer(node.on_table(&request.table, |on| self.on_batch(&request, on)).await)
    }

    async fn scan(
        &self,
        request: Request<v1::ScanRequest>,
    ) -> Result<Response<ScanStream>, Status> {
        let message = request.get_ref();
        let bounds = ScanBounds {
            rows_max: (message.limit > 0).then_some(message.limit),
            deadline: Deadline::of(request.extensions()),
            permit: self.app.admission.open_scan().map_err(busy)?,
        };
        let reading = self.reading(&request)?;
        answer(reading.on_scan(request.into_inner(), bounds).await)
    }

    async fn reduce(
        &self,
        request: Request<v1::ReduceRequest>,
    ) -> Result<Response<ReduceStream>, Status> {
        let permit = self.app.admission.open_scan().map_err(busy)?;
        let within = reduction::within(Deadline::of(request.extensions()));
        let reading = self.reading(&request)?;
        let asked = wire::reduction(request.into_inner(), within);
        answer(asked.map(|asked| reading.on_reduce(asked, permit)))
    }

    async fn history(
        &self,
        request: Request<v1::HistoryRequest>,
    ) -> Result<Response<v1::HistoryResponse>, Status> {
        let reading = self.reading(&request)?;
        let request = request.into_inner();
        let node = &reading.app.node;
        answer(node.on_table(&request.table, |on| reading.on_history(request.clone(), on)).await)
    }

    async fn delete_range(
        &self,
        request: Request<v1::DeleteRangeRequest>,
    ) -> Result<Response<v1::DeleteRangeResponse>, Status> {
        let request = request.into_inner();
        let node = &self.app.node;
        answer(node.on_table(&request.table, |on| self.on_delete_range(request.clone(), on)).await)
    }

    async fn count(
        &self,
        request: Request<v1::CountRequest>,
    ) -> Result<Response<v1::CountResponse>, Status> {
        let reading = self.reading(&request)?;
        let request = request.into_inner();
        let node = &reading.app.node;
        answer(node.on_table(&request.table, |on| reading.on_count(on)).await)
    }
}

impl KeyValueService {
    pub(super) const fn new(app: App) -> Self {
        Self { app }
    }

    /// The same, whose reads see what this request's metadata asks for.
    fn reading<T>(&self, request: &Request<T>) -> Result<Self, Status> {
        let asked = request.metadata().get(consistency::HEADER);
        let app = self.app.reading(asked.map(|value| value.as_bytes()));
        app.map(Self::new).map_err(|error| status_of(&error))
    }

    async fn on_get(
        &self,
        request: v1::GetRequest,
        on: Named,
    ) -> Result<v1::GetResponse, RequestError> {
        let table = &on.table;
        let found = match request.as_of_micros.map(Timestamp::from_micros) {
            None => self.app.node.get(table, &request.key).await?,
            Some(as_of) => self.app.node.get_as_of(table, &request.key, as_of).await?,
        };
        let row = found.map(|row| wire::row(table, row)).transpose()?;
        Ok(v1::GetResponse { row })
    }

    async fn on_multi_get(
        &self,
        request: &v1::MultiGetRequest,
        on: Named,
    ) -> Result<v1::MultiGetResponse, RequestError> {
        if request.keys.len() > MULTI_GET_KEYS_MAX {
            return Err(RequestError::TooManyKeys { keys: request.keys.len() });
        }
        let table = &on.table;
        let found = multi_get(&self.app.node, table, &request.keys).await?;
        let mut entries = Vec::with_capacity(found.len());
        for row in found {
            let row = row.map(|row| wire::row(table, row)).transpose()?;
            entries.push(v1::GetResponse { row });
        }
        Ok(v1::MultiGetResponse { entries })
    }

    async fn on_put(
        &self,
        request: v1::PutRequest,
        on: Named,
    ) -> Result<v1::PutResponse, RequestError> {
        let request_id = on.request_id(wire::request_id(&request.request_id)?);
        let table = &on.table;
        let put = RowCommand::Put {
            key: request.key,
            content: wire::put_content(request.content)?,
            expiry: wire::expiry(request.expiry)?,
            version: request.version_micros.map(Timestamp::from_micros),
        };
        let reply = self.app.node.write(table, put.into_write(table)?, request_id).await?;
        Ok(wire::put_response(command::done(reply, table)?))
    }

    async fn on_delete(
        &self,
        request: v1::DeleteRequest,
        on: Named,
    ) -> Result<v1::DeleteResponse, RequestError> {
        let request_id = on.request_id(wire::request_id(&request.request_id)?);
        let table = &on.table;
        let version = request.version_micros.map(Timestamp::from_micros);
        let delete = RowCommand::Delete { key: request.key, version };
        let reply = self.app.node.write(table, delete.into_write(table)?, request_id).await?;
        Ok(v1::DeleteResponse { existed: command::deleted(reply, table)? })
    }

    async fn on_compare_and_set(
        &self,
        request: v1::CompareAndSetRequest,
        on: Named,
    ) -> Result<v1::CompareAndSetResponse, RequestError> {
        let request_id = on.request_id(wire::request_id(&request.request_id)?);
        let table = &on.table;
        let swap = RowCommand::CompareAndSet {
            key: request.key,
            expected: request.expected,
            new: request.new,
            expiry: wire::expiry(request.expiry)?,
        };
        let reply = self.app.node.write(table, swap.into_write(table)?, request_id).await?;
        Ok(wire::swap_response(command::swapped(reply, table)?))
    }

    async fn on_merge(
        &self,
        request: v1::MergeRequest,
        on: Named,
    ) -> Result<v1::MergeResponse, RequestError> {
        let request_id = on.request_id(wire::request_id(&request.request_id)?);
        let table = &on.table;
        let content = wire::merge_content(request.content)?;
        let merge = RowCommand::Merge { key: request.key, content };
        let reply = self.app.node.write(table, merge.into_write(table)?, request_id).await?;
        Ok(wire::merge_response(command::done(reply, table)?))
    }

    async fn on_batch(
        &self,
        request: &v1::BatchRequest,
        on: Named,
    ) -> Result<v1::BatchResponse, RequestError> {
        let request_id = on.request_id(wire::request_id(&request.request_id)?);
        let table = &on.table;
        let mut writes = Vec::with_capacity(request.commands.len());
        for command in &request.commands {
            writes.push(wire::command(command.clone())?.into_write(table)?);
        }
        let reply = self.app.node.write(table, KvWrite::Batch(writes), request_id).await?;
        let replies = command::batch(reply, table, request.commands.len())?;
        let pairs = request.commands.iter().zip(replies);
        let replies = pairs
            .map(|(command, reply)| wire::command_reply(command, reply, table))
            .collect::<Result<_, _>>()?;
        Ok(v1::BatchResponse { replies })
    }

    async fn on_scan(
        &self,
        request: v1::ScanRequest,
        bounds: ScanBounds,
    ) -> Result<ScanStream, RequestError> {
        let table = self.app.node.table(&request.table).await?;
        let scan = wire::scan(request)?;
        let scanner = Scanner::new(self.app.node.clone(), table, scan, bounds);
        let pages = try_unfold(scanner, |mut scanner| async move {
            let page = scanner.next_page().await?;
            let page = page.map(|page| wire::scan_pages(scanner.table(), page));
            Ok::<_, RequestError>(page.transpose()?.map(|pages| (pages, scanner)))
        });
        let messages = pages
            .map_ok(|pages| stream::iter(pages).map(Ok))
            .try_flatten()
            .map_err(|error| status_of(&error));
        Ok(Box::pin(messages))
    }

    fn on_reduce(&self, asked: Asked, permit: ScanPermit) -> ReduceStream {
        let shards = self.app.node.placement().shards().count();
        let events = reduction::run(self.app.clone(), asked, permit);
        let messages = events
            .map_ok(move |event| wire::reduce_response(event, shards))
            .map_err(|error| status_of(&error));
        Box::pin(messages)
    }

    async fn on_history(
        &self,
        request: v1::HistoryRequest,
        on: Named,
    ) -> Result<v1::HistoryResponse, RequestError> {
        let table = &on.table;
        let page = version_page(&self.app.node, table, wire::history(request)).await?;
        Ok(v1::HistoryResponse {
            versions: page.versions.into_iter().map(wire::version).collect(),
            next_to_micros: page.next_to.map(Timestamp::as_micros),
        })
    }

    async fn on_delete_range(
        &self,
        request: v1::DeleteRangeRequest,
        on: Named,
    ) -> Result<v1::DeleteRangeResponse, RequestError> {
        let request_id = on.request_id(wire::request_id(&request.request_id)?);
        let table = &on.table;
        let range = (request.from, request.to);
        command::delete_range(&self.app.node, table, range, request_id).await?;
        Ok(v1::DeleteRangeResponse {})
    }

    async fn on_count(&self, on: Named) -> Result<v1::CountResponse, RequestError> {
        let table = &on.table;
        Ok(v1::CountResponse { rows: self.app.node.count(table).await? })
    }
}
