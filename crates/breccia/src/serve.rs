//! `serve`: runs a node until a signal ends it.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process;
use std::time::Duration;

use anyhow::{Context, Result};
use breccia_node::{Node, NodeConfig, Peering};
use breccia_server::{Extensions, http, resp};
use breccia_types::limits::SHUTDOWN_GRACE;
use clap::Args;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Settings};
use crate::exit::{Exit, Failure};
use crate::logging;

/// How much longer than their own grace the front ends get before they are left behind.
const FRONT_END_MARGIN: Duration = Duration::from_secs(2);

/// Arguments of `serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Each setting is taken from the flag, else from the environment variable, else from the file, else \
from the default. The file is breccia.toml in the working directory, or the one that --config \
names; its keys are the flags' names with _ for -, such as allow_remote = true.

A new data directory founds a cluster of one node. To add a node, start it with an empty data \
directory and --join with the --peer address of any node of the cluster; it is given copies of the \
shards while they serve on. A node that was started once finds its cluster by itself.

Standard output tells the addresses, one on a line (`http ADDRESS`, `resp ADDRESS`, `peer \
ADDRESS`), and then `ready`. SIGINT or SIGTERM ends the node after the requests in flight; a second one ends it at \
once, which loses nothing that was acknowledged under --fsync always.")]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    settings: Settings,
    /// The configuration file [default: breccia.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs a node.
pub(crate) fn run(args: ServeArgs) -> Result<Exit> {
    let config = layered(args.settings, args.config)?.complete()?;
    logging::start(&config)?;
    let runtime = Runtime::new()?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let running = tokio::select! {
            running = Running::start(&config) => running?,
            () = signals.next() => return Ok(Exit::Done),
        };
        running.announce()?;
        running.until_signal(&mut signals).await
    });
    runtime.shutdown_background();
    ended
}

/// The settings of flags, environment and file together.
///
/// # Errors
/// If the environment or the file is not valid.
pub(crate) fn layered(flags: Settings, file: Option<PathBuf>) -> Result<Settings> {
    let environment = Settings::from_environment(|name| std::env::var(name).ok())?;
    let file = Settings::from_file(file.as_deref())?;
    Ok(flags.or(environment).or(file))
}

/// SIGINT and SIGTERM.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From now on the signals no longer end the process by themselves.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Where clients will reach the node.
struct Listeners {
    http: TcpListener,
    resp: TcpListener,
}

impl Listeners {
    async fn bind(config: &Config) -> Result<Self> {
        let resp = TcpListener::bind(config.resp).await;
        let resp = resp.map_err(|error| cannot_listen("--resp", config.resp, &error))?;
        let http = TcpListener::bind(config.http).await;
        let http = http.map_err(|error| cannot_listen("--http", config.http, &error))?;
        Ok(Self { http, resp })
    }
}

/// A node and its front ends, serving.
pub(crate) struct Running {
    node: Node,
    /// Where gRPC and REST are served.
    pub(crate) http: SocketAddr,
    /// Where the Redis protocol is served.
    pub(crate) resp: SocketAddr,
    /// Where other nodes reach this one.
    pub(crate) peer: String,
    stop: CancellationToken,
    front_ends: JoinSet<io::Result<()>>,
}

impl Running {
    /// Opens the node and starts its front ends.
    ///
    /// # Errors
    /// If the data directory or an address cannot be used.
    pub(crate) async fn start(config: &Config) -> Result<Self> {
        warn_if_remote(config);
        // A node that cannot serve must not join, or found, a cluster first.
        let listeners = Listeners::bind(config).await?;
        let mut chosen = NodeConfig::new(&config.data);
        chosen.shards = config.shards;
        chosen.replicas = config.replicas;
        chosen.peering = Some(Peering {
            listen: config.peer.to_string(),
            advertise: config.advertise.clone(),
            join: config.join.clone(),
            zone: config.zone.clone(),
            membership: config.membership.into(),
        });
        chosen.memory_bytes = config.memory_bytes;
        chosen.disk_reserve_bytes = config.disk_reserve_bytes;
        chosen.fsync = config.fsync;
        let extensions = Extensions::default();
        extensions.extend(&mut chosen);
        let node = Node::open(chosen).await;
        let node = node.with_context(|| format!("cannot open {}", config.data.display()))?;
        match Self::serve(node.clone(), config, extensions, listeners).await {
            Ok(running) => Ok(running),
            Err(error) => {
                node.shutdown().await;
                Err(error)
            }
        }
    }

    async fn serve(
        node: Node,
        config: &Config,
        extensions: Extensions,
        listeners: Listeners,
    ) -> Result<Self> {
        let stop = CancellationToken::new();
        let mut front_ends = JoinSet::new();
        let mut resp = resp::Config::new(config.resp);
        resp.extensions = extensions.clone();
        let resp = resp::Server::over(listeners.resp, node.clone(), resp)?;
        let mut http_config = http::Config::new(config.http);
        http_config.extensions = extensions;
        #[cfg(feature = "sql")]
        {
            // A quarter of the budget may be taken by queries, however many there are.
            let queries_at_once = http_config.sql.queries_at_once;
            http_config.sql.memory_bytes = config.memory_bytes / 4 / queries_at_once;
        }
        http_config.collectors.push(Box::new(resp.metrics()));
        let http = http::Server::over(listeners.http, node.clone(), http_config)?;
        let (resp_address, http_address) = (resp.local_addr(), http.local_addr());
        let told = |address: SocketAddr| advertised(config, address);
        node.announce(told(http_address), told(resp_address));
        let peer = node.peer_address();
        front_ends.spawn(resp.run(stop.clone()));
        front_ends.spawn(http.run(stop.clone()));
        Ok(Self { node, http: http_address, resp: resp_address, peer, stop, front_ends })
    }

    /// Tells the addresses on standard output.
    pub(crate) fn announce(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "http {}\nresp {}\npeer {}\nready", self.http, self.resp, self.peer)?;
        out.flush()
    }

    /// Serves until a signal, or until a front end fails; then shuts down.
    ///
    /// # Errors
    /// If a front end failed.
    pub(crate) async fn until_signal(mut self, signals: &mut Signals) -> Result<Exit> {
        let ended = tokio::select! {
            () = signals.next() => Ok(()),
            ended = self.ended() => ended,
        };
        if ended.is_ok() {
            tracing::info!("shutting down; a second signal ends the process at once");
        }
        tokio::select! {
            () = self.shut_down() => {}
            () = signals.next() => exit_at_once(),
        }
        ended.map(|()| Exit::Done)
    }

    /// Waits until a front end ends by itself. Cancel-safe.
    ///
    /// # Errors
    /// Why it ended, if it failed.
    pub(crate) async fn ended(&mut self) -> Result<()> {
        match self.front_ends.join_next().await {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(error).context("a front end failed"),
            Some(Err(error)) => Err(error).context("a front end failed"),
        }
    }

    /// Lets the requests in flight finish, within the grace period, and closes the node.
    pub(crate) async fn shut_down(&mut self) {
        self.stop.cancel();
        let front_ends = &mut self.front_ends;
        let ended = async { while front_ends.join_next().await.is_some() {} };
        let grace = SHUTDOWN_GRACE + FRONT_END_MARGIN;
        if tokio::time::timeout(grace, ended).await.is_err() {
            tracing::warn!("some connections did not end in time; they are cut");
            self.front_ends.abort_all();
        }
        self.node.shutdown().await;
    }
}

/// Ends the process, as a second signal asks.
pub(crate) fn exit_at_once() -> ! {
    tracing::warn!("ended at once by a second signal");
    process::exit(SECOND_SIGNAL_EXIT);
}

/// What the shell reports of a process that SIGINT ended.
const SECOND_SIGNAL_EXIT: i32 = 130;

/// An address as others are told of it.
fn advertised(config: &Config, listening: SocketAddr) -> String {
    match &config.advertise {
        Some(host) => format!("{host}:{}", listening.port()),
        // Whoever listens everywhere listens at the address for other nodes, too.
        None if listening.ip().is_unspecified() => {
            SocketAddr::new(config.peer.ip(), listening.port()).to_string()
        }
        None => listening.to_string(),
    }
}

fn warn_if_remote(config: &Config) {
    for address in [config.http, config.resp, config.peer] {
        if !address.ip().is_loopback() {
            tracing::warn!(
                %address,
                "listening where other machines can connect, without any authentication"
            );
        }
    }
}

fn cannot_listen(flag: &str, address: SocketAddr, error: &io::Error) -> Failure {
    let reason = match error.kind() {
        io::ErrorKind::AddrInUse => "another process listens there already".to_owned(),
        io::ErrorKind::AddrNotAvailable => "it is no address of this machine".to_owned(),
        _ => error.to_string(),
    };
    Failure::fix(format!(
        "cannot listen at {address}: {reason}; choose another address with {flag} HOST:PORT \
         (port 0 takes any free one)",
    ))
}
