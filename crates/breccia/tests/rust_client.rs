//! The Rust client against real processes.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod harness;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use breccia_client::{
    Client, Code, Command, Consistency, Error, Reply, RequestId, Swap, Table, TableOptions,
    Timestamp,
};
use futures::stream::{self, StreamExt, TryStreamExt};
use harness::Node;
use harness::cluster::{Cluster, wait_for};
use tokio::runtime::Runtime;

const FORWARDS: &str = "breccia_router_forwards_total";
const SCANS: &str = "breccia_http_requests_total\
                     {protocol=\"grpc\",method=\"breccia.v1.KeyValue/Scan\",status=\"0\"}";

fn runtime() -> Runtime {
    Runtime::new().expect("a runtime")
}

async fn connect(cluster: &Cluster) -> Client {
    let addresses = cluster.nodes.iter().map(|node| &node.http);
    Client::connect(addresses).await.expect("connects")
}

async fn create(client: &Client, name: &str, kind: &str) -> Table {
    let kind = kind.parse().expect("a kind");
    let options = TableOptions { kind, ..TableOptions::default() };
    client.create_table(name, options).await.expect("creates")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn requests_go_straight_to_the_leaders_of_their_keys() {
    let cluster = Cluster::start();
    cluster.wait_until_each_node_leads();
    let runtime = runtime();
    let forwards = || cluster.nodes.iter().map(|node| node.metric(FORWARDS)).sum::<u64>();

    let mut plain = harness::Connection::open(&cluster.nodes[0].resp);
    let before = forwards();
    for key in 0..20 {
        assert_eq!(plain.ask(&["SET", &format!("k{key}"), "v"]), "+OK");
    }
    assert!(forwards() > before, "a client that asks one node is forwarded");

    let first = &cluster.nodes[0].http;
    runtime.block_on(async {
        let client = Client::connect([first]).await.expect("connects");
        create(&client, "t", "plain").await;
    });
    // Leaders may still move once or twice.
    wait_for("nothing is forwarded", || {
        runtime.block_on(async {
            let client = Client::connect([first]).await.expect("connects");
            let table = client.table("t").await.expect("opens");
            let before = forwards();
            write_and_read_every_slot_range(&table).await;
            forwards() == before
        })
    });
}

async fn write_and_read_every_slot_range(table: &Table) {
    let keys: Vec<String> = (0..60).map(|key| format!("key-{key}")).collect();
    for key in &keys {
        table.put(key, key.clone()).await.expect("puts");
        let row = table.get(key).await.expect("gets").expect("a row");
        assert_eq!(text(&row.value), *key);
        let swap = table.compare_and_set(key, Some(key.clone().into()), Some("new".into()));
        assert_eq!(swap.await.expect("swaps"), Swap::Done);
        table.batch([Command::put(key, key.clone())]).await.expect("applies");
    }
    let rows = table.multi_get(keys.iter().rev()).await.expect("gets");
    let found: Vec<_> = rows.into_iter().flatten().map(|row| text(&row.key)).collect();
    assert!(found.iter().eq(keys.iter().rev()), "{found:?}");
}

/// What a writer was told.
#[derive(Default)]
struct Told {
    acknowledged: Vec<String>,
    /// Merges per key: acknowledged, and of an unknown outcome.
    merged: BTreeMap<String, (u64, u64)>,
    longest: Duration,
}

impl Told {
    fn of<T>(&mut self, started: Instant, result: Result<T, Error>) -> bool {
        self.longest = self.longest.max(started.elapsed());
        match result {
            Ok(_) => true,
            Err(Error::OutcomeUnknown { .. }) => false,
            Err(error) => panic!("neither done nor unknown: {error}"),
        }
    }
}

async fn write(writer: usize, table: Table, sums: Table, written: Arc<AtomicUsize>) -> Told {
    let mut told = Told::default();
    for row in 0..200 {
        let key = format!("{writer}/{row}");
        let started = Instant::now();
        if told.of(started, table.put(&key, key.clone()).await) {
            told.acknowledged.push(key);
        }
        let key = format!("sum-{}", row % 8);
        let started = Instant::now();
        let is_merged = told.of(started, sums.merge(&key, "1").await);
        let (merged, unknown) = told.merged.entry(key).or_default();
        *(if is_merged { merged } else { unknown }) += 1;
        written.fetch_add(1, Ordering::Relaxed);
    }
    told
}

#[test]
fn a_kill_of_a_leader_loses_no_acknowledged_write_and_repeats_none() {
    let mut cluster = Cluster::start();
    cluster.wait_until_each_node_leads();
    let runtime = runtime();
    let client = runtime.block_on(connect(&cluster));
    let table = runtime.block_on(create(&client, "t", "plain"));
    let sums = runtime.block_on(create(&client, "sums", "monoid:sum:i64"));

    let written = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            runtime.spawn(write(writer, table.clone(), sums.clone(), Arc::clone(&written)))
        })
        .collect();
    wait_for("writers are at work", || written.load(Ordering::Relaxed) > 150);
    cluster.nodes.remove(0).end_by("-KILL");
    assert!(written.load(Ordering::Relaxed) < 800, "the writers were done before the kill");

    runtime.block_on(async {
        let mut merged = BTreeMap::<String, (u64, u64)>::new();
        for writer in writers {
            let told = writer.await.expect("no panic");
            assert!(told.longest < Duration::from_secs(15), "a write took {:?}", told.longest);
            let rows = table.multi_get(&told.acknowledged).await.expect("gets");
            for (key, row) in told.acknowledged.iter().zip(rows) {
                assert_eq!(text(&row.expect("an acknowledged row").value), *key);
            }
            for (key, (acknowledged, unknown)) in told.merged {
                let sum = merged.entry(key).or_default();
                *sum = (sum.0 + acknowledged, sum.1 + unknown);
            }
        }
        for (key, (acknowledged, unknown)) in merged {
            let row = sums.get(&key).await.expect("gets").expect("a row");
            let sum: u64 = row.presented.expect("a sum").parse().expect("a number");
            let possible = acknowledged..=acknowledged + unknown;
            assert!(possible.contains(&sum), "{key} is {sum}, not one of {possible:?}");
        }
    });
}

#[test]
fn a_scan_outlives_the_node_that_it_is_read_from() {
    const ROWS: usize = 1_500;
    let mut cluster = Cluster::start();
    let runtime = runtime();
    let client = runtime.block_on(connect(&cluster));
    let keys: Vec<String> = (0..ROWS).map(|row| format!("{row:05}")).collect();
    let (table, mut rows) = runtime.block_on(async {
        let table = create(&client, "t", "plain").await;
        // More than what may be on its way to a client that does not read.
        let puts = keys.iter().map(|key| table.put(key, vec![7; 8 << 10]).into_future());
        let put: Vec<_> =
            stream::iter(puts).buffer_unordered(64).try_collect().await.expect("puts");
        assert_eq!(put.len(), ROWS);
        let mut rows = table.scan().page_rows(50).rows();
        let first = rows.try_next().await.expect("scans").expect("a row");
        assert_eq!(text(&first.key), keys[0]);
        (table, rows)
    });

    let server = cluster.nodes.iter().position(|node| node.metric(SCANS) > 0);
    cluster.nodes.remove(server.expect("a node serves the scan")).end_by("-KILL");

    runtime.block_on(async {
        for key in &keys[1..] {
            let row = rows.try_next().await.expect("scans").expect("a row");
            assert_eq!(text(&row.key), *key);
        }
        assert_eq!(rows.try_next().await.expect("scans"), None);

        let last = table.scan().from("01").to("01400").reverse().limit(3).rows();
        let last: Vec<_> = last.map_ok(|row| text(&row.key)).try_collect().await.expect("scans");
        assert_eq!(last, ["01399", "01398", "01397"]);

        let mut pages = table.scan().prefix("000").limit(60).pages();
        let page = pages.try_next().await.expect("scans").expect("a page");
        let behind = table.scan().prefix("000").after(page.cursor.expect("a cursor")).rows();
        let behind: Vec<_> = behind.try_collect().await.expect("scans");
        assert_eq!(page.rows.len() + behind.len(), 100);
    });
}

#[test]
fn every_operation_answers_in_types_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = Node::start(folder.path());
    runtime().block_on(async {
        // One of the addresses may be wrong.
        let client = Client::connect(["127.0.0.1:1", &node.http]).await.expect("connects");
        plain_rows(&client).await;
        versions(&client).await;
        sums(&client).await;
        tables(&client).await;
    });
}

async fn plain_rows(client: &Client) {
    let plain = create(client, "plain", "plain").await;
    let written = plain.put("a", "1").ttl(Duration::from_secs(60)).await.expect("puts");
    let row = plain.get("a").await.expect("gets").expect("a row");
    assert_eq!(&row.value[..], b"1");
    let lives = row.expires_at.expect("expires").as_micros() - written.as_micros();
    assert_eq!(lives, 60_000_000);
    let stale = Consistency::Stale { max: Duration::from_secs(60) };
    for consistency in [Consistency::Strict, stale] {
        assert!(plain.get("a").consistency(consistency).await.expect("gets").is_some());
    }
    let swap = plain.compare_and_set("a", None, Some("2".into())).await.expect("answers");
    assert_eq!(swap, Swap::Refused { actual: Some("1".into()) });
    let guarded = [Command::put("a", "3"), Command::compare_and_set("a", None, None)];
    let error = plain.batch(guarded).await.expect_err("the guard does not hold");
    assert_eq!(error.code(), Some(Code::GuardFailed), "{error}");
    let replies = plain.batch([Command::put("a", "3"), Command::delete("a")]).await;
    let replies = replies.expect("applies");
    assert!(
        matches!(replies[..], [Reply::Put { .. }, Reply::Deleted { existed: true }]),
        "{replies:?}"
    );
    assert!(!plain.delete("a").await.expect("deletes"));
    assert_eq!(plain.count().await.expect("counts"), 0);
}

async fn versions(client: &Client) {
    let prices = create(client, "prices", "versioned").await;
    for (instant, price) in [(1_000, "79.90"), (2_000, "74.90")] {
        let put = prices.put("shoe", price).version(Timestamp::from_micros(instant));
        assert_eq!(put.await.expect("puts").as_micros(), instant);
    }
    let then = prices.get("shoe").as_of(Timestamp::from_micros(1_999)).await.expect("gets");
    assert_eq!(&then.expect("a row").value[..], b"79.90");
    let page = prices.history("shoe").limit(1).await.expect("answers");
    let newest = page.versions.first().and_then(|version| version.value.as_deref());
    assert_eq!(newest, Some(&b"74.90"[..]));
    let older = prices.history("shoe").to(page.next_to.expect("a next page")).await;
    assert_eq!(older.expect("answers").versions.len(), 1);
}

async fn sums(client: &Client) {
    let sums = create(client, "sums", "monoid:sum:i64").await;
    let id = RequestId::new([7; 16]);
    let first = sums.merge("s", "5").request_id(id).await.expect("merges");
    let again = sums.merge("s", "5").request_id(id).await.expect("answers");
    assert_eq!(first, again, "the first reply");
    let row = sums.get("s").await.expect("gets").expect("a row");
    assert_eq!(row.presented.as_deref(), Some("5"));
    sums.merge_state("s", row.value).await.expect("merges");
    let row = sums.get("s").await.expect("gets").expect("a row");
    assert_eq!(row.presented.as_deref(), Some("10"));
    let error = sums.merge("s", "five").await.expect_err("no number");
    assert_eq!(error.code(), Some(Code::InvalidOperand), "{error}");
}

async fn tables(client: &Client) {
    let again = client.create_table("sums", TableOptions::default()).await;
    assert_eq!(again.expect_err("exists").code(), Some(Code::TableExists));
    client.drop_table("sums").await.expect("drops");
    let names: Vec<_> = client.tables().await.expect("lists").into_iter().map(|t| t.name).collect();
    assert_eq!(names, ["plain", "prices", "redis"]);
    let error = client.table("sums").await.expect_err("dropped");
    assert_eq!(error.code(), Some(Code::UnknownTable), "{error}");
}
