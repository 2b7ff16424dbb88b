//! INFO.

use std::fmt::Write;

use breccia_node::NodeStatus;
use breccia_types::RequestError;

use super::super::clients::Client;
use super::super::front::Front;

/// The version of Redis whose behaviour this front end has. Clients decide by it what they
/// may send.
pub(crate) const REDIS_VERSION: &str = "7.0.15";

/// The sections that INFO shows if none is asked for.
const DEFAULT: [&str; 9] = [
    "server",
    "clients",
    "memory",
    "persistence",
    "stats",
    "replication",
    "cpu",
    "cluster",
    "keyspace",
];
/// Those that it shows only when asked for, or for `all`.
const MORE: [&str; 2] = ["commandstats", "errorstats"];

/// The sections asked for; the usual ones if none is.
///
/// # Errors
/// If the node's status cannot be had.
pub(crate) async fn text(
    front: &Front,
    client: &Client,
    asked: &[String],
) -> Result<String, RequestError> {
    let node = front.node.clone();
    let status = tokio::task::spawn_blocking(move || node.status()).await;
    let status = status.map_err(|error| RequestError::Internal { reason: error.to_string() })?;
    let is_asked = |word: &str| asked.iter().any(|asked| asked == word);
    let everything = is_asked("all") || is_asked("everything");
    let usual = asked.is_empty() || is_asked("default") || everything;
    let chosen = DEFAULT
        .into_iter()
        .filter(|section| usual || is_asked(section))
        .chain(MORE.into_iter().filter(|section| everything || is_asked(section)));
    let sections: Vec<_> = chosen.map(|name| section(name, front, client, &status)).collect();
    Ok(sections.join("\r\n"))
}

fn section(name: &str, front: &Front, client: &Client, status: &NodeStatus) -> String {
    let (title, fields) = match name {
        "server" => ("Server", server(front, client, status)),
        "clients" => ("Clients", clients(front)),
        "memory" => ("Memory", memory(status)),
        "persistence" => ("Persistence", persistence(status)),
        "stats" => ("Stats", stats(front)),
        "replication" => ("Replication", replication()),
        "cpu" => ("CPU", Vec::new()),
        "cluster" => ("Cluster", vec![("cluster_enabled", "1".to_owned())]),
        "keyspace" => ("Keyspace", keyspace(status)),
        "commandstats" => return commandstats(front),
        _ => ("Errorstats", Vec::new()),
    };
    let mut text = format!("# {title}\r\n");
    for (name, value) in fields {
        // Writing to memory does not fail.
        let _ = write!(text, "{name}:{value}\r\n");
    }
    text
}

type Fields = Vec<(&'static str, String)>;

fn server(front: &Front, client: &Client, status: &NodeStatus) -> Fields {
    vec![
        ("redis_version", REDIS_VERSION.to_owned()),
        ("redis_mode", "cluster".to_owned()),
        ("breccia_version", status.version.to_owned()),
        ("os", std::env::consts::OS.to_owned()),
        ("arch_bits", usize::BITS.to_string()),
        ("process_id", std::process::id().to_string()),
        ("run_id", status.id.clone()),
        ("tcp_port", client.local_address.port().to_string()),
        ("server_time_usec", front.node.clock().now().as_micros().to_string()),
        ("uptime_in_seconds", status.uptime_seconds.to_string()),
        ("uptime_in_days", (status.uptime_seconds / 86_400).to_string()),
    ]
}

fn clients(front: &Front) -> Fields {
    vec![
        ("connected_clients", front.clients.count().to_string()),
        ("cluster_connections", "0".to_owned()),
        ("maxclients", breccia_types::limits::CONNECTIONS_MAX.to_string()),
        ("blocked_clients", "0".to_owned()),
    ]
}

fn memory(status: &NodeStatus) -> Fields {
    vec![
        ("used_memory", status.memory.cache_bytes.to_string()),
        ("breccia_memory_budget", status.memory.budget_bytes.to_string()),
        ("breccia_cache_bytes", status.memory.cache_bytes.to_string()),
        ("breccia_write_buffer_bytes", status.memory.write_buffer_bytes.to_string()),
        ("maxmemory", "0".to_owned()),
        ("maxmemory_policy", "noeviction".to_owned()),
    ]
}

fn persistence(status: &NodeStatus) -> Fields {
    let disk_bytes: u64 = status.shards.iter().map(|shard| shard.disk_bytes).sum();
    vec![
        ("loading", "0".to_owned()),
        ("rdb_bgsave_in_progress", "0".to_owned()),
        ("aof_enabled", "1".to_owned()),
        ("aof_rewrite_in_progress", "0".to_owned()),
        ("breccia_fsync", status.fsync.clone()),
        ("breccia_disk_bytes", disk_bytes.to_string()),
        ("breccia_read_only", u8::from(status.read_only.is_some()).to_string()),
    ]
}

fn stats(front: &Front) -> Fields {
    let metrics = &front.metrics;
    vec![
        ("total_connections_received", metrics.connections().to_string()),
        ("total_commands_processed", metrics.commands_total().to_string()),
        ("total_net_input_bytes", metrics.bytes_in().to_string()),
        ("total_net_output_bytes", metrics.bytes_out().to_string()),
        ("rejected_connections", metrics.refused().to_string()),
        ("total_error_replies", metrics.errors().to_string()),
        ("evicted_keys", "0".to_owned()),
    ]
}

fn replication() -> Fields {
    vec![("role", "master".to_owned()), ("connected_slaves", "0".to_owned())]
}

/// The number of keys is the store's estimate, over all tables.
fn keyspace(status: &NodeStatus) -> Fields {
    let rows: u64 = status.shards.iter().map(|shard| shard.rows_estimate).sum();
    match rows {
        0 => Vec::new(),
        rows => vec![("db0", format!("keys={rows},expires=0,avg_ttl=0"))],
    }
}

fn commandstats(front: &Front) -> String {
    let mut text = "# Commandstats\r\n".to_owned();
    for (name, calls) in front.metrics.commands() {
        let _ = write!(text, "cmdstat_{name}:calls={calls}\r\n");
    }
    text
}
