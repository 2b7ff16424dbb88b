//! What all parts of a TCP transport share: who this node is, and its connections.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use breccia_types::NodeId;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::transport::{Lane, Peer};
use breccia_types::ClusterId;

use super::config::Config;
use super::connection::{Closed, Connection, Context, Side};
use super::greeting::{Identity, Purpose, Rejection};
use super::handshake::{self, Established, HandshakeError, Standing};
use super::limits::REFUSALS_REMEMBERED;
use super::metrics::Metrics;
use super::peers::Remote;
use super::sightings::{At, Seen, Sightings};
use super::status::RejectedConnection;

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) remotes: Mutex<BTreeMap<NodeId, Arc<Remote>>>,
    pub(crate) sightings: Sightings,
    /// Cancelled when nothing new is taken any more.
    pub(crate) closing: CancellationToken,
    /// Everything that runs for the transport.
    pub(crate) tasks: TaskTracker,
    pub(crate) working: TaskTracker,
    run: u64,
    own: Mutex<Own>,
    connections: Mutex<BTreeMap<u64, Arc<Connection>>>,
    last_connection: AtomicU64,
    rejected: Mutex<VecDeque<RejectedConnection>>,
}

/// What this node says of itself and may change.
struct Own {
    cluster: Option<ClusterId>,
    address: String,
}

/// Why there is no connection to an address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DialError {
    /// Nobody said where the node is.
    #[error("its address is not known")]
    NoAddress,
    /// The address could not be resolved, or nobody listens there.
    #[error("{address}: {kind}")]
    Connect {
        /// The address.
        address: String,
        /// What the operating system says.
        kind: io::ErrorKind,
    },
    /// The address could not be reached in time.
    #[error("{address} did not answer in time")]
    ConnectTimedOut {
        /// The address.
        address: String,
    },
    /// Who listens there is not who should.
    #[error("{address}: {source}")]
    Handshake {
        /// The address.
        address: String,
        /// Why not.
        source: HandshakeError,
    },
    /// This node's own cluster changed meanwhile.
    #[error("this node's cluster changed meanwhile")]
    Adopted,
    /// This node shuts down.
    #[error("this node shuts down")]
    ShutDown,
}

impl Shared {
    pub(crate) fn new(config: Config) -> Arc<Self> {
        let run = rand::random();
        let own = Seen {
            node: config.node,
            incarnation: config.incarnation,
            run,
            address: config.address.clone(),
        };
        Arc::new(Self {
            metrics: Arc::default(),
            remotes: Mutex::default(),
            sightings: Sightings::new(own),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
            working: TaskTracker::new(),
            run,
            own: Mutex::new(Own { cluster: config.cluster, address: config.address.clone() }),
            connections: Mutex::default(),
            last_connection: AtomicU64::new(0),
            rejected: Mutex::default(),
            config,
        })
    }

    pub(crate) fn identity(&self) -> Identity {
        let own = self.own.lock();
        Identity {
            cluster: own.cluster,
            peer: Peer { node: self.config.node, incarnation: self.config.incarnation },
            run: self.run,
            address: own.address.clone(),
        }
    }

    /// Where others reach this node, if the configuration does not say.
    pub(crate) fn set_address(&self, address: String) {
        let mut own = self.own.lock();
        if own.address.is_empty() {
            self.sightings.set_own_address(&address);
            own.address = address;
        }
    }

    /// Becomes a member; who it is was told as a stranger on the connections that stand, so
    /// they are closed. `Err`: it is a member of another cluster already.
    pub(crate) fn adopt(&self, cluster: ClusterId) -> Result<(), ClusterId> {
        let mut own = self.own.lock();
        match own.cluster {
            Some(other) if other != cluster => return Err(other),
            Some(_) => return Ok(()),
            None => own.cluster = Some(cluster),
        }
        drop(own);
        for connection in self.connections() {
            connection.close(Closed::Adopted);
        }
        Ok(())
    }

    pub(crate) fn connections(&self) -> Vec<Arc<Connection>> {
        self.connections.lock().values().cloned().collect()
    }

    pub(crate) fn context(&self) -> Context {
        Context {
            metrics: Arc::clone(&self.metrics),
            timing: self.config.timing,
            closing: self.closing.clone(),
            working: self.working.clone(),
        }
    }

    /// Makes a connection to a node in the address book.
    pub(crate) async fn connect(
        self: &Arc<Self>,
        node: NodeId,
        lane: Lane,
    ) -> Result<Arc<Connection>, DialError> {
        let address = self.remotes.lock().get(&node).map(|remote| remote.address());
        let address = address.ok_or(DialError::NoAddress)?;
        let purpose = match lane {
            Lane::Control => Purpose::Control,
            Lane::Bulk => Purpose::Bulk,
        };
        let ours = self.identity();
        let greeting = self.greet(&address, &ours, purpose, Some(node));
        let greeted = self.closing.run_until_cancelled(greeting).await;
        let (socket, established) = greeted.unwrap_or(Err(DialError::ShutDown))?;
        let connection = Connection::new(&established, lane, Side::Dialed, self.context());
        self.start(Arc::clone(&connection), (socket, &address), (ours, &established), None)?;
        Ok(connection)
    }

    /// Connects to an address and learns who is there.
    pub(crate) async fn greet(
        &self,
        address: &str,
        ours: &Identity,
        purpose: Purpose,
        expects: Option<NodeId>,
    ) -> Result<(TcpStream, Established), DialError> {
        if self.closing.is_cancelled() {
            return Err(DialError::ShutDown);
        }
        self.metrics.connects_attempted.increment();
        let timing = self.config.timing;
        let connecting = TcpStream::connect(address);
        let connected = tokio::time::timeout(timing.connect_max, connecting).await;
        let address = address.to_owned();
        let Ok(connected) = connected else { return Err(DialError::ConnectTimedOut { address }) };
        let no_delay = connected.and_then(|socket| socket.set_nodelay(true).map(|()| socket));
        let mut socket = match no_delay {
            Ok(socket) => socket,
            Err(error) => return Err(DialError::Connect { address, kind: error.kind() }),
        };
        let judge = At { sightings: &self.sightings, found_at: &address };
        let greeting = handshake::dial(&mut socket, ours, purpose, expects, &judge);
        let greeted = tokio::time::timeout(timing.handshake_max, greeting).await;
        match greeted.unwrap_or(Err(HandshakeError::TimedOut)) {
            Ok(established) => Ok((socket, established)),
            Err(source) => Err(self.handshake_failed(address, source)),
        }
    }

    /// Registers a connection and lets it run. `room` is its place among those that may be
    /// accepted.
    pub(crate) fn start(
        self: &Arc<Self>,
        connection: Arc<Connection>,
        (socket, address): (TcpStream, &str),
        (ours, established): (Identity, &Established),
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<(), DialError> {
        let id = self.last_connection.fetch_add(1, Ordering::Relaxed);
        {
            // Under the lock, as adoption and shutdown change their state before they look
            // at the connections.
            let mut connections = self.connections.lock();
            if self.closing.is_cancelled() {
                return Err(DialError::ShutDown);
            }
            if self.own.lock().cluster != ours.cluster {
                return Err(DialError::Adopted);
            }
            connections.insert(id, Arc::clone(&connection));
        }
        if established.standing == Standing::Members {
            let seen = Seen::of(&established.theirs, address);
            if let Err(rejection) = self.sightings.admit(seen, &connection) {
                self.connections.lock().remove(&id);
                return Err(self.handshake_failed(address.to_owned(), rejection.into()));
            }
        }
        let shared = Arc::clone(self);
        self.tasks.spawn(async move {
            let _room = room;
            Arc::clone(&connection).run(socket).await;
            shared.sightings.forget(&connection);
            shared.connections.lock().remove(&id);
        });
        Ok(())
    }

    /// Makes sure that a rejection is seen.
    pub(crate) fn handshake_failed(&self, address: String, source: HandshakeError) -> DialError {
        if let HandshakeError::Rejected(rejection) = &source {
            self.note(&address, rejection);
        }
        DialError::Handshake { address, source }
    }

    fn note(&self, address: &str, rejection: &Rejection) {
        self.metrics.rejections.increment();
        let noted =
            RejectedConnection { address: address.to_owned(), rejection: rejection.clone() };
        let mut rejected = self.rejected.lock();
        // A node that dials again and again does so from another port each time.
        if rejected.iter().any(|known| known.rejection == noted.rejection) {
            return;
        }
        if rejected.len() >= REFUSALS_REMEMBERED {
            rejected.pop_front();
        }
        rejected.push_back(noted);
        drop(rejected);
        match rejection {
            Rejection::Closing => tracing::debug!(address, %rejection, "connection rejected"),
            _ => tracing::error!(address, %rejection, "connection rejected"),
        }
    }

    pub(crate) fn rejected(&self) -> Vec<RejectedConnection> {
        self.rejected.lock().iter().cloned().collect()
    }
}
