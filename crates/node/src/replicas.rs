//! The replicas that this node holds: opened and let go as the placement says.
//!
//! A node acts on a placement only when its replica of the meta shard has it on disk. So
//! what it reads there at its next start is never older than what it has acted on, and what
//! else it finds on its disk is left over from a replica that was let go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use breccia_replication::raft::{OpenError, Replicas};
use breccia_replication::{LogError, SharedLog};
use breccia_ring::Placement;
use breccia_service::meta::ClusterState;
use breccia_store::{Engine, StoreError};
use breccia_types::{NodeId, ReplicaId, ShardId};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::cluster::ClusterView;
use crate::node::Shard;
use crate::replica::Machines;

/// The node's record of which replica the data of each shard belongs to, as JSON.
const HELD: &str = "replicas";
/// How long a node waits before it tries again to open or let go a replica.
const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// The shards on this node.
pub(crate) type ShardMap = Arc<ArcSwap<BTreeMap<ShardId, Shard>>>;

/// Why a replica could not be opened or let go.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HoldError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The replica cannot be opened or closed.
    #[error(transparent)]
    Replica(#[from] OpenError),
    /// Its log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The work on the disk did not end.
    #[error("a thread ended before its work: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

/// What this node holds.
pub(crate) struct Holdings {
    pub(crate) node: NodeId,
    pub(crate) cluster: Arc<ClusterView>,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) log: Arc<SharedLog>,
    pub(crate) machines: Arc<Machines>,
    pub(crate) replicas: Replicas,
    pub(crate) shards: ShardMap,
    /// Held while replicas come and go.
    pub(crate) settling: tokio::sync::Mutex<()>,
}

impl Holdings {
    /// Removes what replicas that were let go left behind when the node last ended. To be
    /// called before any replica is opened.
    pub(crate) async fn clean_up(&self) -> Result<(), HoldError> {
        let Some(state) = self.cluster.state() else { return Ok(()) };
        let wanted = self.wanted(&state)?;
        let (log, engine) = (Arc::clone(&self.log), Arc::clone(&self.engine));
        let logs = tokio::task::spawn_blocking(move || log.groups()).await??;
        for key in logs {
            if wanted.get(&key.shard) != Some(&key.replica) {
                tracing::info!(shard = %key.shard, replica = %key.replica, "removes an old log");
                self.log.destroy(key.shard, key.replica).await?;
            }
        }
        for shard in engine.shards() {
            if shard != ShardId::META && !wanted.contains_key(&shard) {
                tracing::info!(%shard, "removes the data of a replica that was let go");
                self.remove_data(shard).await?;
            }
        }
        Ok(())
    }

    /// Follows the placement until stopped.
    pub(crate) async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut changes = self.cluster.changes();
        loop {
            let settled = self.settle().await;
            if let Err(error) = &settled {
                tracing::error!(%error, "a replica cannot be opened or let go; tries again");
            }
            let next = async {
                match settled {
                    Ok(()) => changes.changed().await.is_ok(),
                    Err(_) => {
                        tokio::time::sleep(RETRY_PAUSE).await;
                        true
                    }
                }
            };
            if stop.run_until_cancelled(next).await != Some(true) {
                return;
            }
        }
    }

    /// Opens what the placement gives this node, and lets go what it takes away.
    pub(crate) async fn settle(&self) -> Result<(), HoldError> {
        let _settling = self.settling.lock().await;
        let Some(state) = self.cluster.state() else { return Ok(()) };
        let wanted = self.wanted(&state)?;
        let open = self.shards.load_full();
        let gone = open
            .iter()
            .filter(|(shard, held)| wanted.get(shard) != Some(&held.group.replica()))
            .map(|(shard, _)| *shard);
        let gone: Vec<_> = gone.collect();
        if gone.is_empty() && wanted.keys().all(|shard| open.contains_key(shard)) {
            return Ok(());
        }
        self.keep_what_is_known().await?;
        for shard in &gone {
            self.let_go(*shard).await?;
        }
        let open = self.shards.load_full();
        for (shard, replica) in wanted.iter().filter(|(shard, _)| !open.contains_key(shard)) {
            self.take_up(*shard, *replica).await?;
        }
        Ok(())
    }

    /// Opens a replica. Data of another replica of the shard is removed before.
    pub(crate) async fn take_up(
        &self,
        shard: ShardId,
        replica: ReplicaId,
    ) -> Result<(), HoldError> {
        let mut held = self.held()?;
        match held.get(&shard) {
            Some(present) if *present == replica => {}
            present => {
                if let Some(present) = present {
                    self.log.destroy(shard, *present).await?;
                    self.remove_data(shard).await?;
                }
                held.insert(shard, replica);
                self.put_held(held).await?;
            }
        }
        let machines = Arc::clone(&self.machines);
        let data = tokio::task::spawn_blocking(move || machines.data(shard)).await??;
        let group = self.replicas.open(shard, replica).await?;
        tracing::info!(%shard, %replica, "holds a replica");
        let opened = Shard { data, group };
        self.shards.rcu(|shards| {
            let mut shards = BTreeMap::clone(shards);
            shards.insert(shard, opened.clone());
            shards
        });
        Ok(())
    }

    /// Exchanges the replica of the meta shard for the one that was placed here since. Its
    /// data stay: they are what was agreed on once, and the new replica goes on from there.
    /// Its log goes, and its id is not used again.
    pub(crate) async fn renew_meta(&self, replica: ReplicaId) -> Result<(), HoldError> {
        let _settling = self.settling.lock().await;
        let open = self.shards.load_full();
        let present = open.get(&ShardId::META).map(|present| present.group.replica());
        if present == Some(replica) {
            return Ok(());
        }
        // First, so that an end of the process on the way does not bring the old one back.
        let mut held = self.held()?;
        held.insert(ShardId::META, replica);
        self.put_held(held).await?;
        self.close(ShardId::META).await?;
        let is_damaged =
            open.get(&ShardId::META).is_some_and(|meta| meta.data.health.quarantined().is_some());
        match is_damaged {
            true => self.remove_data(ShardId::META).await?,
            // The new replica's log starts where these data end: they must not go back.
            false => self.keep_what_is_known().await?,
        }
        self.take_up(ShardId::META, replica).await
    }

    /// Stops a replica, and removes its log.
    async fn close(&self, shard: ShardId) -> Result<(), HoldError> {
        self.shards.rcu(|shards| {
            let mut shards = BTreeMap::clone(shards);
            shards.remove(&shard);
            shards
        });
        Ok(self.replicas.remove(shard).await?)
    }

    async fn let_go(&self, shard: ShardId) -> Result<(), HoldError> {
        self.close(shard).await?;
        self.remove_data(shard).await?;
        let mut held = self.held()?;
        held.remove(&shard);
        self.put_held(held).await?;
        tracing::info!(%shard, "has let a replica go");
        Ok(())
    }

    async fn remove_data(&self, shard: ShardId) -> Result<(), HoldError> {
        self.machines.forget(shard);
        let engine = Arc::clone(&self.engine);
        let removing = tokio::task::spawn_blocking(move || {
            if engine.shards().contains(&shard) { engine.remove_shard(shard) } else { Ok(()) }
        });
        Ok(removing.await??)
    }

    /// Writes what this node knows of the cluster to files, before it acts on it.
    async fn keep_what_is_known(&self) -> Result<(), HoldError> {
        let engine = Arc::clone(&self.engine);
        let keeping =
            tokio::task::spawn_blocking(move || engine.open_shard(ShardId::META)?.flush());
        Ok(keeping.await??)
    }

    /// The replicas that this node is to hold. That of the meta shard stays as it is until
    /// the cluster has said which other one is placed here: this node's view of that ends
    /// with its replica.
    fn wanted(&self, state: &ClusterState) -> Result<BTreeMap<ShardId, ReplicaId>, StoreError> {
        let mut wanted = replicas_on(self.node, state);
        if let Some(meta) = self.held()?.get(&ShardId::META) {
            wanted.insert(ShardId::META, *meta);
        }
        Ok(wanted)
    }

    fn held(&self) -> Result<BTreeMap<ShardId, ReplicaId>, StoreError> {
        let Some(stored) = self.engine.get_node_record(HELD)? else {
            return Ok(BTreeMap::new());
        };
        let entries: Vec<(ShardId, ReplicaId)> = serde_json::from_slice(&stored)
            .map_err(|_| StoreError::UnknownFormat { what: HELD, found: 0, known: 1 })?;
        Ok(entries.into_iter().collect())
    }

    async fn put_held(&self, held: BTreeMap<ShardId, ReplicaId>) -> Result<(), HoldError> {
        let entries: Vec<_> = held.into_iter().collect();
        // Pairs of numbers are always JSON.
        let stored = serde_json::to_vec(&entries).unwrap_or_default();
        let engine = Arc::clone(&self.engine);
        let putting = tokio::task::spawn_blocking(move || engine.put_node_record(HELD, &stored));
        Ok(putting.await??)
    }
}

/// The replicas that a node is to hold.
pub(crate) fn replicas_on(node: NodeId, state: &ClusterState) -> BTreeMap<ShardId, ReplicaId> {
    let held = |placement: &Placement| -> Vec<_> {
        placement.held_by(node).map(|(shard, place)| (shard, place.replica)).collect()
    };
    let meta = held(&state.meta_placement).into_iter().map(|(_, id)| (ShardId::META, id));
    meta.chain(held(&state.placement)).collect()
}
