//! gRPC.

use std::time::Duration;

use async_trait::async_trait;
use breccia_api::CODE_METADATA;
use breccia_api::v1::key_value_client::KeyValueClient;
use breccia_api::v1::{
    CompareAndSetRequest, DeleteRequest, GetRequest, MultiGetRequest, PutRequest, put_request,
};
use bytes::Bytes;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::code::outcome_of_code;
use super::{Driver, RequestId, TABLE, Targets, connect, no_such_node, not_in_protocol};
use crate::history::{Answer, Call, Outcome, Protocol, Value};

/// How much longer than the deadline a node's own answer that it has passed may take.
const MARGIN: Duration = Duration::from_millis(200);

/// A client of gRPC.
pub struct GrpcDriver {
    targets: Targets,
    /// The node it is connected to, and the connection.
    connected: Option<(usize, KeyValueClient<Channel>)>,
    /// Reads so far. Every other one asks for several rows.
    reads: u64,
}

impl GrpcDriver {
    /// A client of these nodes.
    #[must_use]
    pub fn new(targets: Targets) -> Self {
        Self { targets, connected: None, reads: 0 }
    }

    async fn client(&mut self, node: usize) -> Result<KeyValueClient<Channel>, Outcome> {
        if let Some((_, client)) = self.connected.as_ref().filter(|(to, _)| *to == node) {
            return Ok(client.clone());
        }
        let Some(address) = self.targets.nodes.get(node) else { return Err(no_such_node(node)) };
        let endpoint = Endpoint::from_shared(format!("http://{}", address.http))
            .map_err(|error| Outcome::Refused(format!("no address: {error}")))?
            .tcp_nodelay(true);
        let channel = connect(self.targets.deadline, endpoint.connect()).await?;
        let client = KeyValueClient::new(channel);
        self.connected = Some((node, client.clone()));
        Ok(client)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.targets.deadline);
        request
    }

    async fn send(
        &mut self,
        mut client: KeyValueClient<Channel>,
        key: Bytes,
        call: &Call,
        id: Option<RequestId>,
    ) -> Result<Option<Answer>, Status> {
        let table = TABLE.to_owned();
        let request_id = id.map_or_else(Bytes::new, |id| Bytes::copy_from_slice(&id.0));
        let answer = match call {
            Call::Read => {
                self.reads += 1;
                let row = match self.reads.is_multiple_of(2) {
                    true => {
                        client
                            .get(self.request(GetRequest { table, key, ..Default::default() }))
                            .await?
                            .into_inner()
                            .row
                    }
                    false => {
                        let keys = vec![key];
                        let asked = self.request(MultiGetRequest { table, keys });
                        let rows = client.multi_get(asked).await?.into_inner();
                        rows.entries.into_iter().next().and_then(|entry| entry.row)
                    }
                };
                Answer::Found(row.map(|row| value(&row.value)))
            }
            Call::Write(value) => {
                let content = Some(put_request::Content::Value(bytes_of(value)));
                let put = PutRequest { request_id, table, key, content, ..Default::default() };
                client.put(self.request(put)).await?;
                Answer::Done
            }
            Call::CompareAndSet { expected, new } => {
                let swap = CompareAndSetRequest {
                    request_id,
                    table,
                    key,
                    expected: expected.as_ref().map(bytes_of),
                    new: new.as_ref().map(bytes_of),
                    expiry: None,
                };
                let reply = client.compare_and_set(self.request(swap)).await?.into_inner();
                let instead = (!reply.swapped).then(|| reply.actual.as_deref().map(value));
                Answer::Swapped { swapped: reply.swapped, instead }
            }
            Call::Delete => {
                let delete = DeleteRequest { request_id, table, key, version_micros: None };
                Answer::Existed(client.delete(self.request(delete)).await?.into_inner().existed)
            }
            Call::Exchange(_) | Call::Increment(_) | Call::Append(_) => return Ok(None),
        };
        Ok(Some(answer))
    }
}

#[async_trait]
impl Driver for GrpcDriver {
    fn protocol(&self) -> Protocol {
        Protocol::Grpc
    }

    fn has(&self, call: &Call) -> bool {
        !matches!(call, Call::Exchange(_) | Call::Increment(_) | Call::Append(_))
    }

    async fn ask(&mut self, node: usize, key: &str, call: &Call, id: Option<RequestId>) -> Outcome {
        let client = match self.client(node).await {
            Ok(client) => client,
            Err(outcome) => return outcome,
        };
        let key = Bytes::copy_from_slice(key.as_bytes());
        let limit = self.targets.deadline + MARGIN;
        let status = match timeout(limit, self.send(client, key, call, id)).await {
            Ok(Ok(Some(answer))) => return Outcome::Answered(answer),
            Ok(Ok(None)) => return not_in_protocol(call),
            Ok(Err(status)) => status,
            Err(_) => {
                self.connected = None;
                return Outcome::Unknown("no reply in time".to_owned());
            }
        };
        let code = status.metadata().get(CODE_METADATA).and_then(|code| code.to_str().ok());
        match code {
            Some(code) => outcome_of_code(code, status.message()),
            None => {
                // No node said so: the connection is broken, or the time was up.
                self.connected = None;
                Outcome::Unknown(format!("{:?}: {}", status.code(), status.message()))
            }
        }
    }
}

fn bytes_of(value: &Value) -> Bytes {
    Bytes::copy_from_slice(value.as_bytes())
}

fn value(bytes: &[u8]) -> Value {
    String::from_utf8_lossy(bytes).into()
}
