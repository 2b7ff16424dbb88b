//! Everything goes wrong at once, in an order that a seed decides.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use breccia_types::NodeId;
use bytes::Bytes;
use tokio::task::JoinHandle;

use super::support::{Cluster, Options, assert_once, replica};
use crate::consensus::ShardConsensus;

const ROUNDS: usize = 16;

/// A small generator, so that a seed replays a run's decisions.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Writes, and after every acknowledgement reads wherever a barrier can be passed: whatever was
/// acknowledged must be there.
fn check_reads(cluster: &Arc<Cluster>, stop: &Arc<AtomicBool>) -> JoinHandle<(Vec<String>, usize)> {
    let (cluster, stop) = (Arc::clone(cluster), Arc::clone(stop));
    tokio::spawn(async move {
        let (mut acknowledged, mut reads) = (Vec::new(), 0);
        for number in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let text = format!("checked-{number}");
            let leader = cluster.leaders().last().copied().unwrap_or(1);
            let writing =
                tokio::time::timeout(Duration::from_secs(1), cluster.propose(leader, &text));
            if !matches!(writing.await, Ok(Ok(()))) {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            }
            acknowledged.push(text.clone());
            for node in cluster.numbers() {
                let Some(group) = cluster.group(node) else { continue };
                if group.read_barrier().await.is_ok() {
                    let read = cluster.content(node).commands;
                    let text = Bytes::from(text.clone());
                    assert!(read.contains(&text), "node {node} does not see {text:?}");
                    reads += 1;
                }
            }
        }
        (acknowledged, reads)
    })
}

async fn run(seed: u64) {
    let options = Options { log_bytes_max: 4 << 10, ..Options::default() };
    let cluster = Arc::new(Cluster::with_voters_and(3, options).await);
    let (mut dice, stop) = (Dice(seed), Arc::new(AtomicBool::new(false)));
    let loads = ["a", "b"].map(|name| cluster.load(name));
    let checker = check_reads(&cluster, &stop);
    for _ in 0..ROUNDS {
        let node = dice.roll(3) + 1;
        let other = (node + dice.roll(2)) % 3 + 1;
        match dice.roll(5) {
            0 => {
                cluster.crash(node).await;
                tokio::time::sleep(Duration::from_millis(dice.roll(700))).await;
                cluster.start_node(node).await;
            }
            1 => cluster.isolate(node),
            2 => cluster.net.cut(&[NodeId::new(node)], &[NodeId::new(other)]),
            3 => cluster.net.losing.store(5, Ordering::Relaxed),
            _ => {
                if let Some(group) = cluster.group(node) {
                    // Refused unless the node leads.
                    let _ = group.transfer_leader(replica(other)).await;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(dice.roll(600))).await;
        cluster.net.heal();
    }
    stop.store(true, Ordering::Relaxed);
    let (mut acknowledged, reads) = checker.await.expect("the checker failed");
    for load in loads {
        acknowledged.extend(load.stop().await);
    }
    assert!(reads > 0);
    cluster.write("last").await;
    assert_once(&cluster.agree(&[1, 2, 3]).await, &acknowledged);
    let stamps = cluster.content(1).stamps;
    assert!(stamps.windows(2).all(|pair| pair[0] < pair[1]), "stamps grow");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_repeated_or_unseen_whatever_goes_wrong() {
    // Another seed makes another run; those that found something are kept here.
    let seed = std::env::var("BRECCIA_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    run(seed).await;
}
