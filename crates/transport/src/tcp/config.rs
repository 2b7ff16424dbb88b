//! What a TCP transport is told at its start.

use std::time::Duration;

use breccia_types::NodeId;

use breccia_types::ClusterId;

/// Who this node is, and its timing.
#[derive(Debug, Clone)]
pub struct Config {
    /// The node that this process is.
    pub node: NodeId,
    /// Which run of it: higher than in every earlier run of the process.
    pub incarnation: u64,
    /// Its cluster; `None` until it joins one.
    pub cluster: Option<ClusterId>,
    /// `host:port` at which others reach it, told to them so that errors can name it. Empty:
    /// where it listens.
    pub address: String,
    /// How long things may take.
    pub timing: Timing,
}

/// How long things may take. The defaults suit nodes within one region.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// To resolve an address and connect to it. Default 1 s.
    pub connect_max: Duration,
    /// For the greetings of a new connection. Default 2 s.
    pub handshake_max: Duration,
    /// Between two pings on a connection. Default 1 s.
    pub ping_interval: Duration,
    /// Without a byte from the other side, after which a connection is closed. Default 3 s.
    pub silence_max: Duration,
    /// The pause after the first failed attempt to connect. Default 50 ms.
    pub backoff_min: Duration,
    /// The longest pause between two attempts. Default 2 s.
    pub backoff_max: Duration,
    /// Without a stream or call, after which a bulk connection is closed. Default 60 s.
    pub bulk_idle_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect_max: Duration::from_secs(1),
            handshake_max: Duration::from_secs(2),
            ping_interval: Duration::from_secs(1),
            silence_max: Duration::from_secs(3),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(2),
            bulk_idle_max: Duration::from_secs(60),
        }
    }
}

impl Timing {
    /// The pause after so many failed attempts in a row. `jitter` from 0 to 1 picks from its
    /// upper half, so that nodes that lost the same peer do not come back together.
    pub(crate) fn backoff(&self, failures: u32, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        let full = self.backoff_min.saturating_mul(1 << doublings).min(self.backoff_max);
        full.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let timing = Timing::default();
        for (failures, full_ms) in
            [(0, 50), (1, 50), (2, 100), (3, 200), (6, 1_600), (7, 2_000), (u32::MAX, 2_000)]
        {
            let full = Duration::from_millis(full_ms);
            assert_eq!(timing.backoff(failures, 1.0), full, "after {failures}");
            assert_eq!(timing.backoff(failures, 0.0), full / 2, "after {failures}");
        }
    }
}
