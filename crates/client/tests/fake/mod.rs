//! A node that answers as its script says, and notes what it was asked.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use breccia_api::v1::admin_server::{Admin, AdminServer};
use breccia_api::v1::key_value_server::{KeyValue, KeyValueServer};
use breccia_api::v1::tables_server::{Tables, TablesServer};
use breccia_api::{ACTOR_METADATA, CODE_METADATA, CONSISTENCY_METADATA, v1};
use bytes::Bytes;
use futures::Stream;
use futures::stream;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

/// What the node was asked, try by try.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) request_ids: Vec<Bytes>,
    pub(crate) timeouts: Vec<Duration>,
    pub(crate) consistencies: Vec<Option<String>>,
    pub(crate) scans: Vec<v1::ScanRequest>,
}

#[derive(Default)]
struct State {
    /// Who is said to lead every slot; the node itself if nobody.
    leader: Option<String>,
    address: String,
    /// How the next tries fail. The last one is repeated for ever if `fails_for_ever`.
    failures: VecDeque<Status>,
    fails_for_ever: bool,
    /// What each scan streams.
    scans: VecDeque<Vec<Result<v1::ScanPage, Status>>>,
    seen: Seen,
}

/// A node of a cluster of its own.
#[derive(Clone, Default)]
pub(crate) struct Fake(Arc<Mutex<State>>);

impl Fake {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let fake = Self::default();
        fake.state(|state| state.address = listener.local_addr().expect("bound").to_string());
        let server = tonic::transport::Server::builder()
            .add_service(AdminServer::new(fake.clone()))
            .add_service(TablesServer::new(fake.clone()))
            .add_service(KeyValueServer::new(fake.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        fake
    }

    pub(crate) fn address(&self) -> String {
        self.state(|state| state.address.clone())
    }

    /// Says that another node leads every slot.
    pub(crate) fn is_led_by(&self, address: &str) {
        self.state(|state| state.leader = Some(address.to_owned()));
    }

    pub(crate) fn fail(&self, with: impl IntoIterator<Item = Status>) {
        self.state(|state| state.failures.extend(with));
    }

    pub(crate) fn fail_for_ever(&self, with: Status) {
        self.fail([with]);
        self.state(|state| state.fails_for_ever = true);
    }

    pub(crate) fn stream(&self, pages: Vec<Result<v1::ScanPage, Status>>) {
        self.state(|state| state.scans.push_back(pages));
    }

    pub(crate) fn seen(&self) -> Seen {
        self.state(|state| state.seen.clone())
    }

    fn state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().expect("no panic"))
    }

    fn on_try<M>(&self, request: &Request<M>, request_id: Option<&Bytes>) -> Result<(), Status> {
        let text = |name| request.metadata().get(name).and_then(|it| it.to_str().ok());
        let timeout = text("grpc-timeout").map(timeout_of);
        let consistency = text(CONSISTENCY_METADATA).map(str::to_owned);
        self.state(|state| {
            state.seen.request_ids.extend(request_id.cloned());
            state.seen.timeouts.extend(timeout);
            state.seen.consistencies.push(consistency);
            match state.failures.pop_front() {
                Some(failure) => {
                    if state.fails_for_ever {
                        state.failures.push_back(copy_of(&failure));
                    }
                    Err(failure)
                }
                None => Ok(()),
            }
        })
    }
}

/// A failure as nodes say it.
pub(crate) fn refused(code: &str, actor: &str) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(CODE_METADATA, code.parse().expect("ascii"));
    metadata.insert(ACTOR_METADATA, actor.parse().expect("ascii"));
    Status::with_metadata(tonic::Code::Unavailable, "no", metadata)
}

fn copy_of(status: &Status) -> Status {
    Status::with_metadata(status.code(), status.message(), status.metadata().clone())
}

fn timeout_of(text: &str) -> Duration {
    let (count, unit) = text.split_at(text.len() - 1);
    let count = count.parse().expect("digits");
    match unit {
        "n" => Duration::from_nanos(count),
        "u" => Duration::from_micros(count),
        "m" => Duration::from_millis(count),
        "S" => Duration::from_secs(count),
        _ => panic!("{text}"),
    }
}

type Answer<T> = Result<Response<T>, Status>;

fn unused<T>() -> Answer<T> {
    Err(Status::unimplemented("no test needs it"))
}

#[tonic::async_trait]
impl Admin for Fake {
    async fn status(&self, _: Request<v1::StatusRequest>) -> Answer<v1::NodeStatus> {
        unused()
    }

    async fn nodes(&self, _: Request<v1::NodesRequest>) -> Answer<v1::NodesResponse> {
        let (own, leader) = self.state(|state| (state.address.clone(), state.leader.clone()));
        let node = |id: &str, address| v1::NodeSummary {
            id: id.to_owned(),
            address,
            ..Default::default()
        };
        let others = leader.map(|address| node("leader", address));
        let nodes = others.into_iter().chain([node("own", own)]).collect();
        Ok(Response::new(v1::NodesResponse { nodes, ..Default::default() }))
    }

    async fn shards(&self, _: Request<v1::ShardsRequest>) -> Answer<v1::ShardsResponse> {
        let leader = self.state(|state| if state.leader.is_some() { "leader" } else { "own" });
        let shard =
            v1::Shard { slot_last: 16_383, leader: leader.to_owned(), ..Default::default() };
        Ok(Response::new(v1::ShardsResponse { shards: vec![shard], epoch: 1 }))
    }

    async fn doctor(&self, _: Request<v1::DoctorRequest>) -> Answer<v1::DoctorResponse> {
        unused()
    }
}

#[tonic::async_trait]
impl Tables for Fake {
    async fn create(&self, request: Request<v1::CreateTableRequest>) -> Answer<v1::Table> {
        self.on_try(&request, None)?;
        unused()
    }

    async fn list(&self, _: Request<v1::ListTablesRequest>) -> Answer<v1::ListTablesResponse> {
        unused()
    }

    async fn describe(&self, request: Request<v1::DescribeTableRequest>) -> Answer<v1::Table> {
        let options = v1::TableOptions {
            kind: "plain".to_owned(),
            partition: "key".to_owned(),
            ..Default::default()
        };
        let name = request.into_inner().name;
        Ok(Response::new(v1::Table { id: 16, name, options: Some(options) }))
    }

    async fn drop(&self, _: Request<v1::DropTableRequest>) -> Answer<v1::DropTableResponse> {
        unused()
    }

    async fn set_columns(&self, _: Request<v1::SetColumnsRequest>) -> Answer<v1::Table> {
        unused()
    }
}

#[tonic::async_trait]
impl KeyValue for Fake {
    type ScanStream = Pin<Box<dyn Stream<Item = Result<v1::ScanPage, Status>> + Send>>;
    type ReduceStream = Pin<Box<dyn Stream<Item = Result<v1::ReduceResponse, Status>> + Send>>;

    async fn get(&self, request: Request<v1::GetRequest>) -> Answer<v1::GetResponse> {
        self.on_try(&request, None)?;
        Ok(Response::new(v1::GetResponse::default()))
    }

    async fn put(&self, request: Request<v1::PutRequest>) -> Answer<v1::PutResponse> {
        self.on_try(&request, Some(&request.get_ref().request_id))?;
        Ok(Response::new(v1::PutResponse::default()))
    }

    async fn scan(&self, request: Request<v1::ScanRequest>) -> Answer<Self::ScanStream> {
        self.on_try(&request, None)?;
        let pages = self.state(|state| {
            state.seen.scans.push(request.into_inner());
            state.scans.pop_front().unwrap_or_default()
        });
        Ok(Response::new(Box::pin(stream::iter(pages))))
    }

    async fn multi_get(&self, _: Request<v1::MultiGetRequest>) -> Answer<v1::MultiGetResponse> {
        unused()
    }

    async fn delete(&self, _: Request<v1::DeleteRequest>) -> Answer<v1::DeleteResponse> {
        unused()
    }

    async fn compare_and_set(
        &self,
        _: Request<v1::CompareAndSetRequest>,
    ) -> Answer<v1::CompareAndSetResponse> {
        unused()
    }

    async fn merge(&self, _: Request<v1::MergeRequest>) -> Answer<v1::MergeResponse> {
        unused()
    }

    async fn batch(&self, _: Request<v1::BatchRequest>) -> Answer<v1::BatchResponse> {
        unused()
    }

    async fn history(&self, _: Request<v1::HistoryRequest>) -> Answer<v1::HistoryResponse> {
        unused()
    }

    async fn delete_range(
        &self,
        _: Request<v1::DeleteRangeRequest>,
    ) -> Answer<v1::DeleteRangeResponse> {
        unused()
    }

    async fn count(&self, _: Request<v1::CountRequest>) -> Answer<v1::CountResponse> {
        unused()
    }

    async fn reduce(&self, _: Request<v1::ReduceRequest>) -> Answer<Self::ReduceStream> {
        unused()
    }
}
