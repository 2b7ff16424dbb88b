//! The server: accepts connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use breccia_node::Node;
use breccia_types::limits::SHUTDOWN_GRACE;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::connection::Connection;
use super::front::Front;
use super::metrics::Metrics;

/// What a client beyond the limit gets.
const TOO_MANY_CLIENTS: &[u8] = b"-ERR max number of clients reached\r\n";
/// The pause after the operating system refused a connection, for want of descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The Redis protocol of one node, on a port of its own.
///
/// ```no_run
/// # async fn example(node: breccia_node::Node) -> std::io::Result<()> {
/// use breccia_server::resp;
/// use tokio_util::sync::CancellationToken;
///
/// let address = ([127, 0, 0, 1], 6379).into();
/// let server = resp::Server::bind(node, resp::Config::new(address)).await?;
/// println!("redis-cli -p {}", server.local_addr().port());
/// server.run(CancellationToken::new()).await
/// # }
/// ```
pub struct Server {
    front: Front,
    listener: TcpListener,
    address: SocketAddr,
    connections_max: usize,
}

impl Server {
    /// Takes the address; connections wait until [`Server::run`].
    ///
    /// # Errors
    /// If the address cannot be listened on: it is in use, or not one of this machine.
    pub async fn bind(node: Node, config: Config) -> io::Result<Self> {
        Self::over(TcpListener::bind(config.address).await?, node, config)
    }

    /// Takes connections of this listener; they wait until [`Server::run`]. The address of the
    /// configuration does not count.
    ///
    /// # Errors
    /// If the listener has no address any more.
    pub fn over(listener: TcpListener, node: Node, config: Config) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let connections_max = config.connections_max;
        Ok(Self { front: Front::new(node, &config.extensions), listener, address, connections_max })
    }

    /// Where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What it has done, to be read at any time.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.front.metrics.clone()
    }

    /// Serves until the token is cancelled. Then it takes no more connections, lets each
    /// connection finish the commands that it is at, and closes it; after `SHUTDOWN_GRACE`
    /// it closes those that are left.
    ///
    /// # Errors
    /// None at present: failed connections end by themselves.
    pub async fn run(self, stop: CancellationToken) -> io::Result<()> {
        tracing::info!(address = %self.address, "serving the Redis protocol");
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            match accepted {
                Ok((stream, _)) if connections.len() >= self.connections_max => {
                    self.refuse(&stream);
                }
                Ok((stream, peer)) => match self.connection(stream, peer, &stop) {
                    Ok(connection) => {
                        connections.spawn(connection.run());
                    }
                    Err(error) => tracing::debug!(%peer, %error, "connection broke"),
                },
                Err(error) => {
                    tracing::warn!(%error, "no connection accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        let ended = async { while connections.join_next().await.is_some() {} };
        if timeout(SHUTDOWN_GRACE, ended).await.is_err() {
            tracing::warn!("connections were left at the end of the grace period");
            connections.abort_all();
        }
        Ok(())
    }

    fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        stop: &CancellationToken,
    ) -> io::Result<Connection> {
        stream.set_nodelay(true)?;
        let addresses = (peer, stream.local_addr()?);
        let clients = &self.front.clients;
        let now = self.front.node.clock().now();
        let registration = Arc::clone(clients).register(addresses, now, stop.child_token());
        Ok(Connection::new(self.front.clone(), stream, registration))
    }

    /// A new socket takes so few bytes at once; if not, the client learns nothing.
    fn refuse(&self, stream: &TcpStream) {
        self.front.metrics.on_refused();
        let _ = stream.try_write(TOO_MANY_CLIENTS);
    }
}
