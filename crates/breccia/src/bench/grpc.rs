//! A connection to a node over gRPC.

use std::time::Instant;

use anyhow::Result;
use breccia_api::v1::key_value_client::KeyValueClient;
use breccia_api::v1::{
    CreateTableRequest, GetRequest, PutRequest, ScanRequest, TableOptions, put_request,
};
use futures::future::join_all;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::BENCH_TABLE;
use super::target::{Done, Outcome};
use super::workload::{Operation, OperationKind};
use crate::client::Client;

/// A connection.
pub(crate) struct GrpcConnection {
    key_value: KeyValueClient<Channel>,
}

impl GrpcConnection {
    /// Connects to `HOST:PORT`, and creates the table if it is absent.
    ///
    /// # Errors
    /// If no node answers there, or it refuses the table.
    pub(crate) async fn connect(address: &str) -> Result<Self> {
        let client = Client::connect(address).await?;
        let options = Some(TableOptions::default());
        let request = CreateTableRequest { name: BENCH_TABLE.to_owned(), options };
        match client.tables().create(request).await {
            Ok(_) => {}
            Err(status) if status.code() == Code::AlreadyExists => {}
            Err(status) => return Err(client.failed(&status).into()),
        }
        Ok(Self { key_value: client.key_value() })
    }

    /// Carries out the operations of a batch at the same time.
    pub(crate) async fn execute(&mut self, batch: &[Operation], done: &mut Vec<Done>) {
        let calls = batch.iter().map(|operation| {
            let key_value = self.key_value.clone();
            async move {
                let outcome = carry_out(key_value, operation).await;
                let outcome =
                    outcome.unwrap_or_else(|status| Outcome::Failed(status.message().to_owned()));
                Done { at: Instant::now(), outcome }
            }
        });
        done.extend(join_all(calls).await);
    }
}

async fn carry_out(
    mut key_value: KeyValueClient<Channel>,
    operation: &Operation,
) -> Result<Outcome, Status> {
    match operation.kind {
        OperationKind::Read => read(&mut key_value, operation).await,
        OperationKind::Update | OperationKind::Insert => write(&mut key_value, operation).await,
        OperationKind::Scan => scan(&mut key_value, operation).await,
        OperationKind::ReadModifyWrite => {
            let first = read(&mut key_value, operation).await?;
            Ok(first.and(write(&mut key_value, operation).await?))
        }
    }
}

async fn read(
    key_value: &mut KeyValueClient<Channel>,
    operation: &Operation,
) -> Result<Outcome, Status> {
    let request = GetRequest {
        table: BENCH_TABLE.to_owned(),
        key: operation.key.clone(),
        as_of_micros: None,
    };
    let row = key_value.get(request).await?.into_inner().row;
    Ok(if row.is_some() { Outcome::Done } else { Outcome::Missing })
}

async fn write(
    key_value: &mut KeyValueClient<Channel>,
    operation: &Operation,
) -> Result<Outcome, Status> {
    let request = PutRequest {
        table: BENCH_TABLE.to_owned(),
        key: operation.key.clone(),
        content: Some(put_request::Content::Value(operation.value.clone())),
        ..PutRequest::default()
    };
    key_value.put(request).await.map(|_| Outcome::Done)
}

async fn scan(
    key_value: &mut KeyValueClient<Channel>,
    operation: &Operation,
) -> Result<Outcome, Status> {
    let request = ScanRequest {
        table: BENCH_TABLE.to_owned(),
        from: Some(operation.key.clone()),
        limit: u64::try_from(operation.rows).unwrap_or(u64::MAX),
        ..ScanRequest::default()
    };
    let mut pages = key_value.scan(request).await?.into_inner();
    while pages.message().await?.is_some() {}
    Ok(Outcome::Done)
}
