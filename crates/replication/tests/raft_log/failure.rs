//! After a failed write or sync nothing is written, and everybody hears of it.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use breccia_replication::FsyncPolicy;
use breccia_replication::raft::log::{LogEvent, SharedLog, SharedLogOptions};
use breccia_store::{
    Bounds, Durability, LogOp, LogRow, LogStore, MemoryLog, ScanLimits, StoreError,
};
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};

use crate::support::{
    append, blank, blanks, eventually, group, log_id, open_default, policy, submit, vote,
};

/// A log that counts how often its hook was called.
fn counted(store: &Arc<MemoryLog>, options: &SharedLogOptions) -> (SharedLog, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let log = SharedLog::open(Arc::clone(store) as Arc<dyn LogStore>, options, move |event| {
        let LogEvent::Failed { error } = event else { panic!("{event:?}") };
        assert!(error.to_string().contains("out of service"), "{error}");
        counted.fetch_add(1, Ordering::Relaxed);
    });
    (log.expect("starts"), calls)
}

#[tokio::test]
async fn a_failed_write_fails_everyone_who_waits_and_all_that_comes_later() {
    let store = Arc::new(MemoryLog::default());
    let (log, calls) = counted(&store, &SharedLogOptions::default());
    let mut group = group(&log);
    append(&mut group, vec![blank(1, 1)]).await;
    store.hold();
    let mut flushed = vec![submit(&mut group, vec![blank(1, 2)]).await];
    eventually("the writer stands still", || store.held() == 1).await;
    for index in 3..=9 {
        flushed.push(submit(&mut group, vec![blank(1, index)]).await);
    }
    let mut voter = group.clone();
    let voting = tokio::spawn(async move { voter.save_vote(&vote(1)).await });
    group.truncate_after(Some(log_id(1, 8))).await.expect("is queued");
    store.fail(StoreError::Io { operation: "write", detail: "told to".into() });
    store.release();
    for flushed in flushed {
        flushed.await.expect_err("fails");
    }
    voting.await.expect("ends").expect_err("fails");
    eventually("the hook is called", || calls.load(Ordering::Relaxed) == 1).await;

    group.append(vec![blank(1, 9)], IOFlushed::noop()).await.expect_err("is out of service");
    group.save_vote(&vote(2)).await.expect_err("is out of service");
    group.save_committed(Some(log_id(1, 1))).await.expect_err("is out of service");
    group.truncate_after(None).await.expect_err("is out of service");
    group.purge(log_id(1, 1)).await.expect_err("is out of service");
    log.destroy(crate::support::SHARD, crate::support::REPLICA).await.expect_err("is out");
    log.close();
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_failed_background_sync_is_as_fatal() {
    let store = Arc::new(MemoryLog::default());
    let interval = policy(FsyncPolicy::Interval(Duration::from_millis(200)));
    let (log, calls) = counted(&store, &interval);
    let mut group = group(&log);
    append(&mut group, vec![blank(1, 1)]).await;
    store.fail(StoreError::Io { operation: "sync", detail: "told to".into() });
    eventually("the hook is called", || calls.load(Ordering::Relaxed) == 1).await;
    group.save_vote(&vote(2)).await.expect_err("is out of service");
    log.close();
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

/// The first rows of a database; its only group has nothing but entries.
fn rows(store: &MemoryLog, rows_max: usize) -> Vec<LogRow> {
    let all = Bounds { lower: vec![], upper: vec![0xff; 32] };
    store.scan(&all, ScanLimits { rows_max, bytes_max: usize::MAX }).expect("scans")
}

/// Flips a bit in the entry at an index.
fn damage(store: &MemoryLog, index: usize, at: usize) {
    let row = rows(store, index).pop().expect("a row");
    let mut value = row.value.to_vec();
    value[at] ^= 1;
    store.write(&[LogOp::Put { key: row.key, value }], Durability::Synced).expect("writes");
}

#[tokio::test]
async fn a_corrupt_entry_is_refused_by_name_at_any_byte() {
    for at in 0..9 {
        let store = Arc::new(MemoryLog::default());
        let log = open_default(&store);
        append(&mut group(&log), blanks(1, 1..=3)).await;
        drop(log);
        damage(&store, 3, at);
        let log = open_default(&store);
        let error = log.group(crate::support::SHARD, crate::support::REPLICA).err();
        let error = error.expect("is refused").to_string();
        assert!(error.contains("entry 3 of s3 r7 is corrupt"), "{error}");
    }
}

#[tokio::test]
async fn a_corrupt_entry_before_the_end_fails_the_read_that_meets_it() {
    let store = Arc::new(MemoryLog::default());
    let log = open_default(&store);
    append(&mut group(&log), blanks(1, 1..=3)).await;
    drop(log);
    damage(&store, 2, 8);
    let log = open_default(&store);
    let mut group = group(&log);
    let error = group.try_get_log_entries(1..4).await.expect_err("is corrupt");
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.to_string().contains("entry 2 of s3 r7 is corrupt"), "{error}");
    assert_eq!(group.try_get_log_entries(3..4).await.expect("reads").len(), 1);
}

#[tokio::test]
async fn an_entry_that_lies_under_a_wrong_key_is_refused() {
    let store = Arc::new(MemoryLog::default());
    let log = open_default(&store);
    append(&mut group(&log), blanks(1, 1..=3)).await;
    drop(log);
    let [first, second] = rows(&store, 2).try_into().expect("two rows");
    let swapped = LogOp::Put { key: second.key, value: first.value.to_vec() };
    store.write(&[swapped], Durability::Synced).expect("writes");
    let log = open_default(&store);
    let error = group(&log).try_get_log_entries(1..4).await.expect_err("is corrupt");
    assert!(error.to_string().contains("entry 2 of s3 r7 is corrupt"), "{error}");
}

#[tokio::test]
async fn a_missing_entry_fails_the_read_that_meets_it() {
    let store = Arc::new(MemoryLog::default());
    let log = open_default(&store);
    append(&mut group(&log), blanks(1, 1..=5)).await;
    drop(log);
    let third = rows(&store, 3).pop().expect("a row");
    store.write(&[LogOp::Delete { key: third.key }], Durability::Synced).expect("writes");
    let log = open_default(&store);
    let mut group = group(&log);
    let error = group.try_get_log_entries(1..5).await.expect_err("is missing");
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.to_string().contains("entry 3 of s3 r7 is missing"), "{error}");
    assert_eq!(group.try_get_log_entries(1..3).await.expect("reads").len(), 2);
    assert_eq!(group.try_get_log_entries(4..6).await.expect("reads").len(), 2);
}
