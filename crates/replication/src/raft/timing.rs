//! How long things may take in a shard's Raft group, and what follows from that.

use std::sync::Arc;
use std::time::Duration;

use breccia_types::ShardId;
use openraft::{Config, ConfigError, SnapshotPolicy};

/// The timing of a node's groups; the same on every node of a cluster.
///
/// A leader that dies is replaced after `election_timeout_max` plus a random time between the
/// two election timeouts: 2.0 to 2.5 s by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How often a leader that has nothing to say is heard.
    pub heartbeat: Duration,
    /// The shortest silence after which a replica wants to lead.
    pub election_timeout_min: Duration,
    /// The longest one; also how long a leader may trust that no other was elected.
    pub election_timeout_max: Duration,
    /// How long a leader may fail to apply what a majority has before it gives up leading.
    pub apply_stall_max: Duration,
    /// The pause before a failed replica is started again; doubles with every failure.
    pub restart_pause: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(250),
            election_timeout_min: Duration::from_millis(750),
            election_timeout_max: Duration::from_millis(1_250),
            apply_stall_max: Duration::from_secs(10),
            restart_pause: Duration::from_secs(1),
        }
    }
}

impl Timing {
    /// How old a majority's last word may be for the leader to read without asking again.
    ///
    /// A quarter less than what the followers keep to, for clocks that do not run alike.
    pub(crate) fn lease_trusted(&self) -> Duration {
        self.election_timeout_max * 3 / 4
    }

    /// How long a reply in a stream may take before the stream is given up.
    pub(crate) fn reply_timeout(&self) -> Duration {
        self.election_timeout_max * 2
    }

    /// How long a transfer of leadership may take: two elections.
    pub(crate) fn transfer_timeout(&self) -> Duration {
        self.election_timeout_max * 4
    }

    /// What openraft is told.
    pub(crate) fn to_config(self, shard: ShardId) -> Result<Arc<Config>, ConfigError> {
        let config = Config {
            cluster_name: shard.to_string(),
            heartbeat_interval: millis(self.heartbeat),
            heartbeat_min_interval: Some(millis(self.heartbeat) / 2),
            election_timeout_min: millis(self.election_timeout_min),
            election_timeout_max: millis(self.election_timeout_max),
            // A restarted replica must not campaign before its guard allows it.
            enable_elect: false,
            enable_pre_vote: Some(true),
            enable_leader_restore: Some(false),
            snapshot_policy: SnapshotPolicy::Never,
            // Only the compaction driver purges.
            max_in_snapshot_log_to_keep: u64::MAX,
            purge_batch_size: 1,
            max_payload_entries: 1_024,
            api_channel_size: Some(2_048),
            state_machine_channel_size: Some(64),
            broadcast_submitted_on_append: Some(true),
            ..Config::default()
        };
        config.validate().map(Arc::new)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_timing_is_one_that_openraft_accepts_and_elects_within_the_bound() {
        let timing = Timing::default();
        assert!(timing.to_config(ShardId::new(1)).is_ok());
        assert!(timing.election_timeout_max * 2 <= Duration::from_millis(2_500));
        assert!(timing.lease_trusted() < timing.election_timeout_max);
    }
}
