//! What other nodes' replicas say to those of this node.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use breccia_transport::{Duplex, Handler, MessageReceiver, Method, Peer, Refusal};
use breccia_types::wire::Reader;
use breccia_types::{ReplicaId, ShardId};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, Stream, StreamExt};
use openraft::raft::AppendEntriesRequest;
use parking_lot::RwLock;

use super::freshness::Freshness;
use super::instance::Instance;
use super::refusal::Refused;
use super::transfer::{self, Traffic};
use super::types::GroupConfig;
use super::wire::{self, Envelope};

/// The replicas that run on this node, and what delivers messages to them.
pub(crate) struct Receiver {
    hosted: RwLock<BTreeMap<ShardId, Hosted>>,
    traffic: Arc<Traffic>,
    incoming: PathBuf,
    /// Numbers the folders of snapshots that arrive.
    count: AtomicU64,
}

#[derive(Clone)]
struct Hosted {
    replica: ReplicaId,
    instance: Arc<Instance>,
    /// At most one snapshot arrives for a replica at a time.
    arriving: Arc<tokio::sync::Semaphore>,
}

impl Receiver {
    pub(crate) fn new(traffic: Arc<Traffic>, incoming: PathBuf) -> Self {
        Self { hosted: RwLock::default(), traffic, incoming, count: AtomicU64::new(0) }
    }

    /// Delivers a shard's messages to this run of its replica from now on.
    pub(crate) fn host(&self, shard: ShardId, replica: ReplicaId, instance: Arc<Instance>) {
        let arriving = Arc::new(tokio::sync::Semaphore::new(1));
        self.hosted.write().insert(shard, Hosted { replica, instance, arriving });
    }

    /// Delivers nothing to the shard any more.
    pub(crate) fn forget(&self, shard: ShardId) {
        self.hosted.write().remove(&shard);
    }

    fn find(&self, envelope: &Envelope) -> Result<Hosted, Refused> {
        let hosted = self.hosted.read().get(&envelope.shard).cloned();
        let missing = Refused::NotHosted { shard: envelope.shard, replica: envelope.to };
        hosted.filter(|hosted| hosted.replica == envelope.to).ok_or(missing)
    }

    fn addressed(&self, message: Bytes) -> Result<(Hosted, Envelope, Reader), Refused> {
        let (envelope, content) = Envelope::open(message)?;
        Ok((self.find(&envelope)?, envelope, content))
    }

    async fn receive_snapshot(&self, hosted: Hosted, envelope: Envelope, duplex: Duplex) {
        let permits =
            (self.traffic.start_receiving(), Arc::clone(&hosted.arriving).try_acquire_owned().ok());
        let (Some(_permit), Some(_arriving)) = permits else {
            return transfer::refuse(Refused::TooManySnapshots, &duplex).await;
        };
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{}-{number}", envelope.shard, envelope.to);
        transfer::receive(&hosted.instance.raft, self.incoming.join(name), duplex).await;
    }
}

/// The handler over the node's receiver.
#[derive(Clone)]
pub(crate) struct ReceiverHandler(pub(crate) Arc<Receiver>);

impl Handler for ReceiverHandler {
    fn on_call(
        &self,
        _from: Peer,
        method: Method,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, Refusal>> {
        let addressed = self.0.addressed(body);
        Box::pin(async move {
            let (hosted, _, content) = addressed.map_err(Refused::to_refusal)?;
            let answered = answer(&hosted.instance, method, content).await;
            answered.map_err(Refused::to_refusal)
        })
    }

    fn on_open(
        &self,
        _from: Peer,
        method: Method,
        header: Bytes,
        duplex: Duplex,
    ) -> BoxFuture<'static, ()> {
        let receiver = Arc::clone(&self.0);
        Box::pin(async move {
            match (receiver.addressed(header), method) {
                (Ok((hosted, _, _)), wire::APPEND_STREAM) => append(hosted.instance, duplex).await,
                (Ok((hosted, envelope, _)), wire::SNAPSHOT) => {
                    receiver.receive_snapshot(hosted, envelope, duplex).await;
                }
                (Ok(_), Method(number)) => tracing::warn!(number, "no such stream"),
                (Err(refused), wire::SNAPSHOT) => transfer::refuse(refused, &duplex).await,
                (Err(refused), _) => {
                    let reply = wire::encoded(|to| wire::put_not_appended(to, refused));
                    // If the sender is gone, it has no use for a reason.
                    let _ = duplex.sender.send(reply).await;
                }
            }
        })
    }
}

async fn answer(instance: &Instance, method: Method, content: Reader) -> Result<Bytes, Refused> {
    let raft = &instance.raft;
    match method {
        wire::APPEND => {
            let (voucher, request) = wire::take_append(content)?;
            if let Some(voucher) = voucher {
                instance.freshness.on_voucher(&voucher);
            }
            let last = request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id);
            let prev = request.prev_log_id;
            let appended = raft.append_entries(request).await;
            let result = appended.map_err(|_| Refused::NotRunning)?.into_stream_result(prev, last);
            if result.is_ok() {
                instance.on_contact();
            }
            let stamp = instance.freshness.stamp();
            Ok(wire::encoded(|to| wire::put_appended(to, stamp, &result)))
        }
        wire::VOTE | wire::PRE_VOTE => {
            let request = wire::take_vote_request(content)?;
            if !instance.guard.lets_vote(&request) {
                return Err(Refused::NotVotingYet);
            }
            let voted = match method {
                wire::VOTE => raft.vote(request).await,
                _ => raft.pre_vote(request).await,
            };
            let response = voted.map_err(|_| Refused::NotRunning)?;
            Ok(wire::encoded(|to| wire::put_voted(to, &response)))
        }
        wire::TRANSFER => {
            let request = wire::take_transfer(content)?;
            let handled = raft.handle_transfer_leader(request).await;
            let response = handled.map_err(|_| Refused::NotRunning)?;
            Ok(wire::encoded(|to| wire::put_transferred(to, &response)))
        }
        _ => Err(Refused::Malformed),
    }
}

/// Serves a leader's stream of entries until either side ends it.
async fn append(instance: Arc<Instance>, duplex: Duplex) {
    let Duplex { sender, receiver } = duplex;
    let requests = requests(receiver, Arc::clone(&instance.freshness));
    let mut replies = Box::pin(instance.raft.stream_append(requests));
    while let Some(Ok(result)) = replies.next().await {
        if result.is_ok() {
            instance.on_contact();
        }
        let stamp = instance.freshness.stamp();
        let reply = wire::encoded(|to| wire::put_appended(to, stamp, &result));
        if sender.send(reply).await.is_err() {
            return;
        }
    }
}

fn requests(
    receiver: MessageReceiver,
    freshness: Arc<Freshness>,
) -> impl Stream<Item = AppendEntriesRequest<GroupConfig>> {
    stream::unfold((receiver, freshness), |(mut receiver, freshness)| async move {
        let message = receiver.receive().await?.ok()?;
        match wire::take_append(Reader::new(message)) {
            Ok((voucher, request)) => {
                if let Some(voucher) = voucher {
                    freshness.on_voucher(&voucher);
                }
                Some((request, (receiver, freshness)))
            }
            Err(error) => {
                tracing::error!(%error, "entries from another replica cannot be read");
                None
            }
        }
    })
}
