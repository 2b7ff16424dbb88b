//! Cuts the log when it has grown past its budget.
//!
//! The log may be cut up to what is durable in the shard; to move that forwards, a virtual
//! snapshot is built, which flushes the shard. Half of the budget is always kept, so that a
//! replica that was away for a moment is caught up from the log and not by a copy of
//! everything. A leader keeps more, up to a limit, for those that are behind.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openraft::RaftMetrics;
use tokio::time::Instant;

use super::instance::Instance;
use super::types::GroupConfig;

/// Between two flushes of a shard for its log's sake.
const FLUSH_PAUSE: Duration = Duration::from_secs(2);
/// How many budgets of log a leader keeps for replicas that are behind.
const KEPT_FOR_OTHERS_MAX: u64 = 4;
/// How finely positions are told apart: marks per budget.
const MARKS_PER_BUDGET: u64 = 16;

/// How long logs may get before they are cut, in bytes of entries. A leader keeps up to four
/// times as much while a replica is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// The log of one shard.
    pub shard_bytes_max: u64,
    /// The logs of all shards of a node, which share it evenly.
    pub node_bytes_max: u64,
}

/// A node's limits, and how many shards share them.
#[derive(Debug)]
pub(crate) struct LogBudget {
    limits: LogLimits,
    shares: AtomicU64,
}

/// One shard's share of its node's log; given back when dropped.
#[derive(Debug)]
pub(crate) struct LogShare(Arc<LogBudget>);

impl LogBudget {
    pub(crate) fn new(limits: LogLimits) -> Arc<Self> {
        Arc::new(Self { limits, shares: AtomicU64::new(0) })
    }

    pub(crate) fn share(self: &Arc<Self>) -> LogShare {
        self.shares.fetch_add(1, Ordering::Relaxed);
        LogShare(Arc::clone(self))
    }
}

impl LogShare {
    fn bytes(&self) -> u64 {
        let LogLimits { shard_bytes_max, node_bytes_max } = self.0.limits;
        let shares = self.0.shares.load(Ordering::Relaxed).max(1);
        shard_bytes_max.min(node_bytes_max / shares).max(1)
    }
}

impl Drop for LogShare {
    fn drop(&mut self) {
        self.0.shares.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(crate) struct Compaction {
    share: LogShare,
    /// Positions and the bytes applied until then, oldest first.
    marks: VecDeque<(u64, u64)>,
    flushed: Option<Instant>,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Nothing,
    Flush,
    Purge { upto: u64 },
}

/// What is known when it is decided what to do.
struct Situation {
    applied: u64,
    bytes_applied: u64,
    purged: u64,
    snapshot: u64,
    /// The last entry that a live export covers.
    exported: Option<u64>,
    /// The last entry that all others have, on a leader.
    everywhere: Option<u64>,
}

impl Compaction {
    pub(crate) const fn new(share: LogShare) -> Self {
        Self { share, marks: VecDeque::new(), flushed: None }
    }

    pub(crate) async fn perform(
        &mut self,
        instance: &Instance,
        metrics: &RaftMetrics<GroupConfig>,
    ) {
        let index = |log_id: Option<super::types::LogId>| log_id.map_or(0, |log_id| log_id.index());
        let everywhere = metrics.replication.as_ref().and_then(|replication| {
            let others = replication.iter().filter(|(replica, _)| **replica != metrics.id);
            others.map(|(_, matched)| index(*matched)).min()
        });
        let situation = Situation {
            applied: instance.progress.applied(),
            bytes_applied: instance.progress.bytes_applied(),
            purged: index(metrics.purged),
            snapshot: index(metrics.snapshot),
            exported: instance.exports.floor(),
            everywhere,
        };
        instance.exports.on_purged(situation.purged);
        // If the replica has stopped, its supervisor sees that.
        let _ = match self.decide(&situation) {
            Step::Nothing => Ok(()),
            Step::Flush if self.flushed.is_some_and(|at| at.elapsed() < FLUSH_PAUSE) => Ok(()),
            Step::Flush => {
                self.flushed = Some(Instant::now());
                instance.raft.trigger().snapshot().await
            }
            Step::Purge { upto } => instance.raft.trigger().purge_log(upto).await,
        };
    }

    fn decide(&mut self, now: &Situation) -> Step {
        let budget = self.share.bytes();
        self.mark(now, budget);
        while let Some((_, (next, _))) = self.marks.front().zip(self.marks.get(1))
            && *next <= now.purged
        {
            self.marks.pop_front();
        }
        let bytes_purged = self.marks.front().map_or(now.bytes_applied, |(_, bytes)| *bytes);
        let kept = now.bytes_applied.saturating_sub(bytes_purged);
        if kept <= budget {
            return Step::Nothing;
        }
        let keep = budget / 2;
        let old = self.marks.iter().rev();
        let mut old = old.filter(|(_, bytes)| now.bytes_applied.saturating_sub(*bytes) >= keep);
        let Some((wanted, _)) = old.next() else { return Step::Nothing };
        let mut upto = now.exported.map_or(*wanted, |exported| exported.min(*wanted));
        if kept <= budget.saturating_mul(KEPT_FOR_OTHERS_MAX) {
            upto = now.everywhere.map_or(upto, |everywhere| everywhere.min(upto));
        }
        if upto <= now.purged {
            Step::Nothing
        } else if upto > now.snapshot {
            Step::Flush
        } else {
            Step::Purge { upto }
        }
    }

    fn mark(&mut self, now: &Situation, budget: u64) {
        let step = budget / MARKS_PER_BUDGET;
        let is_due = match self.marks.back() {
            Some((_, bytes)) => now.bytes_applied.saturating_sub(*bytes) > step,
            None => true,
        };
        if is_due {
            self.marks.push_back((now.applied, now.bytes_applied));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn situation(applied: u64, purged: u64, snapshot: u64) -> Situation {
        let bytes_applied = applied * 10;
        Situation { applied, bytes_applied, purged, snapshot, exported: None, everywhere: None }
    }

    /// A driver that has seen every entry, of ten bytes each, up to `applied`.
    fn seen(applied: u64) -> Compaction {
        let mut compaction = Compaction::new(budget(u64::MAX).share());
        for index in 0..=applied {
            compaction.mark(&situation(index, 0, 0), 1_000);
        }
        compaction
    }

    fn budget(node_bytes_max: u64) -> Arc<LogBudget> {
        LogBudget::new(LogLimits { shard_bytes_max: 1_000, node_bytes_max })
    }

    #[test]
    fn the_shards_of_a_node_share_its_log_and_each_has_its_own_limit() {
        let budget = budget(2_500);
        let mut shares = vec![budget.share(), budget.share()];
        assert_eq!(shares[0].bytes(), 1_000);
        shares.extend((0..3).map(|_| budget.share()));
        assert_eq!(shares[0].bytes(), 500);
        shares.truncate(1);
        assert_eq!(shares[0].bytes(), 1_000);
    }

    #[test]
    fn a_log_within_its_budget_is_left_alone() {
        assert_eq!(seen(100).decide(&situation(100, 0, 0)), Step::Nothing);
    }

    #[test]
    fn the_shard_is_flushed_before_its_log_is_cut_and_half_a_budget_is_kept() {
        let mut compaction = seen(150);
        assert_eq!(compaction.decide(&situation(150, 0, 0)), Step::Flush);
        let Step::Purge { upto } = compaction.decide(&situation(150, 0, 150)) else {
            panic!("the log is not cut");
        };
        assert!((90..=100).contains(&upto), "{upto}");
        assert_eq!(compaction.decide(&situation(150, upto, 150)), Step::Nothing);
    }

    #[test]
    fn a_leader_keeps_log_for_those_behind_but_not_without_limit() {
        let behind = |applied| Situation { everywhere: Some(20), ..situation(applied, 0, applied) };
        assert_eq!(seen(150).decide(&behind(150)), Step::Purge { upto: 20 });
        let Step::Purge { upto } = seen(500).decide(&behind(500)) else {
            panic!("the log is not cut");
        };
        assert!(upto > 400, "{upto}");
    }

    #[test]
    fn the_log_after_an_export_is_kept_for_its_receiver() {
        let exported = Situation { exported: Some(30), ..situation(500, 0, 500) };
        assert_eq!(seen(500).decide(&exported), Step::Purge { upto: 30 });
    }
}
