//! How the node and its shards stand, read when it is asked for.

use std::fmt;

use breccia_node::{
    Heard, Node, NodeMetrics, NodeStatus, RouterMetrics, ShardRole, ShardStatus, Watched,
};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Tells of a node.
pub(super) struct NodeCollector {
    node: Node,
}

impl NodeCollector {
    pub(super) const fn new(node: Node) -> Self {
        Self { node }
    }
}

impl fmt::Debug for NodeCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeCollector").finish_non_exhaustive()
    }
}

impl Collector for NodeCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let status = self.node.status();
        encode_node(&mut encoder, &status)?;
        encode_counters(&mut encoder, self.node.metrics())?;
        encode_routing(&mut encoder, self.node.router_metrics())?;
        encode_watched(&mut encoder, &self.node.watched())?;
        encode_shards(&mut encoder, &status.shards)
    }
}

fn encode_node(encoder: &mut DescriptorEncoder<'_>, status: &NodeStatus) -> fmt::Result {
    let labels = [("id", status.id.as_str()), ("version", status.version.as_str())];
    let info = ConstGauge::new(1u64);
    let mut family =
        encoder.encode_descriptor("node_info", "Which node this is", None, MetricType::Gauge)?;
    info.encode(family.encode_family(&labels)?)?;
    let memory = &status.memory;
    for (name, help, unit, value) in [
        ("ready", "1 if the node takes all reads and writes", None, u64::from(status.ready)),
        (
            "read_only",
            "1 if the node takes no writes; an operator must act",
            None,
            u64::from(status.read_only.is_some()),
        ),
        ("uptime", "Time since the node was started", Some(Unit::Seconds), status.uptime_seconds),
        ("tables", "Tables that there are", None, count(status.tables)),
        (
            "memory_budget",
            "What block cache, write buffers and the rest may take together",
            Some(Unit::Bytes),
            count(memory.budget_bytes),
        ),
        (
            "memory_cache",
            "What the block cache takes, write buffers included",
            Some(Unit::Bytes),
            memory.cache_bytes,
        ),
        (
            "memory_write_buffer",
            "What the write buffers take",
            Some(Unit::Bytes),
            memory.write_buffer_bytes,
        ),
    ] {
        let gauge = ConstGauge::new(value);
        gauge.encode(encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?)?;
    }
    Ok(())
}

fn encode_watched(encoder: &mut DescriptorEncoder<'_>, watched: &[Watched]) -> fmt::Result {
    type Tells = fn(&Watched) -> u64;
    let families: [(&str, &str, Option<Unit>, Tells); 4] = [
        ("member_heard", "1 if another node is heard of", None, |member| {
            u64::from(member.heard == Heard::Lately)
        }),
        ("member_leaders", "Shards that another node leads", None, |member| member.load.leaders),
        ("member_disk_free", "Free space that another node has", Some(Unit::Bytes), |member| {
            member.load.disk_free_bytes
        }),
        ("member_disk", "All space that another node has", Some(Unit::Bytes), |member| {
            member.load.disk_bytes
        }),
    ];
    for (name, help, unit, tells) in families {
        let mut family = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
        for member in watched {
            let node = member.node.to_cluster_name();
            let gauge = ConstGauge::new(tells(member));
            gauge.encode(family.encode_family(&[("node", node.as_str())])?)?;
        }
    }
    Ok(())
}

fn encode_counters(encoder: &mut DescriptorEncoder<'_>, metrics: NodeMetrics) -> fmt::Result {
    for (name, help, unit, value) in [
        ("log_entries", "Log entries applied", None, metrics.entries),
        ("log_commands", "Commands applied", None, metrics.commands),
        ("log_command", "Bytes of the commands applied", Some(Unit::Bytes), metrics.bytes),
        ("log_writes", "Batches written", None, metrics.writes),
        ("log_fsyncs", "Fsyncs of the log", None, metrics.fsyncs),
        (
            "log_writer_busy_microseconds",
            "Microseconds that the log's writer was busy",
            None,
            metrics.writer_busy_micros,
        ),
        (
            "snapshots_sent",
            "Snapshots of shards that were begun to be sent to other nodes",
            None,
            metrics.snapshots_sent,
        ),
        (
            "snapshot_sent",
            "Bytes of snapshots that were sent to other nodes",
            Some(Unit::Bytes),
            metrics.snapshot_bytes_sent,
        ),
    ] {
        let counter = ConstCounter::new(value);
        counter.encode(encoder.encode_descriptor(
            name,
            help,
            unit.as_ref(),
            MetricType::Counter,
        )?)?;
    }
    Ok(())
}

fn encode_routing(encoder: &mut DescriptorEncoder<'_>, metrics: RouterMetrics) -> fmt::Result {
    for (name, help, value) in [
        ("router_forwards", "Requests sent to another node, each try counted", metrics.forwards),
        ("router_hops", "Requests of other nodes that were passed on to a third", metrics.hops),
        ("router_retries", "Rounds after the first of a request", metrics.retries),
        ("router_wrong_owners", "Times that a node was asked in vain", metrics.wrong_owners),
        ("router_unreachable", "Times that a node could not be reached", metrics.unreachable),
        (
            "router_outcomes_unknown",
            "Writes that may or may not have been applied, as their clients were told",
            metrics.outcomes_unknown,
        ),
        (
            "router_refused_busy",
            "Requests refused because too many bytes wait for other nodes",
            metrics.refused_busy,
        ),
    ] {
        let counter = ConstCounter::new(value);
        counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
    }
    Ok(())
}

/// One gauge of each shard.
struct ShardGauge {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    read: fn(&ShardStatus) -> u64,
}

const SHARD_GAUGES: [ShardGauge; 9] = [
    ShardGauge {
        name: "shard_leader",
        help: "1 if this node orders the shard's writes",
        unit: None,
        read: |shard| u64::from(shard.role == ShardRole::Leader),
    },
    ShardGauge {
        name: "shard_quarantined",
        help: "1 if the shard is out of service; an operator must act",
        unit: None,
        read: |shard| u64::from(shard.quarantined.is_some()),
    },
    ShardGauge {
        name: "shard_replicas",
        help: "How many nodes hold the shard",
        unit: None,
        read: |shard| count(shard.voters + shard.learners),
    },
    ShardGauge {
        name: "shard_applied_index",
        help: "Index of the last log entry applied; one that stands still while commands wait \
               is stuck",
        unit: None,
        read: |shard| shard.applied,
    },
    ShardGauge {
        name: "shard_last_index",
        help: "Index of the last log entry on this node; what is applied follows it",
        unit: None,
        read: |shard| shard.last_index,
    },
    ShardGauge {
        name: "shard_waiting_commands",
        help: "Commands that wait for the log",
        unit: None,
        read: |shard| count(shard.waiting),
    },
    ShardGauge {
        name: "shard_rows_estimate",
        help: "Rows and versions, roughly",
        unit: None,
        read: |shard| shard.rows_estimate,
    },
    ShardGauge {
        name: "shard_disk",
        help: "What the shard's files take",
        unit: Some(Unit::Bytes),
        read: |shard| shard.disk_bytes,
    },
    ShardGauge {
        name: "shard_memory",
        help: "What the shard's write buffers take",
        unit: Some(Unit::Bytes),
        read: |shard| shard.memory_bytes,
    },
];

fn encode_shards(encoder: &mut DescriptorEncoder<'_>, shards: &[ShardStatus]) -> fmt::Result {
    for ShardGauge { name, help, unit, read } in &SHARD_GAUGES {
        let mut family = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
        for shard in shards {
            let labels = [("shard", shard.shard.to_string())];
            ConstGauge::new(read(shard)).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
