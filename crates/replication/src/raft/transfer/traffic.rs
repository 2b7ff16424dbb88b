//! How much of a node's bandwidth and disk snapshots may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Limits of the snapshots that leave and reach a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrafficLimits {
    /// Bytes per second that all snapshots leaving the node may take together.
    pub bytes_per_second: u64,
    /// Snapshots that may leave at the same time; further ones wait.
    pub sending_max: usize,
    /// Snapshots that may arrive at the same time; further ones are refused, and come again.
    pub receiving_max: usize,
}

impl Default for TrafficLimits {
    fn default() -> Self {
        Self { bytes_per_second: 128 << 20, sending_max: 2, receiving_max: 2 }
    }
}

/// What a node has sent of snapshots since it was opened, those that broke off included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SnapshotsSent {
    /// How many were begun.
    pub count: u64,
    /// Bytes of their files.
    pub bytes: u64,
}

/// A node's snapshots on their way.
#[derive(Debug)]
pub(crate) struct Traffic {
    bytes_per_second: u64,
    sending: Arc<Semaphore>,
    receiving: Arc<Semaphore>,
    /// When the bytes promised so far will have left.
    free_at: Mutex<Option<Instant>>,
    begun: AtomicU64,
    bytes_sent: AtomicU64,
}

impl Traffic {
    pub(crate) fn new(limits: TrafficLimits) -> Self {
        Self {
            bytes_per_second: limits.bytes_per_second.max(1),
            sending: Arc::new(Semaphore::new(limits.sending_max.max(1))),
            receiving: Arc::new(Semaphore::new(limits.receiving_max.max(1))),
            free_at: Mutex::new(None),
            begun: AtomicU64::new(0),
            bytes_sent: AtomicU64::new(0),
        }
    }

    /// Waits until another snapshot may leave.
    pub(crate) async fn start_sending(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.sending).acquire_owned().await.ok()
    }

    /// Lets another snapshot in, unless there are as many as may be.
    pub(crate) fn start_receiving(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.receiving).try_acquire_owned().ok()
    }

    /// Notes that another snapshot is on its way.
    pub(crate) fn on_begun(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// What was sent.
    pub(crate) fn sent(&self) -> SnapshotsSent {
        SnapshotsSent {
            count: self.begun.load(Ordering::Relaxed),
            bytes: self.bytes_sent.load(Ordering::Relaxed),
        }
    }

    /// Waits until this many bytes may leave.
    pub(crate) async fn pace(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes_sent.fetch_add(bytes, Ordering::Relaxed);
        let micros = bytes.saturating_mul(1_000_000) / self.bytes_per_second;
        let start = {
            let mut free_at = self.free_at.lock();
            let start = free_at.map_or_else(Instant::now, |at| at.max(Instant::now()));
            *free_at = Some(start + Duration::from_micros(micros));
            start
        };
        tokio::time::sleep_until(start).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_leave_no_faster_than_they_may() {
        let limits = TrafficLimits { bytes_per_second: 1 << 20, ..TrafficLimits::default() };
        let traffic = Traffic::new(limits);
        let started = Instant::now();
        for _ in 0..4 {
            traffic.pace(64 << 10).await;
        }
        // The first leaves at once, and each further one after those before it.
        assert!(started.elapsed() >= Duration::from_millis(180));
    }
}
