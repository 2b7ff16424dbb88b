//! A node in a list of nodes.

use breccia_node::NodeStatus;
use serde::Serialize;

use super::app::App;

/// What a list of nodes says of each.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct NodeSummary {
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) address: String,
    pub(crate) ready: bool,
    pub(crate) uptime_seconds: u64,
    pub(crate) shards: u32,
    pub(crate) leaders: u32,
    pub(crate) disk_bytes: u64,
    pub(crate) read_only: Option<String>,
}

impl NodeSummary {
    /// Sums up how the node stands.
    pub(crate) fn new(app: &App, status: &NodeStatus) -> Self {
        let leaders = status.shards.iter().filter(|shard| shard.role == "leader").count();
        Self {
            id: status.id.clone(),
            version: status.version.to_owned(),
            address: app.address.to_string(),
            ready: app.node.is_ready(),
            uptime_seconds: status.uptime_seconds,
            shards: u32::try_from(status.shards.len()).unwrap_or(u32::MAX),
            leaders: u32::try_from(leaders).unwrap_or(u32::MAX),
            disk_bytes: status.shards.iter().map(|shard| shard.disk_bytes).sum(),
            read_only: status.read_only.clone(),
        }
    }
}
