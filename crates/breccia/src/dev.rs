//! `dev`: a cluster in one process for trying things out, with sample data if wanted.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use anyhow::{Context, Result};
use breccia_api::v1::DescribeTableRequest;
use breccia_types::limits::MEMORY_BYTES_MIN;
use clap::Args;
use futures::future::{join_all, select_all};
use tokio::runtime::Runtime;

use crate::client::{Client, is_unknown_table};
use crate::config::{Config, Settings};
use crate::exit::Exit;
use crate::import::Import;
use crate::logging;
use crate::serve::{Running, Signals, exit_at_once, layered};

/// Where the data of a node for trying things out lies if nothing is said.
const DATA_DEFAULT: &str = "breccia-data";
/// What is logged if nothing is said: nobody who tries things out wants to read more.
const LOG_DEFAULT: &str = "warn";
/// The table of the sample.
const SAMPLE_TABLE: &str = "flights";
/// How keys of the sample are made.
const SAMPLE_KEY: &str = "{carrier}/{flight}/{origin}/{time_hour}/{sched_dep_time}";
/// A row of the sample that is worth a look.
const SAMPLE_ROW: &str = "UA/1545/EWR/2013-01-01T10:00:00Z/515";

/// Arguments of `dev`.
#[derive(Debug, Args)]
#[command(after_help = "\
Takes the flags, environment variables and file of `breccia serve`; only the defaults of --data \
(./breccia-data) and --log (warn) differ. With --nodes, the first node has the addresses and the data \
directory that are given; the others have the ports after them, in steps of 10 for gRPC and REST \
and for other nodes, of 1 for the Redis protocol, and the data directories DIR-2, DIR-3 and so on. \
They share the memory budget.")]
pub(crate) struct DevArgs {
    /// Nodes to run
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=9))]
    nodes: u16,
    /// A CSV file of flights to load into the table `flights`, unless that was done before
    #[arg(long, value_name = "FILE")]
    sample: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    /// The configuration file [default: breccia.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs a cluster for trying things out.
pub(crate) fn run(args: DevArgs) -> Result<Exit> {
    let defaults = Settings {
        data: Some(PathBuf::from(DATA_DEFAULT)),
        log: Some(LOG_DEFAULT.to_owned()),
        ..Settings::default()
    };
    let config = layered(args.settings, args.config)?.or(defaults).complete()?;
    logging::start(&config)?;
    let configs = configs_of(config, args.nodes)?;
    let runtime = Runtime::new()?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let mut cluster = Cluster::start(&configs).await?;
        if let Some(sample) = args.sample {
            let loaded = tokio::select! {
                loaded = load(cluster.first(), sample) => loaded,
                () = signals.next() => {
                    eprintln!("stopped while loading; the next start loads the sample again");
                    cluster.shut_down().await;
                    return Ok(Exit::Done);
                }
            };
            if let Err(error) = loaded {
                cluster.shut_down().await;
                return Err(error.context("the sample was not loaded"));
            }
        }
        cluster.announce()?;
        suggest(cluster.first(), args.nodes)?;
        cluster.until_signal(&mut signals).await
    });
    runtime.shutdown_background();
    ended
}

/// The configuration of each node.
///
/// # Errors
/// If a port is out of range, or there is no free one.
fn configs_of(first: Config, nodes: u16) -> Result<Vec<Config>> {
    if nodes == 1 {
        return Ok(vec![first]);
    }
    let mut first = first;
    if first.peer.port() == 0 {
        // The others must know it before it listens.
        first.peer = TcpListener::bind(first.peer)?.local_addr()?;
    }
    first.memory_bytes = (first.memory_bytes / usize::from(nodes)).max(MEMORY_BYTES_MIN);
    let after = |address: SocketAddr, step: u16, node: u16| -> Result<SocketAddr> {
        let port = match address.port() {
            0 => Some(0),
            port => step.checked_mul(node).and_then(|more| port.checked_add(more)),
        };
        let port = port.with_context(|| format!("no port is left after {address}"))?;
        Ok(SocketAddr::new(address.ip(), port))
    };
    let mut configs = vec![first.clone()];
    for node in 1..nodes {
        let mut data = first.data.clone().into_os_string();
        data.push(format!("-{}", node + 1));
        configs.push(Config {
            data: data.into(),
            http: after(first.http, 10, node)?,
            resp: after(first.resp, 1, node)?,
            peer: after(first.peer, 10, node)?,
            join: vec![first.peer.to_string()],
            ..first.clone()
        });
    }
    Ok(configs)
}

/// The nodes of one process, the first one apart.
struct Cluster {
    first: Running,
    others: Vec<Running>,
}

impl Cluster {
    async fn start(configs: &[Config]) -> Result<Self> {
        let mut nodes = Vec::new();
        let mut failed = None;
        for started in join_all(configs.iter().map(Running::start)).await {
            match started {
                Ok(node) => nodes.push(node),
                Err(error) => failed = Some(error),
            }
        }
        let mut nodes = nodes.into_iter();
        match (failed, nodes.next()) {
            (None, Some(first)) => Ok(Self { first, others: nodes.collect() }),
            (failed, first) => {
                let mut left: Vec<_> = first.into_iter().chain(nodes).collect();
                join_all(left.iter_mut().map(Running::shut_down)).await;
                Err(failed.context("there is no node")?)
            }
        }
    }

    const fn first(&self) -> &Running {
        &self.first
    }

    fn announce(&self) -> Result<()> {
        Ok(self.first.announce()?)
    }

    async fn until_signal(mut self, signals: &mut Signals) -> Result<Exit> {
        for node in &self.others {
            tracing::info!(http = %node.http, resp = %node.resp, peer = %node.peer, "serves, too");
        }
        let nodes = self.others.iter_mut().chain([&mut self.first]);
        let any = select_all(nodes.map(|node| Box::pin(node.ended())));
        let ended = tokio::select! {
            () = signals.next() => Ok(()),
            (ended, ..) = any => ended,
        };
        tokio::select! {
            () = self.shut_down() => {}
            () = signals.next() => exit_at_once(),
        }
        ended.map(|()| Exit::Done)
    }

    async fn shut_down(&mut self) {
        let nodes = self.others.iter_mut().chain([&mut self.first]);
        join_all(nodes.map(Running::shut_down)).await;
    }
}

/// Loads the sample through the node's own front end, unless its table is complete: an
/// import describes the columns last.
async fn load(running: &Running, sample: PathBuf) -> Result<()> {
    let client = Client::connect(&running.http.to_string()).await?;
    if is_complete(&client).await? {
        return Ok(());
    }
    let import = Import::with_key(SAMPLE_TABLE, &sample, SAMPLE_KEY)?;
    let imported = import.run(&client).await?;
    eprintln!("{}", imported.to_text(SAMPLE_TABLE));
    Ok(())
}

async fn is_complete(client: &Client) -> Result<bool> {
    let request = DescribeTableRequest { name: SAMPLE_TABLE.to_owned() };
    match client.tables().describe(request).await {
        Ok(table) => {
            Ok(table.into_inner().options.is_some_and(|options| !options.columns.is_empty()))
        }
        Err(status) if is_unknown_table(&status) => Ok(false),
        Err(status) => Err(client.failed(&status)).context("while looking for the sample"),
    }
}

/// Tells three things to try.
fn suggest(running: &Running, nodes: u16) -> Result<()> {
    let (http, resp) = (running.http, running.resp);
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "\nTry, in another terminal:\n\
         \x20 redis-cli -p {} SET greeting hello\n\
         \x20 curl http://{http}/v1/tables\n\
         \x20 breccia get {SAMPLE_TABLE} {SAMPLE_ROW} --server {http}\n\
         \n\
         {}",
        resp.port(),
        match nodes {
            1 => "Ctrl-C ends the node.".to_owned(),
            _ => format!(
                "{nodes} nodes run in this process; each answers for all of them:\n\
                 \x20 breccia shards --server {http}\n\n\
                 Ctrl-C ends them."
            ),
        }
    )?;
    out.flush()?;
    Ok(())
}
