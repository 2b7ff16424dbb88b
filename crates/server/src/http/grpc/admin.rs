//! The service `Admin`.

use breccia_api::v1;
use breccia_api::v1::admin_server::Admin;
use breccia_node::status::MemoryStatus;
use breccia_node::{Finding, NodeMetrics, NodeStatus, Severity, ShardStatus};
use breccia_types::RequestError;
use tonic::{Request, Response, Status};

use super::answer;
use crate::http::app::{App, blocking};

/// Tells how the node and its shards stand.
pub(super) struct AdminService {
    app: App,
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn status(
        &self,
        _: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::NodeStatus>, Status> {
        answer(self.on_status().await)
    }

    async fn nodes(
        &self,
        _: Request<v1::NodesRequest>,
    ) -> Result<Response<v1::NodesResponse>, Status> {
        answer(self.on_nodes().await)
    }

    async fn shards(
        &self,
        _: Request<v1::ShardsRequest>,
    ) -> Result<Response<v1::ShardsResponse>, Status> {
        answer(self.on_shards().await)
    }

    async fn doctor(
        &self,
        _: Request<v1::DoctorRequest>,
    ) -> Result<Response<v1::DoctorResponse>, Status> {
        answer(self.on_doctor().await)
    }
}

impl AdminService {
    pub(super) const fn new(app: App) -> Self {
        Self { app }
    }

    async fn on_status(&self) -> Result<v1::NodeStatus, RequestError> {
        let status = self.app.status().await?;
        let node = &self.app.node;
        Ok(node_status(status, node.is_ready(), node.metrics()))
    }

    async fn on_nodes(&self) -> Result<v1::NodesResponse, RequestError> {
        let status = self.app.status().await?;
        let summary = crate::http::nodes::NodeSummary::new(&self.app, &status);
        let node = v1::NodeSummary {
            id: summary.id,
            version: summary.version,
            address: summary.address,
            ready: summary.ready,
            uptime_seconds: summary.uptime_seconds,
            shards: summary.shards,
            leaders: summary.leaders,
            disk_bytes: summary.disk_bytes,
            read_only: summary.read_only,
        };
        Ok(v1::NodesResponse { nodes: vec![node] })
    }

    async fn on_shards(&self) -> Result<v1::ShardsResponse, RequestError> {
        let status = self.app.status().await?;
        let shards = status.shards.into_iter().map(|shard| shard_status(shard, &status.id));
        Ok(v1::ShardsResponse { shards: shards.collect() })
    }

    async fn on_doctor(&self) -> Result<v1::DoctorResponse, RequestError> {
        let node = self.app.node.clone();
        let findings = blocking(move || node.doctor()).await?;
        Ok(v1::DoctorResponse { findings: findings.into_iter().map(finding).collect() })
    }
}

fn node_status(status: NodeStatus, ready: bool, metrics: NodeMetrics) -> v1::NodeStatus {
    let shards = status.shards.into_iter().map(|shard| shard_status(shard, &status.id));
    v1::NodeStatus {
        shards: shards.collect(),
        id: status.id,
        version: status.version.to_owned(),
        started_at_micros: status.started_at_micros,
        uptime_seconds: status.uptime_seconds,
        data_dir: status.data_dir,
        fsync: status.fsync,
        read_only: status.read_only,
        tables: count(status.tables),
        memory: Some(memory_status(status.memory)),
        ready,
        metrics: Some(node_metrics(metrics)),
    }
}

fn memory_status(memory: MemoryStatus) -> v1::MemoryStatus {
    v1::MemoryStatus {
        budget_bytes: count(memory.budget_bytes),
        cache_bytes: memory.cache_bytes,
        write_buffer_bytes: memory.write_buffer_bytes,
    }
}

fn shard_status(shard: ShardStatus, leader: &str) -> v1::ShardStatus {
    v1::ShardStatus {
        shard: shard.shard,
        slot_first: u32::from(*shard.slots.start()),
        slot_last: u32::from(*shard.slots.end()),
        role: shard.role.to_owned(),
        replicas: u32::try_from(shard.replicas).unwrap_or(u32::MAX),
        applied: shard.applied,
        rows_estimate: shard.rows_estimate,
        disk_bytes: shard.disk_bytes,
        memory_bytes: shard.memory_bytes,
        waiting: count(shard.waiting),
        quarantined: shard.quarantined,
        leader: if shard.role == "leader" { leader.to_owned() } else { String::new() },
    }
}

const fn node_metrics(metrics: NodeMetrics) -> v1::NodeMetrics {
    v1::NodeMetrics {
        entries: metrics.entries,
        commands: metrics.commands,
        command_bytes: metrics.bytes,
        writes: metrics.writes,
        fsyncs: metrics.fsyncs,
        writer_busy_micros: metrics.writer_busy_micros,
    }
}

fn finding(finding: Finding) -> v1::Finding {
    let severity = match finding.severity {
        Severity::Info => v1::Severity::Info,
        Severity::Warning => v1::Severity::Warning,
        Severity::Critical => v1::Severity::Critical,
    };
    v1::Finding {
        severity: severity.into(),
        subject: finding.subject,
        message: finding.message,
        what_to_do: finding.advice,
    }
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
