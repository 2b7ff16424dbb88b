//! How the node stands, for people and programs.

use axum::Json;
use axum::extract::State;
use breccia_node::status::MemoryStatus;
use breccia_node::{Finding, NodeMetrics, NodeStatus, Severity, ShardStatus};
use serde::Serialize;

use super::problem::Problem;
use crate::http::app::{App, blocking};
use crate::http::nodes::NodeSummary;

/// A node as JSON.
#[derive(Debug, Serialize)]
pub(super) struct StatusBody {
    id: String,
    version: &'static str,
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
    replicas: usize,
    applied: u64,
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
            slot_first: *shard.slots.start(),
            slot_last: *shard.slots.end(),
            role: shard.role,
            replicas: shard.replicas,
            applied: shard.applied,
            rows_estimate: shard.rows_estimate,
            disk_bytes: shard.disk_bytes,
            memory_bytes: shard.memory_bytes,
            waiting: shard.waiting,
            quarantined: shard.quarantined,
        }
    }
}

impl StatusBody {
    fn new(status: NodeStatus, ready: bool, metrics: NodeMetrics) -> Self {
        Self {
            id: status.id,
            version: status.version,
            ready,
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
    Ok(Json(StatusBody::new(status, app.node.is_ready(), app.node.metrics())))
}

#[derive(Debug, Serialize)]
pub(super) struct NodesBody {
    nodes: Vec<NodeSummary>,
}

pub(super) async fn nodes(State(app): State<App>) -> Result<Json<NodesBody>, Problem> {
    let status = app.status().await?;
    Ok(Json(NodesBody { nodes: vec![NodeSummary::new(&app, &status)] }))
}

#[derive(Debug, Serialize)]
pub(super) struct ShardsBody {
    shards: Vec<ShardBody>,
}

pub(super) async fn shards(State(app): State<App>) -> Result<Json<ShardsBody>, Problem> {
    let status = app.status().await?;
    Ok(Json(ShardsBody { shards: status.shards.into_iter().map(ShardBody::from).collect() }))
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
    let node = app.node.clone();
    let findings = blocking(move || node.doctor()).await?;
    Ok(Json(DoctorBody { findings: findings.into_iter().map(FindingBody::from).collect() }))
}
