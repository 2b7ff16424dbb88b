//! Logs are cut, and replicas that are too far behind get the shard's files.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use breccia_types::LogIndex;

use super::support::{Cluster, Options, SHARD, assert_once, replica, wait_for};
use crate::raft::GroupHealth;

const LOG_BYTES_MAX: u64 = 32 << 10;

async fn cluster() -> Arc<Cluster> {
    let options = Options { log_bytes_max: LOG_BYTES_MAX, ..Options::default() };
    Arc::new(Cluster::with_voters_and(3, options).await)
}

/// Writes until the leader's log no longer has the entry at `past`. Returns what was written.
async fn outgrow(cluster: &Cluster, past: LogIndex) -> Vec<String> {
    let mut written = Vec::new();
    wait_for("the log is cut", async || {
        for _ in 0..50 {
            let text = format!("{} {:01000}", written.len(), 0);
            cluster.write(&text).await;
            written.push(text);
        }
        let leader = cluster.leader().await;
        cluster.status(leader).is_some_and(|status| status.purged > past)
    })
    .await;
    written
}

/// Crashes a follower and writes until it needs a snapshot.
async fn fall_behind(cluster: &Cluster) -> (u64, Vec<String>) {
    let behind = cluster.leader().await % 3 + 1;
    let last = cluster.status(behind).expect("a status").last_index;
    cluster.crash(behind).await;
    (behind, outgrow(cluster, last).await)
}

fn installs(cluster: &Cluster, node: u64) -> usize {
    cluster.machines(node).installs(SHARD, replica(node))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_outgrows_its_budget_is_cut_to_what_is_durable() {
    let cluster = cluster().await;
    let written = outgrow(&cluster, LogIndex::new(20)).await;
    let status = cluster.status(cluster.leader().await).expect("a status");
    assert!(status.purged <= status.durable);
    wait_for("the log is shorter than what was written", async || {
        cluster.log_entries(cluster.leader().await) < written.len()
    })
    .await;
    cluster.crash(cluster.leader().await).await;
    cluster.write("on").await;
    let leader = cluster.leader().await;
    assert_once(&cluster.agree(&[leader]).await, &written);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_far_behind_is_caught_up_by_one_snapshot() {
    let cluster = cluster().await;
    let (behind, written) = fall_behind(&cluster).await;
    let before = installs(&cluster, behind);
    cluster.start_node(behind).await;
    cluster.write("after").await;
    assert_once(&cluster.agree(&[1, 2, 3]).await, &written);
    assert_eq!(installs(&cluster, behind), before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_that_breaks_starts_again_and_leaves_no_files() {
    let cluster = cluster().await;
    let (behind, written) = fall_behind(&cluster).await;
    let before = installs(&cluster, behind);
    *cluster.net.bulk_breaks_after.lock() = Some(20_000);
    let sent = cluster.net.bulk_bytes.load(Ordering::Relaxed);
    cluster.start_node(behind).await;
    wait_for("transfers break", async || {
        cluster.net.bulk_bytes.load(Ordering::Relaxed) > sent + 40_000
    })
    .await;
    assert_eq!(installs(&cluster, behind), before);
    *cluster.net.bulk_breaks_after.lock() = None;
    assert_once(&cluster.agree(&[1, 2, 3]).await, &written);
    let incoming = cluster.folder(behind).path().join("incoming");
    wait_for("no files are left", async || {
        std::fs::read_dir(&incoming).expect("a folder").count() == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_install_leaves_the_old_state_and_is_repeated() {
    let cluster = cluster().await;
    let (behind, written) = fall_behind(&cluster).await;
    cluster.machines(behind).set(|faults| faults.fails_install = true);
    cluster.start_node(behind).await;
    wait_for("the install fails", async || {
        let health = cluster.status(behind).map(|status| status.health);
        matches!(health, Some(GroupHealth::Restarting { .. }))
    })
    .await;
    let held = cluster.content(behind).commands;
    let applied = cluster.agree(&[1, 2, 3]).await;
    assert!(applied.starts_with(&held), "half a snapshot");
    assert_once(&applied, &written);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_run_left_on_its_way_is_removed_at_the_start() {
    let cluster = cluster().await;
    cluster.crash(2).await;
    let left = cluster.folder(2).path().join("incoming").join("s1-r20-7");
    std::fs::create_dir_all(&left).expect("a folder");
    cluster.start_node(2).await;
    assert!(!left.exists());
}
