//! How the cluster stands: `status`, `nodes`, `shards`, `doctor`.

use std::time::Duration;

use anyhow::Result;
use breccia_api::v1::{
    DoctorRequest, NodeStatus, NodeSummary, NodesRequest, Replica, Severity, Shard, ShardStatus,
    ShardsRequest, StatusRequest,
};
use breccia_types::Timestamp;
use clap::Args;
use serde_json::{Value, json};

use crate::client::{Client, ServerArgs};
use crate::exit::Exit;
use crate::rows::write_line;
use crate::table_view::TableView;
use crate::units::{show_duration, show_instant, show_size};

/// Digits of a node's identity that are enough for people to tell nodes apart.
const SHORT_ID_DIGITS: usize = 12;

/// Arguments of `status`, `nodes`, `shards` and `doctor`.
#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    #[command(flatten)]
    server: ServerArgs,
}

/// Shows how the node is.
pub(crate) async fn status(args: ClusterArgs) -> Result<Exit> {
    let client = Client::connect(&args.server.server).await?;
    let reply = client.admin().status(StatusRequest {}).await;
    let status = reply.map_err(|status| client.failed(&status))?.into_inner();
    if args.server.json {
        write_line(&status_document(&status).to_string())?;
        return Ok(Exit::Done);
    }
    let disk: u64 = status.shards.iter().map(|shard| shard.disk_bytes).sum();
    let memory = status.memory.unwrap_or_default();
    let metrics = status.metrics.unwrap_or_default();
    let mut view = TableView::new(&["node", &status.id]);
    view.row(["version".to_owned(), status.version]);
    view.row(["ready".to_owned(), if status.ready { "yes" } else { "no" }.to_owned()]);
    if let Some(reason) = status.read_only {
        view.row(["read-only".to_owned(), reason]);
    }
    let started = show_instant(Timestamp::from_micros(status.started_at_micros));
    let uptime = show_duration(Duration::from_secs(status.uptime_seconds));
    view.row(["started".to_owned(), format!("{started}, {uptime} ago")]);
    view.row(["data".to_owned(), status.data_dir.unwrap_or_else(|| "in memory only".to_owned())]);
    view.row(["fsync".to_owned(), status.fsync]);
    view.row(["tables".to_owned(), status.tables.to_string()]);
    view.row(["shards".to_owned(), status.shards.len().to_string()]);
    view.row(["on disk".to_owned(), show_size(disk)]);
    view.row([
        "memory".to_owned(),
        format!(
            "{} cache and {} write buffers of {}",
            show_size(memory.cache_bytes),
            show_size(memory.write_buffer_bytes),
            show_size(memory.budget_bytes)
        ),
    ]);
    view.row([
        "written".to_owned(),
        format!(
            "{} commands in {} entries, {} fsyncs, since the start",
            metrics.commands, metrics.entries, metrics.fsyncs
        ),
    ]);
    write_line(&view.to_string())?;
    Ok(Exit::Done)
}

/// Lists the nodes.
pub(crate) async fn nodes(args: ClusterArgs) -> Result<Exit> {
    let client = Client::connect(&args.server.server).await?;
    let reply = client.admin().nodes(NodesRequest {}).await;
    let nodes = reply.map_err(|status| client.failed(&status))?.into_inner().nodes;
    if args.server.json {
        write_line(&nodes.iter().map(node_document).collect::<Value>().to_string())?;
        return Ok(Exit::Done);
    }
    let headings =
        ["node", "http", "resp", "peer", "version", "ready", "up", "shards", "leads", "on disk"];
    let mut view = TableView::new(&headings);
    for node in nodes {
        let silent = node.silent_seconds.map(Duration::from_secs).map(show_duration);
        let silent = silent.map_or_else(String::new, |silent| format!(", silent for {silent}"));
        let ready = match (node.ready, node.read_only, node.unreachable) {
            (true, _, _) => "yes".to_owned(),
            (false, _, Some(reason)) => format!("does not answer{silent}: {reason}"),
            (false, Some(reason), None) => format!("no: {reason}"),
            (false, None, None) => "no".to_owned(),
        };
        view.row([
            short_id(&node.id),
            node.address,
            node.resp,
            node.peer,
            node.version,
            ready,
            show_duration(Duration::from_secs(node.uptime_seconds)),
            node.shards.to_string(),
            node.leaders.to_string(),
            show_size(node.disk_bytes),
        ]);
    }
    write_line(&view.to_string())?;
    Ok(Exit::Done)
}

/// Lists the shards.
pub(crate) async fn shards(args: ClusterArgs) -> Result<Exit> {
    let client = Client::connect(&args.server.server).await?;
    let reply = client.admin().shards(ShardsRequest {}).await;
    let reply = reply.map_err(|status| client.failed(&status))?.into_inner();
    if args.server.json {
        write_line(&reply.shards.iter().map(placed_document).collect::<Value>().to_string())?;
        return Ok(Exit::Done);
    }
    let headings =
        ["shard", "slots", "leader", "others", "applied", "rows ~", "on disk", "waiting", "state"];
    let mut view = TableView::new(&headings);
    for shard in reply.shards {
        let slots = match shard.name.as_str() {
            "meta" => "none".to_owned(),
            _ => format!("{}-{}", shard.slot_first, shard.slot_last),
        };
        let leader = match shard.leader.as_str() {
            "" => "none".to_owned(),
            id => short_id(id),
        };
        view.row([
            shard.name.clone(),
            slots,
            leader,
            others(&shard),
            shard.applied.to_string(),
            shard.rows_estimate.to_string(),
            show_size(shard.disk_bytes),
            shard.waiting.to_string(),
            state(&shard),
        ]);
    }
    write_line(&view.to_string())?;
    Ok(Exit::Done)
}

/// The replicas beside the leader's, and how far behind they are.
fn others(shard: &Shard) -> String {
    let others = shard.replicas.iter().filter(|replica| replica.node != shard.leader);
    let shown = others.map(|replica| {
        let role = match replica.role.as_str() {
            "" => "silent",
            "follower" => "",
            role => role,
        };
        let lag = match replica.lag {
            Some(0) => String::new(),
            Some(lag) => format!("-{lag}"),
            None => String::new(),
        };
        let words = [short_id(&replica.node), role.to_owned(), lag];
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn state(shard: &Shard) -> String {
    let troubled = shard.replicas.iter().find_map(|replica| replica.trouble.as_ref());
    match (shard.leader.is_empty(), troubled) {
        (true, None) => "no leader".to_owned(),
        (true, Some(reason)) => format!("no leader: {reason}"),
        (false, Some(reason)) => format!("out: {reason}"),
        (false, None) if shard.replicas.iter().any(|replica| replica.role.is_empty()) => {
            "a replica is silent".to_owned()
        }
        (false, None) => "ok".to_owned(),
    }
}

fn node_document(node: &NodeSummary) -> Value {
    json!({
        "id": node.id,
        "version": node.version,
        "address": node.address,
        "resp": node.resp,
        "peer": node.peer,
        "zone": node.zone,
        "ready": node.ready,
        "incarnation": node.incarnation,
        "uptime_seconds": node.uptime_seconds,
        "shards": node.shards,
        "leaders": node.leaders,
        "disk_bytes": node.disk_bytes,
        "read_only": node.read_only,
        "unreachable": node.unreachable,
        "silent_seconds": node.silent_seconds,
    })
}

fn placed_document(shard: &Shard) -> Value {
    json!({
        "name": shard.name,
        "shard": shard.shard,
        "slot_first": shard.slot_first,
        "slot_last": shard.slot_last,
        "leader": shard.leader,
        "replicas": shard.replicas.iter().map(replica_document).collect::<Value>(),
        "term": shard.term,
        "applied": shard.applied,
        "rows_estimate": shard.rows_estimate,
        "disk_bytes": shard.disk_bytes,
        "waiting": shard.waiting,
    })
}

fn replica_document(replica: &Replica) -> Value {
    json!({
        "node": replica.node,
        "role": if replica.role.is_empty() { None } else { Some(&replica.role) },
        "votes": replica.votes,
        "lag": replica.lag,
        "trouble": replica.trouble,
    })
}

/// Looks for trouble. The answer is [`Exit::Operator`] if something is out of service.
pub(crate) async fn doctor(args: ClusterArgs) -> Result<Exit> {
    let client = Client::connect(&args.server.server).await?;
    let reply = client.admin().doctor(DoctorRequest {}).await;
    let findings = reply.map_err(|status| client.failed(&status))?.into_inner().findings;
    let critical = findings.iter().any(|finding| finding.severity() == Severity::Critical);
    if args.server.json {
        let documents = findings.iter().map(|finding| {
            json!({
                "severity": severity_name(finding.severity()),
                "subject": finding.subject,
                "message": finding.message,
                "what_to_do": finding.what_to_do,
            })
        });
        write_line(&documents.collect::<Value>().to_string())?;
    } else if findings.is_empty() {
        write_line("no trouble found")?;
    } else {
        let mut view = TableView::new(&["severity", "subject", "finding", "what to do"]);
        for finding in findings {
            let severity = severity_name(finding.severity()).to_owned();
            view.row([severity, finding.subject, finding.message, finding.what_to_do]);
        }
        write_line(&view.to_string())?;
    }
    Ok(if critical { Exit::Operator } else { Exit::Done })
}

fn status_document(status: &NodeStatus) -> Value {
    let memory = status.memory.unwrap_or_default();
    let metrics = status.metrics.unwrap_or_default();
    json!({
        "id": status.id,
        "version": status.version,
        "ready": status.ready,
        "read_only": status.read_only,
        "started_at": status.started_at_micros,
        "uptime_seconds": status.uptime_seconds,
        "data_dir": status.data_dir,
        "fsync": status.fsync,
        "tables": status.tables,
        "memory": {
            "budget_bytes": memory.budget_bytes,
            "cache_bytes": memory.cache_bytes,
            "write_buffer_bytes": memory.write_buffer_bytes,
        },
        "metrics": {
            "entries": metrics.entries,
            "commands": metrics.commands,
            "command_bytes": metrics.command_bytes,
            "writes": metrics.writes,
            "fsyncs": metrics.fsyncs,
            "writer_busy_micros": metrics.writer_busy_micros,
        },
        "shards": status.shards.iter().map(shard_document).collect::<Value>(),
    })
}

fn shard_document(shard: &ShardStatus) -> Value {
    json!({
        "shard": shard.shard,
        "slot_first": shard.slot_first,
        "slot_last": shard.slot_last,
        "role": shard.role,
        "leader": shard.leader,
        "replicas": shard.replicas,
        "applied": shard.applied,
        "rows_estimate": shard.rows_estimate,
        "disk_bytes": shard.disk_bytes,
        "memory_bytes": shard.memory_bytes,
        "waiting": shard.waiting,
        "quarantined": shard.quarantined,
        "term": shard.term,
        "last_index": shard.last_index,
        "heard_millis_ago": shard.heard_millis_ago,
    })
}

const fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
        Severity::Info | Severity::Unspecified => "info",
    }
}

/// The last digits of an identity, which is padded with zeros in front.
fn short_id(id: &str) -> String {
    let skip = id.chars().count().saturating_sub(SHORT_ID_DIGITS);
    id.chars().skip(skip).collect()
}
