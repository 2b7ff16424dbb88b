//! What the router counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the router has done since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RouterMetrics {
    /// Requests that this node answered itself, for clients and other nodes.
    pub here: u64,
    /// Requests that this node sent to another.
    pub forwards: u64,
    /// Requests of other nodes that this node passed on to a third.
    pub hops: u64,
    /// Rounds after the first of a request.
    pub retries: u64,
    /// Times that another node said that it is the wrong one.
    pub wrong_owners: u64,
    /// Times that another node could not be reached.
    pub unreachable: u64,
    /// Requests that ended with an unknown outcome.
    pub outcomes_unknown: u64,
    /// Requests refused because too many bytes wait for other nodes.
    pub refused_busy: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) here: AtomicU64,
    pub(crate) forwards: AtomicU64,
    pub(crate) hops: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) wrong_owners: AtomicU64,
    pub(crate) unreachable: AtomicU64,
    pub(crate) outcomes_unknown: AtomicU64,
    pub(crate) refused_busy: AtomicU64,
}

/// Counts one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn snapshot(&self) -> RouterMetrics {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RouterMetrics {
            here: of(&self.here),
            forwards: of(&self.forwards),
            hops: of(&self.hops),
            retries: of(&self.retries),
            wrong_owners: of(&self.wrong_owners),
            unreachable: of(&self.unreachable),
            outcomes_unknown: of(&self.outcomes_unknown),
            refused_busy: of(&self.refused_busy),
        }
    }
}
