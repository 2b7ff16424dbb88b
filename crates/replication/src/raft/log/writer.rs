//! The one thread that writes the log: what gathered while it wrote shares its next fsync.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use breccia_store::{Durability, LogStore, StoreError};

use parking_lot::Mutex;

use super::error::LogError;
use super::queue::{Batch, Operation, Promise, Queue, Taken};
use crate::fsync::FsyncPolicy;

/// How long a committed position waits for its group's next operation at most.
const IDLE_INTERVAL: Duration = Duration::from_millis(250);

/// How often a full disk is looked at again.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(250);

/// Something that happened to the log as a whole.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum LogEvent<'a> {
    /// The disk is full. What waits is written when there is room, and nothing of it is lost
    /// or reported as done before. Comes again for every write that meets a full disk.
    NoRoom {
        /// What was found, and what to do.
        reason: &'a str,
    },
    /// There is room again.
    Room,
    /// A write or sync failed, and everyone who waited has been told. The last event.
    Failed {
        /// How.
        error: &'a LogError,
    },
}

/// Told what happens, on the writer's thread.
pub(super) type OnEvent = Box<dyn FnMut(LogEvent<'_>) + Send>;

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
    /// Why only the little is written that keeps the groups in service, or nothing.
    pub(super) no_room: Mutex<Option<String>>,
}

/// Starts the writer.
pub(super) fn start(
    shared: Arc<Shared>,
    policy: FsyncPolicy,
    on_event: OnEvent,
) -> std::io::Result<JoinHandle<()>> {
    let mut writer = Writer {
        shared,
        policy,
        on_event: Some(on_event),
        synced_at: Instant::now(),
        looked_at: Instant::now(),
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
    /// `None` once the log has failed.
    on_event: Option<OnEvent>,
    synced_at: Instant,
    /// When there was last looked for room.
    looked_at: Instant,
    /// Whether something was written since that is not known to survive a loss of power.
    is_dirty: bool,
}

impl Writer {
    fn run(&mut self) {
        if self.shared.store.lacks_room() {
            self.on_no_room("the disk was full when the log was opened");
        }
        loop {
            let taken = self.shared.queue.take(self.patience());
            let started = Instant::now();
            match taken {
                Taken::Closed => break,
                Taken::Idle => {}
                Taken::Batch(batch) => self.write(batch),
            }
            self.look_for_room();
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
        if let Err(error) = self.persist(|store| store.write(&changes, durability)) {
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

    /// Writes or syncs. On a full disk waits for room and does the same again, for as long as
    /// the log is open.
    fn persist(
        &mut self,
        write: impl Fn(&dyn LogStore) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        loop {
            match write(self.shared.store.as_ref()) {
                Err(error @ StoreError::DiskFull { .. }) => self.wait_for_room(error)?,
                done => return done,
            }
        }
    }

    fn wait_for_room(&mut self, cause: StoreError) -> Result<(), StoreError> {
        self.on_no_room(&cause.to_string());
        loop {
            if self.shared.queue.wait_for_close(NO_ROOM_PAUSE) {
                return Err(cause);
            }
            match self.shared.store.recover() {
                Err(StoreError::DiskFull { .. }) => {}
                Err(error) => return Err(error),
                Ok(()) => {
                    self.on_room();
                    return Ok(());
                }
            }
        }
    }

    /// Sees whether a log that was opened on a full disk has room by now.
    fn look_for_room(&mut self) {
        let is_time = self.looked_at.elapsed() >= NO_ROOM_PAUSE;
        if is_time && !self.has_failed() && self.shared.store.lacks_room() {
            self.looked_at = Instant::now();
            match self.shared.store.recover() {
                Ok(()) => self.on_room(),
                Err(StoreError::DiskFull { .. }) => {}
                Err(error) => self.fail(Vec::new(), error),
            }
        }
    }

    fn on_no_room(&mut self, found: &str) {
        let reason = format!("{found}; free some space, and writes go on");
        tracing::error!(%reason, "the log waits for room");
        *self.shared.no_room.lock() = Some(reason.clone());
        self.tell(LogEvent::NoRoom { reason: &reason });
    }

    fn on_room(&mut self) {
        tracing::info!("the log has room again");
        *self.shared.no_room.lock() = None;
        self.tell(LogEvent::Room);
    }

    fn tell(&mut self, event: LogEvent<'_>) {
        if let Some(on_event) = &mut self.on_event {
            on_event(event);
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
        match self.persist(LogStore::sync) {
            Ok(()) => self.on_synced(),
            Err(error) => self.fail(Vec::new(), error),
        }
    }

    fn on_synced(&mut self) {
        self.synced_at = Instant::now();
        self.is_dirty = false;
    }

    const fn has_failed(&self) -> bool {
        self.on_event.is_none()
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
        if let Some(mut on_event) = self.on_event.take() {
            on_event(LogEvent::Failed { error: &error });
        }
    }
}
