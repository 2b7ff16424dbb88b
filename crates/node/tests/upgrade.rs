//! Data directories of earlier versions, and founding that is cut short.
//!
//! `testdata/directory-v1` was written by the last version without a Raft log: two shards, some
//! rows in files and some in RocksDB's write-ahead log alone, as a kill left them.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::path::Path;

use breccia_node::{Node, NodeConfig, OpenError};
use breccia_store::StoreError;
use breccia_types::kv::{History, KvReply};
use breccia_types::{RequestError, RequestId, Timestamp};
use bytes::Bytes;
use tempfile::TempDir;

const ROWS: u64 = 41;

fn config(path: &Path) -> NodeConfig {
    NodeConfig { memory_bytes: 64 << 20, ..NodeConfig::new(path) }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("makes a directory");
    for entry in std::fs::read_dir(from).expect("lists") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else if entry.file_name() != "LOCK" {
            std::fs::copy(entry.path(), target).expect("copies");
        }
    }
}

fn copied(from: &Path) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    copy(from, directory.path());
    directory
}

fn old_directory() -> TempDir {
    copied(&Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/directory-v1"))
}

/// Everything that the old version acknowledged, the reply to a request id included.
async fn assert_holds_what_was_written(node: &Node) {
    let plain = node.table("plain").await.expect("the table");
    for n in 0..40 {
        let row = node.get(&plain, format!("k{n}").as_bytes()).await.expect("reads");
        assert_eq!(row.expect("a row").value, format!("v{n}"));
    }
    let swap = plain.compare_and_set(Bytes::from("swapped"), None, Some(Bytes::from("1")));
    let again = node.write(&plain, swap, Some(RequestId::new([7; 16]))).await;
    assert_eq!(again, Ok(KvReply::Swapped { swapped: true, actual: None }));
    let versioned = node.table("versioned").await.expect("the table");
    let history =
        History { key: Bytes::from("k"), from: Timestamp::MIN, to: Timestamp::MAX, limit: 9 };
    let versions = node.history(&versioned, history).await.expect("reads");
    let versions: Vec<_> =
        versions.into_iter().map(|v| (v.version.as_micros(), v.value.expect("there"))).collect();
    assert_eq!(versions, [(3, "v3".into()), (2, "v2".into()), (1, "v1".into())]);
    let greeting = node.get(node.redis_table(), b"greeting").await.expect("reads");
    assert_eq!(greeting.expect("a row").value, "hello");
    assert!(matches!(node.table("dropped").await, Err(RequestError::UnknownTable { .. })));
}

#[tokio::test]
async fn a_directory_without_a_raft_log_opens_with_all_it_holds_and_goes_on() {
    let data = old_directory();
    let node = Node::open(config(data.path())).await.expect("opens");
    assert_eq!(node.id().get(), 2_386_728_756_026_484_033);
    assert_eq!(node.status().shards.len(), 2);
    assert_holds_what_was_written(&node).await;
    let plain = node.table("plain").await.expect("the table");
    assert_eq!(node.count(&plain).await, Ok(ROWS));
    node.write(&plain, plain.put("new".into(), "row".into()), None).await.expect("writes");
    // A kill, and then an orderly end.
    let killed = copied(data.path());
    node.shutdown().await;
    drop(node);
    for data in [killed.path(), data.path()] {
        let node = Node::open(config(data)).await.expect("opens again");
        assert_holds_what_was_written(&node).await;
        let plain = node.table("plain").await.expect("the table");
        assert_eq!(node.count(&plain).await, Ok(ROWS + 1));
        node.shutdown().await;
    }
}

#[tokio::test]
async fn once_it_has_a_log_an_old_directory_must_have_it() {
    let data = old_directory();
    let node = Node::open(config(data.path())).await.expect("opens");
    node.shutdown().await;
    drop(node);
    std::fs::remove_dir_all(data.path().join("log")).expect("removes");
    let error = Node::open(config(data.path())).await.err().expect("rows may be lost");
    assert!(matches!(error, OpenError::Store(StoreError::Missing { .. })), "{error}");
}

#[tokio::test]
async fn another_number_of_shards_is_refused_and_changes_nothing() {
    let data = old_directory();
    let other = NodeConfig { shards: Some(3), ..config(data.path()) };
    let error = Node::open(other).await.err().expect("other shards").to_string();
    assert!(error.contains("2 shards") && error.contains("asks for 3"), "{error}");
    let node = Node::open(config(data.path())).await.expect("opens");
    assert_holds_what_was_written(&node).await;
    node.shutdown().await;
}
