//! Reductions: each row counts once, whoever is asked and whatever happens meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use breccia_node::{Node, NodeConfig, Placement, Reduction};
use breccia_ring::{ReplicaPlace, Role};
use breccia_service::reduce::{Misfit, Reduce, ReduceError, Reductions, Rows};
use breccia_types::reduce::{
    Aggregate, Coverage, Gaps, Input, KeyRange, Meter, Misfits, Progress, Scope,
};
use breccia_types::wire::DecodeError;
use breccia_types::{Actor, NodeId, ReductionId, RequestError, Table, TableOptions};
use bytes::Bytes;

use crate::support::{Cluster, SHARDS, key, wait_until};

const ROWS: u32 = 400;
/// Rows whose delay is null.
const UNFIT: u32 = ROWS / 10;

/// Fills a table with rows of which every tenth has no delay.
async fn fill(node: &Node) -> Table {
    let table = node.create_table("t", TableOptions::default()).await.expect("creates");
    for row in 0..ROWS {
        let value = match row % 10 {
            0 => r#"{"delay": null}"#.to_owned(),
            _ => format!(r#"{{"delay": {row}}}"#),
        };
        node.write(&table, table.put(key(row), Bytes::from(value)), None).await.expect("writes");
    }
    table.as_ref().clone()
}

/// The sum of the delays, as a client would add them up.
fn naive_sum() -> u32 {
    (0..ROWS).filter(|row| row % 10 != 0).sum()
}

fn sum() -> Aggregate {
    let input = Input::Field("delay".parse().expect("a path"));
    Aggregate::Operands { monoid: "sum:i64".parse().expect("a monoid"), input }
}

async fn reduce(
    node: &Node,
    table: &Table,
    aggregate: &Aggregate,
    scope: &Scope,
) -> Result<Reduction, RequestError> {
    node.reduce(table, aggregate, scope, &Arc::default()).await
}

/// Checks that an answer is the naive one, and that it says so.
fn assert_whole(reduction: &Reduction) {
    assert_eq!(reduction.presented, naive_sum().to_string());
    let Coverage { shards_asked, missing, read } = &reduction.coverage;
    assert_eq!((*shards_asked, missing.len()), (SHARDS as usize, 0));
    assert_eq!((read.rows, read.skipped), (u64::from(ROWS), u64::from(UNFIT)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_gives_the_naive_answer_whatever_the_tree() {
    // With a fan-in of one the nodes are asked in a chain.
    let cluster = Cluster::start_with(3, |config| config.reduce.fan_in = Some(1)).await;
    let table = fill(&cluster.nodes[0]).await;
    cluster.settled(3, 0).await;
    for node in &cluster.nodes {
        wait_until("the node knows the table", async || node.table("t").await.is_ok()).await;
        let meter = Arc::new(Meter::default());
        let reduction = node.reduce(&table, &sum(), &Scope::default(), &meter).await;
        let reduction = reduction.expect("reduces");
        assert_whole(&reduction);
        let read = reduction.coverage.read;
        let progress = Progress { shards: SHARDS.into(), rows: read.rows, bytes: read.bytes };
        assert_eq!(meter.progress(), progress);
        let count = reduce(node, &table, &Aggregate::Count, &Scope::default()).await;
        assert_eq!(count.expect("counts").presented, ROWS.to_string());
        let keys = KeyRange { from: Some(key(10)), to: Some(key(35)), ..KeyRange::default() };
        let some = Scope { keys, ..Scope::default() };
        let count = reduce(node, &table, &Aggregate::Count, &some).await;
        assert_eq!(count.expect("counts").presented, "25");
        let strict = Scope { misfits: Misfits::Refuse, ..Scope::default() };
        let refused = reduce(node, &table, &sum(), &strict).await;
        assert!(matches!(refused, Err(RequestError::UnfitRow { .. })), "{refused:?}");
    }
    let finished = cluster.nodes.iter().map(|node| node.reduce_metrics().finished);
    assert!(finished.clone().all(|shards| shards > 0), "every node has a part in it");
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_leaders_move_no_row_is_missed_or_counts_twice() {
    let cluster = Cluster::start(3).await;
    let table = fill(&cluster.nodes[0]).await;
    cluster.settled(3, 0).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (nodes, stopped) = (cluster.nodes.clone(), Arc::clone(&stop));
    let moving = tokio::spawn(async move {
        let mut moves = 0_usize;
        while !stopped.load(Ordering::Relaxed) {
            nodes[moves % nodes.len()].hand_over().await;
            moves += 1;
        }
        moves
    });
    let mut answers = 0;
    let until = Instant::now() + Duration::from_secs(6);
    while Instant::now() < until || answers < 20 {
        let node = &cluster.nodes[answers % cluster.nodes.len()];
        match reduce(node, &table, &sum(), &Scope::default()).await {
            Ok(reduction) => assert_whole(&reduction),
            Err(error) => assert_eq!(error.actor(), Actor::Retry, "{error}"),
        }
        answers += 1;
    }
    stop.store(true, Ordering::Relaxed);
    let moves = moving.await.expect("moves");
    assert!(moves > 10, "leaders moved {moves} times under {answers} reductions");
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_lost_in_the_middle_delays_the_answer_and_does_not_change_it() {
    let mut cluster = Cluster::start_with(3, with_slow).await;
    let table = fill(&cluster.nodes[0]).await;
    cluster.settled(3, 0).await;
    let asked = cluster.nodes[0].clone();
    let running = {
        let (asked, table) = (asked.clone(), table.clone());
        tokio::spawn(async move {
            let slow = Slow { rows_per_second: 20 };
            asked.reduce_with(&table, &slow, &Scope::default(), &Arc::default()).await
        })
    };
    let lost = cluster.nodes.pop().expect("a node");
    wait_until("the node reads", async || lost.reduce_metrics().running > 0).await;
    lost.shutdown().await;
    drop(lost);
    let (rows, coverage) = running.await.expect("runs").expect("reduces");
    assert_eq!((rows, coverage.read.rows), (Some(u64::from(ROWS)), u64::from(ROWS)));
    assert_eq!(coverage.missing, []);
    cluster.shut_down().await;
}

/// Two nodes, not the first, without which some shards have no majority and others have one;
/// and how many those some are.
fn pair_to_lose(nodes: &[Node]) -> Option<([usize; 2], usize)> {
    let pairs = (1..nodes.len()).flat_map(|left| (1..left).map(move |right| [left, right]));
    let mut pairs = pairs.map(|pair| {
        let ids = pair.map(|at| nodes[at].id());
        (pair, lost_without(&nodes[0].placement(), ids))
    });
    pairs.find(|(_, lost)| (1..SHARDS as usize).contains(lost))
}

/// How many shards have no majority without two nodes.
fn lost_without(placement: &Placement, pair: [NodeId; 2]) -> usize {
    let shards = placement.shards().map(|(shard, _)| placement.replicas(shard));
    let on_pair =
        |places: &[ReplicaPlace]| places.iter().filter(|place| pair.contains(&place.node)).count();
    shards.filter(|places| on_pair(places) > 1).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_without_a_majority_are_named_by_the_error_or_by_the_coverage() {
    let mut cluster = Cluster::start(4).await;
    let table = fill(&cluster.nodes[0]).await;
    wait_until("losing two nodes would stop some shards and not all", async || {
        let placement = cluster.nodes[0].placement();
        let is_made = |places: &[ReplicaPlace]| {
            places.len() == 3 && places.iter().all(|place| place.role == Role::Voter)
        };
        placement.shards().all(|(shard, _)| is_made(placement.replicas(shard)))
            && pair_to_lose(&cluster.nodes).is_some()
    })
    .await;
    let (pair, _) = pair_to_lose(&cluster.nodes).expect("a pair");
    let ids = pair.map(|at| cluster.nodes[at].id());
    let asked = cluster.nodes[0].clone();
    assert_whole(&reduce(&asked, &table, &sum(), &Scope::default()).await.expect("reduces"));
    for at in pair {
        // The greater comes first.
        cluster.nodes.remove(at).shutdown().await;
    }

    let short = Scope { within: Duration::from_secs(2), ..Scope::default() };
    let refused = reduce(&asked, &table, &Aggregate::Count, &short).await;
    assert!(matches!(refused, Err(RequestError::ShardUnavailable { .. })), "{refused:?}");
    // Long enough for the others to have leaders again.
    let partial = Scope { gaps: Gaps::Allow, within: Duration::from_secs(8), ..Scope::default() };
    let answer = reduce(&asked, &table, &Aggregate::Count, &partial).await.expect("a part");
    let coverage = answer.coverage;
    // By the placement that holds now: until the nodes were lost, replicas may have moved.
    let lost = lost_without(&asked.placement(), ids);
    assert_eq!(coverage.missing.len(), lost, "{coverage:?}");
    assert_eq!(coverage.shards_answered(), SHARDS as usize - lost);
    let rows: u64 = answer.presented.parse().expect("a number");
    assert_eq!(rows, coverage.read.rows);
    assert!(rows > 0 && rows < u64::from(ROWS), "{rows} rows");
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reduction_that_nobody_waits_for_stops_on_every_node() {
    let cluster = Cluster::start_with(3, with_slow).await;
    let table = fill(&cluster.nodes[0]).await;
    cluster.settled(3, 0).await;
    let slow = Slow { rows_per_second: 10 };
    let scope = Scope::default();
    let meter = Arc::default();
    let running = cluster.nodes[0].reduce_with(&table, &slow, &scope, &meter);
    let all_read = async || cluster.nodes.iter().all(|node| node.reduce_metrics().running > 0);
    tokio::select! {
        end = running => panic!("it cannot have ended: {end:?}"),
        () = wait_until("every node reads", all_read) => {}
    }
    let none_reads = async || cluster.nodes.iter().all(|node| node.reduce_metrics().running == 0);
    wait_until("no node reads any more", none_reads).await;
    for node in &cluster.nodes {
        let metrics = node.reduce_metrics();
        assert_eq!(metrics.finished, 0, "{metrics:?}");
        assert!(metrics.broken_off > 0, "{metrics:?}");
    }
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_table_is_an_error_and_not_an_empty_one() {
    let cluster = Cluster::start(2).await;
    let table = fill(&cluster.nodes[0]).await;
    cluster.nodes[0].drop_table("t").await.expect("drops");
    for node in &cluster.nodes {
        let answer = reduce(node, &table, &Aggregate::Count, &Scope::default()).await;
        assert_eq!(answer.map(drop), Err(RequestError::TableDropped { id: table.id }));
    }
    cluster.shut_down().await;
}

fn with_slow(config: &mut NodeConfig) {
    config.reduce.reductions = Reductions::default().with::<Slow>();
    config.reduce.threads = Some(SHARDS as usize);
}

/// Counts rows, slowly.
#[derive(Debug)]
struct Slow {
    rows_per_second: u32,
}

impl Reduce for Slow {
    const ID: ReductionId = ReductionId::new(1_000);
    const NAME: &'static str = "slow";
    type Partial = u64;

    fn encode(&self) -> Vec<u8> {
        self.rows_per_second.to_be_bytes().to_vec()
    }

    fn decode(request: Bytes) -> Result<Self, DecodeError> {
        let bytes = request.first_chunk().ok_or(DecodeError::Truncated { at: 0, needed: 4 })?;
        Ok(Self { rows_per_second: u32::from_be_bytes(*bytes) })
    }

    fn partial(&self, rows: &mut Rows<'_>) -> Result<u64, ReduceError> {
        let mut count = 0;
        rows.visit(|_| {
            count += 1;
            // A disk that is slow.
            std::thread::sleep(Duration::from_secs(1) / self.rows_per_second);
            Ok::<(), Misfit>(())
        })?;
        Ok(count)
    }

    fn combine(&self, left: u64, right: u64) -> Result<u64, ReduceError> {
        Ok(left + right)
    }

    fn encode_partial(&self, partial: &u64) -> Vec<u8> {
        partial.to_be_bytes().to_vec()
    }

    fn decode_partial(&self, partial: Bytes) -> Result<u64, ReduceError> {
        let bytes = partial.first_chunk().ok_or(DecodeError::Truncated { at: 0, needed: 8 })?;
        Ok(u64::from_be_bytes(*bytes))
    }
}
