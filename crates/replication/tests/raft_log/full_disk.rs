//! A full disk: the log waits, repeats what it was writing, and reports nothing as done before.

use std::sync::Arc;

use breccia_replication::FsyncPolicy;
use breccia_replication::raft::log::{LogEvent, SharedLog, SharedLogOptions};
use breccia_store::{LogStore, MemoryLog, StoreError};
use futures::FutureExt;
use openraft::storage::{RaftLogReader, RaftLogStorage};
use parking_lot::Mutex;

use crate::support::{
    append, blank, eventually, group, open_default, policy, positions, submit, vote,
};

fn full() -> StoreError {
    StoreError::DiskFull { detail: "told to".into() }
}

/// A log that keeps what it was told, one letter an event.
fn watched(store: &Arc<MemoryLog>, options: &SharedLogOptions) -> (SharedLog, Arc<Mutex<String>>) {
    let events = Arc::new(Mutex::new(String::new()));
    let kept = Arc::clone(&events);
    let log = SharedLog::open(Arc::clone(store) as Arc<dyn LogStore>, options, move |event| {
        kept.lock().push(match event {
            LogEvent::NoRoom { reason } => {
                assert!(reason.contains("told to; free some space"), "{reason}");
                'n'
            }
            LogEvent::Room => 'r',
            _ => 'f',
        });
    });
    (log.expect("starts"), events)
}

#[tokio::test]
async fn what_meets_a_full_disk_is_written_when_there_is_room_and_not_reported_before() {
    let store = Arc::new(MemoryLog::default());
    let (log, events) = watched(&store, &SharedLogOptions::default());
    let mut group = group(&log);
    append(&mut group, vec![blank(1, 1)]).await;
    store.fail(full());
    let mut flushed = Vec::new();
    for index in 2..=5 {
        flushed.push(submit(&mut group, vec![blank(1, index)]).await);
    }
    eventually("the log says so", || *events.lock() == "n").await;
    assert!(log.no_room().is_some_and(|reason| reason.contains("the disk is full")));
    assert!(flushed.iter_mut().all(|flushed| flushed.now_or_never().is_none()));
    assert_eq!(group.try_get_log_entries(1..6).await.expect("reads").len(), 5);

    store.mend();
    for flushed in flushed {
        flushed.await.expect("is written");
    }
    eventually("the log says so", || *events.lock() == "nr").await;
    assert_eq!(log.no_room(), None);
    let rebooted = Arc::new(store.crash(0));
    let log = open_default(&rebooted);
    let expected: Vec<_> = (1..=5).map(|index| (1, index)).collect();
    assert_eq!(positions(&mut crate::support::group(&log)).await, expected);
}

#[tokio::test]
async fn a_log_on_a_full_disk_can_be_closed_and_tells_who_waits_that_nothing_is_certain() {
    let store = Arc::new(MemoryLog::default());
    let (log, _events) = watched(&store, &SharedLogOptions::default());
    let mut group = group(&log);
    store.fail(full());
    let flushed = submit(&mut group, vec![blank(1, 1)]).await;
    let mut voter = group.clone();
    let voting = tokio::spawn(async move { voter.save_vote(&vote(1)).await });
    eventually("the log waits", || log.no_room().is_some()).await;
    log.close();
    flushed.await.expect_err("is not written");
    voting.await.expect("ends").expect_err("is not written");
}

#[tokio::test]
async fn a_disk_that_fails_otherwise_while_the_log_waits_ends_it() {
    let store = Arc::new(MemoryLog::default());
    let (log, events) = watched(&store, &SharedLogOptions::default());
    let mut group = group(&log);
    store.fail(full());
    let flushed = submit(&mut group, vec![blank(1, 1)]).await;
    eventually("the log waits", || log.no_room().is_some()).await;
    store.fail(StoreError::Io { operation: "write", detail: "told to".into() });
    flushed.await.expect_err("is not written");
    eventually("the log says so", || *events.lock() == "nf").await;
}

#[tokio::test]
async fn a_sync_in_the_background_waits_for_room_too() {
    use std::time::Duration;
    let store = Arc::new(MemoryLog::default());
    let interval = policy(FsyncPolicy::Interval(Duration::from_millis(50)));
    let (log, events) = watched(&store, &interval);
    append(&mut group(&log), vec![blank(1, 1)]).await;
    store.fail(full());
    eventually("the log waits", || log.no_room().is_some()).await;
    store.mend();
    eventually("it is synced", || store.unsynced() == 0 && *events.lock() == "nr").await;
}

#[tokio::test]
async fn a_log_that_was_opened_on_a_full_disk_finds_room_though_it_is_never_idle() {
    let store = Arc::new(MemoryLog::without_room());
    let log = SharedLog::open(
        Arc::clone(&store) as Arc<dyn LogStore>,
        &SharedLogOptions::default(),
        |_: LogEvent<'_>| {},
    );
    let log = log.expect("starts");
    eventually("the log lacks room", || log.no_room().is_some()).await;
    let mut group = group(&log);
    let started = std::time::Instant::now();
    let mut index = 0;
    while log.no_room().is_some() {
        assert!(started.elapsed() < std::time::Duration::from_secs(10), "it never found room");
        index += 1;
        append(&mut group, vec![blank(1, index)]).await;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
