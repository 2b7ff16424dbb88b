//! What nodes ask of each other apart from requests and logs: to join, how their shards
//! stand, and to change them.
//!
//! Questions and answers are a version byte and JSON: they are rare and small.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use breccia_replication::raft::{ChangeError, GroupStatus, RaftGroup, ReplicaChange, Role};
use breccia_transport::{Call, Duplex, Handler, Method, Peer, Refusal, Transport, TransportError};
use breccia_types::{ClusterId, Member, NodeId, ReplicaId, ShardId};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::health::NodeHealth;
use crate::join::Welcome;
use crate::replicas::ShardMap;
use crate::status::{NodeStatus, Reporter};

/// The transport's number of [`Ask::Join`], which a node may send that belongs to no cluster.
pub(crate) const JOIN: Method = Method(0x50);
/// The transport's number of everything else that is asked.
pub(crate) const ASK: Method = Method(0x51);

/// The version of the form of questions and answers.
const VERSION: u8 = 1;

/// A question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub(crate) enum Ask {
    /// To become a member, or to be told again what a member is told.
    Join {
        /// Who.
        member: Member,
    },
    /// Which shards the node leads, and how they stand.
    Led,
    /// How the node stands.
    Status,
    /// To change the replicas of a shard that the node leads.
    Change {
        /// The shard.
        shard: ShardId,
        /// The replicas as they were when that was decided.
        seen: MembersSeen,
        /// The change.
        change: Change,
    },
    /// To hand the leadership of a shard to another replica.
    Transfer {
        /// The shard.
        shard: ShardId,
        /// The replica.
        to: ReplicaId,
    },
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub(crate) enum Answer {
    /// The node is a member.
    Joined {
        /// The cluster.
        cluster: ClusterId,
        /// Its replica of the meta shard.
        meta_replica: ReplicaId,
        /// The nodes of the cluster.
        members: Vec<Member>,
    },
    /// What the node leads.
    Led {
        /// The shards.
        shards: Vec<LedShard>,
        /// The node's replicas whose data cannot be read, led by it or not.
        #[serde(default)]
        damaged: Vec<(ShardId, ReplicaId)>,
        /// Whether the node takes no writes, because its disk is full or for good.
        #[serde(default)]
        is_read_only: bool,
    },
    /// How the node stands.
    Status {
        /// All of it.
        status: Box<NodeStatus>,
    },
    /// It is done.
    Done,
    /// It is not done, and may be asked again when things have changed.
    NotDone {
        /// Why not.
        reason: String,
    },
}

/// A change of a shard's replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub(crate) enum Change {
    /// Sends the log to a new replica.
    AddLearner { replica: ReplicaId, node: NodeId },
    /// Lets learners vote.
    Promote { replicas: BTreeSet<ReplicaId> },
    /// Lets a learner take the place of a voter.
    Replace { old: ReplicaId, new: ReplicaId },
    /// Makes learners of voters.
    Demote { replicas: BTreeSet<ReplicaId> },
    /// Removes a learner.
    Remove { replica: ReplicaId },
}

/// The replicas of a shard, as its leader's log has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MembersSeen {
    /// The term and the index of the entry that made them members.
    pub(crate) version: (u64, u64),
    pub(crate) voters: Vec<(ReplicaId, NodeId)>,
    pub(crate) learners: Vec<(ReplicaId, NodeId)>,
}

/// A shard, as its leader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LedShard {
    pub(crate) shard: ShardId,
    pub(crate) replica: ReplicaId,
    pub(crate) term: u64,
    pub(crate) members: MembersSeen,
    /// Whether the voters are being changed, or a change is not known to be committed.
    pub(crate) is_changing: bool,
    /// The other replicas that answered of late, and how many entries each lacks.
    pub(crate) answering: Vec<(ReplicaId, u64)>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum AskError {
    /// It did not arrive, or the answer did not.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// It arrived, and is not done.
    #[error("{reason}")]
    NotDone {
        /// Why not.
        reason: String,
    },
}

/// Asks another node.
pub(crate) async fn ask(
    transport: &dyn Transport,
    to: NodeId,
    question: &Ask,
    timeout: Duration,
) -> Result<Answer, AskError> {
    let method = if matches!(question, Ask::Join { .. }) { JOIN } else { ASK };
    let call = Call { method, body: encode(question), timeout };
    let answered = transport.call(to, call).await;
    let answer = match answered {
        Ok(answer) => answer,
        Err(TransportError::Refused { refusal, .. }) => {
            let reason = String::from_utf8_lossy(&refusal.0).into_owned();
            return Err(AskError::NotDone { reason });
        }
        Err(error) => return Err(error.into()),
    };
    match decode(&answer) {
        Ok(Answer::NotDone { reason }) | Err(reason) => Err(AskError::NotDone { reason }),
        Ok(answer) => Ok(answer),
    }
}

/// Answers questions.
#[derive(Clone)]
pub(crate) struct Control {
    pub(crate) shards: ShardMap,
    pub(crate) health: Arc<NodeHealth>,
    pub(crate) welcome: Arc<Welcome>,
    pub(crate) reporter: Arc<Reporter>,
}

impl Handler for Control {
    fn on_call(
        &self,
        from: Peer,
        method: Method,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, Refusal>> {
        let control = self.clone();
        async move {
            let question: Ask = decode(&body).map_err(|reason| Refusal(reason.into()))?;
            if matches!(question, Ask::Join { .. }) != (method == JOIN) {
                return Err(Refusal("asked by the wrong method".into()));
            }
            if let Ask::Join { member } = &question
                && member.node != from.node
            {
                return Err(Refusal("a node can join for itself only".into()));
            }
            Ok(encode(&control.answer(question).await))
        }
        .boxed()
    }

    fn on_open(&self, _: Peer, _: Method, _: Bytes, _: Duplex) -> BoxFuture<'static, ()> {
        // There are no streams: what is dropped here is closed.
        futures::future::ready(()).boxed()
    }
}

impl Control {
    /// Answers a question, this node's own too.
    pub(crate) async fn answer(&self, question: Ask) -> Answer {
        match question {
            Ask::Join { member } => match self.welcome.admit(member).await {
                Ok((cluster, meta_replica, members)) => {
                    Answer::Joined { cluster, meta_replica, members }
                }
                Err(reason) => Answer::NotDone { reason },
            },
            Ask::Led => Answer::Led {
                shards: self.led(),
                damaged: self.damaged(),
                is_read_only: self.health.read_only().is_some(),
            },
            Ask::Status => {
                let reporter = Arc::clone(&self.reporter);
                let status = tokio::task::spawn_blocking(move || reporter.status()).await;
                match status {
                    Ok(Some(status)) => Answer::Status { status: Box::new(status) },
                    Ok(None) => Answer::NotDone { reason: "it is still starting".to_owned() },
                    Err(error) => Answer::NotDone { reason: error.to_string() },
                }
            }
            Ask::Change { shard, seen, change } => match self.group(shard) {
                Some(group) => done(change_replicas(&group, &seen, change).await),
                None => Answer::NotDone { reason: format!("{shard} is not here") },
            },
            Ask::Transfer { shard, to } => match self.group(shard) {
                Some(group) => done(group.transfer_leader(to).await),
                None => Answer::NotDone { reason: format!("{shard} is not here") },
            },
        }
    }

    fn group(&self, shard: ShardId) -> Option<Arc<RaftGroup>> {
        self.shards.load().get(&shard).map(|held| Arc::clone(&held.group))
    }

    fn damaged(&self) -> Vec<(ShardId, ReplicaId)> {
        let shards = self.shards.load();
        let damaged = shards.iter().filter(|(_, held)| held.data.health.quarantined().is_some());
        damaged.map(|(shard, held)| (*shard, held.group.replica())).collect()
    }

    fn led(&self) -> Vec<LedShard> {
        let shards = self.shards.load();
        shards.values().filter_map(|held| LedShard::of(&held.group.group_status())).collect()
    }
}

fn done(result: Result<impl Sized, ChangeError>) -> Answer {
    match result {
        Ok(_) => Answer::Done,
        Err(error) => Answer::NotDone { reason: error.to_string() },
    }
}

async fn change_replicas(
    group: &RaftGroup,
    seen: &MembersSeen,
    change: Change,
) -> Result<(), ChangeError> {
    let status = group.group_status();
    if MembersSeen::of(&status) != *seen {
        return Err(ChangeError::Outdated);
    }
    let change = match change {
        Change::AddLearner { replica, node } => ReplicaChange::AddLearner { replica, node },
        Change::Promote { replicas } => ReplicaChange::Promote { replicas },
        Change::Replace { old, new } => ReplicaChange::Replace { old, new },
        Change::Demote { replicas } => ReplicaChange::Demote { replicas },
        Change::Remove { replica } => ReplicaChange::Remove { replica },
    };
    group.change_replicas(change, status.members.version).await.map(|_| ())
}

impl MembersSeen {
    fn of(status: &GroupStatus) -> Self {
        let list = |of: &BTreeMap<ReplicaId, NodeId>| of.iter().map(|(r, n)| (*r, *n)).collect();
        Self {
            version: status.members.version.position(),
            voters: list(&status.members.voters),
            learners: list(&status.members.learners),
        }
    }
}

/// How recently a replica must have answered its leader to count as answering, and a majority
/// of them for the leader to count as leading.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

impl LedShard {
    /// `None` if this replica does not lead the shard, or has not heard that it still does.
    fn of(status: &GroupStatus) -> Option<Self> {
        let is_recent = |since: Option<Duration>| since.is_some_and(|age| age < ANSWERED_WITHIN);
        let answering = status.peers.iter().filter(|peer| is_recent(peer.since_heard));
        (status.role == Role::Leader && is_recent(status.since_contact)).then(|| Self {
            shard: status.shard,
            replica: status.replica,
            term: status.term,
            members: MembersSeen::of(status),
            is_changing: status.members.is_changing,
            answering: answering.map(|peer| (peer.replica, peer.lag)).collect(),
        })
    }
}

fn encode(value: &impl Serialize) -> Bytes {
    let mut encoded = vec![VERSION];
    // Only a map with keys that are no text could fail, and there is none.
    encoded.extend(serde_json::to_vec(value).unwrap_or_default());
    encoded.into()
}

fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, String> {
    match bytes.split_first() {
        Some((&VERSION, json)) => serde_json::from_slice(json).map_err(|error| error.to_string()),
        Some((version, _)) => Err(format!("version {version} of the question is not known")),
        None => Err("the question is empty".to_owned()),
    }
}
