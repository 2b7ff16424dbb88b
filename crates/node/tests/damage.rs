//! Data directories that are damaged or incomplete: refused, never opened as if all was well.

#![allow(clippy::expect_used, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};

use breccia_node::{Node, NodeConfig, OpenError};
use breccia_store::StoreError;
use breccia_types::TableOptions;
use bytes::Bytes;

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
        // Not shut down: the rows are in the log alone.
        drop(node);
        let logs = files(data.path(), "log");
        flip_byte(logs.first().expect("a log"), place);
        let error = Node::open(config(data.path())).await.err().expect("rows would be lost");
        assert!(error.to_string().contains(".log is damaged at byte"), "{error}");
    }
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
