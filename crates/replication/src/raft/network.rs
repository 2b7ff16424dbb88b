//! How a replica speaks to the others of its shard: openraft's network over our transport.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use breccia_transport::{Call, Duplex, Lane, Method, Open, Transport, TransportError};
use breccia_types::wire::Writer;
use breccia_types::{NodeId, ReplicaId, ShardId};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, Stream, StreamExt};
use openraft::alias::SnapshotOf;
use openraft::errors::{
    NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{RPCTypes, RaftNetworkV2};

use super::append_stream;
use super::refusal::Refused;
use super::snapshot::ShardSnapshot;
use super::timing::Timing;
use super::transfer::{self, Traffic};
use super::types::{GroupConfig, Vote};
use super::vouchers::Vouchers;
use super::wire::{self, Envelope, NoAnswer};

pub(crate) type RpcError = RPCError<GroupConfig>;
type RpcResult<T> = Result<T, RpcError>;
type Append = AppendEntriesRequest<GroupConfig>;
type Appends<'s> = BoxStream<'s, RpcResult<StreamAppendResult<GroupConfig>>>;

/// The pauses between attempts to reach a node: this, doubling, up to the longest.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Makes the links of one replica.
pub(crate) struct Links {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) shard: ShardId,
    pub(crate) replica: ReplicaId,
    pub(crate) timing: Timing,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) vouchers: Arc<Vouchers>,
}

/// From one replica to another.
#[derive(Clone)]
pub(crate) struct Link {
    transport: Arc<dyn Transport>,
    envelope: Envelope,
    node: NodeId,
    timing: Timing,
    traffic: Arc<Traffic>,
    vouchers: Arc<Vouchers>,
    purpose: Purpose,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Requests are pipelined through a stream.
    Replication,
    /// One request now and then: a call.
    Heartbeat,
}

impl Links {
    fn link(&self, target: ReplicaId, node: NodeId, purpose: Purpose) -> Link {
        Link {
            transport: Arc::clone(&self.transport),
            envelope: Envelope { shard: self.shard, from: self.replica, to: target },
            node,
            timing: self.timing,
            traffic: Arc::clone(&self.traffic),
            vouchers: Arc::clone(&self.vouchers),
            purpose,
        }
    }
}

impl RaftNetworkFactory<GroupConfig> for Links {
    type Network = Link;

    async fn new_client(&mut self, target: ReplicaId, node: &NodeId) -> Link {
        self.link(target, *node, Purpose::Replication)
    }

    async fn new_heartbeat_client(&mut self, target: ReplicaId, node: &NodeId) -> Link {
        self.link(target, *node, Purpose::Heartbeat)
    }
}

impl Link {
    pub(crate) const fn timing(&self) -> &Timing {
        &self.timing
    }

    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Opens a stream to the other replica.
    pub(crate) async fn open(
        &self,
        method: Method,
        lane: Lane,
        timeout: Duration,
    ) -> Result<Duplex, TransportError> {
        let open = Open { method, header: self.envelope.enclose(|_| ()), lane };
        let opening = self.transport.open(self.node, open);
        let late = || Err(TransportError::TimedOut { node: self.node });
        tokio::time::timeout(timeout, opening).await.unwrap_or_else(|_| late())
    }

    async fn call(
        &self,
        method: Method,
        timeout: Duration,
        put: impl FnOnce(&mut Writer<'_>),
    ) -> RpcResult<Bytes> {
        let call = Call { method, body: self.envelope.enclose(put), timeout };
        let calling = self.transport.call(self.node, call);
        let late = || Err(TransportError::TimedOut { node: self.node });
        let reply = tokio::time::timeout(timeout, calling).await.unwrap_or_else(|_| late());
        reply.map_err(|error| self.failed(&error, timeout))
    }

    /// What openraft is told when the transport fails.
    pub(crate) fn failed(&self, error: &TransportError, timeout: Duration) -> RpcError {
        match error {
            TransportError::TimedOut { .. } => self.timed_out(timeout),
            TransportError::Lost { .. } => NetworkError::new(error).into(),
            TransportError::Refused { refusal, .. } => match Refused::from_refusal(refusal) {
                Ok(refused) => Unreachable::new(&refused).into(),
                Err(unreadable) => Unreachable::new(&unreadable).into(),
            },
            _ => Unreachable::new(error).into(),
        }
    }

    pub(crate) fn timed_out(&self, timeout: Duration) -> RpcError {
        let (id, target) = (self.envelope.from, self.envelope.to);
        Timeout { action: RPCTypes::AppendEntries, id, target, timeout }.into()
    }

    async fn append_once(&self, request: &Append) -> RpcResult<StreamAppendResult<GroupConfig>> {
        let timeout = self.timing.heartbeat;
        let put = |to: &mut Writer<'_>| self.put_append(to, request);
        let reply = self.call(wire::APPEND, timeout, put).await?;
        self.take_appended(reply).map_err(|error| unreadable(&error))
    }

    /// Writes a request, and what this replica vouches for at the moment.
    pub(crate) fn put_append(&self, to: &mut Writer<'_>, request: &Append) {
        let voucher = self.vouchers.write(self.envelope.to);
        wire::put_append(to, request, voucher.as_ref());
    }

    /// Reads a reply, and notes its stamp.
    pub(crate) fn take_appended(
        &self,
        reply: Bytes,
    ) -> Result<StreamAppendResult<GroupConfig>, NoAnswer> {
        let (stamp, result) = wire::take_appended(reply)?;
        self.vouchers.on_stamp(self.envelope.to, stamp);
        Ok(result)
    }
}

pub(crate) fn unreadable<E: std::error::Error + 'static>(error: &E) -> RpcError {
    Unreachable::new(error).into()
}

impl RaftNetworkV2<GroupConfig> for Link {
    type SnapshotData = ShardSnapshot;

    async fn append_entries(
        &mut self,
        request: Append,
        _option: RPCOption,
    ) -> RpcResult<AppendEntriesResponse<GroupConfig>> {
        let result = self.append_once(&request).await?;
        Ok(match result {
            Ok(matched) => AppendEntriesResponse::PartialSuccess(matched),
            Err(_) => result.into(),
        })
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, RpcResult<Appends<'s>>>
    where
        S: Stream<Item = Append> + Send + Unpin + 'static,
    {
        // Always a stream, never an error at once: openraft pauses between failures only where
        // a request is taken from the input.
        let replies: Appends<'s> = match self.purpose {
            Purpose::Replication => append_stream::pipelined(self.clone(), input).boxed(),
            Purpose::Heartbeat => {
                let link = &*self;
                input.then(move |request| async move { link.append_once(&request).await }).boxed()
            }
        };
        Box::pin(std::future::ready(Ok(replies)))
    }

    async fn vote(
        &mut self,
        request: VoteRequest<GroupConfig>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<GroupConfig>> {
        let put = |to: &mut Writer<'_>| wire::put_vote_request(to, &request);
        let reply = self.call(wire::VOTE, option.soft_ttl(), put).await?;
        wire::take_voted(reply).map_err(|error| unreadable(&error))
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<GroupConfig>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<GroupConfig>> {
        let put = |to: &mut Writer<'_>| wire::put_vote_request(to, &request);
        let reply = self.call(wire::PRE_VOTE, option.soft_ttl(), put).await?;
        wire::take_voted(reply).map_err(|error| unreadable(&error))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<GroupConfig, ShardSnapshot>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<GroupConfig>, StreamingError<GroupConfig>> {
        let ShardSnapshot::Exported(export) = snapshot.snapshot else {
            return Err(Unreachable::from_string("the snapshot has no files").into());
        };
        tokio::select! {
            sent = transfer::send(self, vote, &export) => sent.map_err(StreamingError::from),
            closed = cancel => Err(closed.into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<GroupConfig>,
        option: RPCOption,
    ) -> RpcResult<TransferLeaderResponse<GroupConfig>> {
        let put = |to: &mut Writer<'_>| wire::put_transfer(to, &request);
        let reply = self.call(wire::TRANSFER, option.soft_ttl(), put).await?;
        match wire::take_transferred(reply).map_err(|error| unreadable(&error))? {
            Ok(()) => Ok(Ok(())),
            Err(reason) => Err(Unreachable::from_string(reason).into()),
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        let next = |pause: &Duration| Some((*pause * 2).min(PAUSE_MAX));
        Some(Backoff::new(std::iter::successors(Some(PAUSE_MIN), next)))
    }
}
