//! Nodes that are real processes, and what can be done to them.

mod disk;
mod network;
mod node;
mod overview;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

pub use self::disk::Fill;
use self::disk::SmallDisk;
use self::network::Network;
use self::node::{Launch, Node};
pub use self::overview::ShardLeader;
use crate::clients::{Address, Targets};

const HTTP_PORT: u16 = 7400;
const RESP_PORT: u16 = 7379;
const PEER_PORT: u16 = 7500;
/// How often something is looked at that is waited for.
const POLL_EVERY: Duration = Duration::from_millis(25);
/// How long a question about the cluster's state may take.
const OVERVIEW_DEADLINE: Duration = Duration::from_secs(2);
/// The disk that a node gets if disks are to be filled.
const SMALL_DISK_MEBIBYTES: u32 = 512;

/// What a cluster is to be.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// The `breccia` binary.
    pub binary: PathBuf,
    /// How many nodes.
    pub nodes: usize,
    /// How many shards.
    pub shards: u32,
    /// Whether each node gets a network of its own, so that links can be cut. The process must
    /// have entered its own namespaces.
    pub has_network: bool,
    /// Whether each node gets a small disk of its own, likewise.
    pub has_small_disks: bool,
    /// More arguments for `serve`.
    pub more: Vec<String>,
}

/// A running cluster. Its processes end with it.
pub struct Cluster {
    config: ClusterConfig,
    nodes: Vec<Node>,
    network: Option<Network>,
    disks: Vec<SmallDisk>,
    folder: TempDir,
}

impl Cluster {
    /// Starts the nodes, the first one by itself, the others joining it.
    ///
    /// # Errors
    /// If a process cannot be started or does not get ready.
    pub async fn start(config: ClusterConfig, ready_within: Duration) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("breccia-prove-").tempdir()?;
        let network = match config.has_network {
            true => Some(Network::set_up(config.nodes).context("cannot set the network up")?),
            false => None,
        };
        let (mut nodes, mut disks) = (Vec::new(), Vec::new());
        for number in 0..config.nodes {
            let home = folder.path().join(format!("node-{number}"));
            std::fs::create_dir(&home)?;
            if config.has_small_disks {
                disks.push(SmallDisk::mount(home.join("disk"), SMALL_DISK_MEBIBYTES)?);
            }
            let at = match &network {
                Some(_) => Network::address(number),
                None => loopback(number),
            };
            nodes.push(Node::new(number, home, at));
        }
        let mut cluster = Self { config, nodes, network, disks, folder };
        for number in 0..cluster.nodes.len() {
            cluster.start_node(number)?;
            cluster.until_ready(number, ready_within).await?;
        }
        Ok(cluster)
    }

    /// What clients need to know.
    #[must_use]
    pub fn targets(&self, deadline: Duration) -> Targets {
        Targets { nodes: self.nodes.iter().map(|node| node.address).collect(), deadline }
    }

    /// How many nodes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Starts a node that does not run.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub fn start_node(&mut self, number: usize) -> Result<()> {
        let all = self.nodes.iter();
        let peers: Vec<SocketAddr> =
            all.filter(|node| node.number != number).map(|node| node.peer).collect();
        let launch = Launch {
            binary: &self.config.binary,
            shards: self.config.shards,
            peers: &peers,
            network: self.network.as_ref(),
            has_small_disk: self.config.has_small_disks,
            more: &self.config.more,
        };
        let node = self.nodes.get_mut(number);
        node.with_context(|| format!("there is no node {number}"))?.start(&launch)
    }

    /// Ends a node at once, by SIGKILL, and waits until it has ended.
    ///
    /// # Errors
    /// If the process cannot be waited for.
    pub async fn kill(&mut self, number: usize) -> Result<()> {
        self.node(number)?.kill().await
    }

    /// Ends a node by SIGTERM. One that does not end in time is killed.
    ///
    /// # Errors
    /// If it did not end in time, or not with success.
    pub async fn terminate(&mut self, number: usize, within: Duration) -> Result<()> {
        self.node(number)?.terminate(within).await
    }

    /// Stops a node where it stands, by SIGSTOP.
    ///
    /// # Errors
    /// If it does not run.
    pub fn pause(&mut self, number: usize) -> Result<()> {
        self.node(number)?.signal(rustix::process::Signal::STOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// If it does not run.
    pub fn resume(&mut self, number: usize) -> Result<()> {
        self.node(number)?.signal(rustix::process::Signal::CONT)
    }

    /// Loses all that is on the disk of a node that does not run. When it starts again it
    /// joins the others.
    ///
    /// # Errors
    /// If the directory cannot be removed.
    pub fn wipe(&mut self, number: usize) -> Result<()> {
        let has_small_disk = self.config.has_small_disks;
        self.node(number)?.wipe(has_small_disk)
    }

    /// Drops what one node sends to another. The connections stay open.
    ///
    /// # Errors
    /// If there is no network of its own.
    pub fn cut(&self, from: usize, to: usize) -> Result<()> {
        self.network()?.cut(from, to)
    }

    /// Lets all nodes reach each other.
    ///
    /// # Errors
    /// If there is no network of its own.
    pub fn mend_network(&self) -> Result<()> {
        self.network()?.mend()
    }

    /// Fills a node's disk.
    ///
    /// # Errors
    /// If there are no small disks.
    pub fn fill_disk(&self, number: usize, fill: Fill) -> Result<()> {
        self.disk(number)?.fill(fill)
    }

    /// Makes room on it again.
    ///
    /// # Errors
    /// If there are no small disks.
    pub fn empty_disk(&self, number: usize) -> Result<()> {
        self.disk(number)?.empty()
    }

    /// Waits until a node says that it takes all requests.
    ///
    /// # Errors
    /// If it ends, or does not say so in time.
    pub async fn until_ready(&mut self, number: usize, within: Duration) -> Result<()> {
        let start = Instant::now();
        let node = self.node(number)?;
        while !node.is_ready(OVERVIEW_DEADLINE).await {
            if let Some(how) = node.ended_by_itself() {
                bail!("node {number} ended by itself: {how}");
            }
            if start.elapsed() > within {
                bail!("node {number} did not get ready within {within:?}");
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
        Ok(())
    }

    /// Waits until every shard has a leader and a replica on every node that keeps up.
    ///
    /// # Errors
    /// If it takes longer, with what is missing.
    pub async fn until_whole(&self, within: Duration) -> Result<()> {
        let start = Instant::now();
        loop {
            let missing = overview::missing(&self.addresses(), OVERVIEW_DEADLINE).await;
            let Some(missing) = missing else { return Ok(()) };
            if start.elapsed() > within {
                bail!("the cluster was not whole within {within:?}: {missing}");
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    /// Who leads which shard, as far as the nodes tell.
    pub async fn leaders(&self) -> Vec<ShardLeader> {
        overview::leaders(&self.addresses(), OVERVIEW_DEADLINE).await
    }

    /// Nodes that should run and have ended, and how.
    pub fn ended_by_themselves(&mut self) -> Vec<(usize, String)> {
        let nodes = self.nodes.iter_mut();
        nodes.filter_map(|node| Some((node.number, node.ended_by_itself()?))).collect()
    }

    /// Panics that the nodes' logs tell of.
    #[must_use]
    pub fn panics(&self) -> Vec<String> {
        self.nodes.iter().flat_map(Node::panics).collect()
    }

    /// Ends all nodes and removes what they kept.
    ///
    /// # Errors
    /// If the folder cannot be removed.
    pub async fn discard(mut self) -> Result<()> {
        self.end_all().await?;
        drop(self.disks);
        self.folder.close().context("cannot remove the nodes' data")
    }

    /// Ends all nodes and keeps their logs and data in the folder that is returned.
    ///
    /// # Errors
    /// If they cannot be kept.
    pub async fn keep(mut self) -> Result<PathBuf> {
        self.end_all().await?;
        for disk in &self.disks {
            disk.save().context("cannot keep a node's data")?;
        }
        drop(self.disks);
        Ok(self.folder.keep())
    }

    /// Where logs and data are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    async fn end_all(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.kill().await?;
        }
        Ok(())
    }

    fn node(&mut self, number: usize) -> Result<&mut Node> {
        self.nodes.get_mut(number).with_context(|| format!("there is no node {number}"))
    }

    fn network(&self) -> Result<&Network> {
        self.network.as_ref().context("the nodes have no network of their own")
    }

    fn disk(&self, number: usize) -> Result<&SmallDisk> {
        self.disks.get(number).context("the nodes have no disks of their own")
    }

    fn addresses(&self) -> Arc<[Address]> {
        self.nodes.iter().map(|node| node.address).collect()
    }
}

/// An address of this process and node alone. All of 127/8 is this machine, so that fixed ports
/// of one cluster are free whatever else runs here.
fn loopback(number: usize) -> IpAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let random: u8 = rand::random_range(1..=250);
    let last = u8::try_from(number).unwrap_or(u8::MAX - 2) + 1;
    IpAddr::V4(Ipv4Addr::new(127, high ^ random, low, last))
}
