//! How a node becomes a member of a cluster: what it asks, and what it is told.
//!
//! The new node asks any member. That member registers it through the log of the meta shard,
//! whose leader then gives it a replica of the meta shard. The new node is told which, opens
//! it empty, and learns everything else from what its leader sends. Each step may be done
//! twice: a node that dies on the way asks again.

use std::sync::Arc;
use std::time::Duration;

use breccia_service::meta::{ClusterState, MetaRefusal, MetaReply, MetaWrite};
use breccia_transport::tcp::{DialError, Dialed, HandshakeError, Rejection};
use breccia_transport::{TcpTransport, Transport};
use breccia_types::{ClusterId, Member, NodeId, ReplicaId, ShardId};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster::ClusterView;
use crate::control::{Answer, Ask, ask};
use crate::driver::Nudge;
use crate::meta::MetaLog;
use crate::replicas::Holdings;

/// How long a member waits for the new node's replica of the meta shard to be placed.
const PLACED_WITHIN: Duration = Duration::from_secs(10);
/// How long the new node waits for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// The pause before it asks the same nodes again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a new node goes on asking before it gives up.
const JOIN_WITHIN: Duration = Duration::from_secs(120);

/// Why a node could not join.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The data directory belongs to another cluster.
    #[error(
        "this node belongs to cluster {ours}, but {address} to cluster {theirs}; to join that \
         one, start with an empty data directory"
    )]
    OtherCluster {
        /// The node's cluster.
        ours: String,
        /// Where the other one was found.
        address: String,
        /// The other cluster.
        theirs: String,
    },
    /// Another process is this node.
    #[error("{rejection}; stop one of them, and give it an empty data directory")]
    Copied {
        /// What was found.
        rejection: Rejection,
    },
    /// The node runs at its old address, too.
    #[error(
        "this node runs already, at {address}: its data directory was copied; start this one with \
         an empty data directory, or stop the other"
    )]
    RunsAlready {
        /// Where it runs.
        address: String,
    },
    /// No node that was named can take it in.
    #[error(
        "cannot join a cluster through {addresses}: {reason}; check that a node of the cluster \
         runs there and that its --peer address can be reached"
    )]
    Unreachable {
        /// Who was asked.
        addresses: String,
        /// What the last one said.
        reason: String,
    },
    /// The node has begun to join a cluster and does not know it yet.
    #[error(
        "this node has begun to join cluster {cluster} and has not heard from it yet; start it \
         with --join and the peer address of a node of that cluster"
    )]
    Unfinished {
        /// The cluster.
        cluster: ClusterId,
    },
}

/// What a new node is told.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) cluster: ClusterId,
    pub(crate) meta_replica: ReplicaId,
    pub(crate) members: Vec<Member>,
}

/// Asks the nodes at these addresses, one after the other, to be taken in. A node that has
/// begun to join a cluster joins no other.
pub(crate) async fn join(
    transport: &TcpTransport,
    addresses: &[String],
    member: &Member,
    begun: Option<ClusterId>,
) -> Result<Joined, JoinError> {
    let deadline = Instant::now() + JOIN_WITHIN;
    let mut last = String::from("nobody was asked");
    loop {
        for address in addresses {
            match ask_one(transport, address, member, begun).await {
                Ok(joined) => return Ok(joined),
                Err(Setback::ForGood(error)) => return Err(error),
                Err(Setback::ForNow(reason)) => {
                    if reason != last {
                        tracing::info!(%address, %reason, "not joined yet; goes on asking");
                    }
                    last = reason;
                }
            }
        }
        if Instant::now() + PAUSE > deadline {
            return Err(JoinError::Unreachable { addresses: addresses.join(", "), reason: last });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Makes sure that a node which belongs to a cluster already belongs to that of the nodes it
/// was told to join, as far as they can be reached.
pub(crate) async fn check(
    transport: &TcpTransport,
    addresses: &[String],
    ours: ClusterId,
) -> Result<(), JoinError> {
    for address in addresses {
        match transport.dial(address).await {
            Ok(dialed) => return same_cluster(address, ours, dialed.cluster),
            Err(error) => refused(address, error)?,
        }
    }
    Ok(())
}

/// Makes sure that this node does not run at the address where it ran before, too: then this
/// is a copy of its data directory.
pub(crate) async fn check_not_copied(
    transport: &TcpTransport,
    node: NodeId,
    address: &str,
) -> Result<(), JoinError> {
    if address.is_empty() {
        return Ok(());
    }
    match transport.dial(address).await {
        Ok(dialed) if dialed.peer.node == node => {
            Err(JoinError::RunsAlready { address: address.to_owned() })
        }
        Ok(_) => Ok(()),
        Err(error) => refused(address, error),
    }
}

fn same_cluster(
    address: &str,
    ours: ClusterId,
    theirs: Option<ClusterId>,
) -> Result<(), JoinError> {
    match theirs {
        Some(theirs) if theirs != ours => Err(JoinError::OtherCluster {
            ours: ours.to_string(),
            address: address.to_owned(),
            theirs: theirs.to_string(),
        }),
        _ => Ok(()),
    }
}

enum Setback {
    ForNow(String),
    ForGood(JoinError),
}

async fn ask_one(
    transport: &TcpTransport,
    address: &str,
    member: &Member,
    begun: Option<ClusterId>,
) -> Result<Joined, Setback> {
    let dialed = match transport.dial(address).await {
        Ok(dialed) => dialed,
        Err(error) => {
            let reason = error.to_string();
            refused(address, error).map_err(Setback::ForGood)?;
            return Err(Setback::ForNow(reason));
        }
    };
    let Dialed { peer, cluster, .. } = dialed;
    if peer.node == member.node || cluster.is_none() {
        let reason = format!("the node at {address} belongs to no cluster yet");
        return Err(Setback::ForNow(reason));
    }
    if let Some(begun) = begun {
        same_cluster(address, begun, cluster).map_err(Setback::ForGood)?;
    }
    transport.peers().set(peer.node, address);
    let question = Ask::Join { member: member.clone() };
    match ask(transport as &dyn Transport, peer.node, &question, ANSWER_WITHIN).await {
        Ok(Answer::Joined { cluster, meta_replica, members }) => {
            Ok(Joined { cluster, meta_replica, members })
        }
        Ok(_) => Err(Setback::ForNow(format!("{address} answered something else"))),
        Err(error) => Err(Setback::ForNow(error.to_string())),
    }
}

/// Whether a connection was refused for a reason that will not pass.
fn refused(address: &str, error: DialError) -> Result<(), JoinError> {
    let DialError::Handshake { source: HandshakeError::Rejected(rejection), .. } = error else {
        return Ok(());
    };
    match rejection {
        Rejection::OtherCluster { dialing_cluster, accepting_cluster, .. } => {
            Err(JoinError::OtherCluster {
                ours: dialing_cluster.to_string(),
                address: address.to_owned(),
                theirs: accepting_cluster.to_string(),
            })
        }
        rejection @ (Rejection::Stale { .. } | Rejection::Twin { .. }) => {
            Err(JoinError::Copied { rejection })
        }
        _ => Ok(()),
    }
}

/// How often a node sees whether it still hears of what the cluster agrees on.
const TOUCH_EVERY: Duration = Duration::from_secs(2);
/// For how long it may hear nothing before it asks.
const OUT_OF_TOUCH: Duration = Duration::from_secs(5);

/// Brings a node back that was away for so long that its replica of the meta shard was
/// replaced meanwhile. Nobody sends to that any more, so that it would never learn of it.
pub(crate) struct KeepInTouch {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) cluster: Arc<ClusterView>,
    pub(crate) holdings: Arc<Holdings>,
    pub(crate) member: watch::Receiver<Member>,
}

impl KeepInTouch {
    /// Looks, and asks the other nodes while nothing is heard, until stopped.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let touch = async {
            loop {
                tokio::time::sleep(TOUCH_EVERY).await;
                if self.is_out_of_touch() {
                    self.ask_around().await;
                }
            }
        };
        stop.run_until_cancelled(touch).await;
    }

    fn is_out_of_touch(&self) -> bool {
        let shards = self.holdings.shards.load();
        shards
            .get(&ShardId::META)
            .is_none_or(|meta| meta.group.since_contact().is_none_or(|since| since > OUT_OF_TOUCH))
    }

    /// Asks the other nodes, one after the other, which replica of the meta shard is placed
    /// here, and takes that up.
    async fn ask_around(&self) {
        let member = self.member.borrow().clone();
        let Some(state) = self.cluster.state() else { return };
        let question = Ask::Join { member: member.clone() };
        for other in state.members.keys().filter(|other| **other != member.node) {
            match ask(self.transport.as_ref(), *other, &question, ANSWER_WITHIN).await {
                Ok(Answer::Joined { meta_replica, .. }) => {
                    if let Err(error) = self.holdings.renew_meta(meta_replica).await {
                        tracing::error!(%error, "the replica of the meta shard is not renewed");
                    }
                    return;
                }
                Ok(answer) => tracing::debug!(%other, ?answer, "answered something else"),
                Err(error) => tracing::debug!(%other, %error, "does not say what is placed here"),
            }
        }
    }
}

/// Takes new nodes in.
pub(crate) struct Welcome {
    pub(crate) cluster: Arc<ClusterView>,
    pub(crate) meta: MetaLog,
    pub(crate) nudge: Nudge,
}

impl Welcome {
    /// Registers a node, and says which replica of the meta shard is its own.
    pub(crate) async fn admit(
        &self,
        member: Member,
    ) -> Result<(ClusterId, ReplicaId, Vec<Member>), String> {
        let node = member.node;
        let register = MetaWrite::Register { member };
        match self.meta.change(&register).await.map_err(|error| error.to_string())? {
            MetaReply::Done => {}
            MetaReply::Refused { refusal: MetaRefusal::StaleIncarnation { known } } => {
                return Err(format!(
                    "{node} was seen as incarnation {known}, which is later: its data directory \
                     was copied"
                ));
            }
            other => return Err(format!("the meta shard answered {other:?}")),
        }
        self.nudge.nudge();
        let is_placed = |state: &ClusterState| meta_replica(state, node).is_some();
        if !self.cluster.wait_until(PLACED_WITHIN, is_placed).await {
            return Err("its replica of the meta shard is not placed yet".to_owned());
        }
        let state = self.cluster.state().ok_or("this node knows no cluster yet")?;
        let replica = meta_replica(&state, node).ok_or("its replica was taken away again")?;
        Ok((state.id, replica, state.members.values().cloned().collect()))
    }
}

fn meta_replica(state: &ClusterState, node: NodeId) -> Option<ReplicaId> {
    let place = state.meta_placement.replica_on(ShardId::new(0), node)?;
    Some(place.replica)
}
