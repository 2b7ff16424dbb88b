//! What all nodes agree on, as this node knows it from its replica of the meta shard.

use std::sync::Arc;

use std::time::Duration;

use arc_swap::ArcSwapOption;
use breccia_ring::{Placement, PlacementError};
use breccia_router::{Placed, Placements};
use breccia_service::meta::ClusterState;
use breccia_store::{Reader, RetentionRules};
use breccia_types::{Epoch, Member, NodeId, RequestError, ShardId, Slot, Table, TableKind};
use tokio::sync::watch;

/// The latest state that this node has applied. Readable at any time, without waiting.
pub(crate) struct ClusterView {
    state: ArcSwapOption<ClusterState>,
    rules: Arc<RetentionRules>,
    /// Tells that the state has changed.
    changes: watch::Sender<()>,
    placed: watch::Sender<Placed>,
}

impl ClusterView {
    /// A view that knows nothing yet.
    ///
    /// # Errors
    /// None that can occur.
    pub(crate) fn new(rules: Arc<RetentionRules>) -> Result<Self, PlacementError> {
        let unknown = Arc::new(Placement::even(Epoch::new(0), 1)?);
        Ok(Self {
            state: ArcSwapOption::empty(),
            rules,
            changes: watch::Sender::new(()),
            placed: watch::Sender::new(Placed { shards: Arc::clone(&unknown), meta: unknown }),
        })
    }

    /// Tells of changes of the state.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Where the shards are, now and whenever that changes. Nowhere, at epoch 0, until this
    /// node knows.
    pub(crate) fn placements(&self) -> Placements {
        self.placed.subscribe()
    }

    /// Waits until the state is as it should be, but no longer than `patience`; whether it is.
    pub(crate) async fn wait_until(
        &self,
        patience: Duration,
        is_so: impl Fn(&ClusterState) -> bool,
    ) -> bool {
        let mut changes = self.changes();
        let waiting = async {
            while !self.state().is_some_and(|state| is_so(&state)) {
                // The sender lives as long as the view.
                if changes.changed().await.is_err() {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(patience, waiting).await.unwrap_or(false)
    }

    /// Takes over what the meta shard holds now.
    pub(crate) fn publish_from(&self, meta: &dyn Reader) {
        match ClusterState::load(meta) {
            Ok(Some(state)) => {
                let versioned = state.tables.values().filter(|table| {
                    let options = &table.options;
                    options.kind == TableKind::Versioned && !options.retention.keeps_all()
                });
                self.rules.replace(versioned.map(|table| (table.id, table.options.retention)));
                let placed = Placed {
                    shards: Arc::clone(&state.placement),
                    meta: Arc::clone(&state.meta_placement),
                };
                self.state.store(Some(Arc::new(state)));
                self.placed.send_if_modified(|present| {
                    let is_new = *present != placed;
                    *present = placed;
                    is_new
                });
                self.changes.send_replace(());
            }
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "the meta shard cannot be read"),
        }
    }

    /// The state; `None` until this node has received it.
    pub(crate) fn state(&self) -> Option<Arc<ClusterState>> {
        self.state.load_full()
    }

    /// Where the shards are: nowhere, at epoch 0, until this node knows.
    pub(crate) fn placement(&self) -> Arc<Placement> {
        Arc::clone(&self.placed.borrow().shards)
    }

    /// A node of the cluster.
    pub(crate) fn member(&self, node: NodeId) -> Option<Member> {
        self.state.load().as_ref()?.members.get(&node).cloned()
    }

    /// The shard that holds a slot; `None` until this node knows.
    pub(crate) fn shard_of(&self, slot: Slot) -> Option<ShardId> {
        self.state.load().as_ref().map(|state| state.placement.shard_of(slot))
    }

    /// The table of this name.
    pub(crate) fn table(&self, name: &str) -> Result<Arc<Table>, RequestError> {
        let state = self.state.load();
        let found = state.as_ref().and_then(|state| state.tables.get(name));
        found.cloned().ok_or_else(|| RequestError::UnknownTable { name: name.to_owned() })
    }

    /// A table that had this name and is being dropped.
    pub(crate) fn dropping(&self, name: &str) -> Option<Table> {
        let state = self.state.load();
        state.as_ref()?.dropping.iter().find(|table| table.name == name).cloned()
    }

    /// All tables, by name.
    pub(crate) fn tables(&self) -> Vec<Arc<Table>> {
        let state = self.state.load();
        state.as_ref().map_or_else(Vec::new, |state| state.tables.values().cloned().collect())
    }
}
