//! How the node stands: for people, for programs, and for the operator's conscience.

use std::cmp::Reverse;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};

use breccia_replication::raft::Role;
use breccia_types::time::CLOCK_JUMP_MAX;
use serde::Serialize;

use crate::node::{Node, Shard};

/// A node and its shards.
#[derive(Debug, Clone, Serialize)]
pub struct NodeStatus {
    /// The node's identity, 40 hexadecimal digits.
    pub id: String,
    /// The program's version.
    pub version: &'static str,
    /// When the node was opened, in microseconds since 1970.
    pub started_at_micros: i64,
    /// For how long it has been open, in seconds.
    pub uptime_seconds: u64,
    /// Where the data is; `None` if in memory.
    pub data_dir: Option<String>,
    /// When writes are acknowledged.
    pub fsync: String,
    /// Why the node takes no writes, if it takes none.
    pub read_only: Option<String>,
    /// How many tables there are.
    pub tables: usize,
    /// Memory.
    pub memory: MemoryStatus,
    /// The shards, by id.
    pub shards: Vec<ShardStatus>,
}

/// What the node's memory budget goes to, in bytes.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct MemoryStatus {
    /// The budget.
    pub budget_bytes: usize,
    /// The block cache, write buffers included.
    pub cache_bytes: u64,
    /// Write buffers.
    pub write_buffer_bytes: u64,
}

/// One shard.
#[derive(Debug, Clone, Serialize)]
pub struct ShardStatus {
    /// Its id.
    pub shard: u32,
    /// Its slots, both included.
    pub slots: RangeInclusive<u16>,
    /// `leader`, or what else this node is for it.
    pub role: &'static str,
    /// How many nodes hold it.
    pub replicas: usize,
    /// The last entry applied.
    pub applied: u64,
    /// Rows and versions, roughly.
    pub rows_estimate: u64,
    /// Bytes in files.
    pub disk_bytes: u64,
    /// Bytes in write buffers.
    pub memory_bytes: u64,
    /// Commands that wait for the log.
    pub waiting: usize,
    /// Why it is out of service, if it is.
    pub quarantined: Option<String>,
}

/// What the node has done since it was opened.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct NodeMetrics {
    /// Log entries written.
    pub entries: u64,
    /// Commands applied.
    pub commands: u64,
    /// Bytes written to the log.
    pub bytes: u64,
    /// Batches written.
    pub writes: u64,
    /// Fsyncs of the log.
    pub fsyncs: u64,
    /// Microseconds that the log's writer was busy.
    pub writer_busy_micros: u64,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Something to see to before it hurts.
    Warning,
    /// Something is out of service.
    Critical,
}

/// Something that an operator should know.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about: `node`, or a shard such as `s3`.
    pub subject: String,
    /// What was found.
    pub message: String,
    /// What to do about it.
    pub advice: String,
}

impl Node {
    /// How the node stands.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        let inner = &self.0;
        let memory = inner.engine.memory();
        NodeStatus {
            id: inner.id.to_cluster_name(),
            version: env!("CARGO_PKG_VERSION"),
            started_at_micros: inner.started_at.as_micros(),
            uptime_seconds: inner.started.elapsed().as_secs(),
            data_dir: inner.config.data_dir.as_ref().map(|path| path.display().to_string()),
            fsync: inner.config.fsync.to_string(),
            read_only: inner.health.read_only(),
            tables: inner.cluster.tables().len(),
            memory: MemoryStatus {
                budget_bytes: inner.config.memory_bytes,
                cache_bytes: memory.cache,
                write_buffer_bytes: memory.write_buffers,
            },
            shards: self.shards().iter().map(|shard| self.shard_status(shard)).collect(),
        }
    }

    fn shard_status(&self, shard: &Shard) -> ShardStatus {
        let usage = shard.data.engine().usage();
        let group = shard.group.group_status();
        ShardStatus {
            shard: shard.id().get(),
            slots: self.0.placement().slot_range(shard.id()).unwrap_or(0..=0),
            role: if group.role == Role::Leader { "leader" } else { "follower" },
            replicas: group.members.voters.len() + group.members.learners.len(),
            applied: group.applied.get(),
            rows_estimate: usage.keys_estimate,
            disk_bytes: usage.disk_bytes,
            memory_bytes: usage.memory_bytes,
            waiting: group.waiting,
            quarantined: shard.data.health.quarantined(),
        }
    }

    /// What the node has done since it was opened.
    #[must_use]
    pub fn metrics(&self) -> NodeMetrics {
        let counters = self.0.log.counters();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        NodeMetrics {
            entries: read(&counters.entries),
            commands: read(&self.0.commands_applied),
            bytes: read(&counters.bytes),
            writes: read(&counters.writes),
            fsyncs: read(&counters.fsyncs),
            writer_busy_micros: read(&counters.busy_micros),
        }
    }

    fn clock_findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let jump = self.0.clock.refused_jump_micros() / 1_000_000;
        if jump != 0 {
            findings.push(Finding {
                severity: Severity::Critical,
                subject: "node".into(),
                message: format!("the wall clock has jumped by {jump} s and is not followed"),
                advice: "set the clock right; if it is right now, restart the node".into(),
            });
        }
        let lead = self.0.clock.lead();
        if lead > CLOCK_JUMP_MAX {
            findings.push(Finding {
                severity: Severity::Critical,
                subject: "node".into(),
                message: format!("its latest write is {} s ahead of the clock", lead.as_secs()),
                advice: "set the clock right; rows with a time to live live that much longer"
                    .into(),
            });
        }
        findings
    }

    /// What an operator should know, worst first.
    #[must_use]
    pub fn doctor(&self) -> Vec<Finding> {
        let status = self.status();
        let mut findings = Vec::new();
        if let Some(reason) = &status.read_only {
            findings.push(Finding {
                severity: Severity::Critical,
                subject: "node".into(),
                message: format!("takes no writes: {reason}"),
                advice: match self.0.health.failed() {
                    None => "free disk space, or give the data directory more room".into(),
                    Some(_) => "mend the cause, then restart the node".into(),
                },
            });
        }
        findings.extend(self.clock_findings());
        for shard in &status.shards {
            if let Some(reason) = &shard.quarantined {
                findings.push(Finding {
                    severity: Severity::Critical,
                    subject: format!("s{}", shard.shard),
                    message: format!("is out of service: {reason}"),
                    advice: "restore the shard from a backup; the others serve on".into(),
                });
            }
        }
        if self.0.config.fsync != crate::FsyncPolicy::Always {
            findings.push(Finding {
                severity: Severity::Warning,
                subject: "node".into(),
                message: format!("acknowledges writes before fsync (--fsync {})", status.fsync),
                advice: "use --fsync always if a loss of power must lose nothing".into(),
            });
        }
        if status.data_dir.is_none() {
            findings.push(Finding {
                severity: Severity::Warning,
                subject: "node".into(),
                message: "keeps its data in memory only".into(),
                advice: "give it a data directory".into(),
            });
        }
        findings.push(Finding {
            severity: Severity::Info,
            subject: "node".into(),
            message: "is the only one: each row exists once".into(),
            advice: "keep a copy of the data elsewhere".into(),
        });
        findings.sort_by_key(|finding| Reverse(finding.severity));
        findings
    }
}
