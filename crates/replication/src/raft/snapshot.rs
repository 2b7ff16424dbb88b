//! Snapshots of a shard.
//!
//! Two kinds, for two purposes. The log may be cut once what it says is durable in the shard:
//! for that a snapshot is only a *position* ([`ShardSnapshot::Virtual`]), and building one is
//! a flush. A replica that is too far behind for the log needs the shard's files: those are
//! exported when one is sent ([`ShardSnapshot::Exported`]), and are kept for a while because
//! a broken transfer asks again at once.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use breccia_types::{ReplicaId, ShardId};
use bytes::Bytes;
use openraft::RaftSnapshotBuilder;
use openraft::alias::{SnapshotMetaOf, SnapshotOf};
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::apply::unreadable;
use super::machine::Position;
use super::pool::MachineHandle;
use super::progress::Progress;
use super::types::GroupConfig;
use crate::consensus::ApplyError;

/// How long an export is offered again after it was made.
const EXPORT_KEPT: Duration = Duration::from_secs(60);

/// What openraft passes around as a snapshot's content.
#[derive(Debug)]
pub(crate) enum ShardSnapshot {
    /// Only a position: everything up to it is durable in the shard.
    Virtual,
    /// The shard's files, to be sent.
    Exported(Arc<Export>),
    /// Another replica's files, to be installed.
    Received(Incoming),
}

/// The files of a shard at one position. They are removed with the last reference.
pub(crate) struct Export {
    folder: Folder,
    position: Bytes,
    index: u64,
    made: Instant,
}

/// Files that came from another replica, complete and verified. Removed when dropped.
pub(crate) struct Incoming {
    folder: Folder,
    position: Bytes,
}

/// A folder that is removed when dropped, by a thread that may wait for the disk.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes an empty folder.
    pub(crate) fn create(path: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let folder = std::mem::take(&mut self.0);
        let remove = move || {
            if let Err(error) = std::fs::remove_dir_all(&folder) {
                tracing::warn!(folder = %folder.display(), %error, "a folder was not removed");
            }
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

impl Export {
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) const fn position(&self) -> &Bytes {
        &self.position
    }
}

impl Incoming {
    pub(crate) const fn new(folder: Folder, position: Bytes) -> Self {
        Self { folder, position }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) const fn position(&self) -> &Bytes {
        &self.position
    }
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Export({} at {})", self.folder().display(), self.index)
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incoming({})", self.folder().display())
    }
}

pub(crate) fn meta_of(position: &Position) -> SnapshotMetaOf<GroupConfig> {
    SnapshotMetaOf::<GroupConfig> {
        last_log_id: Some(position.log_id),
        last_membership: position.membership.clone(),
    }
}

/// A virtual snapshot: what a flush of the shard found.
pub(crate) struct SnapshotBuilder(Result<SnapshotMetaOf<GroupConfig>, ApplyError>);

impl SnapshotBuilder {
    /// Flushes the shard.
    pub(crate) async fn flush(machine: &MachineHandle, progress: &Progress) -> Self {
        let flushed = machine.with(|machine| machine.durable_position()).await;
        let position = flushed
            .and_then(|encoded| encoded.map(Position::decode).transpose().map_err(unreadable));
        Self(position.map(|position| match position {
            Some(position) => {
                progress.on_durable(position.log_id.index());
                meta_of(&position)
            }
            None => SnapshotMetaOf::<GroupConfig>::default(),
        }))
    }

    /// Why the shard could not be flushed for now, if it only lacks room.
    pub(crate) const fn no_room(&self) -> Option<&String> {
        match &self.0 {
            Err(ApplyError::ReadOnly { reason }) => Some(reason),
            _ => None,
        }
    }
}

impl RaftSnapshotBuilder<GroupConfig> for SnapshotBuilder {
    type SnapshotData = ShardSnapshot;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<GroupConfig, ShardSnapshot>> {
        let meta = self.0.clone().map_err(io::Error::other)?;
        Ok(SnapshotOf::<GroupConfig, _> { meta, snapshot: ShardSnapshot::Virtual })
    }
}

/// A replica's exports: at most one is offered at a time.
#[derive(Debug)]
pub(crate) struct Exports {
    shard: ShardId,
    replica: ReplicaId,
    root: PathBuf,
    /// How soon a broken transfer is tried again.
    retry: Duration,
    current: Mutex<Option<Offer>>,
    /// Numbers the folders.
    count: AtomicU64,
    /// The last entry that the log no longer has.
    purged: AtomicU64,
}

#[derive(Debug)]
struct Offer {
    export: Arc<Export>,
    taken: Instant,
}

impl Exports {
    /// No exports yet; their folders will lie in `root`.
    pub(crate) const fn new(
        shard: ShardId,
        replica: ReplicaId,
        root: PathBuf,
        retry: Duration,
    ) -> Self {
        Self {
            shard,
            replica,
            root,
            retry,
            current: Mutex::new(None),
            count: AtomicU64::new(0),
            purged: AtomicU64::new(0),
        }
    }

    pub(crate) const fn shard(&self) -> ShardId {
        self.shard
    }

    /// Offers nothing older than what is installed now.
    pub(crate) fn forget(&self) {
        *self.current.lock() = None;
    }

    pub(crate) fn on_purged(&self, index: u64) {
        self.purged.fetch_max(index, Ordering::AcqRel);
    }

    /// The index after which a replica that is getting an export needs the log. An export
    /// that is offered no longer is dropped here.
    pub(crate) fn floor(&self) -> Option<u64> {
        let mut current = self.current.lock();
        let offer = current.as_ref()?;
        let is_on_its_way =
            Arc::strong_count(&offer.export) > 1 || offer.taken.elapsed() < self.retry;
        let floor = is_on_its_way.then_some(offer.export.index);
        if floor.is_none() && offer.export.made.elapsed() > EXPORT_KEPT {
            *current = None;
        }
        floor
    }

    /// The files of the shard: those offered already if the log continues after them.
    pub(crate) async fn get(
        &self,
        machine: &MachineHandle,
    ) -> Result<SnapshotOf<GroupConfig, ShardSnapshot>, ApplyError> {
        let export = match self.offered() {
            Some(export) => export,
            None => self.export(machine).await?,
        };
        let position = Position::decode(export.position.clone()).map_err(unreadable)?;
        let meta = meta_of(&position);
        Ok(SnapshotOf::<GroupConfig, _> { meta, snapshot: ShardSnapshot::Exported(export) })
    }

    fn offered(&self) -> Option<Arc<Export>> {
        let purged = self.purged.load(Ordering::Acquire);
        let mut current = self.current.lock();
        let offer = current.as_mut()?;
        let is_useful = offer.export.made.elapsed() <= EXPORT_KEPT && offer.export.index >= purged;
        is_useful.then(|| {
            offer.taken = Instant::now();
            Arc::clone(&offer.export)
        })
    }

    async fn export(&self, machine: &MachineHandle) -> Result<Arc<Export>, ApplyError> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{}-{number}", self.shard, self.replica);
        let path = self.root.join(name);
        let export = machine
            .with(move |machine| {
                let folder = Folder::create(path)
                    .map_err(|error| ApplyError::Storage { reason: error.to_string() })?;
                let position = machine.export(folder.path())?;
                let index = Position::decode(position.clone()).map_err(unreadable)?.log_id.index();
                Ok(Arc::new(Export { folder, position, index, made: Instant::now() }))
            })
            .await?;
        *self.current.lock() = Some(Offer { export: Arc::clone(&export), taken: Instant::now() });
        Ok(export)
    }
}
