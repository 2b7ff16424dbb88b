//! A node: its shards, its log, its tables.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use breccia_replication::{ConsensusStatus, FsyncPolicy, LocalLog, LocalShard, ShardConsensus};
use breccia_ring::{Placement, slot_of};
use breccia_store::{Engine, ShardEngine, StoreError};
use breccia_types::{
    Column, NodeClock, NodeId, RequestError, ShardId, Slot, Table, TableOptions, Timestamp,
};

use crate::catalog::Catalog;
use crate::health::{NodeHealth, ShardHealth};
use crate::maintenance::Maintenance;

/// A node. Cheap to clone: all clones are the same node.
#[derive(Clone)]
pub struct Node(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) id: NodeId,
    pub(crate) started: Instant,
    pub(crate) started_at: Timestamp,
    pub(crate) config: Chosen,
    pub(crate) clock: Arc<NodeClock>,
    pub(crate) placement: Arc<Placement>,
    pub(crate) catalog: Catalog,
    pub(crate) shards: Vec<Shard>,
    pub(crate) health: Arc<NodeHealth>,
    pub(crate) log: LocalLog,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) maintenance: Maintenance,
}

/// What was chosen, as far as status tells it.
pub(crate) struct Chosen {
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) memory_bytes: usize,
    pub(crate) fsync: FsyncPolicy,
}

/// One shard on this node.
#[derive(Clone)]
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    pub(crate) engine: Arc<dyn ShardEngine>,
    pub(crate) log: LocalShard,
    pub(crate) health: Arc<ShardHealth>,
}

impl Node {
    /// Refuses new writes, lets those that wait finish, and writes everything to files.
    pub async fn shutdown(&self) {
        self.0.health.close();
        let inner = Arc::clone(&self.0);
        let closed = tokio::task::spawn_blocking(move || {
            inner.maintenance.stop();
            inner.log.close();
            inner.engine.flush()
        });
        match closed.await {
            Ok(Ok(())) => tracing::info!("the node is closed"),
            Ok(Err(error)) => tracing::warn!(%error, "not flushed; the log will be replayed"),
            Err(error) => tracing::error!(%error, "closing failed"),
        }
    }

    /// The node's identity.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.0.id
    }

    /// The node's clock.
    #[must_use]
    pub fn clock(&self) -> &NodeClock {
        &self.0.clock
    }

    /// Which shard holds which slots.
    #[must_use]
    pub fn placement(&self) -> Arc<Placement> {
        Arc::clone(&self.0.placement)
    }

    /// Whether the node takes reads and writes.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.0.health.is_closing()
            && self.0.health.read_only().is_none()
            && self.0.shards.iter().all(|shard| shard.health.quarantined().is_none())
    }

    /// The table of this name.
    ///
    /// # Errors
    /// [`RequestError::UnknownTable`].
    pub fn table(&self, name: &str) -> Result<Arc<Table>, RequestError> {
        self.0.catalog.get(name)
    }

    /// The table that the Redis protocol reads and writes.
    #[must_use]
    pub fn redis_table(&self) -> &Arc<Table> {
        self.0.catalog.redis()
    }

    /// All tables, by name.
    #[must_use]
    pub fn tables(&self) -> Vec<Arc<Table>> {
        self.0.catalog.list()
    }

    /// Creates a table.
    ///
    /// # Errors
    /// [`RequestError::TableExists`], [`RequestError::InvalidTable`],
    /// [`RequestError::TooManyTables`], or what writing reports.
    pub async fn create_table(
        &self,
        name: &str,
        options: TableOptions,
    ) -> Result<Arc<Table>, RequestError> {
        self.0.health.check_write(false)?;
        let name = name.to_owned();
        self.blocking(move |inner| inner.catalog.create(&name, options)).await
    }

    /// Notes the columns of a table's JSON values, and how its keys were made.
    ///
    /// # Errors
    /// [`RequestError::UnknownTable`], or what writing reports.
    pub async fn describe_columns(
        &self,
        name: &str,
        columns: Vec<Column>,
        key_template: Option<String>,
    ) -> Result<Arc<Table>, RequestError> {
        self.0.health.check_write(false)?;
        let name = name.to_owned();
        self.blocking(move |inner| inner.catalog.describe_columns(&name, columns, key_template))
            .await
    }

    pub(crate) fn slot(&self, table: &Table, key: &[u8]) -> Slot {
        slot_of(table.options.partition, key)
    }

    pub(crate) fn shard(&self, slot: Slot) -> Result<&Shard, RequestError> {
        let id = self.0.placement.shard_of(slot);
        let at = usize::try_from(id.get()).unwrap_or(usize::MAX);
        let missing =
            || RequestError::ShardUnavailable { shard: id, reason: "it is not here".into() };
        let shard = self.0.shards.get(at).ok_or_else(missing)?;
        shard.health.check(id)?;
        Ok(shard)
    }

    /// Runs something that waits for the disk, off the runtime's own threads.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, RequestError> + Send + 'static,
    ) -> Result<T, RequestError> {
        let inner = Arc::clone(&self.0);
        match tokio::task::spawn_blocking(move || work(&inner)).await {
            Ok(result) => result,
            Err(error) => Err(RequestError::Internal { reason: error.to_string() }),
        }
    }
}

impl Shard {
    /// Translates a failed read, and takes the shard out of service if it is damaged.
    pub(crate) fn on_read_error(&self, error: &StoreError) -> RequestError {
        match error {
            StoreError::Corrupt { .. } | StoreError::UnknownFormat { .. } => {
                self.health.quarantine(self.id, error.to_string());
                RequestError::ShardUnavailable { shard: self.id, reason: error.to_string() }
            }
            error => RequestError::Storage { reason: error.to_string() },
        }
    }

    /// Whether the shard orders writes and how many wait.
    pub(crate) fn consensus(&self) -> ConsensusStatus {
        self.log.status()
    }
}
