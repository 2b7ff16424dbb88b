//! The nodes of a cluster, as all of them know each other.

use serde::{Deserialize, Serialize};

use crate::id::NodeId;

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Member {
    /// Its identity.
    pub node: NodeId,
    /// Which run of it: grows at every start of its process.
    pub incarnation: u64,
    /// Where other nodes reach it, as `host:port`.
    pub peer: String,
    /// Where it serves gRPC and REST, as `host:port`.
    pub http: String,
    /// Where it serves the Redis protocol, as `host:port`.
    pub resp: String,
    /// Which failures it shares with others; replicas of a shard are kept in distinct zones
    /// while there are enough. Empty if nothing was said.
    pub zone: String,
    /// What is to become of it.
    pub status: MemberStatus,
}

/// What is to become of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberStatus {
    /// It holds replicas.
    #[default]
    Active,
    /// It is being emptied, to be removed.
    Draining,
}
