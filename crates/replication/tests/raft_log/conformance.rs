//! openraft's own suite for log storages, on the real log.

use std::io;
use std::sync::Arc;

use breccia_replication::raft::log::{GroupLog, SharedLog};
use breccia_replication::raft::types::{GroupConfig, LogId, Outcomes, StoredMembership};
use breccia_store::{LogStore, MemoryLog};
use futures::{Stream, TryStreamExt};
use openraft::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{OptionalSend, StorageError};
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::support::{group, open_default, rocks};

type Meta = SnapshotMetaOf<GroupConfig>;
type Empty = SnapshotOf<GroupConfig, ()>;

/// A state machine that remembers positions and memberships, which is all the suite looks at.
#[derive(Clone, Default)]
struct Machine(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    applied: Option<LogId>,
    membership: StoredMembership,
    snapshot: Option<Meta>,
}

impl RaftStateMachine<GroupConfig> for Machine {
    type SnapshotData = ();
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let state = self.0.lock();
        Ok((state.applied, state.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<GroupConfig>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            {
                let mut state = self.0.lock();
                state.applied = Some(entry.log_id);
                if let Some(membership) = entry.get_membership() {
                    state.membership = StoredMembership::new(Some(entry.log_id), membership);
                }
            }
            if let Some(responder) = responder {
                responder.send(Outcomes::default());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &Meta, _empty: ()) -> Result<(), io::Error> {
        let mut state = self.0.lock();
        state.applied = meta.last_log_id;
        state.membership = meta.last_membership.clone();
        state.snapshot = Some(meta.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Empty>, io::Error> {
        Ok(self.0.lock().snapshot.clone().map(|meta| Snapshot { meta, snapshot: () }))
    }
}

impl RaftSnapshotBuilder<GroupConfig> for Machine {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> Result<Empty, io::Error> {
        let mut state = self.0.lock();
        let meta = Meta { last_log_id: state.applied, last_membership: state.membership.clone() };
        state.snapshot = Some(meta.clone());
        Ok(Snapshot { meta, snapshot: () })
    }
}

struct OnMemory;
struct OnRocks;

/// What must live as long as the group's log.
struct Guard {
    _log: SharedLog,
    _directory: Option<TempDir>,
}

type Built = Result<(Guard, GroupLog, Machine), StorageError<GroupConfig>>;

fn build(store: &Arc<impl LogStore>, _directory: Option<TempDir>) -> Built {
    let log = open_default(store);
    let group = group(&log);
    Ok((Guard { _log: log, _directory }, group, Machine::default()))
}

impl StoreBuilder<GroupConfig, GroupLog, Machine, Guard> for OnMemory {
    async fn build(&self) -> Built {
        build(&Arc::new(MemoryLog::default()), None)
    }
}

impl StoreBuilder<GroupConfig, GroupLog, Machine, Guard> for OnRocks {
    async fn build(&self) -> Built {
        let directory = tempfile::tempdir().expect("a directory");
        build(&rocks(directory.path()), Some(directory))
    }
}

#[tokio::test]
async fn the_log_in_memory_does_what_openraft_expects() {
    Suite::test_all(OnMemory).await.expect("passes");
}

#[tokio::test]
async fn the_log_on_rocksdb_does_what_openraft_expects() {
    Suite::test_all(OnRocks).await.expect("passes");
}
