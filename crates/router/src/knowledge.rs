//! What a node has learned from others: who leads which shard, and who cannot be reached.

use std::collections::BTreeMap;
use std::time::Duration;

use breccia_types::{NodeId, ShardId};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::route::Hint;

/// How long a node that could not be reached is passed over.
const SUSPECTED_FOR: Duration = Duration::from_secs(1);

/// How long it is taken for granted that a node leads which has shown that it does. Clients
/// are sent to it for as long; what is sent by this node itself finds out.
pub(crate) const SHOWN_FOR: Duration = Duration::from_secs(1);

/// Who led each shard when somebody last said so. At most one entry per shard.
///
/// What other nodes say of a third serves to find the leader: it may be old, or a circle. Only
/// what a leader did or said itself shows that it leads.
#[derive(Debug, Default)]
pub(crate) struct Leaders(Mutex<BTreeMap<ShardId, Known>>);

/// What is known of a shard's leader.
#[derive(Debug, Clone, Copy)]
struct Known {
    hint: Hint,
    /// When the node itself last showed that it leads.
    shown: Option<Instant>,
}

impl Leaders {
    pub(crate) fn get(&self, shard: ShardId) -> Option<Hint> {
        self.0.lock().get(&shard).map(|known| known.hint)
    }

    /// The node that has shown of late that it leads the shard.
    pub(crate) fn shown(&self, shard: ShardId) -> Option<NodeId> {
        let known = self.0.lock().get(&shard).copied()?;
        known.shown.is_some_and(|at| at.elapsed() < SHOWN_FOR).then_some(known.hint.leader)
    }

    /// Notes what was heard of the leader.
    pub(crate) fn learn(&self, shard: ShardId, hint: Hint) {
        let mut leaders = self.0.lock();
        let before = leaders.get(&shard).filter(|known| known.hint.leader == hint.leader);
        let shown = before.and_then(|known| known.shown);
        leaders.insert(shard, Known { hint, shown });
    }

    /// Notes that the node which the hint names has shown that it leads.
    pub(crate) fn show(&self, shard: ShardId, hint: Hint) {
        self.0.lock().insert(shard, Known { hint, shown: Some(Instant::now()) });
    }

    /// Forgets that `node` leads the shard, if that was believed.
    pub(crate) fn forget(&self, shard: ShardId, node: NodeId) {
        let mut leaders = self.0.lock();
        if leaders.get(&shard).is_some_and(|known| known.hint.leader == node) {
            leaders.remove(&shard);
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
