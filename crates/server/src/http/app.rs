//! What every handler has at hand.

use std::sync::Arc;

use breccia_node::{Node, NodeStatus};
use breccia_types::RequestError;
use tokio_util::sync::CancellationToken;

use super::admission::Admission;
use super::metrics::Metrics;

/// The node, and what the front end knows of itself.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) node: Node,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) admission: Arc<Admission>,
    #[cfg(feature = "functions")]
    pub(crate) functions: breccia_functions::Functions,
    #[cfg(feature = "sql")]
    pub(crate) sql: breccia_sql::Sql,
    /// Cancelled when the server ends: what would stream for ever ends then.
    pub(crate) closing: CancellationToken,
}

impl App {
    /// How the node stands. Asks the storage engine, and so may wait for the disk.
    pub(crate) async fn status(&self) -> Result<NodeStatus, RequestError> {
        let node = self.node.clone();
        blocking(move || node.status()).await
    }
}

/// Runs something that may wait for the disk, off the runtime's own threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RequestError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| RequestError::Internal { reason: error.to_string() })
}
