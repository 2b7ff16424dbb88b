//! One node: a process, its data, and its log.

use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::network::Network;
use super::{HTTP_PORT, PEER_PORT, RESP_PORT};
use crate::clients::{Address, HttpConnection};

/// How a node is started.
pub(super) struct Launch<'a> {
    pub(super) binary: &'a Path,
    pub(super) shards: u32,
    /// Where the other nodes are. With none, the node stands alone.
    pub(super) peers: &'a [SocketAddr],
    pub(super) network: Option<&'a Network>,
    pub(super) has_small_disk: bool,
    pub(super) more: &'a [String],
}

/// A node.
pub(super) struct Node {
    pub(super) number: usize,
    pub(super) address: Address,
    pub(super) peer: SocketAddr,
    home: PathBuf,
    /// Whether it joins others when it has no data. The first node founds the cluster, but
    /// only once.
    joins: bool,
    process: Option<Child>,
}

impl Node {
    pub(super) fn new(number: usize, home: PathBuf, at: IpAddr) -> Self {
        Self {
            number,
            address: Address {
                http: SocketAddr::new(at, HTTP_PORT),
                resp: SocketAddr::new(at, RESP_PORT),
            },
            peer: SocketAddr::new(at, PEER_PORT),
            home,
            joins: number > 0,
            process: None,
        }
    }

    pub(super) fn start(&mut self, launch: &Launch<'_>) -> Result<()> {
        if self.process.is_some() {
            bail!("node {} runs already", self.number);
        }
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = match launch.network {
            Some(network) => network.command_in(self.number, launch.binary)?,
            None => Command::new(launch.binary),
        };
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("BRECCIA_") {
                command.env_remove(name);
            }
        }
        command
            .args(self.arguments(launch))
            .current_dir(&self.home)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        let started = command.spawn();
        let process =
            started.with_context(|| format!("cannot start {}", launch.binary.display()))?;
        self.process = Some(process);
        Ok(())
    }

    fn arguments(&self, launch: &Launch<'_>) -> Vec<String> {
        let data = self.data(launch.has_small_disk).display().to_string();
        let mut arguments: Vec<String> =
            ["serve", "--memory", "64MiB", "--fsync", "always", "--data", &data]
                .map(str::to_owned)
                .into();
        let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        add("--http", self.address.http.to_string());
        add("--resp", self.address.resp.to_string());
        add("--shards", launch.shards.to_string());
        add("--peer", self.peer.to_string());
        if !launch.peers.is_empty() {
            add("--replicas", (launch.peers.len() + 1).to_string());
            for peer in launch.peers.iter().filter(|_| self.joins) {
                add("--join", peer.to_string());
            }
        }
        if launch.network.is_some() {
            arguments.push("--allow-remote".to_owned());
        }
        arguments.extend_from_slice(launch.more);
        arguments
    }

    fn data(&self, has_small_disk: bool) -> PathBuf {
        match has_small_disk {
            true => self.home.join("disk").join("data"),
            false => self.home.join("data"),
        }
    }

    fn log(&self) -> PathBuf {
        self.home.join("log")
    }

    pub(super) async fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill().await?;
        }
        Ok(())
    }

    pub(super) async fn terminate(&mut self, within: Duration) -> Result<()> {
        self.signal(Signal::TERM)?;
        let Some(mut process) = self.process.take() else { return Ok(()) };
        match timeout(within, process.wait()).await {
            Ok(status) => {
                let status = status?;
                if !status.success() {
                    bail!("node {} ended with {status} after SIGTERM", self.number);
                }
                Ok(())
            }
            Err(_) => {
                process.kill().await?;
                bail!("node {} did not end within {within:?} after SIGTERM", self.number)
            }
        }
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        let process = self.process.as_ref().and_then(Child::id);
        let pid = process.and_then(|id| Pid::from_raw(id.try_into().ok()?));
        let pid = pid.with_context(|| format!("node {} does not run", self.number))?;
        Ok(kill_process(pid, signal)?)
    }

    pub(super) fn wipe(&mut self, has_small_disk: bool) -> Result<()> {
        self.joins = true;
        let data = self.data(has_small_disk);
        fs::remove_dir_all(&data).with_context(|| format!("cannot remove {}", data.display()))
    }

    pub(super) async fn is_ready(&self, deadline: Duration) -> bool {
        let reply = HttpConnection::get(self.address.http, "/health/ready", deadline).await;
        reply.is_ok_and(|reply| reply.status == 200)
    }

    /// How the process ended, if it should run and does not. Told once.
    pub(super) fn ended_by_itself(&mut self) -> Option<String> {
        let status = self.process.as_mut()?.try_wait().ok()??;
        self.process = None;
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(3).collect();
        Some(format!(
            "{status}; its log ends: {}",
            last.into_iter().rev().collect::<Vec<_>>().join(" / ")
        ))
    }

    /// Panics in the log.
    pub(super) fn panics(&self) -> Vec<String> {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines = log.lines().filter(|line| line.contains("panicked at"));
        lines.map(|line| format!("node {}: {line}", self.number)).collect()
    }
}
