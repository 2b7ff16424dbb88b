//! What a replica tells the others while it leads, so that they know how old they are: the
//! leader's side of [`super::freshness`].

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use breccia_types::{LogIndex, ReplicaId};
use openraft::RaftMetrics;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::type_config::alias::WatchReceiverOf;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::freshness::{Stamp, Voucher};
use super::instance::ShardRaft;
use super::progress::Progress;
use super::status::last_led;
use super::types::GroupConfig;

/// Writes vouchers for one run of a replica.
pub(crate) struct Vouchers {
    progress: Arc<Progress>,
    metrics: OnceLock<WatchReceiverOf<GroupConfig, RaftMetrics<GroupConfig>>>,
    /// The newest stamp of each other replica that answered in this run.
    stamps: Mutex<BTreeMap<ReplicaId, Received>>,
}

#[derive(Clone, Copy)]
struct Received {
    stamp: Stamp,
    at: Instant,
}

impl Vouchers {
    pub(crate) fn new(progress: Arc<Progress>) -> Self {
        Self { progress, metrics: OnceLock::new(), stamps: Mutex::default() }
    }

    /// Vouches from now on for what this replica knows when it leads.
    pub(crate) fn watch(&self, raft: &ShardRaft) {
        // A second call would bring the same metrics.
        let _ = self.metrics.set(raft.metrics());
    }

    /// Notes the stamp in another replica's answer.
    pub(crate) fn on_stamp(&self, from: ReplicaId, stamp: Stamp) {
        let received = Received { stamp, at: Instant::now() };
        let mut stamps = self.stamps.lock();
        let known = stamps.entry(from).or_insert(received);
        // Answers of calls and of streams overtake each other.
        if known.stamp.run != stamp.run || known.stamp.micros < stamp.micros {
            *known = received;
        }
    }

    /// A voucher for another replica; `None` if it sent no stamp, or while this replica does
    /// not lead for certain.
    ///
    /// The order of the three matters. The stamp comes first, so that a pause after it makes the
    /// voucher older, never younger. What is applied comes last: it then covers all that this
    /// replica acknowledged while its lead was certain.
    pub(crate) fn write(&self, to: ReplicaId) -> Option<Voucher> {
        let received = *self.stamps.lock().get(&to)?;
        let led = last_led(&self.metrics.get()?.borrow_watched())?;
        let applied = LogIndex::new(self.progress.applied());
        let lead_age = received.at.saturating_duration_since(led);
        Some(Voucher { echo: received.stamp, lead_age, applied })
    }
}
