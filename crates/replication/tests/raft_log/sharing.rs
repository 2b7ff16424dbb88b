//! Groups share fsyncs; the policy says when there are any.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use breccia_replication::FsyncPolicy;
use breccia_replication::raft::log::SharedLog;
use breccia_store::MemoryLog;
use breccia_types::{ReplicaId, ShardId};
use openraft::storage::RaftLogStorage;

use crate::support::{
    append, blank, blanks, eventually, group, log_id, open, open_default, policy, positions, rocks,
    submit, vote, written,
};

fn fsyncs(log: &SharedLog) -> u64 {
    log.counters().fsyncs.load(Ordering::Relaxed)
}

#[tokio::test]
async fn many_groups_share_an_fsync() {
    let store = Arc::new(MemoryLog::default());
    let log = open_default(&store);
    let mut first = group(&log);
    store.hold();
    let mut flushed = vec![submit(&mut first, vec![blank(1, 1)]).await];
    eventually("the writer stands still", || store.held() == 1).await;
    for shard in 100..164 {
        let mut group = log.group(ShardId::new(shard), ReplicaId::new(1)).expect("loads");
        for index in 1..=20 {
            flushed.push(submit(&mut group, vec![blank(1, index)]).await);
        }
    }
    store.release();
    for flushed in flushed {
        flushed.await.expect("is written");
    }
    assert_eq!(fsyncs(&log), 2);
    assert_eq!(log.counters().entries.load(Ordering::Relaxed), 1 + 64 * 20);
    assert_eq!(log.counters().operations.load(Ordering::Relaxed), 1 + 64 * 20);
    assert!(log.counters().bytes.load(Ordering::Relaxed) > 1_281 * 21);
}

#[tokio::test]
async fn groups_on_rocksdb_share_fsyncs() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = open_default(&rocks(directory.path()));
    for round in 1..=10 {
        let mut flushed = Vec::new();
        for shard in 0..64 {
            let mut group = log.group(ShardId::new(shard), ReplicaId::new(1)).expect("loads");
            flushed.push(submit(&mut group, blanks(1, round * 2 - 1..=round * 2)).await);
        }
        for flushed in flushed {
            flushed.await.expect("is written");
        }
    }
    let (entries, fsyncs) = (log.counters().entries.load(Ordering::Relaxed), fsyncs(&log));
    assert_eq!(entries, 64 * 20);
    assert!(fsyncs * 4 < 640, "{fsyncs} fsyncs for 640 appends");
}

#[tokio::test]
async fn truncations_and_purges_wait_for_no_fsync() {
    let store = Arc::new(MemoryLog::default());
    let log = open_default(&store);
    let mut group = group(&log);
    append(&mut group, blanks(1, 1..=9)).await;
    let before = fsyncs(&log);
    group.truncate_after(Some(log_id(1, 8))).await.expect("truncates");
    group.purge(log_id(1, 8)).await.expect("purges");
    written(&log, 3).await;
    assert_eq!(fsyncs(&log), before);
    assert!(store.unsynced() > 0);
    log.close();
    assert_eq!(store.unsynced(), 0);
}

#[tokio::test]
async fn a_policy_of_never_syncs_only_votes() {
    let store = Arc::new(MemoryLog::default());
    let log = open(&store, &policy(FsyncPolicy::Never));
    let mut group = group(&log);
    append(&mut group, blanks(1, 1..=9)).await;
    assert_eq!((fsyncs(&log), store.unsynced()), (0, 1));
    group.save_vote(&vote(1)).await.expect("saves");
    assert_eq!((fsyncs(&log), store.unsynced()), (1, 0));
}

#[tokio::test]
async fn a_policy_of_an_interval_syncs_in_the_background() {
    let store = Arc::new(MemoryLog::default());
    let log = open(&store, &policy(FsyncPolicy::Interval(Duration::from_millis(20))));
    let mut group = group(&log);
    append(&mut group, blanks(1, 1..=9)).await;
    eventually("the append is synced", || store.unsynced() == 0).await;
    assert!(fsyncs(&log) >= 1);
    assert_eq!(positions(&mut group).await.len(), 9);
}
