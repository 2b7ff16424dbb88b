//! The seam: what a transport offers to those who send, and asks of those who receive.

use std::fmt;
use std::time::Duration;

use breccia_types::NodeId;
use bytes::Bytes;
use futures::future::BoxFuture;
use thiserror::Error;

use crate::stream::Duplex;

/// Sends to other nodes.
pub trait Transport: Send + Sync + 'static {
    /// Sends a message and waits for its reply. Dropping the future gives the reply up; the
    /// other side may still have acted.
    fn call(&self, to: NodeId, call: Call) -> BoxFuture<'static, Result<Bytes, TransportError>>;

    /// Opens a stream of messages both ways. Messages arrive in order, each once, or the
    /// stream ends with an error on both sides.
    fn open(&self, to: NodeId, open: Open) -> BoxFuture<'static, Result<Duplex, TransportError>>;
}

/// Receives from other nodes.
pub trait Handler: Send + Sync + 'static {
    /// Who may use the method. The transport asks before it hands a message over.
    fn access(&self, method: Method) -> Access {
        let _ = method;
        Access::Members
    }

    /// Answers a call. The future is dropped when the caller's timeout has passed or its
    /// connection is gone.
    fn on_call(
        &self,
        from: Peer,
        method: Method,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, Refusal>>;

    /// Serves a stream until the future ends. It is dropped when the connection is gone.
    fn on_open(
        &self,
        from: Peer,
        method: Method,
        header: Bytes,
        duplex: Duplex,
    ) -> BoxFuture<'static, ()>;
}

/// Who may use a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Nobody: it is not served here.
    Nobody,
    /// Nodes of the same cluster.
    Members,
    /// Nodes that belong to no cluster yet, too.
    Anyone,
}

/// What a message is about. Each layer that listens owns some numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Method(pub u8);

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "method {}", self.0)
    }
}

/// Which connection carries a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// The one for small messages that must not wait.
    Control,
    /// The one for snapshots and other bulk, which must not make small messages wait.
    Bulk,
}

/// A message that wants a reply.
#[derive(Debug, Clone)]
pub struct Call {
    /// What it is about.
    pub method: Method,
    /// Its content.
    pub body: Bytes,
    /// How long the reply may take, connecting included.
    pub timeout: Duration,
}

/// A stream to be opened.
#[derive(Debug, Clone)]
pub struct Open {
    /// What it is about.
    pub method: Method,
    /// What the other side is told before the first message.
    pub header: Bytes,
    /// Which connection carries it.
    pub lane: Lane,
}

/// The node at the other end, as its connection has proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Which node.
    pub node: NodeId,
    /// Which run of it: grows at every start of its process.
    pub incarnation: u64,
}

/// A handler's answer that it will not do what it was asked, as the layer above encodes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(pub Bytes);

/// Why there is no reply, or no stream.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The node cannot be reached. It has not seen the message.
    #[error("{node} cannot be reached: {reason}")]
    Unreachable {
        /// The node.
        node: NodeId,
        /// What was tried, and how it failed.
        reason: String,
    },
    /// Too much waits for the node already. It has not seen the message.
    #[error("too much waits for {node}")]
    Busy {
        /// The node.
        node: NodeId,
    },
    /// The connection was lost after the message had been sent; the other side may have
    /// acted.
    #[error("the connection to {node} was lost")]
    Lost {
        /// The node.
        node: NodeId,
    },
    /// No reply came in time; the other side may have acted.
    #[error("{node} did not reply in time")]
    TimedOut {
        /// The node.
        node: NodeId,
    },
    /// The other side said no.
    #[error("{node} refused the message")]
    Refused {
        /// The node.
        node: NodeId,
        /// Why, as the layer above encodes it.
        refusal: Refusal,
    },
    /// The other side serves no such method. It has not seen the message.
    #[error("{node} does not serve {method}")]
    NotServed {
        /// The node.
        node: NodeId,
        /// The method.
        method: Method,
    },
    /// The method is for nodes of the same cluster, and one side belongs to none yet. The
    /// other side has not seen the message.
    #[error("{node} serves {method} to members of its cluster only")]
    NotAMember {
        /// The node.
        node: NodeId,
        /// The method.
        method: Method,
    },
    /// The message or its reply is longer than a frame may be.
    #[error("a message to {node}, or its reply, is longer than {bytes_max} bytes")]
    TooLarge {
        /// The node.
        node: NodeId,
        /// The longest content of a frame, in bytes.
        bytes_max: usize,
    },
}
