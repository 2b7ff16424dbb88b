//! The handle on a TCP transport.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use breccia_types::NodeId;
use bytes::Bytes;
use futures::future::BoxFuture;
use thiserror::Error;
use tokio::time::Instant;

use crate::stream::Duplex;
use crate::transport::{Call, Handler, Lane, Open, Peer, Transport, TransportError};
use breccia_types::ClusterId;

use super::config::Config;
use super::connection::Closed;
use super::greeting::Purpose;
use super::limits::{CONNECTIONS_PER_CALL_MAX, CONTROL_CALL_BYTES_MAX, FRAME_BODY_BYTES_MAX};
use super::listener::{ListenError, Listener};
use super::peers::{Peers, Remote};
use super::served::call_charge;
use super::shared::{DialError, Shared};
use super::status::Status;

/// How long replies that are ready may take to leave at a shutdown.
const FLUSH_MAX: Duration = Duration::from_millis(500);

/// Speaks to other nodes over TCP. Clones are the same transport.
///
/// It works inside a tokio runtime: its connections are tasks of the runtime that first
/// called it.
#[derive(Clone)]
pub struct TcpTransport {
    shared: Arc<Shared>,
}

/// Who was found at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialed {
    /// The node that is there.
    pub peer: Peer,
    /// Its cluster; `None` if it belongs to none yet.
    pub cluster: Option<ClusterId>,
    /// Where it says others reach it; may be empty.
    pub address: String,
}

/// A node belongs to one cluster for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("this node belongs to cluster {ours} already, it cannot join {offered}")]
pub struct AnotherCluster {
    /// Its cluster.
    pub ours: ClusterId,
    /// The other one.
    pub offered: ClusterId,
}

impl TcpTransport {
    /// A transport that knows no peer and does not listen yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { shared: Shared::new(config) }
    }

    /// The address book.
    #[must_use]
    pub fn peers(&self) -> Peers {
        Peers { shared: Arc::clone(&self.shared) }
    }

    /// Listens on `address` (`host:port`; port 0 finds a free one) for connections that
    /// `handler` serves, once [`Listener::run`] runs.
    ///
    /// # Errors
    /// [`ListenError`].
    pub async fn listen(
        &self,
        address: &str,
        handler: Arc<dyn Handler>,
    ) -> Result<Listener, ListenError> {
        Listener::bind(Arc::clone(&self.shared), address, handler).await
    }

    /// Learns who is at an address. Takes no longer than the timing's `connect_max` and
    /// `handshake_max` together.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn dial(&self, address: &str) -> Result<Dialed, DialError> {
        let ours = self.shared.identity();
        let (_, established) = self.shared.greet(address, &ours, Purpose::Probe, None).await?;
        let theirs = established.theirs;
        Ok(Dialed { peer: theirs.peer, cluster: theirs.cluster, address: theirs.address })
    }

    /// Makes this node a member of its first cluster. Connections are made anew, as until
    /// now it was a stranger on them.
    ///
    /// # Errors
    /// [`AnotherCluster`].
    pub fn adopt(&self, cluster: ClusterId) -> Result<(), AnotherCluster> {
        self.shared.adopt(cluster).map_err(|ours| AnotherCluster { ours, offered: cluster })
    }

    /// What people see of it.
    #[must_use]
    pub fn status(&self) -> Status {
        let remotes = self.shared.remotes.lock();
        let peers = remotes.values().map(|remote| remote.status()).collect();
        drop(remotes);
        Status { counts: self.shared.metrics.counts(), peers, rejected: self.shared.rejected() }
    }

    /// Takes nothing new, answers the calls that it has for at most `grace`, then closes all
    /// connections. Streams are lost. The transport is of no use afterwards.
    pub async fn shutdown(&self, grace: Duration) {
        let shared = &self.shared;
        let deadline = Instant::now() + grace;
        shared.closing.cancel();
        for connection in shared.connections() {
            connection.say_goodbye();
        }
        shared.working.close();
        let _ = tokio::time::timeout_at(deadline, shared.working.wait()).await;
        for connection in shared.connections() {
            connection.outbox.finish();
        }
        shared.tasks.close();
        let flushed = deadline.max(Instant::now() + FLUSH_MAX.min(grace));
        let _ = tokio::time::timeout_at(flushed, shared.tasks.wait()).await;
        for connection in shared.connections() {
            connection.close(Closed::ShutDown);
        }
        shared.tasks.wait().await;
    }

    fn remote(&self, node: NodeId) -> Result<Arc<Remote>, TransportError> {
        let unreachable =
            |error: DialError| TransportError::Unreachable { node, reason: error.to_string() };
        if self.shared.closing.is_cancelled() {
            return Err(unreachable(DialError::ShutDown));
        }
        let remote = self.shared.remotes.lock().get(&node).cloned();
        remote.ok_or_else(|| unreachable(DialError::NoAddress))
    }

    async fn send_call(self, to: NodeId, call: Call) -> Result<Bytes, TransportError> {
        let deadline = Instant::now() + call.timeout;
        check_length(to, &call.body)?;
        let remote = self.remote(to)?;
        let charge = call_charge(call.body.len());
        let Ok(share) = Arc::clone(&remote.budget).try_acquire_many_owned(charge) else {
            self.shared.metrics.calls_busy.increment();
            return Err(TransportError::Busy { node: to });
        };
        let share = Arc::new(share);
        let is_large = call.body.len() > CONTROL_CALL_BYTES_MAX;
        let link = remote.link(if is_large { Lane::Bulk } else { Lane::Control });
        for _ in 0..CONNECTIONS_PER_CALL_MAX {
            let connection = link.connection(&self.shared, deadline).await?;
            if let Some(outcome) = connection.call(call.clone(), deadline, share.clone()).await {
                return outcome;
            }
        }
        Err(link.unreachable("connections to it break as soon as they are made"))
    }

    async fn open_stream(self, to: NodeId, open: Open) -> Result<Duplex, TransportError> {
        let timing = self.shared.config.timing;
        let deadline = Instant::now() + timing.connect_max + timing.handshake_max;
        check_length(to, &open.header)?;
        let remote = self.remote(to)?;
        let link = remote.link(open.lane);
        for _ in 0..CONNECTIONS_PER_CALL_MAX {
            let connection = link.connection(&self.shared, deadline).await?;
            let Some(room) = connection.outbox.room(open.header.len()).await else { continue };
            drop(room);
            if let Some(duplex) = connection.open_stream(open.method, open.header.clone()) {
                return Ok(duplex);
            }
        }
        Err(link.unreachable("connections to it break as soon as they are made"))
    }
}

impl Transport for TcpTransport {
    fn call(&self, to: NodeId, call: Call) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        Box::pin(self.clone().send_call(to, call))
    }

    fn open(&self, to: NodeId, open: Open) -> BoxFuture<'static, Result<Duplex, TransportError>> {
        Box::pin(self.clone().open_stream(to, open))
    }
}

impl fmt::Debug for TcpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = &self.shared.config;
        f.debug_struct("TcpTransport").field("config", config).finish_non_exhaustive()
    }
}

fn check_length(node: NodeId, body: &Bytes) -> Result<(), TransportError> {
    let bytes_max = FRAME_BODY_BYTES_MAX;
    if body.len() > bytes_max { Err(TransportError::TooLarge { node, bytes_max }) } else { Ok(()) }
}
