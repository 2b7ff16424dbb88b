//! Work in the background: watches the disk, and gives back the space of expired rows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use breccia_replication::ShardConsensus;
use breccia_store::Engine;
use breccia_types::{NodeClock, ShardId};
use parking_lot::{Condvar, Mutex};

use crate::health::NodeHealth;
use crate::node::Shard;

/// How often the disk is looked at.
const DISK_INTERVAL: Duration = Duration::from_secs(1);
/// How often shards are looked through for expired rows.
const RECLAIM_INTERVAL: Duration = Duration::from_secs(20);

/// What the background thread looks after.
pub(crate) struct Watch {
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) disk_reserve_bytes: u64,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) shards: Arc<ArcSwap<BTreeMap<ShardId, Shard>>>,
    pub(crate) health: Arc<NodeHealth>,
    pub(crate) clock: Arc<NodeClock>,
}

/// The background thread.
pub(crate) struct Maintenance {
    stop: Arc<Stop>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Stop {
    is_set: Mutex<bool>,
    set: Condvar,
}

impl Maintenance {
    pub(crate) fn start(watch: Watch) -> std::io::Result<Self> {
        let stop = Arc::new(Stop::default());
        let seen = Arc::clone(&stop);
        watch.check_disk();
        let thread = std::thread::Builder::new()
            .name("maintenance".into())
            .spawn(move || watch.run(&seen))?;
        Ok(Self { stop, thread: Mutex::new(Some(thread)) })
    }

    /// Ends the thread; waits for a compaction that it may have begun.
    pub(crate) fn stop(&self) {
        *self.stop.is_set.lock() = true;
        self.stop.set.notify_all();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the maintenance thread panicked");
        }
    }
}

impl Drop for Maintenance {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Stop {
    /// Waits until stopped, but no longer than the interval; whether stopped.
    fn wait(&self, interval: Duration) -> bool {
        let mut is_set = self.is_set.lock();
        if !*is_set {
            self.set.wait_for(&mut is_set, interval);
        }
        *is_set
    }
}

impl Watch {
    fn run(&self, stop: &Stop) {
        let mut reclaimed = Instant::now();
        while !stop.wait(DISK_INTERVAL) {
            self.check_disk();
            if self.health.waits_for_room() {
                self.make_room();
            }
            if reclaimed.elapsed() >= RECLAIM_INTERVAL {
                self.reclaim();
                reclaimed = Instant::now();
            }
        }
    }

    fn check_disk(&self) {
        let Some(path) = &self.data_dir else { return };
        let free = match free_bytes(path) {
            Ok(free) => free,
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "cannot tell the free disk space");
                return;
            }
        };
        if free < self.disk_reserve_bytes {
            self.health.set_read_only(format!(
                "the disk of {} has {free} bytes left, less than the reserve of {}; \
                 delete rows or other files, or enlarge the disk, and writes go on by themselves",
                path.display(),
                self.disk_reserve_bytes
            ));
        } else if self.health.waits_for_room() {
            match self.engine.recover() {
                Ok(()) => self.health.clear_read_only(),
                Err(error) => tracing::warn!(%error, "still read-only"),
            }
        }
    }

    /// While the disk is full, gives back at once what clients delete.
    fn make_room(&self) {
        for shard in self.shards.load().values() {
            let engine = shard.data.engine();
            if engine.has_deletions() {
                tracing::info!(shard = %shard.id(), "compacting, to give back deleted rows' space");
                engine.compact(None);
            }
        }
    }

    fn reclaim(&self) {
        let now = self.clock.now();
        for shard in self.shards.load().values() {
            let engine = shard.data.engine();
            if shard.data.health.quarantined().is_some() || !engine.is_worth_reclaiming(now) {
                continue;
            }
            // An entry without commands: its stamp lets every replica know what time it is,
            // and only what has expired by an applied stamp may be dropped. Compaction may
            // start before it is applied; then it drops a little less.
            drop(shard.group.propose(Vec::new()));
            tracing::info!(shard = %shard.id(), "compacting, to give back the space of rows that are gone");
            engine.compact(None);
        }
    }
}

fn free_bytes(path: &Path) -> std::io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
