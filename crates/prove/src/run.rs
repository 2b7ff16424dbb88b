//! A whole run: nodes, clients, faults, and the judgement.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::time::sleep;

use crate::checker::{Counterexample, Verdict, check};
use crate::cluster::{Cluster, ClusterConfig};
use crate::history::{Key, Operation, Protocol};
use crate::nemesis::{Fault, Happened, Patience, Planner, Step, inject};
use crate::workload::{Counts, Workload, WorkloadConfig};

/// How often it is looked after clients and nodes while all is well.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long a key may take to be read at the end.
const LAST_LOOK_WITHIN: Duration = Duration::from_secs(30);
/// How many violations are told.
const VIOLATIONS_MAX: usize = 3;

/// What a run is to be.
#[derive(Debug, Clone)]
pub struct RunConfig {
    /// The nodes.
    pub cluster: ClusterConfig,
    /// The clients.
    pub workload: WorkloadConfig,
    /// What happens to the nodes.
    pub faults: Vec<Fault>,
    /// How long it happens.
    pub duration: Duration,
    /// How long nodes may take.
    pub patience: Patience,
    /// How long a shard may go without a write around a fault, if that is to be judged.
    pub gap_max: Option<Duration>,
}

/// A key whose history nothing explains.
#[derive(Debug, Clone)]
pub struct Violation {
    /// The key.
    pub key: Key,
    /// Why.
    pub counterexample: Counterexample,
}

/// What a run found.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// Keys that were judged.
    pub keys: usize,
    /// Operations on them.
    pub operations: usize,
    /// Keys whose histories nothing explains.
    pub violations: Vec<Violation>,
    /// Keys that could not be judged.
    pub undecided: Vec<Key>,
    /// What else went wrong: nodes that ended, did not heal, or did not answer.
    pub troubles: Vec<String>,
}

impl Findings {
    /// Whether all promises were kept, as far as was seen.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.violations.is_empty() && self.undecided.is_empty() && self.troubles.is_empty()
    }
}

/// A run that has ended.
#[derive(Debug, Clone)]
pub struct Report {
    /// What it was to be.
    pub config: RunConfig,
    /// How long it took.
    pub took: Duration,
    /// Outcomes by protocol.
    pub counts: Vec<(Protocol, Counts)>,
    /// What happened to the nodes.
    pub happened: Vec<Happened>,
    /// What was found.
    pub findings: Findings,
    /// Where logs and data are, if something was found.
    pub kept: Option<PathBuf>,
}

/// Runs all of it. Tells what happens by `say`.
///
/// # Errors
/// If the cluster cannot be started or its data not kept; what the cluster does wrong is in
/// the report.
pub async fn run(config: RunConfig, mut say: impl FnMut(&str)) -> Result<Report> {
    let start = Instant::now();
    let mut cluster = Cluster::start(config.cluster.clone(), config.patience.ready).await?;
    let starting = cluster.until_whole(config.patience.whole).await;
    say(&format!(
        "{} nodes run in {} after {:.1} s",
        cluster.len(),
        cluster.folder().display(),
        start.elapsed().as_secs_f64()
    ));
    let targets = Arc::new(cluster.targets(config.workload.deadline));
    let workload = Workload::start(targets, config.workload.clone());
    let mut running = Running {
        config: &config,
        workload,
        findings: Findings::default(),
        happened: Vec::new(),
        say: &mut say,
    };
    if let Err(error) = starting {
        running.trouble(format!("{error:#}"));
    }
    running.until_the_end(&mut cluster).await;
    running.judge(&mut cluster).await;
    let Running { workload, findings, happened, .. } = running;
    let kept = match findings.is_good() {
        true => {
            cluster.discard().await?;
            None
        }
        false => Some(cluster.keep().await?),
    };
    let counts = workload.counts();
    Ok(Report { counts, took: start.elapsed(), happened, findings, kept, config })
}

struct Running<'a> {
    config: &'a RunConfig,
    workload: Workload,
    findings: Findings,
    happened: Vec<Happened>,
    say: &'a mut dyn FnMut(&str),
}

impl Running<'_> {
    fn trouble(&mut self, trouble: String) {
        (self.say)(&format!("TROUBLE: {trouble}"));
        self.findings.troubles.push(trouble);
    }

    /// Has faults happen until the time is over, or something is found.
    async fn until_the_end(&mut self, cluster: &mut Cluster) {
        let RunConfig { workload, cluster: nodes, faults, duration, .. } = self.config;
        let shards = usize::try_from(nodes.shards).unwrap_or(1);
        let mut planner = Planner::new(workload.seed, faults.clone(), nodes.nodes, shards);
        let end = Instant::now() + *duration;
        while Instant::now() < end && self.findings.is_good() {
            let step = planner.next_step();
            let calm = step.map_or(*duration, |step| step.calm);
            self.calm_until((Instant::now() + calm).min(end), cluster).await;
            if let Some(step) = step.filter(|_| Instant::now() < end && self.findings.is_good()) {
                self.fault(cluster, step).await;
            }
        }
    }

    async fn fault(&mut self, cluster: &mut Cluster, step: Step) {
        match inject(cluster, &mut self.workload, step, self.config.patience).await {
            Ok(happened) => {
                let Happened { fault, node, gap } = &happened;
                (self.say)(&format!(
                    "{:>7.1} s  {fault:<9} of node {node}, {:.1} s; longest without a write \
                     {:.2} s (shard {}); {} operations",
                    self.workload.clock().now().since_start().as_secs_f64(),
                    step.hold.as_secs_f64(),
                    gap.length.as_secs_f64(),
                    gap.shard,
                    self.workload.counts().iter().map(|(_, counts)| counts.answered).sum::<u64>(),
                ));
                if self.config.gap_max.is_some_and(|max| gap.length > max) {
                    let length = gap.length;
                    self.trouble(format!("{fault} of node {node}: {length:?} without a write"));
                }
                self.happened.push(happened);
            }
            Err(error) => self.trouble(format!("{error:#}")),
        }
    }

    /// Waits, while keys are judged that are no longer in use and nodes are looked after.
    async fn calm_until(&mut self, until: Instant, cluster: &mut Cluster) {
        while Instant::now() < until && self.findings.is_good() {
            sleep(LOOK_EVERY.min(until.saturating_duration_since(Instant::now()))).await;
            for (node, how) in cluster.ended_by_themselves() {
                self.trouble(format!("node {node} ended by itself: {how}"));
            }
            for key in self.workload.take_retired() {
                let operations = self.workload.histories().of(&key);
                self.note(key, judged(operations).await);
            }
        }
    }

    /// After everything: reads all, and judges all keys.
    async fn judge(&mut self, cluster: &mut Cluster) {
        self.workload.stop().await;
        for (node, how) in cluster.ended_by_themselves() {
            self.trouble(format!("node {node} ended by itself: {how}"));
        }
        (self.say)("reading every key from every node by every protocol");
        for failure in self.workload.look_at_all(LAST_LOOK_WITHIN).await {
            self.trouble(failure);
        }
        let keys = self.workload.histories().keys();
        (self.say)(&format!("judging {} keys", keys.len()));
        self.findings.violations.clear();
        self.findings.undecided.clear();
        for key in keys {
            let operations = self.workload.histories().of(&key);
            self.findings.keys += 1;
            self.findings.operations += operations.len();
            self.note(key, judged(operations).await);
        }
        for panic in cluster.panics() {
            self.trouble(panic);
        }
    }

    fn note(&mut self, key: Key, verdict: Verdict) {
        match verdict {
            Verdict::Linearizable => {}
            Verdict::Undecided => self.findings.undecided.push(key),
            Verdict::Violation(counterexample) => {
                (self.say)(&format!("VIOLATION at {key}"));
                if self.findings.violations.len() < VIOLATIONS_MAX {
                    let counterexample = *counterexample;
                    self.findings.violations.push(Violation { key, counterexample });
                }
            }
        }
    }
}

/// Judges a key beside the clients' work.
async fn judged(operations: Vec<Operation>) -> Verdict {
    tokio::task::spawn_blocking(move || check(&operations)).await.unwrap_or(Verdict::Undecided)
}
