//! A node inside this process: what the node does without any front end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use breccia_node::{FsyncPolicy, Node, NodeConfig};
use breccia_types::kv::Scan;
use breccia_types::{RequestError, Table, TableOptions};
use futures::future::join_all;
use tempfile::TempDir;

use super::BENCH_TABLE;
use super::target::{Done, Outcome};
use super::workload::{Operation, OperationKind};

/// The node that is measured, and its data directory if that is thrown away afterwards.
pub(crate) struct InProcess {
    node: Node,
    _scratch: Option<TempDir>,
}

/// One user of the node.
pub(crate) struct InProcessConnection {
    node: Node,
    table: Arc<Table>,
}

impl InProcess {
    /// Opens a node with its data in `data`, or in a directory that is removed at the end.
    ///
    /// # Errors
    /// If the node cannot be opened.
    pub(crate) async fn open(data: Option<PathBuf>, fsync: FsyncPolicy) -> Result<Self> {
        let scratch = match data {
            Some(_) => None,
            None => Some(TempDir::new().context("cannot make a directory for the data")?),
        };
        let path = data.or_else(|| scratch.as_ref().map(|dir| dir.path().to_owned()));
        let path = path.context("no data directory")?;
        let mut config = NodeConfig::new(path);
        config.fsync = fsync;
        let node = Node::open(config).await?;
        Ok(Self { node, _scratch: scratch })
    }

    /// Another user of the node.
    ///
    /// # Errors
    /// If the table cannot be created.
    pub(crate) async fn connect(&self) -> Result<InProcessConnection> {
        let node = self.node.clone();
        let table = match node.table(BENCH_TABLE).await {
            Ok(table) => table,
            Err(_) => node.create_table(BENCH_TABLE, TableOptions::default()).await?,
        };
        Ok(InProcessConnection { node, table })
    }

    /// Closes the node.
    pub(crate) async fn close(self) {
        self.node.shutdown().await;
    }
}

impl InProcessConnection {
    /// Carries out the operations of a batch at the same time.
    pub(crate) async fn execute(&mut self, batch: &[Operation], done: &mut Vec<Done>) {
        if let [operation] = batch {
            done.push(self.one(operation).await);
            return;
        }
        done.extend(join_all(batch.iter().map(|operation| self.one(operation))).await);
    }

    async fn one(&self, operation: &Operation) -> Done {
        let outcome = self.carry_out(operation).await;
        let outcome = outcome.unwrap_or_else(|error| Outcome::Failed(error.to_string()));
        Done { at: Instant::now(), outcome }
    }

    async fn carry_out(&self, operation: &Operation) -> Result<Outcome, RequestError> {
        match operation.kind {
            OperationKind::Read => self.read(operation).await,
            OperationKind::Update | OperationKind::Insert => self.write(operation).await,
            OperationKind::Scan => {
                let scan = Scan {
                    from: Some(operation.key.clone()),
                    limit: operation.rows,
                    ..Scan::default()
                };
                self.node.scan(&self.table, scan).await.map(|_| Outcome::Done)
            }
            OperationKind::ReadModifyWrite => {
                Ok(self.read(operation).await?.and(self.write(operation).await?))
            }
        }
    }

    async fn read(&self, operation: &Operation) -> Result<Outcome, RequestError> {
        let row = self.node.get(&self.table, &operation.key).await?;
        Ok(if row.is_some() { Outcome::Done } else { Outcome::Missing })
    }

    async fn write(&self, operation: &Operation) -> Result<Outcome, RequestError> {
        let write = self.table.put(operation.key.clone(), operation.value.clone());
        self.node.write(&self.table, write, None).await.map(|_| Outcome::Done)
    }
}
