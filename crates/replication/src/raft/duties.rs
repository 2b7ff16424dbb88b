//! What is to be done for a running replica from time to time.

use std::sync::Arc;
use std::time::Duration;

use breccia_types::ReplicaId;
use openraft::{RaftMetrics, ServerState};
use tokio::time::Instant;

use super::change;
use super::compaction::{Compaction, LogShare};
use super::instance::Instance;
use super::shared::{GroupHealth, Shared};
use super::status::since_heard;
use super::types::GroupConfig;

type Metrics = RaftMetrics<GroupConfig>;

pub(crate) struct Duties {
    shared: Arc<Shared>,
    compaction: Compaction,
    stall: StallWatch,
}

/// Sees that what a majority has is not being applied.
struct StallWatch {
    applied: u64,
    /// Since when nothing was applied although something could be.
    since: Instant,
    /// When leadership was last asked to move.
    moved: Option<Instant>,
}

impl Duties {
    pub(crate) fn new(shared: Arc<Shared>, log: LogShare) -> Self {
        let stall = StallWatch { applied: 0, since: Instant::now(), moved: None };
        Self { shared, compaction: Compaction::new(log), stall }
    }

    /// Does what is due. `no_room` says why the log waits for room, if it does.
    pub(crate) async fn perform(&mut self, instance: &Arc<Instance>, no_room: Option<String>) {
        let metrics = instance.metrics();
        let is_stalled = self.stall.is_stalled(instance, &metrics, &self.shared);
        let may_campaign = !is_stalled && instance.guard.lets_campaign(&metrics);
        instance.raft.runtime_config().elect(may_campaign);
        self.shared.set_health(match no_room.or_else(|| instance.progress.no_room()) {
            Some(reason) => GroupHealth::NoRoom { reason },
            None if is_stalled => GroupHealth::Stalled,
            None => GroupHealth::Running,
        });
        let is_leader = metrics.state == ServerState::Leader;
        if is_leader && is_stalled {
            self.move_leadership(instance, &metrics).await;
        }
        if is_leader {
            change::finish_joint(&self.shared, instance, &metrics);
        }
        self.compaction.perform(instance, &metrics).await;
    }

    async fn move_leadership(&mut self, instance: &Instance, metrics: &Metrics) {
        let pause = self.shared.timing.transfer_timeout();
        if self.stall.moved.is_some_and(|moved| moved.elapsed() < pause) {
            return;
        }
        self.stall.moved = Some(Instant::now());
        let shard = self.shared.shard;
        let Some(target) = best_successor(metrics, pause) else {
            return tracing::error!(%shard, "the leader does not apply, and no other could lead");
        };
        tracing::warn!(%shard, to = %target, "the leader does not apply: it hands over");
        self.shared.doubts.on_transfer(metrics.current_term);
        // If the replica stops meanwhile, its supervisor sees that.
        let trigger = instance.raft.trigger();
        let asking = trigger.transfer_leader(target);
        let _ = tokio::time::timeout(self.shared.timing.heartbeat, asking).await;
    }
}

impl StallWatch {
    fn is_stalled(&mut self, instance: &Instance, metrics: &Metrics, shared: &Shared) -> bool {
        let applied = instance.progress.applied();
        let committed = metrics.local_committed.map_or(0, |log_id| log_id.index());
        if applied != self.applied || committed <= applied {
            self.applied = applied;
            self.since = Instant::now();
        }
        self.since.elapsed() > shared.timing.apply_stall_max
    }
}

/// The other voter whose log reaches furthest, of those that answered of late.
fn best_successor(metrics: &Metrics, late: Duration) -> Option<ReplicaId> {
    let membership = metrics.membership_config.membership();
    let replication = metrics.replication.as_ref()?;
    membership
        .voter_ids()
        .filter(|voter| *voter != metrics.id)
        .filter(|voter| since_heard(metrics, *voter).is_some_and(|since| since < late))
        .filter_map(|voter| Some(((*replication.get(&voter)?)?.index(), voter)))
        .max()
        .map(|(_, voter)| voter)
}
