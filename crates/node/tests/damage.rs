//! Data directories that are damaged or incomplete: refused, never opened as if all was well.

#![allow(clippy::expect_used, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};

use breccia_node::{Node, NodeConfig, OpenError};
use breccia_store::StoreError;
use breccia_types::TableOptions;
use bytes::Bytes;
use tempfile::TempDir;

const ROWS: u32 = 200;

fn config(path: &Path) -> NodeConfig {
    NodeConfig { memory_bytes: 64 << 20, ..NodeConfig::new(path) }
}

async fn write_rows(node: &Node) {
    let table = node.create_table("t", TableOptions::default()).await.expect("creates");
    for row in 0..ROWS {
        let put = table.put(row.to_be_bytes().to_vec().into(), Bytes::from(vec![b'x'; 1_000]));
        node.write(&table, put, None).await.expect("writes");
    }
}

fn files(data: &Path, extension: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(data.join("db")).expect("lists");
    let all = all.map(|file| file.expect("a file").path());
    all.filter(|file| file.extension().is_some_and(|found| found == extension)).collect()
}

fn flip_byte(file: &Path, at: impl Fn(usize) -> usize) {
    let mut bytes = std::fs::read(file).expect("reads");
    let at = at(bytes.len());
    *bytes.get_mut(at).expect("within the file") ^= 0x55;
    std::fs::write(file, bytes).expect("writes");
}

#[tokio::test]
async fn a_write_ahead_log_damaged_before_its_end_is_refused_by_name() {
    type Place = fn(usize) -> usize;
    let places: [Place; 2] = [|_| 40, |bytes| bytes / 2];
    for place in places {
        let data = tempfile::tempdir().expect("a directory");
        let node = Node::open(config(data.path())).await.expect("opens");
        write_rows(&node).await;
        // The rows are in the log alone.
        let killed = killed(data.path());
        let log = longest(&killed.path().join("log"), "log");
        flip_byte(&log, place);
        let error = Node::open(config(killed.path())).await.err().expect("rows would be lost");
        let name = log.file_name().expect("a name").to_string_lossy();
        let expected = format!("{name} is damaged at byte");
        assert!(error.to_string().contains(&expected), "{error}");
        node.shutdown().await;
    }
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_kill_although_no_row_was_in_a_file() {
    let data = tempfile::tempdir().expect("a directory");
    let node = Node::open(config(data.path())).await.expect("opens");
    write_rows(&node).await;
    let killed = killed(data.path());
    node.shutdown().await;
    let node = Node::open(config(killed.path())).await.expect("opens");
    let table = node.table("t").await.expect("the table");
    assert_eq!(node.count(&table).await, Ok(u64::from(ROWS)));
    node.shutdown().await;
}

#[tokio::test]
async fn a_node_whose_log_is_gone_or_incomplete_is_refused_and_its_files_are_left_alone() {
    let data = tempfile::tempdir().expect("a directory");
    let node = Node::open(config(data.path())).await.expect("opens");
    write_rows(&node).await;
    let killed = killed(data.path());
    node.shutdown().await;
    let (log, aside) = (killed.path().join("log"), killed.path().join("aside"));
    let refusal = || async {
        let error = Node::open(config(killed.path())).await.err().expect("rows would be lost");
        assert!(matches!(error, OpenError::Store(StoreError::Missing { .. })), "{error}");
        error.to_string()
    };

    std::fs::rename(&log, &aside).expect("moves the log away");
    let error = refusal().await;
    assert!(error.contains(&format!("no database in {}", log.display())), "{error}");
    std::fs::create_dir_all(&log).expect("as a mount point without its disk");
    refusal().await;
    std::fs::remove_dir_all(&log).expect("removes");
    std::fs::rename(&aside, &log).expect("moves it back");

    let current = std::fs::read(log.join("CURRENT")).expect("reads");
    std::fs::remove_file(log.join("CURRENT")).expect("removes");
    let error = refusal().await;
    assert!(error.contains("CURRENT is not"), "{error}");
    std::fs::write(log.join("CURRENT"), current).expect("restores");

    let node = Node::open(config(killed.path())).await.expect("opens with its log");
    let table = node.table("t").await.expect("the table");
    assert_eq!(node.count(&table).await, Ok(u64::from(ROWS)));
    node.shutdown().await;
}

/// What a kill leaves of an idle node: a copy of its files. Its locks go with the process.
fn killed(data: &Path) -> TempDir {
    let left = tempfile::tempdir().expect("a directory");
    copy(data, left.path());
    left
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

/// The longest file with this extension.
fn longest(directory: &Path, extension: &str) -> PathBuf {
    let all = std::fs::read_dir(directory).expect("lists");
    let all = all.map(|file| file.expect("a file").path());
    let found = all.filter(|file| file.extension().is_some_and(|found| found == extension));
    found.max_by_key(|file| file.metadata().map_or(0, |file| file.len())).expect("a file")
}

#[tokio::test]
async fn a_node_whose_database_is_gone_is_not_a_new_node() {
    let data = tempfile::tempdir().expect("a directory");
    let node = Node::open(config(data.path())).await.expect("opens");
    write_rows(&node).await;
    node.shutdown().await;
    drop(node);
    std::fs::rename(data.path().join("db"), data.path().join("elsewhere")).expect("moves");
    let error = Node::open(config(data.path())).await.err().expect("it is gone");
    assert!(matches!(error, OpenError::Store(StoreError::Missing { .. })), "{error}");

    std::fs::remove_dir_all(data.path().join("db")).ok();
    std::fs::rename(data.path().join("elsewhere"), data.path().join("db")).expect("moves back");
    let node = Node::open(config(data.path())).await.expect("it is back");
    let table = node.table("t").await.expect("the table");
    assert_eq!(node.count(&table).await, Ok(u64::from(ROWS)));
}

#[tokio::test]
async fn a_database_without_its_manifest_is_left_as_it_is() {
    let data = tempfile::tempdir().expect("a directory");
    let node = Node::open(config(data.path())).await.expect("opens");
    write_rows(&node).await;
    node.shutdown().await;
    drop(node);
    let before = files(data.path(), "sst");
    std::fs::remove_file(data.path().join("db/CURRENT")).expect("removes");
    let error = Node::open(config(data.path())).await.err().expect("incomplete");
    assert!(matches!(error, OpenError::Store(StoreError::Missing { .. })), "{error}");
    assert!(!before.is_empty() && files(data.path(), "sst") == before);
}
