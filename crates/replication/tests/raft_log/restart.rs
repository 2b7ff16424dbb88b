//! What is found when the process starts again in good order.

use breccia_replication::raft::log::LogError;
use breccia_types::{ReplicaId, ShardId};
use openraft::storage::{RaftLogReader, RaftLogStorage};

use crate::support::{
    Disk, REPLICA, SHARD, append, blank, blanks, entries, eventually, group, large, log_id,
    positions, submit, vote,
};

#[tokio::test]
async fn a_restart_finds_everything() {
    for disk in Disk::both() {
        let log = disk.open();
        let mut before = group(&log);
        append(&mut before, vec![blank(1, 1), large(2, 500_000), blank(1, 3)]).await;
        before.save_vote(&vote(4)).await.expect("saves");
        before.save_committed(Some(log_id(1, 2))).await.expect("saves");
        let written = entries(&mut before).await;
        let bytes = before.bytes();
        drop((before, log));

        let log = disk.open();
        let mut after = group(&log);
        assert_eq!(entries(&mut after).await, written);
        assert_eq!(after.read_vote().await.expect("reads"), Some(vote(4)));
        assert_eq!(after.read_committed().await.expect("reads"), Some(log_id(1, 2)));
        let state = after.get_log_state().await.expect("reads");
        assert_eq!(state.last_log_id, Some(log_id(1, 3)));
        assert_eq!(state.last_purged_log_id, None);
        assert!((500_000..501_000).contains(&bytes), "{bytes}");
        assert!((250_000..750_000).contains(&after.bytes()), "{}", after.bytes());
        append(&mut after, vec![blank(4, 4)]).await;
        assert_eq!(positions(&mut after).await, [(1, 1), (1, 2), (1, 3), (4, 4)]);
    }
}

#[tokio::test]
async fn entries_that_replaced_others_are_found_after_a_restart() {
    for disk in Disk::both() {
        let log = disk.open();
        let mut before = group(&log);
        append(&mut before, blanks(1, 1..=6)).await;
        before.truncate_after(Some(log_id(1, 2))).await.expect("truncates");
        assert_eq!(positions(&mut before).await, [(1, 1), (1, 2)]);
        append(&mut before, blanks(2, 3..=4)).await;
        let expected = [(1, 1), (1, 2), (2, 3), (2, 4)];
        assert_eq!(positions(&mut before).await, expected);
        drop((before, log));

        let log = disk.open();
        let mut after = group(&log);
        assert_eq!(positions(&mut after).await, expected);
        after.truncate_after(None).await.expect("truncates");
        drop((after, log));

        let log = disk.open();
        let mut after = group(&log);
        assert_eq!(positions(&mut after).await, []);
        assert_eq!(after.get_log_state().await.expect("reads").last_log_id, None);
    }
}

#[tokio::test]
async fn a_large_purge_is_found_after_a_restart() {
    for disk in Disk::both() {
        let log = disk.open();
        let mut before = group(&log);
        append(&mut before, blanks(1, 1..=1_010)).await;
        before.purge(log_id(1, 1_005)).await.expect("purges");
        drop((before, log));

        let log = disk.open();
        let mut after = group(&log);
        let expected: Vec<_> = (1_006..=1_010).map(|index| (1, index)).collect();
        assert_eq!(positions(&mut after).await, expected);
        let state = after.get_log_state().await.expect("reads");
        assert_eq!(state.last_purged_log_id, Some(log_id(1, 1_005)));
        assert_eq!(state.last_log_id, Some(log_id(1, 1_010)));
    }
}

#[tokio::test]
async fn a_small_purge_holds_until_a_restart_and_is_written_with_a_later_one() {
    for disk in Disk::both() {
        let log = disk.open();
        let mut before = group(&log);
        append(&mut before, blanks(1, 1..=10)).await;
        before.purge(log_id(1, 3)).await.expect("purges");
        assert_eq!(positions(&mut before).await.first(), Some(&(1, 4)));
        drop((before, log));

        let log = disk.open();
        let mut after = group(&log);
        assert_eq!(positions(&mut after).await.len(), 10);
        append(&mut after, vec![large(11, 2 << 20)]).await;
        append(&mut after, vec![blank(1, 12)]).await;
        after.purge(log_id(1, 4)).await.expect("purges");
        after.purge(log_id(1, 11)).await.expect("purges");
        drop((after, log));

        let log = disk.open();
        let mut last = group(&log);
        assert_eq!(positions(&mut last).await, [(1, 12)]);
    }
}

#[tokio::test]
async fn a_purge_beyond_the_end_leaves_no_hole() {
    for disk in Disk::both() {
        let log = disk.open();
        let mut before = group(&log);
        append(&mut before, blanks(1, 1..=3)).await;
        before.purge(log_id(2, 10)).await.expect("purges");
        before.purge(log_id(2, 5)).await.expect("is nothing to do");
        append(&mut before, blanks(2, 11..=12)).await;
        drop((before, log));

        let log = disk.open();
        let mut after = group(&log);
        assert_eq!(positions(&mut after).await, [(2, 11), (2, 12)]);
        let state = after.get_log_state().await.expect("reads");
        assert_eq!(state.last_purged_log_id, Some(log_id(2, 10)));
    }
}

#[tokio::test]
async fn a_committed_position_is_written_when_there_is_nothing_else_to_do() {
    let disk = Disk::both().into_iter().next().expect("memory");
    let Disk::Memory(store) = &disk else { panic!("memory comes first") };
    let log = disk.open();
    let mut group = group(&log);
    append(&mut group, blanks(1, 1..=3)).await;
    group.save_committed(None).await.expect("is nothing to do");
    group.save_committed(Some(log_id(1, 2))).await.expect("saves");
    let before = store.unsynced();
    eventually("the position is written", || store.unsynced() > before).await;
}

#[tokio::test]
async fn an_append_that_would_leave_a_hole_is_refused() {
    for disk in Disk::both() {
        let log = disk.open();
        let mut group = group(&log);
        append(&mut group, blanks(1, 1..=2)).await;
        for misplaced in [vec![blank(1, 4)], vec![blank(1, 2)], vec![blank(1, 3), blank(1, 5)]] {
            let callback = openraft::storage::IOFlushed::noop();
            let error = group.append(misplaced, callback).await.expect_err("is refused");
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        }
        group.purge(log_id(1, 2)).await.expect("purges");
        append(&mut group, blanks(1, 3..=3)).await;
        group.truncate_after(Some(log_id(1, 1))).await.expect_err("is purged");
        append(&mut group, vec![]).await;
        assert_eq!(positions(&mut group).await, [(1, 3)]);
    }
}

#[tokio::test]
async fn a_destroyed_group_leaves_nothing_and_its_neighbours_untouched() {
    let neighbours = [
        (SHARD, ReplicaId::new(6)),
        (SHARD, ReplicaId::new(8)),
        (ShardId::new(2), ReplicaId::new(u64::MAX)),
        (ShardId::new(u32::MAX), ReplicaId::new(u64::MAX)),
        (ShardId::new(0), ReplicaId::new(0)),
    ];
    for disk in Disk::both() {
        let log = disk.open();
        let mut doomed = group(&log);
        append(&mut doomed, blanks(1, 1..=3)).await;
        doomed.save_vote(&vote(1)).await.expect("saves");
        for (shard, replica) in neighbours {
            let mut neighbour = log.group(shard, replica).expect("loads");
            append(&mut neighbour, blanks(1, 1..=2)).await;
        }
        assert_eq!(log.groups().expect("reads").len(), 6);
        assert_eq!(log.sizes().len(), 6);
        log.destroy(SHARD, REPLICA).await.expect("destroys");
        log.destroy(SHARD, ReplicaId::new(99)).await.expect("destroys what never was");
        doomed.save_vote(&vote(2)).await.expect_err("is destroyed");
        doomed.get_log_state().await.expect_err("is destroyed");
        doomed.try_get_log_entries(..).await.expect_err("is destroyed");
        let refused = log.group(SHARD, REPLICA).err();
        assert!(matches!(refused, Some(LogError::Destroyed { .. })));
        drop((doomed, log));

        let log = disk.open();
        let mut expected = neighbours.to_vec();
        expected.sort_unstable();
        let found: Vec<_> =
            log.groups().expect("reads").iter().map(|key| (key.shard, key.replica)).collect();
        assert_eq!(found, expected);
        for (shard, replica) in neighbours {
            let mut neighbour = log.group(shard, replica).expect("loads");
            assert_eq!(positions(&mut neighbour).await, [(1, 1), (1, 2)]);
        }
    }
}

#[tokio::test]
async fn a_closed_log_has_written_what_waited_and_refuses_the_rest() {
    for disk in Disk::both() {
        let log = disk.open();
        let mut before = group(&log);
        let flushed = submit(&mut before, blanks(1, 1..=3)).await;
        log.close();
        log.close();
        flushed.await.expect("is written");
        before.save_vote(&vote(1)).await.expect_err("is closed");
        before.save_committed(Some(log_id(1, 1))).await.expect_err("is closed");
        drop((before, log));
        assert_eq!(positions(&mut group(&disk.open())).await.len(), 3);
    }
}
