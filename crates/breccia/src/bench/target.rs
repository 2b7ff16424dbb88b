//! What is measured: a server of the Redis protocol, a node over gRPC, or a node inside
//! this process.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};

use super::etcd::EtcdConnection;
use super::grpc::GrpcConnection;
use super::in_process::{InProcess, InProcessConnection};
use super::resp::RespConnection;
use super::resp_cluster::RespClusterConnection;
use super::workload::Operation;
use crate::exit::{Exit, Failure};

/// Where operations are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// `resp://HOST:PORT,...`: Breccia's front end, or a real Redis.
    Resp(Addresses),
    /// `resp+wait://HOST:PORT`: a Redis with replicas, each write followed by `WAIT 1 0`.
    RespWait(Addresses),
    /// `resp+cluster://HOST:PORT`: all nodes of a cluster, each key at the node that leads it.
    RespCluster(Addresses),
    /// `grpc://HOST:PORT,...`: Breccia's gRPC front end.
    Grpc(Addresses),
    /// `etcd://HOST:PORT,...`: etcd's v3 API.
    Etcd(Addresses),
    /// `inproc`: a node in this process, without any network.
    InProcess,
}

/// Addresses of the nodes of one target; connections take them in turn.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    all: Vec<String>,
    taken: Arc<AtomicUsize>,
}

impl Addresses {
    fn parse(text: &str) -> Option<Self> {
        let all: Vec<String> = text.split(',').map(str::to_owned).collect();
        let is_valid = all.iter().all(|address| !address.is_empty());
        is_valid.then(|| Self { all, taken: Arc::default() })
    }

    fn next(&self) -> &str {
        let at = self.taken.fetch_add(1, Ordering::Relaxed) % self.all.len().max(1);
        self.all.get(at).map_or("", String::as_str)
    }
}

impl PartialEq for Addresses {
    fn eq(&self, other: &Self) -> bool {
        self.all == other.all
    }
}

impl Eq for Addresses {}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.all.join(","))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resp(address) => write!(f, "resp://{address}"),
            Self::RespWait(address) => write!(f, "resp+wait://{address}"),
            Self::RespCluster(address) => write!(f, "resp+cluster://{address}"),
            Self::Grpc(address) => write!(f, "grpc://{address}"),
            Self::Etcd(address) => write!(f, "etcd://{address}"),
            Self::InProcess => f.write_str("inproc"),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "inproc" {
            return Ok(Self::InProcess);
        }
        let wrong = || {
            "use resp://HOST:PORT, resp+cluster://HOST:PORT, resp+wait://HOST:PORT, \
             grpc://HOST:PORT, etcd://HOST:PORT or inproc; several addresses are separated by \
             commas"
                .to_owned()
        };
        let (protocol, addresses) = text.split_once("://").ok_or_else(wrong)?;
        let addresses = Addresses::parse(addresses).ok_or_else(wrong)?;
        match protocol {
            "resp" | "redis" => Ok(Self::Resp(addresses)),
            "resp+wait" => Ok(Self::RespWait(addresses)),
            "resp+cluster" => Ok(Self::RespCluster(addresses)),
            "grpc" | "http" => Ok(Self::Grpc(addresses)),
            "etcd" => Ok(Self::Etcd(addresses)),
            _ => Err(wrong()),
        }
    }
}

/// What became of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was carried out.
    Done,
    /// The record to read was not there.
    Missing,
    /// It was refused, for this reason.
    Failed(String),
}

impl Outcome {
    /// The outcome of two steps: the worse of theirs.
    pub(crate) fn and(self, second: Self) -> Self {
        match (self, second) {
            (Self::Failed(reason), _) | (_, Self::Failed(reason)) => Self::Failed(reason),
            (Self::Missing, _) | (_, Self::Missing) => Self::Missing,
            (Self::Done, Self::Done) => Self::Done,
        }
    }
}

/// When an operation ended, and how.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    /// When its reply was there.
    pub(crate) at: Instant,
    /// What became of it.
    pub(crate) outcome: Outcome,
}

/// One of the connections to a target.
pub(crate) enum Connection {
    /// To a server of the Redis protocol.
    Resp(RespConnection),
    /// To all nodes of a cluster that speaks it.
    RespCluster(RespClusterConnection),
    /// To a node over gRPC.
    Grpc(GrpcConnection),
    /// To etcd.
    Etcd(EtcdConnection),
    /// To the node in this process.
    InProcess(InProcessConnection),
}

impl Connection {
    /// Connects to a target; `node` is the node in this process, if one is measured.
    ///
    /// # Errors
    /// If nobody answers there.
    pub(crate) async fn open(target: &Target, node: Option<&InProcess>) -> Result<Self> {
        let unreachable =
            || Failure::new(Exit::Unreachable, format!("no server answers at {target}"));
        match target {
            Target::Resp(addresses) => {
                let connection = RespConnection::connect(addresses.next()).await;
                Ok(Self::Resp(connection.with_context(unreachable)?))
            }
            Target::RespWait(addresses) => {
                let connection = RespConnection::connect(addresses.next()).await;
                Ok(Self::Resp(connection.with_context(unreachable)?.waiting()))
            }
            Target::RespCluster(addresses) => {
                let connection = RespClusterConnection::connect(addresses.next()).await;
                Ok(Self::RespCluster(connection.with_context(unreachable)?))
            }
            Target::Grpc(addresses) => {
                let connection = GrpcConnection::connect(addresses.next()).await;
                Ok(Self::Grpc(connection.with_context(unreachable)?))
            }
            Target::Etcd(addresses) => {
                let connection = EtcdConnection::connect(addresses.next()).await;
                Ok(Self::Etcd(connection.with_context(unreachable)?))
            }
            Target::InProcess => {
                let node = node.context("no node was opened in this process")?;
                Ok(Self::InProcess(node.connect().await?))
            }
        }
    }

    /// Carries out a batch together; `done` receives one entry for each operation, in order.
    ///
    /// # Errors
    /// If the connection breaks.
    pub(crate) async fn execute(
        &mut self,
        batch: &[Operation],
        done: &mut Vec<Done>,
    ) -> Result<()> {
        match self {
            Self::Resp(connection) => connection.execute(batch, done).await,
            Self::RespCluster(connection) => connection.execute(batch, done).await,
            Self::Grpc(connection) => {
                connection.execute(batch, done).await;
                Ok(())
            }
            Self::Etcd(connection) => {
                connection.execute(batch, done).await;
                Ok(())
            }
            Self::InProcess(connection) => {
                connection.execute(batch, done).await;
                Ok(())
            }
        }
    }

    /// What the server says of itself, for the report.
    pub(crate) async fn describe(&mut self) -> String {
        match self {
            Self::Resp(connection) => connection.describe().await.unwrap_or_default(),
            Self::RespCluster(connection) => connection.describe().await.unwrap_or_default(),
            Self::Etcd(_) => "etcd".to_owned(),
            Self::Grpc(_) | Self::InProcess(_) => {
                format!("breccia_version:{}", env!("CARGO_PKG_VERSION"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_read_what_they_show() {
        for text in [
            "resp://127.0.0.1:6379",
            "resp+wait://127.0.0.1:6379",
            "resp+cluster://h:1,h:2",
            "grpc://[::1]:7400,h:1",
            "etcd://h:2",
            "inproc",
        ] {
            assert_eq!(text.parse::<Target>().expect(text).to_string(), text);
        }
        for text in ["", "resp://", "127.0.0.1:6379", "ftp://x", "grpc://a:1,"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }

    #[test]
    fn two_steps_are_as_good_as_the_worse() {
        let failed = || Outcome::Failed("no".into());
        assert_eq!(Outcome::Done.and(Outcome::Missing), Outcome::Missing);
        assert_eq!(Outcome::Missing.and(failed()), failed());
        assert_eq!(Outcome::Done.and(Outcome::Done), Outcome::Done);
    }
}
