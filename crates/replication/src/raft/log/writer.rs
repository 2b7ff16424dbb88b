//! The one thread that writes the log: what gathered while it wrote shares its next fsync.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use breccia_store::{Durability, LogStore, StoreError};

use super::error::LogError;
use super::queue::{Batch, Operation, Promise, Queue, Taken};
use crate::fsync::FsyncPolicy;

/// How long a committed position waits for its group's next operation at most.
const IDLE_INTERVAL: Duration = Duration::from_millis(250);

/// Called once, when a write or sync failed and everything that waited has been told.
pub(super) type OnFailure = Box<dyn FnOnce(&LogError) + Send>;

/// What the shared log has done since it was opened.
#[derive(Debug, Default)]
pub struct SharedLogCounters {
    /// Entries written.
    pub entries: AtomicU64,
    /// Bytes written: keys and records of all kinds.
    pub bytes: AtomicU64,
    /// Operations: appends, votes, truncations, purges, and committed positions.
    pub operations: AtomicU64,
    /// Batches written.
    pub writes: AtomicU64,
    /// Fsyncs.
    pub fsyncs: AtomicU64,
    /// Microseconds spent writing and syncing.
    pub busy_micros: AtomicU64,
}

/// What the writer and those who queue share.
pub(super) struct Shared {
    pub(super) store: Arc<dyn LogStore>,
    pub(super) queue: Queue,
    pub(super) counters: SharedLogCounters,
}

/// Starts the writer.
pub(super) fn start(
    shared: Arc<Shared>,
    policy: FsyncPolicy,
    on_failure: OnFailure,
) -> std::io::Result<JoinHandle<()>> {
    let mut writer = Writer {
        shared,
        policy,
        on_failure: Some(on_failure),
        synced_at: Instant::now(),
        is_dirty: false,
    };
    std::thread::Builder::new().name("raft-log".into()).spawn(move || {
        // A defect must not leave callers waiting for a thread that is gone.
        if catch_unwind(AssertUnwindSafe(|| writer.run())).is_err() {
            let detail = "the writer panicked".to_owned();
            writer.fail(Vec::new(), StoreError::Io { operation: "write the log", detail });
        }
    })
}

struct Writer {
    shared: Arc<Shared>,
    policy: FsyncPolicy,
    on_failure: Option<OnFailure>,
    synced_at: Instant,
    /// Whether something was written since that is not known to survive a loss of power.
    is_dirty: bool,
}

impl Writer {
    fn run(&mut self) {
        loop {
            let taken = self.shared.queue.take(self.patience());
            let started = Instant::now();
            match taken {
                Taken::Closed => break,
                Taken::Idle => {}
                Taken::Batch(batch) => self.write(batch),
            }
            if self.is_sync_due() {
                self.sync();
            }
            let spent = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.shared.counters.busy_micros.fetch_add(spent, Ordering::Relaxed);
        }
        if self.is_dirty && !self.has_failed() {
            self.sync();
        }
    }

    /// How long to wait for operations before something else must be done.
    fn patience(&self) -> Duration {
        match self.policy {
            FsyncPolicy::Interval(interval) if self.is_dirty => {
                interval.saturating_sub(self.synced_at.elapsed()).min(IDLE_INTERVAL)
            }
            _ => IDLE_INTERVAL,
        }
    }

    fn write(&mut self, mut batch: Batch) {
        let durability = self.durability(&batch);
        let mut changes = Vec::new();
        for operation in &mut batch.operations {
            changes.append(&mut operation.changes);
        }
        self.count(&batch, durability);
        if let Err(error) = self.shared.store.write(&changes, durability) {
            self.fail(batch.operations, error);
            return;
        }
        match durability {
            Durability::Synced => self.on_synced(),
            Durability::Buffered | Durability::Volatile => self.is_dirty = true,
        }
        self.shared.queue.give_back(&batch);
        for operation in batch.operations {
            if let Some((group, append)) = operation.append {
                group.on_written(append);
            }
            operation.done.complete(Ok(()));
        }
    }

    fn durability(&self, batch: &Batch) -> Durability {
        let is_synced = batch.operations.iter().any(|operation| match operation.promise {
            Promise::Synced => true,
            Promise::Policy => self.policy == FsyncPolicy::Always,
            Promise::Lazy => false,
        });
        if is_synced { Durability::Synced } else { Durability::Buffered }
    }

    fn count(&self, batch: &Batch, durability: Durability) {
        let counters = &self.shared.counters;
        let add = |counter: &AtomicU64, count: usize| {
            counter.fetch_add(u64::try_from(count).unwrap_or(0), Ordering::Relaxed);
        };
        let entries = batch.operations.iter().map(|operation| operation.entries).sum();
        counters.entries.fetch_add(entries, Ordering::Relaxed);
        add(&counters.bytes, batch.bytes());
        add(&counters.operations, batch.operations.len());
        add(&counters.writes, 1);
        add(&counters.fsyncs, usize::from(durability == Durability::Synced));
    }

    fn is_sync_due(&self) -> bool {
        match self.policy {
            FsyncPolicy::Interval(interval) => {
                self.is_dirty && !self.has_failed() && self.synced_at.elapsed() >= interval
            }
            FsyncPolicy::Always | FsyncPolicy::Never => false,
        }
    }

    fn sync(&mut self) {
        self.shared.counters.fsyncs.fetch_add(1, Ordering::Relaxed);
        match self.shared.store.sync() {
            Ok(()) => self.on_synced(),
            Err(error) => self.fail(Vec::new(), error),
        }
    }

    fn on_synced(&mut self) {
        self.synced_at = Instant::now();
        self.is_dirty = false;
    }

    const fn has_failed(&self) -> bool {
        self.on_failure.is_none()
    }

    /// Ends the log. Nothing is tried again: after a failed fsync the operating system may
    /// report success for pages that it has dropped.
    fn fail(&mut self, operations: Vec<Operation>, cause: StoreError) {
        tracing::error!(error = %cause, "the log is out of service: a write failed");
        let error = LogError::OutOfService { cause };
        let waiting = self.shared.queue.poison(error.clone());
        for operation in operations.into_iter().chain(waiting) {
            operation.done.complete(Err(error.clone()));
        }
        if let Some(on_failure) = self.on_failure.take() {
            on_failure(&error);
        }
    }
}
