//! The server: one listener for gRPC, REST and metrics.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use breccia_node::Node;
use breccia_types::limits::{CONNECTIONS_MAX, SHUTDOWN_GRACE};
use prometheus_client::collector::Collector;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::app::App;
use super::listener::BoundedListener;
use super::metrics::{Connections, Metrics, measure};
use super::{admission, deadline, grpc, rest};
use crate::Extensions;

/// What an embedder chooses.
#[derive(Debug)]
pub struct Config {
    /// Where to listen; port 0 for any free one.
    pub address: SocketAddr,
    /// The most connections at a time; one more is closed at once.
    pub connections_max: usize,
    /// What other front ends have to tell on `/metrics`. Their names get the prefix
    /// `breccia_`.
    pub collectors: Vec<Box<dyn Collector>>,
    /// What the node was opened with for its front ends.
    pub extensions: Extensions,
    /// What SQL queries may take.
    #[cfg(feature = "sql")]
    pub sql: breccia_sql::Limits,
}

impl Config {
    /// The defaults, at this address.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            connections_max: CONNECTIONS_MAX,
            collectors: Vec::new(),
            extensions: Extensions::default(),
            #[cfg(feature = "sql")]
            sql: breccia_sql::Limits::default(),
        }
    }
}

/// gRPC, REST and metrics of one node on one port, over HTTP/1.1 and HTTP/2 without TLS.
pub struct Server {
    listener: BoundedListener,
    address: SocketAddr,
    router: Router,
    closing: CancellationToken,
    cut: CancellationToken,
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
        let cut = CancellationToken::new();
        let listener = BoundedListener::new(listener, config.connections_max, cut.clone());
        let connections =
            Connections { free: Arc::clone(listener.free()), max: config.connections_max };
        let metrics = Metrics::new(&node, connections, config.collectors);
        #[cfg(feature = "functions")]
        let functions = config.extensions.functions(node.clone());
        let app = App {
            #[cfg(feature = "sql")]
            sql: breccia_sql::Sql::new(node.clone(), functions.clone(), config.sql),
            #[cfg(feature = "functions")]
            functions,
            node,
            metrics: Arc::new(metrics),
            admission: Arc::default(),
            closing: CancellationToken::new(),
        };
        Ok(Self { listener, address, router: router(&app), closing: app.closing, cut })
    }

    /// Where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the token is cancelled; then takes no more connections, and waits up to
    /// `SHUTDOWN_GRACE` for the requests in flight.
    ///
    /// # Errors
    /// None at present: failed connections end by themselves.
    pub async fn run(self, stop: CancellationToken) -> io::Result<()> {
        let Self { listener, address, router, closing, cut } = self;
        tracing::info!(%address, "serving gRPC and REST");
        let stopping = stop.clone();
        let stopped = async move {
            stopping.cancelled().await;
            closing.cancel();
        };
        let serving = axum::serve(listener, router).with_graceful_shutdown(stopped);
        let too_late = async {
            stop.cancelled().await;
            tokio::time::sleep(SHUTDOWN_GRACE).await;
        };
        let result = tokio::select! {
            result = serving => result,
            () = too_late => {
                tracing::warn!("requests were still in flight at the end of the grace period");
                Ok(())
            }
        };
        cut.cancel();
        result
    }
}

/// Every route of every protocol.
fn router(app: &App) -> Router {
    let routes = grpc::router(app).merge(rest::router(app.clone()));
    routes
        .layer(from_fn_with_state(app.clone(), admission::admit))
        .layer(from_fn(deadline::enforce))
        .layer(from_fn(rest::render_problems))
        .layer(from_fn_with_state(app.clone(), measure))
}
