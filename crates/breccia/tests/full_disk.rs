//! Fills a node's disk, for real: a small one that the test mounts.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests panic")]

mod harness;

use std::time::{Duration, Instant};

use harness::{Connection, Node, SmallDisk};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const DEADLINE: Duration = Duration::from_secs(60);
const VALUE_BYTES: usize = 256 << 10;
/// More than any disk here holds.
const ROWS_MAX: u64 = 4_096;

/// A value that does not compress and that only its row has.
fn value(row: u64) -> String {
    let mut random = StdRng::seed_from_u64(row);
    (0..VALUE_BYTES).map(|_| char::from(random.random_range(b'!'..=b'~'))).collect()
}

fn ask(connection: &mut Connection, words: &[&str]) -> String {
    let command = words.iter().map(|word| (*word).to_owned()).collect();
    connection.send(&[command]).expect("the node is there");
    connection.reply().expect("the node answers")
}

fn set(connection: &mut Connection, row: u64) -> String {
    ask(connection, &["SET", &row.to_string(), &value(row)])
}

/// Writes rows from 0 on until the node refuses one; how many it took, and what it said. The
/// write that meets the full disk is in the log's queue then: its outcome is unknown.
fn fill(connection: &mut Connection) -> (u64, String) {
    for row in 0..ROWS_MAX {
        let reply = set(connection, row);
        if reply.starts_with("-TIMEOUT") {
            return (row, set(connection, row));
        }
        if reply != "+OK" {
            return (row, reply);
        }
    }
    panic!("the disk never ran full");
}

fn wait_until_writable(connection: &mut Connection, row: u64) {
    let start = Instant::now();
    while set(connection, row) != "+OK" {
        assert!(start.elapsed() < DEADLINE, "writes did not go on");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

fn assert_holds(node: &Node, rows: u64) {
    let mut connection = Connection::open(&node.resp);
    for row in 0..rows {
        assert!(is_there(&mut connection, row), "row {row} is lost");
    }
}

/// Whether a row holds its value; values are too long for a failed assertion to show.
fn is_there(connection: &mut Connection, row: u64) -> bool {
    match ask(connection, &["GET", &row.to_string()]) {
        found if found == value(row) => true,
        found => {
            assert!(found == "(nil)", "row {row} is damaged");
            false
        }
    }
}

#[test]
fn a_disk_that_runs_full_in_the_middle_of_a_write_loses_nothing_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = SmallDisk::mount(folder.path(), 64);
    let node = disk.start_node(&["--disk-reserve", "0", "--memory", "64MiB"]);
    let mut connection = Connection::open(&node.resp);
    let (acknowledged, refusal) = fill(&mut connection);
    assert!(refusal.starts_with("-MISCONF") && refusal.contains("free some space"), "{refusal}");
    assert!(acknowledged > 50, "{acknowledged} rows of 256 KiB fitted into 64 MiB");
    assert_holds(&node, acknowledged);
    // Whether the refused row is there is not promised, but it is whole or absent.
    is_there(&mut connection, acknowledged);

    disk.enlarge(256);
    wait_until_writable(&mut connection, ROWS_MAX);
    assert_holds(&node, acknowledged);
    drop(connection);
    node.end_by("-KILL");
    let node = disk.start_node(&["--memory", "64MiB", "--disk-reserve", "0"]);
    assert_holds(&node, acknowledged);
    let mut connection = Connection::open(&node.resp);
    assert!(is_there(&mut connection, ROWS_MAX), "what was written after the disk was full");
}

#[test]
fn a_disk_that_runs_full_again_and_again_loses_nothing_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = SmallDisk::mount(folder.path(), 64);
    let node = disk.start_node(&["--disk-reserve", "0", "--memory", "64MiB"]);
    let mut connection = Connection::open(&node.resp);
    let mut acknowledged = 0;
    for mebibytes in [96, 128, 256] {
        let (rows, refusal) = fill(&mut connection);
        assert!(refusal.starts_with("-MISCONF"), "{refusal}");
        acknowledged = rows.max(acknowledged);
        assert_holds(&node, acknowledged);
        disk.enlarge(mebibytes);
        wait_until_writable(&mut connection, ROWS_MAX);
    }
    drop(connection);
    node.end_by("-KILL");
    let node = disk.start_node(&["--memory", "64MiB", "--disk-reserve", "0"]);
    assert_holds(&node, acknowledged);
}

#[test]
fn a_node_killed_with_a_full_disk_opens_again_and_holds_what_it_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = SmallDisk::mount(folder.path(), 64);
    let node = disk.start_node(&["--disk-reserve", "0", "--memory", "64MiB"]);
    let (acknowledged, _) = fill(&mut Connection::open(&node.resp));
    node.end_by("-KILL");
    // To be read at least, before there is any room.
    let node = disk.start_node(&["--memory", "64MiB", "--disk-reserve", "0"]);
    assert_holds(&node, acknowledged);
    node.end_by("-KILL");
    disk.enlarge(256);
    let node = disk.start_node(&["--memory", "64MiB", "--disk-reserve", "0"]);
    assert_holds(&node, acknowledged);
    wait_until_writable(&mut Connection::open(&node.resp), ROWS_MAX);
}

#[test]
fn deleting_rows_makes_room_on_a_full_disk_and_writes_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = SmallDisk::mount(folder.path(), 260);
    let node = disk.start_node(&["--memory", "64MiB"]);
    let mut connection = Connection::open(&node.resp);
    let (acknowledged, refusal) = fill(&mut connection);
    assert!(refusal.starts_with("-MISCONF"), "{refusal}");
    assert_holds(&node, acknowledged);
    assert_eq!(ask(&mut connection, &["FLUSHALL"]), "+OK");
    wait_until_writable(&mut connection, 0);
    assert_eq!(ask(&mut connection, &["DBSIZE"]), ":1");
}
