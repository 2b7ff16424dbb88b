//! The cluster as one of its nodes sees it: every node is asked how it stands.

use std::collections::BTreeMap;
use std::time::Duration;

use breccia_transport::TransportError;
use breccia_types::{Member, NodeId, RequestError, ShardId};
use futures::future::{FutureExt, join_all};
use serde::Serialize;

use crate::control::{Answer, Ask, AskError, ask};
use crate::membership::Heard;
use crate::node::{LEADERLESS_AFTER, Node};
use crate::status::{NodeStatus, ShardRole, ShardStatus};

/// How long a node may take to say how it stands.
const STATUS_WITHIN: Duration = Duration::from_secs(2);

/// The cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClusterOverview {
    /// The cluster's identity, 32 hexadecimal digits.
    pub cluster: String,
    /// The node that tells.
    pub node: NodeId,
    /// The epoch of the placement.
    pub epoch: u64,
    /// How many replicas each shard is to have.
    pub replicas_wanted: u8,
    /// The nodes, by id.
    pub nodes: Vec<NodeOverview>,
    /// The shards that hold slots, by id, and then the meta shard.
    pub shards: Vec<ShardOverview>,
}

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeOverview {
    /// Who it is, and where.
    pub member: Member,
    /// How it stands, if it answered.
    pub status: Option<NodeStatus>,
    /// Why it did not answer, if it did not.
    pub unreachable: Option<String>,
    /// What was heard of it, if the node that tells watches the others.
    pub heard: Option<Heard>,
}

/// A shard of the cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShardOverview {
    /// Its id.
    pub shard: u32,
    /// Its first slot.
    pub slot_first: u16,
    /// Its last slot.
    pub slot_last: u16,
    /// The node that leads it, if one of those that answered does and hears a majority.
    pub leader: Option<NodeId>,
    /// Its replicas as they are placed.
    pub replicas: Vec<ReplicaOverview>,
    /// As its leader has it; as some replica has it, if there is no leader.
    pub status: Option<ShardStatus>,
}

/// A replica of a shard.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReplicaOverview {
    /// The node that holds it.
    pub node: NodeId,
    /// Whether it is placed as one that votes.
    pub votes: bool,
    /// What it is to its shard; `None` if its node did not answer or does not hold it yet.
    pub role: Option<ShardRole>,
    /// Entries of the leader's log that it has not applied; `None` if that is not known.
    pub lag: Option<u64>,
    /// Why it is out of service, if it is.
    pub trouble: Option<String>,
}

impl Node {
    /// The cluster, as every node that answers within two seconds says that it stands.
    ///
    /// # Errors
    /// [`RequestError::ShardUnavailable`] if this node does not know the cluster yet.
    pub async fn overview(&self) -> Result<ClusterOverview, RequestError> {
        let state = self.0.cluster.state().ok_or_else(|| RequestError::ShardUnavailable {
            shard: ShardId::META,
            reason: "this node does not know its cluster yet".to_owned(),
        })?;
        let members = state.members.values().cloned();
        let asked: Vec<_> = members.map(|member| self.ask_member(member).boxed()).collect();
        let nodes = join_all(asked).await;
        let found = replicas_found(&nodes);
        let placed = state.placement.shards().map(|(shard, _)| (shard, shard, &state.placement));
        let meta = (ShardId::META, ShardId::new(0), &state.meta_placement);
        let shards = placed.chain([meta]).map(|(shard, at, placement)| {
            let slots = match shard {
                ShardId::META => 0..=0,
                _ => placement.slot_range(at).unwrap_or(0..=0),
            };
            let none = BTreeMap::new();
            let found = found.get(&shard).unwrap_or(&none);
            let leader = found
                .iter()
                .filter(|(_, status)| status.role == ShardRole::Leader && !has_lost(status))
                .max_by_key(|(_, status)| status.term);
            let last = leader.map(|(_, status)| status.last_index);
            let replicas = placement.replicas(at).iter().map(|place| {
                let status = found.get(&place.node).copied();
                let applied = status.map(|status| status.applied);
                ReplicaOverview {
                    node: place.node,
                    votes: place.role == breccia_ring::Role::Voter,
                    role: status.map(|status| status.role),
                    lag: last.zip(applied).map(|(last, applied)| last.saturating_sub(applied)),
                    trouble: status
                        .and_then(|status| status.quarantined.clone().or(status.trouble.clone())),
                }
            });
            ShardOverview {
                shard: shard.get(),
                slot_first: *slots.start(),
                slot_last: *slots.end(),
                leader: leader.map(|(node, _)| *node),
                replicas: replicas.collect(),
                status: leader
                    .map(|(_, status)| *status)
                    .or(found.values().next().copied())
                    .cloned(),
            }
        });
        Ok(ClusterOverview {
            cluster: state.id.to_string(),
            node: self.0.id,
            epoch: state.placement.epoch().get(),
            replicas_wanted: state.settings.replicas,
            shards: shards.collect(),
            nodes,
        })
    }

    async fn ask_member(&self, member: Member) -> NodeOverview {
        let (status, unreachable) = match self.ask_status(member.node).await {
            Ok(status) => (Some(status), None),
            Err(reason) => (None, Some(reason)),
        };
        let heard = self.heard(member.node);
        NodeOverview { member, status, unreachable, heard }
    }

    async fn ask_status(&self, node: NodeId) -> Result<NodeStatus, String> {
        if node == self.0.id {
            return self.blocking_status().await.map_err(|error| error.to_string());
        }
        let transport = self.0.transport.as_ref();
        match ask(transport, node, &Ask::Status, STATUS_WITHIN).await {
            Ok(Answer::Status { status }) => Ok(*status),
            Ok(_) => Err("it answered something else".to_owned()),
            Err(AskError::Transport(TransportError::Unreachable { reason, .. })) => Err(reason),
            Err(error) => Err(error.to_string()),
        }
    }

    pub(crate) async fn blocking_status(&self) -> Result<NodeStatus, RequestError> {
        let node = self.clone();
        let status = tokio::task::spawn_blocking(move || node.status()).await;
        status.map_err(|error| RequestError::Internal { reason: error.to_string() })
    }
}

/// Whether a leader leads nobody any more: it has not heard a majority for long. It does not
/// know whether there is another.
fn has_lost(leader: &ShardStatus) -> bool {
    leader.heard_millis_ago.is_none_or(|millis| u128::from(millis) > LEADERLESS_AFTER.as_millis())
}

/// Every replica that some node says it holds.
fn replicas_found(nodes: &[NodeOverview]) -> BTreeMap<ShardId, BTreeMap<NodeId, &ShardStatus>> {
    let mut found: BTreeMap<ShardId, BTreeMap<NodeId, &ShardStatus>> = BTreeMap::new();
    for node in nodes {
        let Some(status) = &node.status else { continue };
        for shard in status.shards.iter().chain(&status.meta) {
            found.entry(ShardId::new(shard.shard)).or_default().insert(node.member.node, shard);
        }
    }
    found
}
