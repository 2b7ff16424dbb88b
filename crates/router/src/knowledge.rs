//! What a node has learned from others: who leads which shard, and who cannot be reached.

use std::collections::BTreeMap;
use std::time::Duration;

use breccia_types::{NodeId, ShardId};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::route::Hint;

/// How long a node that could not be reached is passed over.
const SUSPECTED_FOR: Duration = Duration::from_secs(1);

/// Who led each shard when somebody last said so. At most one entry per shard.
#[derive(Debug, Default)]
pub(crate) struct Leaders(Mutex<BTreeMap<ShardId, Hint>>);

impl Leaders {
    pub(crate) fn get(&self, shard: ShardId) -> Option<Hint> {
        self.0.lock().get(&shard).copied()
    }

    pub(crate) fn learn(&self, shard: ShardId, hint: Hint) {
        self.0.lock().insert(shard, hint);
    }

    /// Forgets that `node` leads the shard, if that was believed.
    pub(crate) fn forget(&self, shard: ShardId, node: NodeId) {
        let mut hints = self.0.lock();
        if hints.get(&shard).is_some_and(|hint| hint.leader == node) {
            hints.remove(&shard);
        }
    }
}

/// Nodes that could not be reached lately. At most one entry per node that was ever asked.
#[derive(Debug, Default)]
pub(crate) struct Suspects(Mutex<BTreeMap<NodeId, Instant>>);

impl Suspects {
    pub(crate) fn add(&self, node: NodeId) {
        self.0.lock().insert(node, Instant::now() + SUSPECTED_FOR);
    }

    pub(crate) fn clear(&self, node: NodeId) {
        self.0.lock().remove(&node);
    }

    pub(crate) fn list(&self) -> Vec<NodeId> {
        let mut suspects = self.0.lock();
        if suspects.is_empty() {
            return Vec::new();
        }
        let now = Instant::now();
        suspects.retain(|_, until| *until > now);
        suspects.keys().copied().collect()
    }
}
