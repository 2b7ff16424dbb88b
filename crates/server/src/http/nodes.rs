//! A node in a list of nodes.

use breccia_node::{Heard, NodeOverview, ShardRole};
use serde::Serialize;

/// What a list of nodes says of each.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct NodeSummary {
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) address: String,
    pub(crate) resp: String,
    pub(crate) peer: String,
    pub(crate) zone: String,
    pub(crate) ready: bool,
    pub(crate) incarnation: u64,
    pub(crate) uptime_seconds: u64,
    pub(crate) shards: u32,
    pub(crate) leaders: u32,
    pub(crate) disk_bytes: u64,
    pub(crate) read_only: Option<String>,
    pub(crate) unreachable: Option<String>,
    pub(crate) silent_seconds: Option<u64>,
}

impl NodeSummary {
    /// Sums up how a node stands.
    pub(crate) fn new(node: &NodeOverview) -> Self {
        let member = &node.member;
        let status = node.status.as_ref();
        let shards = status.map(|status| status.shards.as_slice()).unwrap_or_default();
        let leaders = shards.iter().filter(|shard| shard.role == ShardRole::Leader).count();
        Self {
            id: member.node.to_cluster_name(),
            version: status.map(|status| status.version.clone()).unwrap_or_default(),
            address: member.http.clone(),
            resp: member.resp.clone(),
            peer: member.peer.clone(),
            zone: member.zone.clone(),
            ready: status.is_some_and(|status| status.ready),
            incarnation: member.incarnation,
            uptime_seconds: status.map_or(0, |status| status.uptime_seconds),
            shards: u32::try_from(shards.len()).unwrap_or(u32::MAX),
            leaders: u32::try_from(leaders).unwrap_or(u32::MAX),
            disk_bytes: shards.iter().map(|shard| shard.disk_bytes).sum(),
            read_only: status.and_then(|status| status.read_only.clone()),
            unreachable: node.unreachable.clone(),
            silent_seconds: match node.heard {
                Some(Heard::Nothing { seconds }) => Some(seconds),
                Some(Heard::Lately) | None => None,
            },
        }
    }
}
