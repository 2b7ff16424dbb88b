//! A network whose links can be cut one way, made of network namespaces.
//!
//! Each node has a namespace, an address on its loopback interface, and a cable (a pair of
//! virtual interfaces) to each other node and to the clients. A direction is cut by a neighbour
//! entry with a wrong hardware address: packets leave and nobody takes them, as behind a dead
//! switch. Connections stay open and time out; nothing is refused. This needs no packet filter
//! and no privilege but user namespaces.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use super::disk::run;

/// Where the clients are.
const CLIENTS: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 254);
/// A hardware address that no interface has.
const NOBODY: &str = "02:00:00:00:00:99";

/// The namespaces of all nodes.
pub(super) struct Network {
    holders: Vec<Holder>,
}

/// A process that does nothing but keep a namespace.
struct Holder(Child);

impl Network {
    /// Makes the namespaces and connects them. The process must be in a network namespace of
    /// its own.
    pub(super) fn set_up(nodes: usize) -> Result<Self> {
        let holders = (0..nodes).map(|_| Holder::start()).collect::<Result<Vec<_>>>()?;
        let network = Self { holders };
        here(&["link", "set", "lo", "up"])?;
        here(&["address", "add", &format!("{CLIENTS}/32"), "dev", "lo"])?;
        for number in 0..nodes {
            network.connect_clients(number)?;
            for other in 0..number {
                network.connect(number, other)?;
            }
        }
        Ok(network)
    }

    /// A node's address.
    pub(super) fn address(number: usize) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 77, 1, u8::try_from(number).unwrap_or(200) + 1))
    }

    /// A command that runs where a node is.
    pub(super) fn command_in(
        &self,
        number: usize,
        program: &Path,
    ) -> Result<tokio::process::Command> {
        let mut command = tokio::process::Command::new("nsenter");
        command.args(["--net", "--target", &self.holder(number)?.id()]).arg(program);
        Ok(command)
    }

    /// Drops what one node sends to another.
    pub(super) fn cut(&self, from: usize, to: usize) -> Result<()> {
        let (address, link) = (Self::address(to).to_string(), link_to(to));
        let entry = ["lladdr", NOBODY, "dev", &link, "nud", "permanent"];
        self.inside(from, &[&["neighbour", "replace", &address], &entry[..]].concat())
    }

    /// Takes all cuts back.
    pub(super) fn mend(&self) -> Result<()> {
        for from in 0..self.holders.len() {
            for to in (0..self.holders.len()).filter(|to| *to != from) {
                self.inside(
                    from,
                    &["neighbour", "flush", "dev", &link_to(to), "nud", "permanent"],
                )?;
            }
        }
        Ok(())
    }

    fn connect_clients(&self, number: usize) -> Result<()> {
        let (id, link) = (self.holder(number)?.id(), format!("node{number}"));
        let address = Self::address(number).to_string();
        self.inside(number, &["link", "set", "lo", "up"])?;
        self.inside(number, &["address", "add", &format!("{address}/32"), "dev", "lo"])?;
        here(&["link", "add", &link, "type", "veth", "peer", "name", "clients", "netns", &id])?;
        here(&["link", "set", &link, "up"])?;
        here(&["route", "add", &address, "dev", &link, "src", &CLIENTS.to_string()])?;
        self.inside(number, &["link", "set", "clients", "up"])?;
        let clients = CLIENTS.to_string();
        self.inside(number, &["route", "add", &clients, "dev", "clients", "src", &address])
    }

    fn connect(&self, one: usize, other: usize) -> Result<()> {
        let (link, back) = (link_to(other), link_to(one));
        let id = self.holder(other)?.id();
        let pair = ["type", "veth", "peer", "name", &back, "netns", &id];
        self.inside(one, &[&["link", "add", &link], &pair[..]].concat())?;
        for (from, to) in [(one, other), (other, one)] {
            let (link, source) = (link_to(to), Self::address(from).to_string());
            self.inside(from, &["link", "set", &link, "up"])?;
            let target = Self::address(to).to_string();
            self.inside(from, &["route", "add", &target, "dev", &link, "src", &source])?;
        }
        Ok(())
    }

    fn inside(&self, number: usize, arguments: &[&str]) -> Result<()> {
        let id = self.holder(number)?.id();
        run(Command::new("nsenter").args(["--net", "--target", &id, "ip"]).args(arguments))
    }

    fn holder(&self, number: usize) -> Result<&Holder> {
        self.holders.get(number).with_context(|| format!("there is no node {number}"))
    }
}

impl Holder {
    fn start() -> Result<Self> {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", "echo up && exec cat"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let said = child.stdout.take().context("its output is piped")?;
        BufReader::new(said).read_line(&mut line)?;
        let holder = Self(child);
        if line != "up\n" {
            bail!("network namespaces are not allowed here");
        }
        Ok(holder)
    }

    fn id(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn link_to(number: usize) -> String {
    format!("to{number}")
}

fn here(arguments: &[&str]) -> Result<()> {
    run(Command::new("ip").args(arguments))
}
