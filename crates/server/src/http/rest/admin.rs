//! How the node stands, for people and programs.

use axum::Json;
use axum::extract::State;
use breccia_node::status::MemoryStatus;
use breccia_node::{
    Finding, NodeMetrics, NodeStatus, ReplicaOverview, Severity, ShardOverview, ShardRole,
    ShardStatus,
};
use breccia_types::{NodeId, ShardId};
use serde::Serialize;

use super::problem::Problem;
use crate::http::app::App;
use crate::http::nodes::NodeSummary;

/// A node as JSON.
#[derive(Debug, Serialize)]
pub(super) struct StatusBody {
    id: String,
    version: String,
    ready: bool,
    read_only: Option<String>,
    started_at_micros: i64,
    uptime_seconds: u64,
    data_dir: Option<String>,
    fsync: String,
    tables: usize,
    memory: MemoryBody,
    metrics: MetricsBody,
    shards: Vec<ShardBody>,
}

#[derive(Debug, Serialize)]
struct MemoryBody {
    budget_bytes: usize,
    cache_bytes: u64,
    write_buffer_bytes: u64,
}

#[derive(Debug, Serialize)]
struct MetricsBody {
    entries: u64,
    commands: u64,
    command_bytes: u64,
    writes: u64,
    fsyncs: u64,
    writer_busy_micros: u64,
}

/// A shard as JSON.
#[derive(Debug, Serialize)]
pub(super) struct ShardBody {
    shard: u32,
    slot_first: u16,
    slot_last: u16,
    role: &'static str,
    leader: String,
    term: u64,
    replicas: usize,
    last_index: u64,
    applied: u64,
    heard_millis_ago: Option<u64>,
    rows_estimate: u64,
    disk_bytes: u64,
    memory_bytes: u64,
    waiting: usize,
    quarantined: Option<String>,
}

impl From<MemoryStatus> for MemoryBody {
    fn from(memory: MemoryStatus) -> Self {
        Self {
            budget_bytes: memory.budget_bytes,
            cache_bytes: memory.cache_bytes,
            write_buffer_bytes: memory.write_buffer_bytes,
        }
    }
}

impl From<NodeMetrics> for MetricsBody {
    fn from(metrics: NodeMetrics) -> Self {
        Self {
            entries: metrics.entries,
            commands: metrics.commands,
            command_bytes: metrics.bytes,
            writes: metrics.writes,
            fsyncs: metrics.fsyncs,
            writer_busy_micros: metrics.writer_busy_micros,
        }
    }
}

impl From<ShardStatus> for ShardBody {
    fn from(shard: ShardStatus) -> Self {
        Self {
            shard: shard.shard,
            slot_first: shard.slot_first,
            slot_last: shard.slot_last,
            role: shard.role.name(),
            leader: name_of(shard.leader),
            term: shard.term,
            replicas: shard.voters + shard.learners,
            last_index: shard.last_index,
            applied: shard.applied,
            heard_millis_ago: shard.heard_millis_ago,
            rows_estimate: shard.rows_estimate,
            disk_bytes: shard.disk_bytes,
            memory_bytes: shard.memory_bytes,
            waiting: shard.waiting,
            quarantined: shard.quarantined.or(shard.trouble),
        }
    }
}

impl StatusBody {
    fn new(status: NodeStatus, metrics: NodeMetrics) -> Self {
        Self {
            id: status.id,
            version: status.version,
            ready: status.ready,
            read_only: status.read_only,
            started_at_micros: status.started_at_micros,
            uptime_seconds: status.uptime_seconds,
            data_dir: status.data_dir,
            fsync: status.fsync,
            tables: status.tables,
            memory: status.memory.into(),
            metrics: metrics.into(),
            shards: status.shards.into_iter().map(ShardBody::from).collect(),
        }
    }
}

pub(super) async fn status(State(app): State<App>) -> Result<Json<StatusBody>, Problem> {
    let status = app.status().await?;
    Ok(Json(StatusBody::new(status, app.node.metrics())))
}

#[derive(Debug, Serialize)]
pub(super) struct NodesBody {
    cluster: String,
    replicas_wanted: u8,
    nodes: Vec<NodeSummary>,
}

pub(super) async fn nodes(State(app): State<App>) -> Result<Json<NodesBody>, Problem> {
    let overview = app.node.overview().await?;
    Ok(Json(NodesBody {
        nodes: overview.nodes.iter().map(NodeSummary::new).collect(),
        cluster: overview.cluster,
        replicas_wanted: overview.replicas_wanted,
    }))
}

#[derive(Debug, Serialize)]
pub(super) struct ShardsBody {
    epoch: u64,
    shards: Vec<PlacedShardBody>,
}

/// A shard of the cluster as JSON.
#[derive(Debug, Serialize)]
struct PlacedShardBody {
    name: String,
    shard: u32,
    slot_first: u16,
    slot_last: u16,
    leader: String,
    replicas: Vec<ReplicaBody>,
    term: u64,
    applied: u64,
    rows_estimate: u64,
    disk_bytes: u64,
    waiting: usize,
}

/// A replica as JSON.
#[derive(Debug, Serialize)]
struct ReplicaBody {
    node: String,
    role: Option<&'static str>,
    votes: bool,
    lag: Option<u64>,
    trouble: Option<String>,
}

impl From<&ShardOverview> for PlacedShardBody {
    fn from(shard: &ShardOverview) -> Self {
        let status = shard.status.as_ref();
        Self {
            name: ShardId::new(shard.shard).to_string(),
            shard: shard.shard,
            slot_first: shard.slot_first,
            slot_last: shard.slot_last,
            leader: name_of(shard.leader),
            replicas: shard.replicas.iter().map(ReplicaBody::from).collect(),
            term: status.map_or(0, |status| status.term),
            applied: status.map_or(0, |status| status.applied),
            rows_estimate: status.map_or(0, |status| status.rows_estimate),
            disk_bytes: status.map_or(0, |status| status.disk_bytes),
            waiting: status.map_or(0, |status| status.waiting),
        }
    }
}

impl From<&ReplicaOverview> for ReplicaBody {
    fn from(replica: &ReplicaOverview) -> Self {
        Self {
            node: replica.node.to_cluster_name(),
            role: replica.role.map(ShardRole::name),
            votes: replica.votes,
            lag: replica.lag,
            trouble: replica.trouble.clone(),
        }
    }
}

/// A node as clusters name it; empty if none is known.
fn name_of(node: Option<NodeId>) -> String {
    node.map(NodeId::to_cluster_name).unwrap_or_default()
}

pub(super) async fn shards(State(app): State<App>) -> Result<Json<ShardsBody>, Problem> {
    let overview = app.node.overview().await?;
    let shards = overview.shards.iter().map(PlacedShardBody::from);
    Ok(Json(ShardsBody { epoch: overview.epoch, shards: shards.collect() }))
}

#[derive(Debug, Serialize)]
pub(super) struct DoctorBody {
    findings: Vec<FindingBody>,
}

#[derive(Debug, Serialize)]
struct FindingBody {
    severity: Severity,
    subject: String,
    message: String,
    what_to_do: String,
}

impl From<Finding> for FindingBody {
    fn from(finding: Finding) -> Self {
        Self {
            severity: finding.severity,
            subject: finding.subject,
            message: finding.message,
            what_to_do: finding.advice,
        }
    }
}

pub(super) async fn doctor(State(app): State<App>) -> Result<Json<DoctorBody>, Problem> {
    let findings = app.node.doctor().await?;
    Ok(Json(DoctorBody { findings: findings.into_iter().map(FindingBody::from).collect() }))
}
