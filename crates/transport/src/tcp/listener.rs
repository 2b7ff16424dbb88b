//! Accepts connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::transport::{Handler, Lane};

use super::connection::{Connection, Side};
use super::greeting::Purpose;
use super::handshake::{self, HandshakeError};
use super::limits::CONNECTIONS_ACCEPTED_MAX;
use super::shared::{DialError, Shared};
use super::sightings::At;

/// How long accepting rests when the operating system refuses it, for want of descriptors,
/// say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket that listens for other nodes, and who serves them.
pub struct Listener {
    socket: TcpListener,
    local_addr: SocketAddr,
    handler: Arc<dyn Handler>,
    shared: Arc<Shared>,
    room: Arc<Semaphore>,
}

/// Why a node cannot listen.
#[derive(Debug, Error)]
#[error("cannot listen on {address}")]
pub struct ListenError {
    /// The address.
    pub address: String,
    /// What the operating system says.
    pub source: io::Error,
}

impl Listener {
    pub(crate) async fn bind(
        shared: Arc<Shared>,
        address: &str,
        handler: Arc<dyn Handler>,
    ) -> Result<Self, ListenError> {
        let failed = |source| ListenError { address: address.to_owned(), source };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let local_addr = socket.local_addr().map_err(failed)?;
        shared.set_address(local_addr.to_string());
        let room = Arc::new(Semaphore::new(CONNECTIONS_ACCEPTED_MAX));
        Ok(Self { socket, local_addr, handler, shared, room })
    }

    /// Where it listens: with port 0, the port that was found.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Accepts connections until the transport shuts down.
    pub async fn run(self) {
        let closing = self.shared.closing.clone();
        closing.run_until_cancelled(self.accept_all()).await;
    }

    async fn accept_all(&self) {
        loop {
            match self.socket.accept().await {
                Ok((socket, from)) => self.on_accepted(socket, from),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn on_accepted(&self, socket: TcpStream, from: SocketAddr) {
        self.shared.metrics.accepted.increment();
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            self.shared.metrics.turned_away.increment();
            return;
        };
        let (shared, handler) = (Arc::clone(&self.shared), Arc::clone(&self.handler));
        self.shared.tasks.spawn(async move {
            if let Err(error) = greet(&shared, (socket, room), from, handler).await {
                shared.metrics.greetings_failed.increment();
                tracing::debug!(%from, %error, "no connection");
            }
        });
    }
}

async fn greet(
    shared: &Arc<Shared>,
    (mut socket, room): (TcpStream, OwnedSemaphorePermit),
    from: SocketAddr,
    handler: Arc<dyn Handler>,
) -> Result<(), DialError> {
    let address = from.to_string();
    if let Err(error) = socket.set_nodelay(true) {
        return Err(DialError::Connect { address, kind: error.kind() });
    }
    let ours = shared.identity();
    let judge = At { sightings: &shared.sightings, found_at: &address };
    let greeting = handshake::accept(&mut socket, &ours, &judge);
    let greeting = tokio::time::timeout(shared.config.timing.handshake_max, greeting);
    let greeted = shared.closing.run_until_cancelled(greeting).await;
    let Some(greeted) = greeted else { return Err(DialError::ShutDown) };
    let (established, purpose) = match greeted.unwrap_or(Err(HandshakeError::TimedOut)) {
        Ok(greeted) => greeted,
        Err(source) => return Err(shared.handshake_failed(address, source)),
    };
    let lane = match purpose {
        Purpose::Control => Lane::Control,
        Purpose::Bulk => Lane::Bulk,
        Purpose::Probe => return Ok(()),
    };
    let side = Side::Accepted(handler);
    let connection = Connection::new(&established, lane, side, shared.context());
    shared.start(connection, (socket, &address), (ours, &established), Some(room))
}
