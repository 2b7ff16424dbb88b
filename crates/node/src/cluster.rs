//! What all nodes agree on, as this node knows it from its replica of the meta shard.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use breccia_ring::Placement;
use breccia_service::meta::ClusterState;
use breccia_store::{Reader, RetentionRules};
use breccia_types::{RequestError, ShardId, Slot, Table, TableKind};

/// The latest state that this node has applied. Readable at any time, without waiting.
pub(crate) struct ClusterView {
    state: ArcSwapOption<ClusterState>,
    rules: Arc<RetentionRules>,
}

impl ClusterView {
    pub(crate) fn new(rules: Arc<RetentionRules>) -> Self {
        Self { state: ArcSwapOption::empty(), rules }
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
                self.state.store(Some(Arc::new(state)));
            }
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "the meta shard cannot be read"),
        }
    }

    /// The state; `None` until this node has received it.
    pub(crate) fn state(&self) -> Option<Arc<ClusterState>> {
        self.state.load_full()
    }

    /// Where the shards are.
    pub(crate) fn placement(&self) -> Option<Arc<Placement>> {
        self.state.load().as_ref().map(|state| Arc::clone(&state.placement))
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

    /// All tables, by name.
    pub(crate) fn tables(&self) -> Vec<Arc<Table>> {
        let state = self.state.load();
        state.as_ref().map_or_else(Vec::new, |state| state.tables.values().cloned().collect())
    }
}
