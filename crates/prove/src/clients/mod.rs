//! Clients of the three protocols, which say exactly what they know.
//!
//! The judgement stands and falls with the classes of errors. An operation is *refused* only if
//! it has certainly not been done and never will be: nothing was sent, or the node said so.
//! Whatever else goes wrong is *unknown*. To call an unknown outcome refused would accuse the
//! cluster of nothing; to call a refusal unknown would excuse it.

mod code;
mod grpc;
mod http;
mod resp;
mod rest;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;

pub use self::grpc::GrpcDriver;
pub use self::http::{HttpConnection, HttpError, Reply};
pub use self::resp::RespDriver;
pub use self::rest::RestDriver;
use crate::history::{Call, Outcome, Protocol};

/// The table that all protocols see.
const TABLE: &str = "redis";

/// Where a node serves clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// gRPC and REST.
    pub http: SocketAddr,
    /// The Redis protocol.
    pub resp: SocketAddr,
}

/// Names a request, so that it is applied once however often it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId(pub [u8; 16]);

/// Asks nodes by one protocol, one question at a time.
#[async_trait]
pub trait Driver: Send {
    /// By which protocol.
    fn protocol(&self) -> Protocol;

    /// Whether the protocol has this call.
    fn has(&self, call: &Call) -> bool;

    /// Whether the protocol takes request ids.
    fn takes_request_ids(&self) -> bool {
        self.protocol() != Protocol::Resp
    }

    /// Asks a node once. Takes at most about the deadline of the driver. The call must be one
    /// that the protocol has, and the id absent if it takes none.
    async fn ask(&mut self, node: usize, key: &str, call: &Call, id: Option<RequestId>) -> Outcome;
}

/// What a driver of one protocol needs.
#[derive(Debug, Clone)]
pub struct Targets {
    /// The nodes' addresses, by their number.
    pub nodes: Arc<[Address]>,
    /// How long one question may take.
    pub deadline: Duration,
}

impl Targets {
    /// A new driver of a protocol.
    #[must_use]
    pub fn driver(&self, protocol: Protocol) -> Box<dyn Driver> {
        match protocol {
            Protocol::Resp => Box::new(RespDriver::new(self.clone())),
            Protocol::Grpc => Box::new(GrpcDriver::new(self.clone())),
            Protocol::Rest => Box::new(RestDriver::new(self.clone())),
        }
    }
}

/// Connects within a deadline; a connection that cannot be made has sent nothing.
async fn connect<T, E: std::fmt::Display>(
    deadline: Duration,
    connecting: impl Future<Output = Result<T, E>>,
) -> Result<T, Outcome> {
    match timeout(deadline, connecting).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(Outcome::Refused(format!("cannot connect: {error}"))),
        Err(_) => Err(Outcome::Refused("cannot connect in time".to_owned())),
    }
}

fn no_such_node(node: usize) -> Outcome {
    Outcome::Refused(format!("there is no node {node}"))
}

fn not_in_protocol(call: &Call) -> Outcome {
    Outcome::Refused(format!("the protocol has no {call:?}"))
}
