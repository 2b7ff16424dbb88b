//! `breccia-prove`: proves a cluster of real processes under faults.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use breccia_prove::cluster::ClusterConfig;
use breccia_prove::nemesis::{Fault, Patience};
use breccia_prove::run::{RunConfig, run};
use breccia_prove::workload::WorkloadConfig;
use clap::Parser;

/// Set once the process has namespaces of its own.
const INSIDE: &str = "BRECCIA_PROVE_INSIDE";

/// Runs nodes, has clients of all protocols work on the same keys while faults happen, and
/// judges whether what the clients were told is linearizable and nothing acknowledged is lost.
///
/// Ends with 0 if all promises were kept, and with 1 if not; then the counterexample is in the
/// report, and the nodes' logs and data are kept. Cutting links and filling disks needs user
/// namespaces.
#[derive(Debug, Parser)]
#[command(name = "breccia-prove")]
struct Arguments {
    /// The breccia binary
    #[arg(long, env = "BRECCIA_BINARY")]
    binary: PathBuf,
    /// Nodes
    #[arg(long, default_value_t = 1)]
    nodes: usize,
    /// Shards
    #[arg(long, default_value_t = 4)]
    shards: u32,
    /// How long faults happen
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Decides what clients ask and which faults happen; drawn if absent
    #[arg(long)]
    seed: Option<u64>,
    /// Faults, separated by commas: kill, kill-all, terminate, pause, slow, partition, one-way,
    /// link, disk, disks, wipe, or none [default: all that so many nodes must survive]
    #[arg(long)]
    faults: Option<String>,
    /// Take faults too that the nodes cannot survive, to see that it is noticed
    #[arg(long)]
    beyond_promises: bool,
    /// Operations a second
    #[arg(long, default_value_t = 400)]
    rate: u32,
    /// Clients of each protocol
    #[arg(long, default_value_t = 4)]
    clients: u32,
    /// The longest that a shard may go without a write around a fault; not judged if absent
    #[arg(long)]
    gap_max_ms: Option<u64>,
    /// How long nodes may take to get ready and whole again
    #[arg(long, default_value_t = 120)]
    patience_seconds: u64,
    /// Write the report to this file too
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// One more argument for `breccia serve`; may be repeated
    #[arg(long = "serve", value_name = "ARGUMENT", allow_hyphen_values = true)]
    serve: Vec<String>,
}

impl Arguments {
    fn faults(&self) -> Result<Vec<Fault>> {
        let faults = match self.faults.as_deref() {
            None => return Ok(Fault::survivable(self.nodes)),
            Some("none") => return Ok(Vec::new()),
            Some(list) => list
                .split(',')
                .map(|name| name.trim().parse())
                .collect::<Result<Vec<Fault>, _>>()?,
        };
        let fatal = faults.iter().find(|fault| !fault.is_survivable(self.nodes));
        if let Some(fault) = fatal.filter(|_| !self.beyond_promises) {
            bail!("{fault} needs three nodes or more, or --beyond-promises");
        }
        Ok(faults)
    }

    fn config(&self) -> Result<RunConfig> {
        let faults = self.faults()?;
        let binary = self.binary.canonicalize();
        let binary = binary.with_context(|| format!("no binary {}", self.binary.display()))?;
        let mut workload = WorkloadConfig::new(self.seed.unwrap_or_else(rand::random));
        workload.rate = self.rate;
        workload.clients_per_protocol = self.clients;
        workload.shards = self.shards;
        let patience = Duration::from_secs(self.patience_seconds);
        Ok(RunConfig {
            cluster: ClusterConfig {
                binary,
                nodes: self.nodes,
                shards: self.shards,
                has_network: faults.iter().any(|fault| fault.needs_network()),
                has_small_disks: faults.iter().any(|fault| fault.needs_small_disks()),
                more: self.serve.clone(),
            },
            workload,
            faults,
            duration: Duration::from_secs(self.seconds),
            patience: Patience { ready: patience, whole: patience, ..Patience::default() },
            gap_max: self.gap_max_ms.map(Duration::from_millis),
        })
    }
}

fn main() -> ExitCode {
    match prove(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("breccia-prove: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn prove(arguments: &Arguments) -> Result<ExitCode> {
    let config = arguments.config()?;
    let needs_namespaces = config.cluster.has_network || config.cluster.has_small_disks;
    if needs_namespaces && std::env::var_os(INSIDE).is_none() {
        return Err(enter_namespaces(config.cluster.has_network));
    }
    println!("seed {}", config.workload.seed);
    let runtime = tokio::runtime::Runtime::new()?;
    let report = runtime.block_on(run(config, |line| println!("{line}")))?;
    let text = report.to_string();
    println!("\n{text}");
    if let Some(file) = &arguments.report {
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(if report.findings.is_good() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Becomes the same command in namespaces of its own, where it may mount disks and connect
/// networks. Returns only if that is not possible.
fn enter_namespaces(has_network: bool) -> anyhow::Error {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error.into(),
    };
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "--fork", "--kill-child"]);
    if has_network {
        command.arg("--net");
    }
    command.arg("--").arg(program).args(std::env::args_os().skip(1)).env(INSIDE, "1");
    anyhow::Error::new(command.exec()).context("cannot run unshare")
}
