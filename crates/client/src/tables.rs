//! What asks for tables, and changes which there are.

use breccia_api::v1;
use breccia_types::{TableId, TableOptions};

use crate::error::Error;
use crate::request::{Caller, Operation};
use crate::retry::Repetition;
use crate::table::Table;
use crate::wire;

/// A table as the cluster describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct TableDescription {
    /// Never reused.
    pub id: TableId,
    /// Unique among the tables that there are.
    pub name: String,
    /// What was chosen when it was created.
    pub options: TableOptions,
}

/// Opens a table.
#[derive(Debug, Clone)]
pub struct OpenTable {
    pub(crate) message: v1::DescribeTableRequest,
}

impl Operation for OpenTable {
    type Answer = Table;

    async fn run(self, caller: Caller) -> Result<Table, Error> {
        let table = caller.tables(Repetition::Harmless, self.message, |node, request| async move {
            node.tables().describe(request).await
        });
        let table = table.await?;
        Ok(Table::new(caller.cluster, wire::table(table)?))
    }
}

/// Lists all tables, by name.
#[derive(Debug, Clone)]
pub struct ListTables;

impl Operation for ListTables {
    type Answer = Vec<TableDescription>;

    async fn run(self, caller: Caller) -> Result<Vec<TableDescription>, Error> {
        let message = v1::ListTablesRequest {};
        let response = caller.tables(Repetition::Harmless, message, |node, request| async move {
            node.tables().list(request).await
        });
        response.await?.tables.into_iter().map(wire::table).collect()
    }
}

/// Creates a table and opens it.
#[derive(Debug, Clone)]
pub struct CreateTable {
    pub(crate) message: v1::CreateTableRequest,
}

impl Operation for CreateTable {
    type Answer = Table;

    async fn run(self, caller: Caller) -> Result<Table, Error> {
        let table = caller.tables(Repetition::Harmful, self.message, |node, request| async move {
            node.tables().create(request).await
        });
        let table = table.await?;
        Ok(Table::new(caller.cluster, wire::table(table)?))
    }
}

/// Drops a table with all its rows.
#[derive(Debug, Clone)]
pub struct DropTable {
    pub(crate) message: v1::DropTableRequest,
}

impl Operation for DropTable {
    type Answer = ();

    async fn run(self, caller: Caller) -> Result<(), Error> {
        let dropped =
            caller.tables(Repetition::Harmful, self.message, |node, request| async move {
                node.tables().drop(request).await
            });
        dropped.await.map(|_| ())
    }
}

/// Notes which columns the JSON values of a table have, and how its keys are made.
#[derive(Debug, Clone)]
pub struct SetColumns {
    pub(crate) message: v1::SetColumnsRequest,
}

impl Operation for SetColumns {
    type Answer = TableDescription;

    async fn run(self, caller: Caller) -> Result<TableDescription, Error> {
        let repetition = Repetition::Recognised { request_id: None };
        let table = caller.tables(repetition, self.message, |node, request| async move {
            node.tables().set_columns(request).await
        });
        wire::table(table.await?)
    }
}
