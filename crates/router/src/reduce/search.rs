//! The shards that a reduction still lacks, and who is asked for them.

use std::collections::BTreeMap;

use breccia_types::reduce::MissingShard;
use breccia_types::{NodeId, ShardId};

use super::Inner;
use super::gathered::{Gathered, Missed};
use super::plan::Task;
use crate::route::{Consistency, Hint, Journey, Route, route};

/// The shards that are not covered yet.
pub(super) struct Search(BTreeMap<ShardId, Sought>);

/// A shard that is not covered yet.
struct Sought {
    /// Nodes that could not reduce it, since it was last left alone for a while.
    tried: Vec<NodeId>,
    reason: String,
}

impl Search {
    pub(super) fn new(shards: &[ShardId]) -> Self {
        let sought = || Sought { tried: Vec::new(), reason: "no leader of it is known".to_owned() };
        Self(shards.iter().map(|shard| (*shard, sought())).collect())
    }

    /// Takes what a round has brought.
    pub(super) fn after(&mut self, gathered: &Gathered) {
        self.0.retain(|shard, _| !gathered.covered.contains(shard));
        for missed in &gathered.missed {
            if let Some(sought) = self.0.get_mut(&missed.shard) {
                sought.tried.extend(missed.asked);
                sought.reason.clone_from(&missed.reason);
            }
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// The shards that are lacking for good.
    pub(super) fn into_missing(self) -> Vec<MissingShard> {
        let missing = self.0.into_iter();
        missing.map(|(shard, Sought { reason, .. })| MissingShard { shard, reason }).collect()
    }
}

impl Inner {
    /// Decides who is asked for each shard: this node, or which others. One that nobody is
    /// left for is asked of all again in the next round.
    pub(super) fn assign(
        &self,
        search: &mut Search,
        wanted: Consistency,
    ) -> (Vec<ShardId>, Vec<Task>) {
        let router = &self.router.0;
        let mut own = Vec::new();
        let mut others: BTreeMap<NodeId, Vec<ShardId>> = BTreeMap::new();
        for (shard, sought) in &mut search.0 {
            let decided =
                router.view(*shard, &sought.tried, |view| route(&view, &Journey::Starts, wanted));
            match decided {
                Route::Here => own.push(*shard),
                Route::Forward { to, .. } => others.entry(to).or_default().push(*shard),
                Route::Refuse(_) => sought.tried.clear(),
            }
        }
        let tasks = others.into_iter().map(|(node, shards)| Task { node, shards });
        (own, tasks.collect())
    }

    /// Learns from shards that were missed who leads them, as their replicas know.
    pub(super) fn learn(&self, missed: &[Missed]) {
        let router = &self.router.0;
        for Missed { shard, asked, leader, .. } in missed {
            if let Some(asked) = *asked {
                let epoch = router.placements.borrow().epoch(*shard);
                let hint = leader.map(|leader| Hint { leader, epoch });
                router.on_wrong_owner(asked, *shard, hint);
            }
        }
    }
}
