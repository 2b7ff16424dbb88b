//! The service `Admin`.

use breccia_api::v1;
use breccia_api::v1::admin_server::Admin;
use breccia_node::status::MemoryStatus;
use breccia_node::{
    Finding, NodeMetrics, NodeOverview, NodeStatus, ReplicaOverview, Severity, ShardOverview,
    ShardRole, ShardStatus,
};
use breccia_types::{NodeId, RequestError, ShardId};
use tonic::{Request, Response, Status};

use super::answer;
use crate::http::app::App;
use crate::http::nodes::NodeSummary;

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
        Ok(node_status(status, self.app.node.metrics()))
    }

    async fn on_nodes(&self) -> Result<v1::NodesResponse, RequestError> {
        let overview = self.app.node.overview().await?;
        Ok(v1::NodesResponse {
            cluster: overview.cluster.clone(),
            replicas_wanted: u32::from(overview.replicas_wanted),
            nodes: overview.nodes.iter().map(node_summary).collect(),
        })
    }

    async fn on_shards(&self) -> Result<v1::ShardsResponse, RequestError> {
        let overview = self.app.node.overview().await?;
        let shards = overview.shards.iter().map(shard);
        Ok(v1::ShardsResponse { epoch: overview.epoch, shards: shards.collect() })
    }

    async fn on_doctor(&self) -> Result<v1::DoctorResponse, RequestError> {
        let findings = self.app.node.doctor().await?;
        Ok(v1::DoctorResponse { findings: findings.into_iter().map(finding).collect() })
    }
}

fn node_summary(node: &NodeOverview) -> v1::NodeSummary {
    let NodeSummary {
        id,
        version,
        address,
        resp,
        peer,
        zone,
        ready,
        incarnation,
        uptime_seconds,
        shards,
        leaders,
        disk_bytes,
        read_only,
        unreachable,
        silent_seconds,
    } = NodeSummary::new(node);
    v1::NodeSummary {
        id,
        version,
        address,
        resp,
        peer,
        zone,
        ready,
        incarnation,
        uptime_seconds,
        shards,
        leaders,
        disk_bytes,
        read_only,
        unreachable,
        silent_seconds,
    }
}

fn shard(shard: &ShardOverview) -> v1::Shard {
    let status = shard.status.as_ref();
    v1::Shard {
        name: ShardId::new(shard.shard).to_string(),
        shard: shard.shard,
        slot_first: u32::from(shard.slot_first),
        slot_last: u32::from(shard.slot_last),
        leader: shard.leader.map(NodeId::to_cluster_name).unwrap_or_default(),
        replicas: shard.replicas.iter().map(replica).collect(),
        applied: status.map_or(0, |status| status.applied),
        rows_estimate: status.map_or(0, |status| status.rows_estimate),
        disk_bytes: status.map_or(0, |status| status.disk_bytes),
        waiting: status.map_or(0, |status| count(status.waiting)),
        term: status.map_or(0, |status| status.term),
    }
}

fn replica(replica: &ReplicaOverview) -> v1::Replica {
    v1::Replica {
        node: replica.node.to_cluster_name(),
        role: replica.role.map(ShardRole::name).unwrap_or_default().to_owned(),
        votes: replica.votes,
        lag: replica.lag,
        trouble: replica.trouble.clone(),
    }
}

fn node_status(status: NodeStatus, metrics: NodeMetrics) -> v1::NodeStatus {
    v1::NodeStatus {
        shards: status.shards.into_iter().map(shard_status).collect(),
        id: status.id,
        version: status.version,
        started_at_micros: status.started_at_micros,
        uptime_seconds: status.uptime_seconds,
        data_dir: status.data_dir,
        fsync: status.fsync,
        read_only: status.read_only,
        tables: count(status.tables),
        memory: Some(memory_status(status.memory)),
        ready: status.ready,
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

fn shard_status(shard: ShardStatus) -> v1::ShardStatus {
    v1::ShardStatus {
        shard: shard.shard,
        slot_first: u32::from(shard.slot_first),
        slot_last: u32::from(shard.slot_last),
        role: shard.role.name().to_owned(),
        replicas: u32::try_from(shard.voters + shard.learners).unwrap_or(u32::MAX),
        applied: shard.applied,
        rows_estimate: shard.rows_estimate,
        disk_bytes: shard.disk_bytes,
        memory_bytes: shard.memory_bytes,
        waiting: count(shard.waiting),
        quarantined: shard.quarantined.or(shard.trouble),
        leader: shard.leader.map(NodeId::to_cluster_name).unwrap_or_default(),
        term: shard.term,
        last_index: shard.last_index,
        heard_millis_ago: shard.heard_millis_ago,
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
