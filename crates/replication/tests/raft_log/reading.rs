//! Reads: from memory, from the database, across both, and while the log changes.

use std::sync::Arc;

use breccia_replication::raft::log::SharedLogOptions;
use breccia_store::MemoryLog;
use futures::TryStreamExt;
use openraft::storage::{RaftLogReader, RaftLogStorage};

use crate::support::{
    Disk, append, blank, blanks, entries, eventually, group, large, log_id, open, positions, submit,
};

const KIBIBYTE: usize = 1 << 10;

/// No memory for what is written already, beyond what each group has anyway.
fn forgetful() -> SharedLogOptions {
    SharedLogOptions { tail_bytes_max: 0, ..SharedLogOptions::default() }
}

#[tokio::test]
async fn what_is_not_written_yet_is_read_however_much_it_is() {
    let store = Arc::new(MemoryLog::default());
    let log = open(&store, &forgetful());
    let mut group = group(&log);
    store.hold();
    let mut flushed = Vec::new();
    for index in 1..=100 {
        flushed.push(submit(&mut group, vec![large(index, 32 * KIBIBYTE)]).await);
        let last = group.try_get_log_entries(index..).await.expect("reads");
        assert_eq!(last, [large(index, 32 * KIBIBYTE)]);
    }
    let expected: Vec<_> = (1..=100).map(|index| large(index, 32 * KIBIBYTE)).collect();
    assert_eq!(entries(&mut group).await, expected);
    store.release();
    for flushed in flushed {
        flushed.await.expect("is written");
    }
    assert_eq!(entries(&mut group).await, expected);
}

#[tokio::test]
async fn a_read_for_a_follower_is_bounded_but_returns_one_entry_at_least() {
    for disk in Disk::both() {
        let log = disk.open();
        let mut before = group(&log);
        for index in 1..=8 {
            append(&mut before, vec![large(index, 400 * KIBIBYTE)]).await;
        }
        append(&mut before, vec![large(9, 3_000 * KIBIBYTE), blank(1, 10)]).await;
        drop((before, log));
        let log = disk.open();
        let mut after = group(&log);
        append(&mut after, vec![large(11, 3_000 * KIBIBYTE)]).await;
        append(&mut after, (12..=19).map(|index| large(index, 400 * KIBIBYTE)).collect()).await;
        for (start, end, expected) in [
            (1, 20, 1..=2),
            (1, 2, 1..=1),
            (8, 20, 8..=8),
            (9, 20, 9..=9),
            (10, 20, 10..=10),
            (11, 20, 11..=11),
            (12, 20, 12..=13),
            (19, 99, 19..=19),
        ] {
            let found = after.limited_get_log_entries(start, end).await.expect("reads");
            let found: Vec<_> = found.iter().map(|entry| entry.log_id.index()).collect();
            assert_eq!(found, expected.collect::<Vec<_>>(), "{start}..{end}");
        }
        assert_eq!(entries(&mut after).await.len(), 19);
    }
}

#[tokio::test]
async fn a_stream_returns_every_entry_across_database_and_memory() {
    for disk in Disk::both() {
        let log = disk.open();
        let mut before = group(&log);
        for index in 1..=20 {
            append(&mut before, vec![large(index, 300 * KIBIBYTE)]).await;
        }
        drop((before, log));
        let log = disk.open();
        let mut after = group(&log);
        append(&mut after, blanks(1, 21..=30)).await;
        let stream = after.entries_stream(3..29).await;
        let found: Vec<_> = stream.try_collect().await.expect("reads");
        let found: Vec<_> = found.iter().map(|entry| entry.log_id.index()).collect();
        assert_eq!(found, (3..29).collect::<Vec<_>>());
        let none = after.entries_stream(40..50).await;
        assert!(none.try_collect::<Vec<_>>().await.expect("reads").is_empty());
    }
}

#[tokio::test]
async fn entries_that_were_taken_back_are_not_read_from_the_database() {
    let store = Arc::new(MemoryLog::default());
    let log = open(&store, &forgetful());
    let mut group = group(&log);
    for index in 1..=10 {
        append(&mut group, vec![large(index, 32 * KIBIBYTE)]).await;
    }
    store.hold();
    group.truncate_after(Some(log_id(1, 3))).await.expect("truncates");
    let flushed = submit(&mut group, vec![blank(2, 4)]).await;
    let expected = [(1, 1), (1, 2), (1, 3), (2, 4)];
    assert_eq!(positions(&mut group).await, expected);
    assert!(group.try_get_log_entries(5..9).await.expect("reads").is_empty());
    store.release();
    flushed.await.expect("is written");
    assert_eq!(positions(&mut group).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn reads_see_no_gap_and_no_mixture_while_the_log_changes() {
    const ROUNDS: u64 = 300;
    let directory = tempfile::tempdir().expect("a directory");
    let log = open(&crate::support::rocks(directory.path()), &forgetful());
    let mut writer = group(&log);
    let mut reader = writer.clone();
    let is_done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let done = Arc::clone(&is_done);
    let reads = tokio::spawn(async move {
        let mut reads = 0;
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            let found = positions(&mut reader).await;
            for pair in found.windows(2) {
                let [(term, index), (next_term, next_index)] = pair else { continue };
                assert_eq!(*next_index, index + 1);
                assert!(next_term >= term, "{found:?}");
            }
            reads += 1;
        }
        reads
    });
    let payload = large(1, 16 * KIBIBYTE).payload;
    let mut next = 1;
    for term in 1..=ROUNDS {
        let entry =
            |index| openraft::Entry { log_id: log_id(term, index), payload: payload.clone() };
        let flushed = submit(&mut writer, (next..next + 10).map(entry).collect()).await;
        next += 10;
        if term % 3 == 0 {
            next -= 7;
            writer.truncate_after(Some(log_id(term, next - 1))).await.expect("truncates");
        }
        if term % 5 == 0 {
            writer.purge(log_id(term, next - 3)).await.expect("purges");
        }
        if term % 7 == 0 {
            flushed.await.expect("is written");
        }
    }
    is_done.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(reads.await.expect("sees nothing wrong") > 0);
}

#[tokio::test]
async fn a_full_queue_makes_appends_wait_for_the_writer() {
    let store = Arc::new(MemoryLog::default());
    let log = open(&store, &SharedLogOptions::default());
    let mut group = group(&log);
    store.hold();
    let mut queued = group.clone();
    let appends = tokio::spawn(async move {
        let mut flushed = Vec::new();
        for index in 1..=60 {
            flushed.push(submit(&mut queued, vec![large(index, 1_000 * KIBIBYTE)]).await);
        }
        flushed
    });
    eventually("the writer stands still", || store.held() == 1).await;
    let mut last = 0;
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        let state = group.get_log_state().await.expect("reads");
        match state.last_log_id.map_or(0, |id| id.index()) {
            present if present == last && present > 0 => break,
            present => last = present,
        }
    }
    assert!((12..=16).contains(&last), "{last} entries were taken in");
    store.release();
    for flushed in appends.await.expect("ends") {
        flushed.await.expect("is written");
    }
}
