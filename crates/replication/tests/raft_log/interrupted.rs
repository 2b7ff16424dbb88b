//! Reads of the database under which the log changes.

use std::sync::Arc;

use breccia_replication::raft::log::{GroupLog, SharedLog, SharedLogOptions};
use breccia_store::{
    Bounds, Durability, LogOp, LogRow, LogStore, MemoryLog, ScanLimits, StoreError, Usage,
};
use bytes::Bytes;
use openraft::storage::RaftLogStorage;
use parking_lot::Mutex;

use crate::support::{append, blank, group, large, log_id, open, positions};

type Interruption = Box<dyn FnOnce() + Send>;

/// A database whose next scan is followed by something before its rows are returned.
#[derive(Default)]
struct Interrupted {
    inner: MemoryLog,
    next: Mutex<Option<Interruption>>,
}

impl LogStore for Interrupted {
    fn write(&self, ops: &[LogOp], durability: Durability) -> Result<(), StoreError> {
        self.inner.write(ops, durability)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.inner.sync()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.inner.get(key)
    }

    fn scan(&self, bounds: &Bounds, limits: ScanLimits) -> Result<Vec<LogRow>, StoreError> {
        let rows = self.inner.scan(bounds, limits);
        let interruption = self.next.lock().take();
        if let Some(interruption) = interruption {
            interruption();
        }
        rows
    }

    fn last_key(&self, bounds: &Bounds) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.last_key(bounds)
    }

    fn range_bytes(&self, bounds: &Bounds) -> Result<u64, StoreError> {
        self.inner.range_bytes(bounds)
    }

    fn recover(&self) -> Result<(), StoreError> {
        self.inner.recover()
    }

    fn lacks_room(&self) -> bool {
        self.inner.lacks_room()
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.inner.flush()
    }
}

/// A log of ten entries, most of them only in the database.
async fn ten_entries() -> (Arc<Interrupted>, SharedLog, GroupLog) {
    let store = Arc::new(Interrupted::default());
    let log = open(&store, &SharedLogOptions { tail_bytes_max: 0, ..Default::default() });
    let mut group = group(&log);
    for index in 1..=10 {
        append(&mut group, vec![large(index, 32 << 10)]).await;
    }
    (store, log, group)
}

#[tokio::test]
async fn a_read_under_which_entries_are_replaced_returns_the_new_ones() {
    let (store, _log, mut group) = ten_entries().await;
    let mut writer = group.clone();
    let runtime = tokio::runtime::Handle::current();
    *store.next.lock() = Some(Box::new(move || {
        runtime.block_on(async move {
            writer.truncate_after(Some(log_id(1, 3))).await.expect("truncates");
            append(&mut writer, vec![blank(2, 4)]).await;
        });
    }));
    assert_eq!(positions(&mut group).await, [(1, 1), (1, 2), (1, 3), (2, 4)]);
    assert!(store.next.lock().is_none());
}

#[tokio::test]
async fn a_read_under_which_entries_are_purged_returns_what_is_left() {
    let (store, _log, mut group) = ten_entries().await;
    let mut writer = group.clone();
    let runtime = tokio::runtime::Handle::current();
    *store.next.lock() = Some(Box::new(move || {
        runtime.block_on(async move {
            append(&mut writer, vec![large(11, 2 << 20), blank(1, 12)]).await;
            writer.purge(log_id(1, 7)).await.expect("purges");
        });
    }));
    let found: Vec<_> = positions(&mut group).await.into_iter().map(|(_, index)| index).collect();
    assert_eq!(found, [8, 9, 10]);
    assert!(store.next.lock().is_none());
}
