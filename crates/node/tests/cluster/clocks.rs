//! Nodes whose clocks are apart, and rows that expire.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use breccia_monoid::Monoid;
use breccia_node::{Consistency, Node, NodeConfig};
use breccia_store::{
    Bounds, Engine, IfMissing, RetentionRules, RocksEngine, RocksOptions, key as raw, row,
};
use breccia_types::kv::{Expiry, KvWrite, Row, Scan};
use breccia_types::strings::{ExpireCondition, ExpiryChange, SetCondition, StringWrite};
use breccia_types::time::{Clock, ManualClock};
use breccia_types::{ShardId, Table, TableId, TableKind, TableOptions, Timestamp};
use bytes::Bytes;

use crate::support::{Cluster, SHARDS, config, key, open_again, wait_until};

/// How far the clocks of the nodes are ahead of that of the test, in seconds.
const AHEAD: [i64; 3] = [0, 45, -40];
const SHORT: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(24 * 3_600);
const ROUNDS: u32 = 3;
const ROWS: u32 = 24;

/// The test's clock, as a node that is ahead of it has it.
struct Apart {
    clock: Arc<ManualClock>,
    ahead: i64,
}

impl Clock for Apart {
    fn wall(&self) -> Timestamp {
        let micros = self.clock.wall().as_micros() + self.ahead * 1_000_000;
        Timestamp::from_micros(micros)
    }
}

struct Bed {
    cluster: Cluster,
    clock: Arc<ManualClock>,
    plain: Table,
    counts: Table,
}

impl Bed {
    async fn start() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(1_800_000_000_000_000)));
        let ahead = std::sync::Mutex::new(AHEAD.iter());
        let cluster = Cluster::start_with(AHEAD.len(), |config| {
            let ahead = *ahead.lock().expect("a lock").next().expect("as many as nodes");
            config.clock = Box::new(Apart { clock: Arc::clone(&clock), ahead });
        })
        .await;
        cluster.settled(3, 0).await;
        let first = cluster.nodes.first().expect("a node");
        let plain = first.create_table("plain", TableOptions::default()).await.expect("creates");
        let kind = TableKind::Monoid(Monoid::Count);
        let options = TableOptions { kind, ttl: Some(SHORT), ..TableOptions::default() };
        let counts = first.create_table("counts", options).await.expect("creates");
        let (plain, counts) = (Table::clone(&plain), Table::clone(&counts));
        Self { cluster, clock, plain, counts }
    }

    fn config(&self, at: usize, join: &[&Node]) -> NodeConfig {
        let directory = self.cluster.directories.get(at).expect("a directory").path();
        let clock = Box::new(Apart { clock: Arc::clone(&self.clock), ahead: AHEAD[at] });
        NodeConfig { clock, ..config(directory, join) }
    }

    /// Ends a node, so that others lead, and starts it again.
    async fn restart(&mut self, at: usize) {
        let node = self.cluster.nodes.remove(at);
        node.shutdown().await;
        drop(node);
        let known = self.cluster.nodes.first().expect("a node").clone();
        let back = open_again(|| self.config(at, &[&known])).await;
        self.cluster.nodes.insert(at, back);
        self.cluster.settled(3, 0).await;
    }

    /// Writes of all kinds whose effect depends on what has expired.
    async fn write_round(&self, round: u32) {
        let node = &self.cluster.nodes[round as usize % AHEAD.len()];
        let expiring = |write: KvWrite, after| write.expiring(Expiry::After(after));
        for row in 0..ROWS {
            let named = |kind: &str| Bytes::from(format!("{kind}-{row}"));
            let said = Bytes::from(format!("round {round}"));
            let one = Bytes::from(Monoid::Count.parse_operand(b"1").expect("an operand"));
            let (plain, counts) = (&self.plain, &self.counts);
            // What is there decides what becomes of the next one.
            let taken = plain.compare_and_set(named("taken"), None, Some(said.clone()));
            let writes = [
                (plain, expiring(plain.put(key(row), said.clone()), SHORT)),
                (plain, expiring(plain.put(named("long"), said.clone()), LONG)),
                (plain, plain.put(named("forever"), said.clone())),
                (plain, expiring(taken, if round + 1 == ROUNDS { LONG } else { SHORT })),
            ];
            for (table, write) in writes {
                node.write(table, write, None).await.expect("writes");
            }
            let merge = counts.merge(named("count"), one);
            node.write(counts, merge, None).await.expect("writes");
            for reply in node.write_strings(self.strings(row, &said)).await {
                reply.expect("writes");
            }
        }
    }

    fn strings(&self, row: u32, said: &Bytes) -> Vec<StringWrite> {
        let named = |kind: &str| Bytes::from(format!("{kind}-{row}"));
        let soon = self.clock.wall().saturating_add(SHORT);
        vec![
            StringWrite::Set {
                key: named("set"),
                value: said.clone(),
                condition: SetCondition::IfAbsent,
                expiry: ExpiryChange::At(soon),
                return_previous: false,
            },
            StringWrite::Increment { key: named("number"), by: 1 },
            StringWrite::Expire {
                key: named("number"),
                at: soon,
                condition: ExpireCondition { if_none: true, ..ExpireCondition::default() },
            },
            StringWrite::Append { key: named("text"), value: said.clone() },
            StringWrite::Expire {
                key: named("text"),
                at: soon,
                condition: ExpireCondition { if_none: true, ..ExpireCondition::default() },
            },
        ]
    }

    /// What every node answers when whatever expires soon has expired.
    async fn assert_expired(&self) {
        let mut answers = Vec::new();
        for node in &self.cluster.nodes {
            let stale = Consistency::Stale { max: Duration::from_secs(5) };
            for reading in [node.clone(), node.reading(stale)] {
                for row in 0..ROWS {
                    let found = reading.get(&self.plain, &key(row)).await.expect("reads");
                    assert_eq!(found, None, "it has expired, on {} too", node.id());
                }
                assert_eq!(reading.count(&self.counts).await, Ok(0), "on {}", node.id());
                let scan = Scan { limit: 1_000, ..Scan::default() };
                let page = reading.scan(&self.plain, scan).await.expect("scans");
                answers.push((node.id(), page.rows));
            }
        }
        let (_, first) = answers.first().expect("nodes");
        let is = |row: &Row, kind: &str| row.key.starts_with(kind.as_bytes());
        for kind in ["forever", "long"] {
            assert_eq!(first.iter().filter(|row| is(row, kind)).count(), ROWS as usize);
        }
        // Who led when they were swapped decided which of these live.
        assert!(first.iter().all(|row| ["forever", "long", "taken"].iter().any(|k| is(row, k))));
        for (node, rows) in &answers {
            assert_eq!(rows, first, "on {node}");
        }
    }
}

/// What lies in a shard on a disk, without the rows that had expired at an instant and the
/// note of how far its log was applied.
fn content(engine: &dyn Engine, shard: ShardId, at: Timestamp) -> BTreeMap<Vec<u8>, Bytes> {
    let shard = engine.open_shard(shard).expect("opens");
    let mut content = BTreeMap::new();
    let bounds = Bounds { lower: Vec::new(), upper: vec![0xff; 8] };
    let mut cursor = shard.cursor(bounds);
    cursor.seek_to_first();
    while let Some((raw_key, stored)) = cursor.item() {
        let stored = Bytes::copy_from_slice(stored);
        let is_own = raw::table_of(raw_key) == Some(TableId::new(0));
        let is_live = || row::decode_head(&stored).is_ok_and(|head| !head.is_expired(at));
        if is_own && raw_key != raw::own(b"position") || !is_own && is_live() {
            content.insert(raw_key.to_vec(), stored);
        }
        cursor.next();
    }
    cursor.status().expect("reads");
    content
}

fn open(data: &Path) -> RocksEngine {
    let options =
        RocksOptions { memory_bytes: 64 << 20, background_jobs: 2, new: IfMissing::Refuse };
    RocksEngine::open(&data.join("db"), &options, Arc::new(RetentionRules::default()))
        .expect("opens")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_whose_clocks_are_apart_hold_the_same_bytes_when_rows_have_expired() {
    let mut bed = Bed::start().await;
    for round in 0..ROUNDS {
        bed.write_round(round).await;
        // For some clocks a part of it has expired, and not for others.
        bed.clock.advance(Duration::from_secs(50));
        bed.restart(round as usize % AHEAD.len()).await;
    }
    let clocks = |bed: &Bed| bed.cluster.nodes.iter().map(|node| node.clock().now()).max();
    let before = clocks(&bed).expect("nodes");
    bed.clock.advance(Duration::from_secs(600));
    let after = clocks(&bed).expect("nodes");
    bed.cluster.settled(3, 0).await;
    wait_until("every replica shows that it has everything", async || {
        let stale = Consistency::Stale { max: Duration::from_secs(5) };
        for node in &bed.cluster.nodes {
            if node.reading(stale).count(&bed.plain).await.is_err() {
                return false;
            }
        }
        true
    })
    .await;
    bed.assert_expired().await;
    let directories = std::mem::take(&mut bed.cluster.directories);
    bed.cluster.shut_down().await;
    let engines: Vec<_> = directories.iter().map(|directory| open(directory.path())).collect();
    for (at, shard) in [before, after].into_iter().flat_map(|at| {
        let shards = (0..SHARDS).map(ShardId::new);
        shards.map(move |shard| (at, shard))
    }) {
        let mut contents = engines.iter().map(|engine| content(engine, shard, at));
        let first = contents.next().expect("a node");
        assert!(!first.is_empty(), "{shard} holds something");
        for other in contents {
            for (key, value) in first.iter().chain(&other) {
                let shown = String::from_utf8_lossy(key);
                assert_eq!(first.get(key), Some(value), "{shard} differs at {shown:?}");
                assert_eq!(other.get(key), Some(value), "{shard} differs at {shown:?}");
            }
        }
    }
}
