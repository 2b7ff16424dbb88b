//! A whole node, embedded: the request vocabulary against a data directory.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::path::Path;
use std::time::Duration;

use breccia_node::{Consistency, FsyncPolicy, Node, NodeConfig, OpenError};
use breccia_store::StoreError;
use breccia_types::kv::{Cursor, Direction, History, KvReply, KvWrite, Scan};
use breccia_types::limits::{KEY_BYTES_MAX, PAGE_BYTES_MAX};
use breccia_types::strings::{ExpiryChange, SetCondition, StringReply, StringWrite};
use breccia_types::{Partition, RequestError, RequestId, TableKind, TableOptions, Timestamp};
use bytes::Bytes;

fn config(path: &Path) -> NodeConfig {
    NodeConfig { memory_bytes: 64 << 20, ..NodeConfig::new(path) }
}

async fn memory() -> Node {
    Node::open(NodeConfig::in_memory()).await.expect("opens")
}

fn key(name: impl AsRef<str>) -> Bytes {
    Bytes::copy_from_slice(name.as_ref().as_bytes())
}

fn set(name: &str, value: &str) -> StringWrite {
    StringWrite::Set {
        key: key(name),
        value: key(value),
        condition: SetCondition::Always,
        expiry: ExpiryChange::Clear,
        return_previous: false,
    }
}

async fn versioned(node: &Node, name: &str) -> std::sync::Arc<breccia_types::Table> {
    let options = TableOptions { kind: TableKind::Versioned, ..TableOptions::default() };
    node.create_table(name, options).await.expect("creates")
}

#[tokio::test]
async fn tables_rows_and_identity_survive_a_restart() {
    let data = tempfile::tempdir().expect("a directory");
    let node = Node::open(config(data.path())).await.expect("opens");
    let id = node.id();
    let table = node.create_table("pages", TableOptions::default()).await.expect("creates");
    for n in 0..100 {
        let put = table.put(key(format!("k{n}")), key(format!("v{n}")));
        node.write(&table, put, None).await.expect("writes");
    }
    node.shutdown().await;
    let late = node.write(&table, table.put(key("late"), key("v")), None).await;
    assert_eq!(late, Err(RequestError::ShuttingDown));
    drop(node);

    let node = Node::open(config(data.path())).await.expect("opens again");
    assert_eq!(node.id(), id);
    let table = node.table("pages").await.expect("the table");
    assert_eq!(node.count(&table).await, Ok(100));
    assert_eq!(node.get(&table, b"k42").await.expect("reads").expect("a row").value, "v42");
    assert_eq!(node.get(&table, b"late").await, Ok(None));
}

#[tokio::test]
async fn a_directory_in_use_or_with_other_shards_is_refused() {
    let data = tempfile::tempdir().expect("a directory");
    let node = Node::open(config(data.path())).await.expect("opens");
    let error = Node::open(config(data.path())).await.err().expect("in use");
    assert!(matches!(error, OpenError::Store(StoreError::InUse { .. })), "{error}");
    node.shutdown().await;
    drop(node);
    let other = NodeConfig { shards: Some(3), ..config(data.path()) };
    let error = Node::open(other).await.err().expect("other shards").to_string();
    assert!(error.contains("8 shards") && error.contains("asks for 3"), "{error}");
}

#[tokio::test]
async fn scans_merge_all_shards_in_key_order_and_resume_where_they_ended() {
    let node = memory().await;
    let table = node.create_table("t", TableOptions::default()).await.expect("creates");
    let writes = (0..250).map(|n| table.put(key(format!("{n:03}")), key("v"))).collect();
    assert!(node.write_many(&table, writes).await.iter().all(Result::is_ok));
    for direction in [Direction::Forward, Direction::Reverse] {
        let mut seen = Vec::new();
        let mut cursor = None;
        loop {
            let scan = Scan { direction, limit: 7, cursor, ..Scan::default() };
            let page = node.scan(&table, scan).await.expect("scans");
            assert!(page.rows.len() <= 7);
            seen.extend(page.rows.into_iter().map(|row| row.key));
            let Some(next) = page.cursor else { break };
            cursor = Some(Cursor::decode(&next.encode()).expect("a cursor"));
        }
        if direction == Direction::Reverse {
            seen.reverse();
        }
        assert_eq!(seen, (0..250).map(|n| key(format!("{n:03}"))).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_retried_request_is_applied_once_and_gets_the_first_reply_even_after_a_restart() {
    let data = tempfile::tempdir().expect("a directory");
    let id = Some(RequestId::new([7; 16]));
    let swap = async |node: &Node, from: Option<&str>, to: &str| {
        let table = node.table("t").await.expect("the table");
        let swap = table.compare_and_set(key("k"), from.map(key), Some(key(to)));
        (table, swap)
    };
    let node = Node::open(config(data.path())).await.expect("opens");
    node.create_table("t", TableOptions::default()).await.expect("creates");
    let (table, first) = swap(&node, None, "1").await;
    let reply = node.write(&table, first.clone(), id).await;
    assert_eq!(reply, Ok(KvReply::Swapped { swapped: true, actual: None }));
    assert_eq!(node.write(&table, first.clone(), id).await, reply);
    node.shutdown().await;
    drop(node);

    let node = Node::open(config(data.path())).await.expect("opens again");
    let (table, second) = swap(&node, Some("1"), "2").await;
    node.write(&table, second, None).await.expect("writes");
    assert_eq!(node.write(&table, first.clone(), id).await, reply, "the first reply");
    let without_id = node.write(&table, first, None).await;
    let found = Some(key("2"));
    assert_eq!(without_id, Ok(KvReply::Swapped { swapped: false, actual: found }));
}

#[tokio::test]
async fn a_batch_is_atomic_and_its_guards_hold_for_all_of_it() {
    let node = memory().await;
    let options =
        TableOptions { partition: "before:/".parse().expect("a rule"), ..TableOptions::default() };
    let table = node.create_table("t", options).await.expect("creates");
    let guarded = KvWrite::Batch(vec![
        table.put(key("a/1"), key("v")),
        table.compare_and_set(key("a/2"), Some(key("there")), Some(key("v"))),
    ]);
    let refused = node.write(&table, guarded, None).await;
    assert_eq!(refused, Err(RequestError::GuardFailed { index: 1 }));
    assert_eq!(node.count(&table).await, Ok(0));
    let across =
        KvWrite::Batch(vec![table.put(key("a/1"), key("v")), table.put(key("b/1"), key("v"))]);
    assert_eq!(node.write(&table, across, None).await, Err(RequestError::CrossSlot));
    let both = KvWrite::Batch(vec![
        table.put(key("a/1"), key("v")),
        table.compare_and_set(key("a/2"), None, Some(key("v"))),
    ]);
    assert!(matches!(node.write(&table, both, None).await, Ok(KvReply::Batch(_))));
    assert_eq!(node.count(&table).await, Ok(2));
}

#[tokio::test]
async fn server_stamped_versions_never_collide() {
    let node = memory().await;
    let table = versioned(&node, "prices").await;
    let writes = (0..500).map(|n| table.put(key("k"), key(n.to_string()))).collect();
    let replies = node.write_many(&table, writes).await;
    assert!(replies.iter().all(Result::is_ok));
    let history = History { key: key("k"), from: Timestamp::MIN, to: Timestamp::MAX, limit: 1_000 };
    let versions = node.history(&table, history).await.expect("reads");
    assert_eq!(versions.len(), 500);
    assert!(versions.windows(2).all(|pair| pair[0].version > pair[1].version));
    assert_eq!(versions[0].value, Some(key("499")));
}

#[tokio::test]
async fn in_a_table_whose_versions_expire_those_that_say_absent_expire_too() {
    let node = memory().await;
    let options = TableOptions {
        kind: TableKind::Versioned,
        ttl: Some(Duration::from_secs(60)),
        ..TableOptions::default()
    };
    let table = node.create_table("t", options).await.expect("creates");
    let now = node.clock().now();
    let long_ago = now.saturating_sub(Duration::from_secs(3_600));
    let just_now = now.saturating_sub(Duration::from_secs(1));
    for write in [
        table.put(key("k"), key("gone on arrival")).at_version(long_ago),
        table.delete(key("k")).at_version(long_ago.next()),
        table.put(key("k"), key("fresh")).at_version(just_now),
    ] {
        node.write(&table, write, None).await.expect("writes");
    }
    let history = History { key: key("k"), from: Timestamp::MIN, to: Timestamp::MAX, limit: 10 };
    let versions = node.history(&table, history).await.expect("reads");
    assert_eq!(versions.len(), 1);
    assert_eq!(versions[0].value, Some(key("fresh")));
}

#[tokio::test]
async fn what_a_kind_of_table_lacks_is_refused_by_name() {
    let node = memory().await;
    let plain = node.create_table("plain", TableOptions::default()).await.expect("creates");
    let versioned = versioned(&node, "versioned").await;
    let kind: TableKind = "monoid:count".parse().expect("a kind");
    let options = TableOptions { kind, ..TableOptions::default() };
    let counts = node.create_table("counts", options).await.expect("creates");
    let is_wrong = |result: Result<KvReply, RequestError>| {
        assert!(matches!(result, Err(RequestError::WrongKind { .. })), "{result:?}");
    };
    is_wrong(node.write(&plain, plain.merge(key("k"), key("1")), None).await);
    is_wrong(
        node.write(&plain, plain.put(key("k"), key("v")).at_version(Timestamp::MIN), None).await,
    );
    let soon = breccia_types::kv::Expiry::After(Duration::from_secs(1));
    is_wrong(node.write(&versioned, versioned.put(key("k"), key("v")).expiring(soon), None).await);
    is_wrong(node.write(&counts, counts.compare_and_set(key("k"), None, None), None).await);
    let garbage = node.write(&counts, counts.merge(key("k"), key("garbage")), None).await;
    assert!(matches!(garbage, Err(RequestError::InvalidOperand { .. })), "{garbage:?}");
    assert!(node.get_as_of(&plain, b"k", Timestamp::MIN).await.is_err());
    let range = KvWrite::DeleteRange { table: versioned.to_ref(), from: Bytes::new(), to: None };
    is_wrong(node.write(&versioned, range, None).await);
}

#[tokio::test]
async fn a_dropped_table_is_gone_and_its_successor_starts_empty() {
    let data = tempfile::tempdir().expect("a directory");
    let node = Node::open(config(data.path())).await.expect("opens");
    let old = node.create_table("t", TableOptions::default()).await.expect("creates");
    node.write(&old, old.put(key("k"), key("v")), None).await.expect("writes");
    node.drop_table("t").await.expect("drops");
    assert!(matches!(node.table("t").await, Err(RequestError::UnknownTable { .. })));
    let new = node.create_table("t", TableOptions::default()).await.expect("creates");
    assert_ne!(new.id, old.id);
    assert_eq!(node.get(&new, b"k").await, Ok(None));
    let late = node.write(&old, old.put(key("k"), key("v")), None).await;
    let dropped = RequestError::TableDropped { id: old.id };
    assert_eq!(late, Err(dropped.clone()));
    assert_eq!(node.get(&old, b"k").await, Err(dropped.clone()));
    assert_eq!(node.multi_get(&old, &[key("k"), key("l")]).await, Err(dropped.clone()));
    assert_eq!(node.scan(&old, Scan::default()).await, Err(dropped.clone()));
    assert_eq!(node.count(&old).await, Err(dropped.clone()));
    let stale = node.reading(Consistency::Stale { max: Duration::from_secs(10) });
    assert_eq!(stale.get(&old, b"k").await, Err(dropped.clone()));
    let protected = node.drop_table("redis").await;
    assert!(matches!(protected, Err(RequestError::TableProtected { .. })));
    node.shutdown().await;
    drop((node, stale));
    let node = Node::open(config(data.path())).await.expect("opens again");
    assert_eq!(node.get(&old, b"k").await, Err(dropped));
}

#[tokio::test]
async fn strings_are_applied_in_the_order_in_which_they_were_queued() {
    let node = memory().await;
    let first = node.write_strings(vec![
        set("a", "1"),
        StringWrite::Increment { key: key("a"), by: 1 },
        StringWrite::Append { key: key("b"), value: key("x") },
    ]);
    let second = node.write_strings(vec![StringWrite::Increment { key: key("a"), by: 40 }]);
    // Awaited in the other order on purpose: queueing decides.
    assert_eq!(second.await, [Ok(StringReply::Integer(42))]);
    assert_eq!(
        first.await,
        [Ok(StringReply::Ok), Ok(StringReply::Integer(2)), Ok(StringReply::Integer(1))]
    );
    let flushed = node.write_strings(vec![StringWrite::Flush, set("c", "1")]).await;
    assert_eq!(flushed, [Ok(StringReply::Ok), Ok(StringReply::Ok)]);
    assert_eq!(node.count(node.redis_table()).await, Ok(1));
    let row = node.get(node.redis_table(), b"c").await.expect("reads");
    assert_eq!(row.expect("a row").value, "1");
}

#[tokio::test]
async fn every_key_comes_up_as_a_random_one() {
    let node = memory().await;
    assert_eq!(node.random_key(node.redis_table()).await, Ok(None));
    let names: Vec<String> = (0..10).map(|n| format!("key:{n}")).collect();
    let _ = node.write_strings(names.iter().map(|name| set(name, "v")).collect()).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..2_000 {
        seen.extend(node.random_key(node.redis_table()).await.expect("reads"));
    }
    assert_eq!(seen.len(), names.len());
}

#[tokio::test]
async fn a_node_without_room_takes_no_writes_but_deletes_and_says_why() {
    let data = tempfile::tempdir().expect("a directory");
    let node = Node::open(config(data.path())).await.expect("opens");
    let _ = node.write_strings(vec![set("k", "v")]).await;
    node.shutdown().await;
    drop(node);
    let full = NodeConfig { disk_reserve_bytes: u64::MAX, ..config(data.path()) };
    let node = Node::open(full).await.expect("opens");
    let replies = node.write_strings(vec![set("k", "w")]).await;
    assert!(matches!(&replies[0], Err(RequestError::ReadOnly { .. })), "{replies:?}");
    assert!(!node.is_ready());
    assert!(node.get(node.redis_table(), b"k").await.expect("reads").is_some());
    let delete = StringWrite::Delete { keys: vec![key("k")] };
    assert_eq!(node.write_strings(vec![delete]).await, [Ok(StringReply::Integer(1))]);
    assert!(node.doctor().await.expect("findings")[0].message.contains("reserve"));
}

#[tokio::test]
async fn a_damaged_file_puts_its_shard_out_of_service_and_no_other() {
    let data = tempfile::tempdir().expect("a directory");
    let node = Node::open(config(data.path())).await.expect("opens");
    let names: Vec<String> = (0..64).map(|n| format!("key:{n}")).collect();
    let _ = node.write_strings(names.iter().map(|name| set(name, "v")).collect()).await;
    node.shutdown().await;
    drop(node);
    damage_file_of(data.path(), "s2.g1");

    let node = Node::open(config(data.path())).await.expect("opens in spite of it");
    let mut served = 0;
    for name in &names {
        match node.get(node.redis_table(), name.as_bytes()).await {
            Ok(row) => served += usize::from(row.is_some()),
            Err(RequestError::ShardUnavailable { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let quarantined = node.status().shards.iter().filter(|s| s.quarantined.is_some()).count();
    assert_eq!(quarantined, 1, "{:?}", node.doctor().await.expect("findings"));
    assert!(served > names.len() / 2, "{served} served");
    assert!(node.count(node.redis_table()).await.is_err(), "never silently incomplete");
    assert!(!node.is_ready());
    let findings = node.doctor().await.expect("findings");
    assert!(findings.iter().any(|finding| finding.subject == "s2"), "{findings:?}");
    let replies = node.write_strings(names.iter().map(|name| set(name, "w")).collect()).await;
    let refused = replies.iter().filter(|reply| reply.is_err()).count();
    assert_eq!(served + refused, names.len(), "what is read is written, too: {replies:?}");
    let shutting_down = tokio::time::timeout(Duration::from_secs(30), node.shutdown()).await;
    shutting_down.expect("a damaged shard does not hold up the end");
    drop(node);

    let node = Node::open(config(data.path())).await.expect("opens once more");
    let kept = futures::future::join_all(names.iter().map(|name| {
        let node = &node;
        async move { node.get(node.redis_table(), name.as_bytes()).await.ok().flatten() }
    }));
    let kept = kept.await.into_iter().flatten().filter(|row| row.value == "w").count();
    assert_eq!(kept, served);
    node.shutdown().await;
}

#[tokio::test]
async fn a_shard_that_cannot_be_told_of_a_drop_is_named_to_who_makes_the_table_again() {
    let data = tempfile::tempdir().expect("a directory");
    let node = Node::open(config(data.path())).await.expect("opens");
    let names: Vec<String> = (0..64).map(|n| format!("key:{n}")).collect();
    let _ = node.write_strings(names.iter().map(|name| set(name, "v")).collect()).await;
    node.create_table("t", TableOptions::default()).await.expect("creates");
    node.shutdown().await;
    drop(node);
    damage_file_of(data.path(), "s2.g1");

    let node = Node::open(config(data.path())).await.expect("opens in spite of it");
    assert!(node.count(node.redis_table()).await.is_err(), "the damage is found");
    let unfinished = node.drop_table("t").await;
    assert!(matches!(unfinished, Err(RequestError::ShardUnavailable { .. })), "{unfinished:?}");
    assert!(matches!(node.table("t").await, Err(RequestError::UnknownTable { .. })));
    let refused = node.create_table("t", TableOptions::default()).await.expect_err("not yet");
    let text = refused.to_string();
    assert!(matches!(refused, RequestError::ShardUnavailable { .. }), "{text}");
    assert!(text.contains("called \"t\" before is dropped; try again when"), "{text}");
    node.create_table("u", TableOptions::default()).await.expect("others are made");
    node.shutdown().await;
}

/// Damages the first third of a file that holds a shard's generation, named as its column family.
fn damage_file_of(data: &Path, family: &str) {
    let files = std::fs::read_dir(data.join("db")).expect("the database");
    let mut files = files.map(|entry| entry.expect("an entry").path()).filter_map(|path| {
        let is_data = path.extension().is_some_and(|extension| extension == "sst");
        let bytes = is_data.then(|| std::fs::read(&path).expect("reads"))?;
        let is_its = bytes.windows(family.len()).any(|window| window == family.as_bytes());
        is_its.then_some((path, bytes))
    });
    let (file, mut bytes) = files.next().expect("a file of the shard");
    let third = bytes.len() / 3;
    bytes[..third].iter_mut().for_each(|byte| *byte ^= 0x5a);
    std::fs::write(file, bytes).expect("writes");
}

#[tokio::test]
async fn a_node_that_is_dropped_ends_its_tasks_and_lets_go_of_its_directory() {
    let data = tempfile::tempdir().expect("a directory");
    let node = Node::open(config(data.path())).await.expect("opens");
    let replies = node.write_strings(vec![set("k", "v")]).await;
    assert!(replies[0].is_ok(), "{replies:?}");
    drop(node);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    let node = loop {
        match Node::open(config(data.path())).await {
            Ok(node) => break node,
            Err(OpenError::Store(StoreError::InUse { .. })) => {
                assert!(std::time::Instant::now() < deadline, "the directory stays in use");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(error) => panic!("{error}"),
        }
    };
    let row = node.get(node.redis_table(), b"k").await.expect("reads");
    assert_eq!(row.expect("what was acknowledged is there").value, "v");
    node.shutdown().await;
}

#[tokio::test]
async fn a_node_that_acknowledges_early_still_syncs_in_time() {
    let data = tempfile::tempdir().expect("a directory");
    let fsync = FsyncPolicy::Interval(Duration::from_millis(5));
    let node = Node::open(NodeConfig { fsync, ..config(data.path()) }).await.expect("opens");
    let _ = node.write_strings(vec![set("k", "v")]).await;
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while node.metrics().fsyncs == 0 {
        assert!(std::time::Instant::now() < deadline, "never synced");
        tokio::task::yield_now().await;
    }
    assert!(
        node.doctor()
            .await
            .expect("findings")
            .iter()
            .any(|finding| finding.message.contains("before fsync"))
    );
}

#[tokio::test]
async fn a_swap_on_a_version_of_a_later_instant_takes_its_place() {
    let node = memory().await;
    let table = versioned(&node, "v").await;
    let later = Timestamp::from_micros(4_102_444_800_000_000);
    let put = table.put(key("k"), key("v1")).at_version(later);
    node.write(&table, put, None).await.expect("writes");
    let swap = |new| table.compare_and_set(key("k"), Some(key("v1")), Some(key(new)));
    let first = node.write(&table, swap("v2"), None).await;
    assert_eq!(first, Ok(KvReply::Swapped { swapped: true, actual: None }));
    assert_eq!(node.get(&table, b"k").await.expect("reads").expect("a row").value, "v2");
    let second = node.write(&table, swap("v3"), None).await;
    assert_eq!(second, Ok(KvReply::Swapped { swapped: false, actual: Some(key("v2")) }));
    let deleted = node.write(&table, table.delete(key("k")), None).await;
    assert_eq!(deleted, Ok(KvReply::Deleted { existed: true }));
    assert_eq!(node.get(&table, b"k").await, Ok(None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_rows_read_together_never_show_half_of_a_batch() {
    const BATCHES: u32 = 300;
    let node = memory().await;
    let options = TableOptions { partition: Partition::HashTag, ..TableOptions::default() };
    let table = node.create_table("t", options).await.expect("creates");
    let keys: Vec<Bytes> = (0..50).map(|n| key(format!("{{t}}{n}"))).collect();
    let writing = {
        let (node, table, keys) = (node.clone(), table.clone(), keys.clone());
        tokio::spawn(async move {
            for n in 0..BATCHES {
                let puts = keys.iter().map(|name| table.put(name.clone(), key(n.to_string())));
                let batch = KvWrite::Batch(puts.collect());
                node.write(&table, batch, None).await.expect("writes");
            }
        })
    };
    while !writing.is_finished() {
        let rows = node.multi_get(&table, &keys).await.expect("reads");
        let values: Vec<_> = rows.into_iter().map(|row| row.map(|row| row.value)).collect();
        assert!(values.windows(2).all(|pair| pair[0] == pair[1]), "{values:?}");
        tokio::task::yield_now().await;
    }
    writing.await.expect("written");
}

#[tokio::test]
async fn a_drop_goes_on_when_its_client_goes_away() {
    let data = tempfile::tempdir().expect("a directory");
    let node = Node::open(config(data.path())).await.expect("opens");
    let table = node.create_table("t", TableOptions::default()).await.expect("creates");
    node.write(&table, table.put(key("k"), key("v")), None).await.expect("writes");
    let given_up = tokio::time::timeout(Duration::ZERO, node.drop_table("t")).await;
    assert!(given_up.is_err(), "the client waited");
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    let dropped = Err(RequestError::TableDropped { id: table.id });
    while node.count(&table).await != dropped {
        assert!(std::time::Instant::now() < deadline, "the rows stay");
        tokio::task::yield_now().await;
    }
    let late = node.write(&table, table.put(key("late"), key("v")), None).await;
    assert_eq!(late, Err(RequestError::TableDropped { id: table.id }));
}

#[tokio::test]
async fn what_would_make_a_table_useless_or_unreadable_is_refused() {
    let node = memory().await;
    let unreadable =
        TableOptions { partition: Partition::FirstBytes(0), ..TableOptions::default() };
    let useless = TableOptions { ttl: Some(Duration::from_nanos(500)), ..TableOptions::default() };
    for options in [unreadable, useless] {
        let refused = node.create_table("t", options).await;
        assert!(matches!(refused, Err(RequestError::InvalidTable(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn commands_that_do_not_fit_the_table_or_one_slot_are_refused() {
    let node = memory().await;
    let plain = node.create_table("plain", TableOptions::default()).await.expect("creates");
    let history = versioned(&node, "history").await;
    for foreign in [
        history.put(key("k"), key("v")),
        KvWrite::Batch(vec![plain.put(key("k"), key("v")), history.delete(key("k"))]),
    ] {
        let refused = node.write(&plain, foreign, None).await;
        assert!(matches!(refused, Err(RequestError::InvalidArgument { .. })), "{refused:?}");
    }
    let pairs = vec![(key("foo"), key("1")), (key("bar"), key("2"))];
    let over_slots = StringWrite::SetMany { pairs, only_if_none_exists: false };
    assert_eq!(node.write_strings(vec![over_slots]).await, [Err(RequestError::CrossSlot)]);
}

/// A request of a few bytes must not fill the memory with its answer, nor a log with what no
/// other node would take.
#[tokio::test]
async fn what_is_too_large_for_one_answer_comes_in_parts_and_for_one_entry_is_refused() {
    const LONG: usize = 1 << 20;
    let node = memory().await;
    let table = node.create_table("t", TableOptions::default()).await.expect("creates");
    node.write(&table, table.put(key("long"), Bytes::from(vec![7; LONG])), None)
        .await
        .expect("writes");
    let keys = vec![key("long"); 100];
    let some = node.multi_get(&table, &keys).await.expect("reads");
    assert!(some.iter().all(|row| row.as_ref().is_some_and(|row| row.value.len() == LONG)));
    let bytes = some.len() * LONG;
    assert!((PAGE_BYTES_MAX..2 * PAGE_BYTES_MAX).contains(&bytes), "{bytes}");

    let endless = (0..1_400_u32).map(|n| {
        let mut key = format!("{{k}}{n}").into_bytes();
        key.resize(KEY_BYTES_MAX, b'x');
        Bytes::from(key)
    });
    let refused = node.write_strings(vec![StringWrite::Delete { keys: endless.collect() }]).await;
    assert!(matches!(refused[0], Err(RequestError::BatchTooLarge { .. })), "{refused:?}");
    let done = node.write_strings(vec![set("{k}", "1")]).await;
    assert_eq!(done, [Ok(StringReply::Ok)]);
}
