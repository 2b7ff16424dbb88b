//! What an operator should know, and what to do about it.

use std::cmp::Reverse;

use breccia_types::time::CLOCK_JUMP_MAX;
use breccia_types::{RequestError, ShardId};
use serde::Serialize;

use crate::membership::Heard;
use crate::node::Node;
use crate::overview::{ClusterOverview, NodeOverview, ShardOverview};
use crate::status::{NodeStatus, StrandedShard};

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
    /// What it is about: `node`, which is the one that answers; another node by its address;
    /// `cluster`; or a shard such as `s3`.
    pub subject: String,
    /// What was found.
    pub message: String,
    /// What to do about it.
    pub advice: String,
}

/// Entries that a replica may lack before that is worth a word.
const LAG_MAX: u64 = 10_000;

impl Node {
    /// What an operator should know of this node and of the cluster, worst first.
    ///
    /// # Errors
    /// If this node cannot say how it stands itself.
    pub async fn doctor(&self) -> Result<Vec<Finding>, RequestError> {
        let overview = self.overview().await?;
        let status = self.blocking_status().await?;
        let mut findings = self.node_findings(&status);
        findings.extend(self.clock_findings());
        findings.extend(self.connection_findings());
        findings.extend(node_list_findings(&overview));
        for shard in &overview.shards {
            findings.extend(shard_findings(&overview, shard));
        }
        let told = overview.nodes.iter().filter_map(|node| node.status.as_ref());
        for StrandedShard { shard, reason } in told.flat_map(|status| &status.stranded) {
            findings.push(Finding {
                severity: Severity::Critical,
                subject: ShardId::new(*shard).to_string(),
                message: format!("cannot be repaired: {reason}"),
                advice: "start the nodes that hold it again, with their data directories".into(),
            });
        }
        findings.sort_by_key(|finding| Reverse(finding.severity));
        Ok(findings)
    }

    fn node_findings(&self, status: &NodeStatus) -> Vec<Finding> {
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
        findings
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

    /// Nodes with which this one refuses to speak, or that refuse to speak with it.
    fn connection_findings(&self) -> Vec<Finding> {
        let Some(network) = &self.0.network else { return Vec::new() };
        let rejected = network.status().rejected;
        let finding = |rejected: breccia_transport::tcp::RejectedConnection| Finding {
            severity: Severity::Warning,
            subject: "node".into(),
            message: format!(
                "a connection at {} was refused: {}",
                rejected.address, rejected.rejection
            ),
            advice: "see that each node has a data directory of its own, and that the addresses \
                     of nodes are those of one cluster"
                .into(),
        };
        rejected.into_iter().map(finding).collect()
    }
}

fn silent_node(node: &NodeOverview, reason: &str) -> Finding {
    let (heard, advice) = match node.heard {
        Some(Heard::Lately) => (
            "; it lives, for it is heard of".to_owned(),
            "see to the network: TCP to its --peer address must pass from every node",
        ),
        Some(Heard::Nothing { seconds }) => (
            format!("; nothing is heard of it for {seconds} s"),
            "start it again; if its disk is lost, start a node with an empty data directory at \
             its address, with --join",
        ),
        None => (
            String::new(),
            "start it again; if its disk is lost, start a node with an empty data directory at \
             its address, with --join",
        ),
    };
    Finding {
        severity: Severity::Critical,
        subject: name_of(node),
        message: format!("does not answer: {reason}{heard}"),
        advice: advice.into(),
    }
}

fn node_list_findings(overview: &ClusterOverview) -> Vec<Finding> {
    let mut findings = Vec::new();
    for node in &overview.nodes {
        if let Some(reason) = &node.unreachable {
            findings.push(silent_node(node, reason));
        }
        if let Some(reason) = node.status.as_ref().and_then(|status| status.read_only.as_ref())
            && node.member.node != overview.node
        {
            findings.push(Finding {
                severity: Severity::Critical,
                subject: name_of(node),
                message: format!("takes no writes: {reason}"),
                advice: "free disk space on it, or give its data directory more room".into(),
            });
        }
    }
    let wanted = usize::from(overview.replicas_wanted);
    if overview.nodes.len() < wanted {
        let count = overview.nodes.len();
        let (have, missing) = match count {
            1 => ("each row exists once".to_owned(), "two more nodes"),
            2 => (
                "each row exists twice, and one node alone takes writes".to_owned(),
                "a third node",
            ),
            count => (format!("each row exists {count} times"), "more nodes"),
        };
        findings.push(Finding {
            severity: if count == 1 { Severity::Info } else { Severity::Warning },
            subject: "cluster".into(),
            message: format!("has {count} of {wanted} nodes for its replicas: {have}"),
            advice: format!(
                "start {missing} with --join; until then keep a copy of the data elsewhere"
            ),
        });
    }
    findings
}

/// A node as people know it: where it is.
fn name_of(node: &NodeOverview) -> String {
    format!("node {}", node.member.peer)
}

fn shard_findings(overview: &ClusterOverview, shard: &ShardOverview) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |severity, message: String, advice: &str| {
        let subject = ShardId::new(shard.shard).to_string();
        findings.push(Finding { severity, subject, message, advice: advice.to_owned() });
    };
    for replica in &shard.replicas {
        let node = replica.node;
        if let Some(reason) = &replica.trouble {
            let severity =
                if shard.leader.is_some() { Severity::Warning } else { Severity::Critical };
            let (message, advice) = match shard.replicas.len() {
                1 => (
                    format!("is out of service: {reason}"),
                    "restore the shard from a backup; the others serve on",
                ),
                _ => (
                    format!("the replica on {node} is out of service: {reason}"),
                    "stop that node, and start it again with an empty data directory and --join; \
                     the other replicas serve on",
                ),
            };
            let severity = if shard.replicas.len() == 1 { Severity::Critical } else { severity };
            find(severity, message, advice);
        }
        if replica.lag.is_some_and(|lag| lag > LAG_MAX) {
            let lag = replica.lag.unwrap_or(0);
            find(
                Severity::Warning,
                format!("the replica on {node} lacks {lag} entries"),
                "it is catching up; if it does not, look at that node's disk and log",
            );
        }
    }
    if shard.leader.is_none() {
        find(
            Severity::Critical,
            "has no leader: it takes no writes and no reads that must be up to date".into(),
            "a majority of its replicas must run and reach each other: start the nodes that hold it",
        );
    }
    let nodes = overview.nodes.len().min(usize::from(overview.replicas_wanted));
    let voters = shard.replicas.iter().filter(|replica| replica.votes).count();
    // Two nodes have one voter and one learner, by design; the cluster's finding says so.
    if nodes >= 3 && voters < nodes - usize::from(nodes.is_multiple_of(2)) {
        find(
            Severity::Warning,
            format!("has {voters} voting replicas of {nodes}"),
            "it is being repaired while all nodes answer; see the findings of nodes",
        );
    }
    findings
}
