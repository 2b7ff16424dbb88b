//! The service `Tables`.

use breccia_api::v1;
use breccia_api::v1::tables_server::Tables;
use breccia_node::Node;
use breccia_types::RequestError;
use tonic::{Request, Response, Status};

use super::{answer, wire};

/// Creates, describes and drops the tables of a node.
pub(super) struct TablesService {
    node: Node,
}

#[tonic::async_trait]
impl Tables for TablesService {
    async fn create(
        &self,
        request: Request<v1::CreateTableRequest>,
    ) -> Result<Response<v1::Table>, Status> {
        answer(self.on_create(request.into_inner()).await)
    }

    async fn list(
        &self,
        _: Request<v1::ListTablesRequest>,
    ) -> Result<Response<v1::ListTablesResponse>, Status> {
        answer(self.node.tables().await.map(|tables| v1::ListTablesResponse {
            tables: tables.iter().map(|table| wire::table(table)).collect(),
        }))
    }

    async fn describe(
        &self,
        request: Request<v1::DescribeTableRequest>,
    ) -> Result<Response<v1::Table>, Status> {
        answer(
            self.node.table_now(&request.into_inner().name).await.map(|table| wire::table(&table)),
        )
    }

    async fn drop(
        &self,
        request: Request<v1::DropTableRequest>,
    ) -> Result<Response<v1::DropTableResponse>, Status> {
        let name = request.into_inner().name;
        answer(self.node.drop_table(&name).await.map(|()| v1::DropTableResponse {}))
    }

    async fn set_columns(
        &self,
        request: Request<v1::SetColumnsRequest>,
    ) -> Result<Response<v1::Table>, Status> {
        answer(self.on_set_columns(request.into_inner()).await)
    }
}

impl TablesService {
    pub(super) const fn new(node: Node) -> Self {
        Self { node }
    }

    async fn on_create(&self, request: v1::CreateTableRequest) -> Result<v1::Table, RequestError> {
        let options = wire::table_options(request.options.unwrap_or_default())?;
        let table = self.node.create_table(&request.name, options).await?;
        Ok(wire::table(&table))
    }

    async fn on_set_columns(
        &self,
        request: v1::SetColumnsRequest,
    ) -> Result<v1::Table, RequestError> {
        let columns = request.columns.into_iter().map(wire::column_of).collect::<Result<_, _>>()?;
        let described =
            self.node.describe_columns(&request.name, columns, request.key_template).await?;
        Ok(wire::table(&described))
    }
}
