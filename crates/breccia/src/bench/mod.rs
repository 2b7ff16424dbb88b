//! `bench`: the YCSB core workloads over the Redis protocol, gRPC and in process.
//!
//! The same tool drives a real Redis, so that both are measured alike: name two targets, and
//! their rounds alternate on the same machine in the same minutes.

mod driver;
mod etcd;
mod grpc;
mod in_process;
mod keys;
mod report;
mod resp;
mod resp_cluster;
mod target;
mod workload;

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use breccia_node::FsyncPolicy;
use clap::Args;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use self::driver::{Pace, load_records, run as run_workload};
use self::in_process::InProcess;
use self::keys::{Chooser, Distribution};
use self::report::{Report, TargetReport};
use self::target::{Connection, Target};
use self::workload::{Generator, Records, Values, Workload};
use crate::exit::{Exit, Failure};
use crate::progress;

/// The table that gRPC and in-process targets read and write. Redis targets have no tables.
const BENCH_TABLE: &str = "bench";

/// Arguments of `bench`.
#[derive(Debug, Args)]
#[command(after_help = "\
The target's keys user00000000000000000000 to user99999999999999999999 are written, in the table \
`bench` or, over the Redis protocol, among its other keys; they are not removed afterwards.

Without --rate each connection waits for its answers (a closed loop): a server that stalls is \
asked less, and the stall hardly shows. With --rate operations start at that rate whatever the \
server does, and latency counts from the intended start (corrected for coordinated omission).")]
pub(crate) struct BenchArgs {
    /// What to measure: resp://HOST:PORT (a real Redis too), grpc://HOST:PORT, etcd://HOST:PORT, or
    /// inproc for a node in this process; several addresses, separated by commas, are taken in
    /// turn. Give it twice to alternate rounds and to see the ratio
    #[arg(long, value_name = "TARGET", default_value = "inproc")]
    target: Vec<Target>,
    /// The YCSB workload
    #[arg(long, value_enum, ignore_case = true, default_value = "a")]
    workload: Workload,
    /// Records to load before measuring
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    records: u64,
    /// Bytes of each value
    #[arg(long, value_name = "N", default_value_t = 100)]
    value_bytes: usize,
    /// Seconds that each round is measured
    #[arg(long, value_name = "N", default_value_t = 10)]
    seconds: u64,
    /// Seconds that each round runs before it is measured
    #[arg(long, value_name = "N", default_value_t = 1)]
    warmup: u64,
    /// Rounds for each target
    #[arg(long, value_name = "N", default_value_t = 1)]
    rounds: usize,
    /// Connections to each target
    #[arg(long, value_name = "N", default_value_t = 32)]
    connections: usize,
    /// Threads that drive the connections: 1 if not given, so that most of the machine is the
    /// server's, and one per core for inproc, which is the server
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Operations that a connection has in flight
    #[arg(long, value_name = "N", default_value_t = 1)]
    pipeline: usize,
    /// Operations started in each second, all connections together; as many as possible if
    /// not given
    #[arg(long, value_name = "OPS")]
    rate: Option<f64>,
    /// How records are chosen; the workload's own way if not given
    #[arg(long, value_enum)]
    distribution: Option<Distribution>,
    /// Load the records, and measure nothing else
    #[arg(long)]
    load_only: bool,
    /// Measure the records that an earlier run loaded
    #[arg(long, conflicts_with = "load_only")]
    no_load: bool,
    /// The data directory of the inproc target; one that is removed afterwards if not given
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// When writes of the inproc target reach the disk: always, interval:MS or never
    #[arg(long, value_name = "WHEN", default_value = "always")]
    fsync: FsyncPolicy,
    /// Write one JSON document
    #[arg(long)]
    json: bool,
}

impl BenchArgs {
    fn check(&self) -> Result<(), Failure> {
        let positive = [
            ("--records", self.records > 0),
            ("--seconds", self.seconds > 0),
            ("--rounds", self.rounds > 0),
            ("--connections", self.connections > 0),
            ("--pipeline", self.pipeline > 0),
            ("--threads", self.threads.is_none_or(|threads| threads > 0)),
            ("--rate", self.rate.is_none_or(|rate| rate > 0.0 && rate.is_finite())),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, valid)| !valid) {
            return Err(Failure::usage(format!("{name} must be greater than zero")));
        }
        if self.target.len() > 2 {
            return Err(Failure::usage("at most two targets can be compared"));
        }
        let resp = self.target.iter().find(|target| matches!(target, Target::Resp(_)));
        match resp {
            Some(target) if self.workload == Workload::E => Err(Failure::usage(format!(
                "workload e scans rows in key order, which the Redis protocol cannot ask for: \
                 measure it at grpc://HOST:PORT or inproc instead of {target}",
            ))),
            _ => Ok(()),
        }
    }

    /// The threads that drive the connections, `None` for one per core.
    fn threads(&self) -> Option<usize> {
        let default = if self.target.contains(&Target::InProcess) { None } else { Some(1) };
        self.threads.or(default)
    }

    fn runtime(&self) -> io::Result<Runtime> {
        let mut runtime = match self.threads() {
            Some(1) => Builder::new_current_thread(),
            _ => Builder::new_multi_thread(),
        };
        if let Some(threads) = self.threads() {
            runtime.worker_threads(threads);
        }
        runtime.enable_all().build()
    }

    fn distribution(&self) -> Distribution {
        self.distribution.unwrap_or(self.workload.distribution())
    }

    fn pace(&self) -> Pace {
        let connections = self.connections as f64;
        Pace {
            warmup: Duration::from_secs(self.warmup),
            measured: Duration::from_secs(self.seconds),
            pipeline: self.pipeline,
            interval: self.rate.map(|rate| Duration::from_secs_f64(connections / rate)),
        }
    }

    fn parameters(&self) -> Vec<(&'static str, Value)> {
        let rate = self.rate.map_or(Value::from("unlimited (closed loop)"), Value::from);
        vec![
            ("workload", self.workload.name().into()),
            ("distribution", self.distribution().name().into()),
            ("records", self.records.into()),
            ("value_bytes", self.value_bytes.into()),
            ("connections", self.connections.into()),
            ("pipeline", self.pipeline.into()),
            ("threads", self.threads().map_or(Value::from("one per core"), Value::from)),
            ("rate", rate),
            ("seconds", self.seconds.into()),
            ("rounds", self.rounds.into()),
        ]
    }
}

/// A target while it is measured.
struct Bench {
    connections: Vec<Connection>,
    records: Records,
    report: TargetReport,
}

/// Measures.
pub(crate) fn run(args: BenchArgs) -> Result<Exit> {
    args.check()?;
    args.runtime()?.block_on(measure(args))
}

async fn measure(args: BenchArgs) -> Result<Exit> {
    let inproc = args.target.contains(&Target::InProcess);
    let node = match inproc {
        true => Some(InProcess::open(args.data.clone(), args.fsync).await?),
        false => None,
    };
    let values = Values::new(args.value_bytes);
    let mut benches = Vec::new();
    for target in &args.target {
        benches.push(prepare(&args, target, node.as_ref(), &values).await?);
    }
    if !args.load_only {
        let chooser = Chooser::new(args.distribution(), args.records);
        for round in 0..args.rounds {
            for bench in &mut benches {
                one_round(&args, bench, round, &chooser, &values).await?;
            }
        }
    }
    let targets = benches.into_iter().map(|bench| bench.report).collect();
    let mut parameters = args.parameters();
    if inproc {
        parameters.push(("fsync", args.fsync.to_string().into()));
    }
    let report = Report { parameters, records: args.records, targets };
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report.to_json()?)?;
        std::io::Write::write_all(&mut out, b"\n")?;
    } else {
        report.write_text(&mut out)?;
    }
    drop(out);
    if let Some(node) = node {
        node.close().await;
    }
    Ok(Exit::Done)
}

/// Connects to a target and loads its records.
async fn prepare(
    args: &BenchArgs,
    target: &Target,
    node: Option<&InProcess>,
    values: &Values,
) -> Result<Bench> {
    let mut connections = Vec::with_capacity(args.connections);
    for _ in 0..args.connections {
        connections.push(Connection::open(target, node).await?);
    }
    let mut server = String::new();
    if let Some(first) = connections.first_mut() {
        server = first.describe().await;
    }
    let mut load_seconds = 0.0;
    if !args.no_load {
        let bar = progress::count(args.records, &format!("loading {target}"));
        let started = Instant::now();
        let shown = bar.clone();
        let progress = move |count| shown.inc(count);
        connections = load_records(connections, args.records, values, progress).await?;
        load_seconds = started.elapsed().as_secs_f64();
        bar.finish_and_clear();
    }
    let report =
        TargetReport { target: target.to_string(), server, load_seconds, rounds: Vec::new() };
    Ok(Bench { connections, records: Records::new(args.records, args.connections), report })
}

async fn one_round(
    args: &BenchArgs,
    bench: &mut Bench,
    round: usize,
    chooser: &Chooser,
    values: &Values,
) -> Result<()> {
    let target = &bench.report.target;
    let label = format!("{target} round {} of {}", round + 1, args.rounds);
    let bar = progress::spinner(&label);
    let round = u64::try_from(round).unwrap_or(0);
    let driven = std::mem::take(&mut bench.connections).into_iter().zip(0_u32..).enumerate();
    let driven = driven.map(|(position, (connection, seed))| {
        let generator = Generator {
            workload: args.workload,
            chooser: chooser.clone(),
            records: bench.records.clone(),
            values: values.clone(),
            random: SmallRng::seed_from_u64((round << 32) | u64::from(seed)),
            connection: position,
        };
        (connection, generator)
    });
    let (measured, connections) = run_workload(driven.collect(), args.pace()).await?;
    bar.finish_and_clear();
    bench.connections = connections;
    bench.report.rounds.push(measured);
    Ok(())
}
