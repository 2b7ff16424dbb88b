//! Work in the background: watches the disk, and gives back the space of expired rows. Each
//! has its thread: a compaction may be long, and takes space itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use breccia_replication::{Proposal, ShardConsensus, SharedLog};
use breccia_service::machine::read_durable_applied;
use breccia_store::{Engine, ShardEngine, StoreError};
use breccia_types::{NodeClock, ShardId};
use futures::FutureExt;
use parking_lot::{Condvar, Mutex};

use crate::health::NodeHealth;
use crate::node::Shard;

/// How often the disk is looked at.
const DISK_INTERVAL: Duration = Duration::from_secs(1);
/// How often shards are looked through for expired rows.
const RECLAIM_INTERVAL: Duration = Duration::from_secs(20);

/// How long a compaction waits for the entry that tells the time.
const PROPOSAL_PATIENCE: Duration = Duration::from_secs(5);
const PROPOSAL_POLL: Duration = Duration::from_millis(5);

/// What the background threads look after.
pub(crate) struct Watch {
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) disk_reserve_bytes: u64,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) log: Arc<SharedLog>,
    pub(crate) shards: Arc<ArcSwap<BTreeMap<ShardId, Shard>>>,
    pub(crate) health: Arc<NodeHealth>,
    pub(crate) clock: Arc<NodeClock>,
}

/// The background threads.
pub(crate) struct Maintenance {
    stop: Arc<Stop>,
    engine: Arc<dyn Engine>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Stop {
    is_set: Mutex<bool>,
    set: Condvar,
}

impl Maintenance {
    pub(crate) fn start(watch: Watch) -> std::io::Result<Self> {
        let stop = Arc::new(Stop::default());
        watch.check_disk();
        let engine = Arc::clone(&watch.engine);
        let watch = Arc::new(watch);
        let spawn = |name: &str, run: fn(&Watch, &Stop)| {
            let (watch, stop) = (Arc::clone(&watch), Arc::clone(&stop));
            std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&watch, &stop))
        };
        let threads = vec![spawn("disk-watch", Watch::watch)?, spawn("reclaim", Watch::compact)?];
        Ok(Self { stop, engine, threads: Mutex::new(threads) })
    }

    /// Ends the threads; a compaction that they may have begun is given up.
    pub(crate) fn stop(&self) {
        *self.stop.is_set.lock() = true;
        self.stop.set.notify_all();
        self.engine.cancel_compactions();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a maintenance thread panicked");
            }
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
    fn watch(&self, stop: &Stop) {
        while !stop.wait(DISK_INTERVAL) {
            self.check_disk();
        }
    }

    fn compact(&self, stop: &Stop) {
        let mut reclaimed = Instant::now();
        while !stop.wait(DISK_INTERVAL) {
            if self.health.waits_for_room() {
                self.make_room();
            }
            if reclaimed.elapsed() >= RECLAIM_INTERVAL {
                self.reclaim(stop);
                reclaimed = Instant::now();
            }
        }
    }

    fn check_disk(&self) {
        let Some(path) = &self.data_dir else { return };
        let free = match disk_space(path) {
            Ok(space) => space.free_bytes,
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
        } else if self.health.waits_for_room() && self.log.no_room().is_none() {
            match self.engine.recover() {
                Ok(()) => {
                    self.health.clear_read_only();
                    // It may have met a full disk meanwhile.
                    if let Some(reason) = self.log.no_room() {
                        self.health.set_read_only(reason);
                    }
                }
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

    fn reclaim(&self, stop: &Stop) {
        let now = self.clock.now();
        for shard in self.shards.load().values() {
            let engine = shard.data.engine();
            if shard.data.health.quarantined().is_some() {
                continue;
            }
            // For the compactions that RocksDB begins by itself.
            if let Err(error) = advance_horizon(engine.as_ref()) {
                tracing::warn!(shard = %shard.id(), %error, "what has expired is kept");
                continue;
            }
            if !engine.is_worth_reclaiming(now) {
                continue;
            }
            // An entry without commands: its stamp lets every replica know what time it is.
            self.wait_for(shard.group.propose(Vec::new()), stop);
            tracing::info!(shard = %shard.id(), "compacting, to give back the space of rows that are gone");
            if let Err(error) = reclaim(engine.as_ref()) {
                tracing::warn!(shard = %shard.id(), %error, "not compacted");
            }
        }
    }

    /// Waits for an entry to be applied, but not for long: without it a little less is
    /// dropped.
    fn wait_for(&self, mut proposal: Proposal, stop: &Stop) {
        let deadline = Instant::now() + PROPOSAL_PATIENCE;
        while (&mut proposal).now_or_never().is_none() && Instant::now() < deadline {
            if stop.wait(PROPOSAL_POLL) {
                return;
            }
        }
    }
}

/// Drops what has expired by the last stamp that was applied. Entries that a crash makes the
/// log repeat must find what they found the first time, so that stamp is made durable first.
fn reclaim(shard: &dyn ShardEngine) -> Result<(), StoreError> {
    shard.flush()?;
    advance_horizon(shard)?;
    shard.compact(None);
    Ok(())
}

/// Lets compactions drop what had expired when the last flush began.
fn advance_horizon(shard: &dyn ShardEngine) -> Result<(), StoreError> {
    shard.advance_horizon(read_durable_applied(shard)?.stamp);
    Ok(())
}

/// The space of a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct DiskSpace {
    pub(crate) free_bytes: u64,
    pub(crate) all_bytes: u64,
}

/// The space of the file system that holds a path.
pub(crate) fn disk_space(path: &Path) -> std::io::Result<DiskSpace> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(DiskSpace {
        free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        all_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
    })
}
