//! How a fault is done, and taken back.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::time::sleep;

use super::fault::Fault;
use super::plan::{Step, Victim};
use crate::cluster::{Cluster, Fill};
use crate::workload::{Gap, Workload};

/// How long before the end of a fault the node is asked what it should not answer from memory,
/// and for how long.
const PROBE_BEFORE: Duration = Duration::from_millis(400);
const PROBE_FOR: Duration = Duration::from_millis(1_500);
/// The slices of a slow node.
const STANDS: Duration = Duration::from_millis(60);
const RUNS: Duration = Duration::from_millis(30);
/// How often it is looked whether shards are written again.
const POLL_EVERY: Duration = Duration::from_millis(20);

/// How long nodes may take for what they must do.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// To take all requests after a start.
    pub ready: Duration,
    /// To end after SIGTERM.
    pub end: Duration,
    /// To have all replicas in order again.
    pub whole: Duration,
    /// To take writes in every shard when all is in order.
    pub writable: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            ready: Duration::from_secs(60),
            end: Duration::from_secs(30),
            whole: Duration::from_secs(120),
            writable: Duration::from_secs(30),
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// What.
    pub fault: Fault,
    /// To which node.
    pub node: usize,
    /// The longest time that a shard was not written, from the beginning of the fault until
    /// all was well again.
    pub gap: Gap,
}

/// Has a fault happen, takes it back, and waits until all is well again.
///
/// # Errors
/// If it does not get well in time, or something could not be done.
pub async fn inject(
    cluster: &mut Cluster,
    workload: &mut Workload,
    step: Step,
    patience: Patience,
) -> Result<Happened> {
    let node = victim(cluster, step.victim).await;
    workload.forget_gaps();
    let mut injection = Injection { cluster, workload, node, step, patience };
    let done = injection.run().await;
    let well = injection.until_well().await;
    done.and(well).with_context(|| format!("{} of node {node}", step.fault))?;
    Ok(Happened { fault: step.fault, node, gap: workload.longest_gap() })
}

/// The node that it happens to.
async fn victim(cluster: &Cluster, victim: Victim) -> usize {
    match victim {
        Victim::Node(node) => node,
        Victim::LeaderOf(shard) => {
            let leaders = cluster.leaders().await;
            let shard = shard % leaders.len().max(1);
            leaders.get(shard).map_or(0, |leader| leader.node)
        }
    }
}

struct Injection<'a> {
    cluster: &'a mut Cluster,
    workload: &'a mut Workload,
    node: usize,
    step: Step,
    patience: Patience,
}

impl Injection<'_> {
    async fn run(&mut self) -> Result<()> {
        let (node, hold) = (self.node, self.step.hold);
        match self.step.fault {
            Fault::Kill => {
                self.cluster.kill(node).await?;
                sleep(hold).await;
                self.cluster.start_node(node)
            }
            Fault::KillAll => {
                for node in 0..self.cluster.len() {
                    self.cluster.kill(node).await?;
                }
                (0..self.cluster.len()).try_for_each(|node| self.cluster.start_node(node))
            }
            Fault::Terminate => {
                let ended = self.cluster.terminate(node, self.patience.end).await;
                sleep(hold).await;
                self.cluster.start_node(node)?;
                ended
            }
            Fault::Pause => {
                self.cluster.pause(node)?;
                self.hold_and_probe().await;
                self.cluster.resume(node)
            }
            Fault::Slow => self.slow_down().await,
            Fault::Partition | Fault::OneWay | Fault::Link => {
                for (from, to) in self.cuts() {
                    self.cluster.cut(from, to)?;
                }
                self.hold_and_probe().await;
                self.cluster.mend_network()
            }
            Fault::Disk => self.fill_disks(&[node]).await,
            Fault::Disks => self.fill_disks(&[node, (node + 1) % self.cluster.len()]).await,
            Fault::Wipe => {
                self.cluster.kill(node).await?;
                self.cluster.wipe(node)?;
                sleep(hold).await;
                self.cluster.start_node(node)
            }
        }
    }

    /// Holds the fault, and asks the node shortly before it ends and after.
    async fn hold_and_probe(&mut self) {
        sleep(self.step.hold.saturating_sub(PROBE_BEFORE)).await;
        self.workload.probe(self.node, PROBE_FOR);
        sleep(PROBE_BEFORE).await;
    }

    async fn slow_down(&mut self) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < self.step.hold {
            self.cluster.pause(self.node)?;
            sleep(STANDS).await;
            self.cluster.resume(self.node)?;
            sleep(RUNS).await;
        }
        Ok(())
    }

    /// The directions that are cut.
    fn cuts(&self) -> Vec<(usize, usize)> {
        let node = self.node;
        let others: Vec<usize> = (0..self.cluster.len()).filter(|other| *other != node).collect();
        let out = others.iter().map(|other| (node, *other));
        let into = others.iter().map(|other| (*other, node));
        match (self.step.fault, self.step.form % 2) {
            (Fault::OneWay, 0) => out.collect(),
            (Fault::OneWay, _) => into.collect(),
            (Fault::Link, form) => {
                let position = usize::try_from(form).unwrap_or(0) % others.len().max(1);
                let other = others.get(position).copied().unwrap_or(node);
                vec![(node, other), (other, node)]
            }
            _ => out.chain(into).collect(),
        }
    }

    async fn fill_disks(&mut self, nodes: &[usize]) -> Result<()> {
        let fill = if self.step.form.is_multiple_of(2) { Fill::Full } else { Fill::Low };
        for node in nodes {
            self.cluster.fill_disk(*node, fill)?;
        }
        sleep(self.step.hold / 2).await;
        if self.step.form.is_multiple_of(3) {
            for node in nodes {
                self.cluster.kill(*node).await?;
                self.cluster.start_node(*node)?;
            }
        }
        sleep(self.step.hold / 2).await;
        nodes.iter().try_for_each(|node| self.cluster.empty_disk(*node))
    }

    /// Waits until every node and shard is as before the fault.
    async fn until_well(&mut self) -> Result<()> {
        for node in 0..self.cluster.len() {
            self.cluster.until_ready(node, self.patience.ready).await?;
        }
        self.cluster.until_whole(self.patience.whole).await?;
        let (start, since) = (Instant::now(), self.workload.clock().now());
        while !self.workload.is_written_since(since) {
            if start.elapsed() > self.patience.writable {
                bail!("a shard was not written within {:?}", self.patience.writable);
            }
            sleep(POLL_EVERY).await;
        }
        Ok(())
    }
}
