//! What is measured: a server of the Redis protocol, a node over gRPC, or a node inside
//! this process.

use std::fmt;
use std::str::FromStr;
use std::time::Instant;

use anyhow::{Context, Result};

use super::grpc::GrpcConnection;
use super::in_process::{InProcess, InProcessConnection};
use super::resp::RespConnection;
use super::workload::Operation;
use crate::exit::{Exit, Failure};

/// Where operations are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// `resp://HOST:PORT`: Breccia's front end, or a real Redis.
    Resp(String),
    /// `grpc://HOST:PORT`: Breccia's gRPC front end.
    Grpc(String),
    /// `inproc`: a node in this process, without any network.
    InProcess,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resp(address) => write!(f, "resp://{address}"),
            Self::Grpc(address) => write!(f, "grpc://{address}"),
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
        match text.split_once("://") {
            Some(("resp" | "redis", address)) if !address.is_empty() => {
                Ok(Self::Resp(address.to_owned()))
            }
            Some(("grpc" | "http", address)) if !address.is_empty() => {
                Ok(Self::Grpc(address.to_owned()))
            }
            _ => Err("use resp://HOST:PORT, grpc://HOST:PORT or inproc".to_owned()),
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
    /// To a node over gRPC.
    Grpc(GrpcConnection),
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
            Target::Resp(address) => {
                let connection = RespConnection::connect(address).await;
                Ok(Self::Resp(connection.with_context(unreachable)?))
            }
            Target::Grpc(address) => {
                let connection = GrpcConnection::connect(address).await;
                Ok(Self::Grpc(connection.with_context(unreachable)?))
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
            Self::Grpc(connection) => {
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
        for text in ["resp://127.0.0.1:6379", "grpc://[::1]:7400", "inproc"] {
            assert_eq!(text.parse::<Target>().expect(text).to_string(), text);
        }
        for text in ["", "resp://", "127.0.0.1:6379", "ftp://x"] {
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
