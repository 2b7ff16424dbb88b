//! A connection to etcd, for comparison: puts and linearizable gets of its v3 API.
//!
//! Only what is measured is spelled out here: two methods and the fields that they need.

use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use futures::future::join_all;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use super::target::{Done, Outcome};
use super::workload::{Operation, OperationKind};

#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {}

/// One key, read from the leader after a barrier: etcd's default.
#[derive(Clone, PartialEq, prost::Message)]
struct RangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RangeResponse {
    /// How many keys were found.
    #[prost(int64, tag = "4")]
    count: i64,
}

/// A connection.
pub(crate) struct EtcdConnection(Channel);

impl EtcdConnection {
    /// Connects to `HOST:PORT`.
    ///
    /// # Errors
    /// If nobody answers there.
    pub(crate) async fn connect(address: &str) -> Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
        Ok(Self(endpoint.connect().await?))
    }

    /// Carries out the operations of a batch at the same time.
    pub(crate) async fn execute(&mut self, batch: &[Operation], done: &mut Vec<Done>) {
        let calls = batch.iter().map(|operation| {
            let channel = self.0.clone();
            async move {
                let outcome = carry_out(channel, operation).await;
                let outcome =
                    outcome.unwrap_or_else(|status| Outcome::Failed(status.message().to_owned()));
                Done { at: Instant::now(), outcome }
            }
        });
        done.extend(join_all(calls).await);
    }
}

async fn carry_out(channel: Channel, operation: &Operation) -> Result<Outcome, Status> {
    match operation.kind {
        OperationKind::Read => read(channel, operation).await,
        OperationKind::Update | OperationKind::Insert => write(channel, operation).await,
        OperationKind::Scan => Err(Status::unimplemented("scans are not compared with etcd")),
        OperationKind::ReadModifyWrite => {
            let first = read(channel.clone(), operation).await?;
            Ok(first.and(write(channel, operation).await?))
        }
    }
}

async fn read(channel: Channel, operation: &Operation) -> Result<Outcome, Status> {
    let request = RangeRequest { key: operation.key.clone() };
    let reply: RangeResponse = call(channel, "/etcdserverpb.KV/Range", request).await?;
    Ok(if reply.count > 0 { Outcome::Done } else { Outcome::Missing })
}

async fn write(channel: Channel, operation: &Operation) -> Result<Outcome, Status> {
    let request = PutRequest { key: operation.key.clone(), value: operation.value.clone() };
    let _: PutResponse = call(channel, "/etcdserverpb.KV/Put", request).await?;
    Ok(Outcome::Done)
}

async fn call<Asked, Told>(
    channel: Channel,
    method: &'static str,
    asked: Asked,
) -> Result<Told, Status>
where
    Asked: prost::Message + Default + 'static,
    Told: prost::Message + Default + 'static,
{
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let codec = ProstCodec::<Asked, Told>::default();
    let path = PathAndQuery::from_static(method);
    Ok(client.unary(Request::new(asked), path, codec).await?.into_inner())
}
