//! One suite for both databases of a log, and what only one of them can show.

#![allow(clippy::expect_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use breccia_store::{
    Bounds, Durability, LogOp, LogStore, MemoryLog, RocksLog, RocksLogOptions, ScanLimits,
    StoreError,
};
use tempfile::TempDir;

const ALL: ScanLimits = ScanLimits { rows_max: usize::MAX, bytes_max: usize::MAX };

fn beds() -> Vec<(Arc<dyn LogStore>, Option<TempDir>)> {
    let directory = tempfile::tempdir().expect("a directory");
    let rocks = open(directory.path()).expect("opens");
    vec![(Arc::new(MemoryLog::default()), None), (Arc::new(rocks), Some(directory))]
}

fn open(path: &Path) -> Result<RocksLog, StoreError> {
    RocksLog::open(path, &RocksLogOptions::default())
}

fn put(key: &str, value: &str) -> LogOp {
    LogOp::Put { key: key.into(), value: value.into() }
}

fn bounds(lower: &str, upper: &str) -> Bounds {
    Bounds { lower: lower.into(), upper: upper.into() }
}

fn keys(store: &dyn LogStore, bounds: &Bounds, limits: ScanLimits) -> Vec<String> {
    let rows = store.scan(bounds, limits).expect("scans");
    rows.into_iter().map(|row| String::from_utf8(row.key).expect("text")).collect()
}

#[test]
fn a_batch_is_carried_out_in_its_order() {
    for (store, _directory) in beds() {
        let ops = [
            put("a", "1"),
            put("b", "1"),
            LogOp::DeleteRange(bounds("a", "c")),
            put("b", "2"),
            put("c", "1"),
            LogOp::Delete { key: b"c".to_vec() },
            LogOp::DeleteRange(bounds("b", "b")),
            LogOp::DeleteRange(bounds("z", "a")),
        ];
        store.write(&ops, Durability::Synced).expect("writes");
        assert_eq!(store.get(b"a"), Ok(None));
        assert_eq!(store.get(b"b").expect("reads").as_deref(), Some(&b"2"[..]));
        assert_eq!(keys(store.as_ref(), &bounds("", "~"), ALL), ["b"]);
    }
}

#[test]
fn a_scan_keeps_to_its_range_and_limits_but_returns_one_row_at_least() {
    for (store, _directory) in beds() {
        let ops: Vec<_> = ["a", "b", "c", "d"].map(|key| put(key, "1234")).into();
        store.write(&ops, Durability::Buffered).expect("writes");
        let scan = |lower: &str, upper: &str, rows_max, bytes_max| {
            let limits = ScanLimits { rows_max, bytes_max };
            keys(store.as_ref(), &bounds(lower, upper), limits)
        };
        assert_eq!(scan("b", "d", 9, 99), ["b", "c"]);
        assert_eq!(scan("a", "z", 2, 99), ["a", "b"]);
        assert_eq!(scan("a", "z", 9, 10), ["a", "b"]);
        assert_eq!(scan("a", "z", 9, 0), ["a"]);
        assert_eq!(scan("a", "z", 0, 99), [""; 0]);
        assert_eq!(scan("c", "b", 9, 99), [""; 0]);
        assert_eq!(scan("e", "z", 9, 99), [""; 0]);
    }
}

#[test]
fn the_last_key_of_a_range_is_found_in_memory_and_in_files() {
    for (store, _directory) in beds() {
        store.write(&[put("a", "1"), put("c", "1")], Durability::Buffered).expect("writes");
        for _ in 0..2 {
            assert_eq!(store.last_key(&bounds("a", "c")), Ok(Some(b"a".to_vec())));
            assert_eq!(store.last_key(&bounds("a", "d")), Ok(Some(b"c".to_vec())));
            assert_eq!(store.last_key(&bounds("b", "c")), Ok(None));
            assert_eq!(store.last_key(&bounds("d", "a")), Ok(None));
            store.flush().expect("flushes");
        }
    }
}

#[test]
fn what_a_range_takes_is_estimated() {
    for (store, _directory) in beds() {
        let ops: Vec<_> =
            (0..1_000).map(|at| put(&format!("k{at:03}"), &"v".repeat(1_000))).collect();
        store.write(&ops, Durability::Buffered).expect("writes");
        let all = store.range_bytes(&bounds("k", "l")).expect("measures");
        assert!((500_000..2_000_000).contains(&all), "{all}");
        assert_eq!(store.range_bytes(&bounds("l", "m")), Ok(0));
        assert!(store.usage().keys_estimate > 0);
        assert!(store.usage().memory_bytes > 500_000);
        store.sync().expect("syncs");
    }
}

#[test]
fn a_loss_of_power_keeps_what_was_synced_and_perhaps_what_follows_it() {
    let log = MemoryLog::default();
    log.write(&[put("a", "1")], Durability::Buffered).expect("writes");
    log.write(&[put("b", "1")], Durability::Synced).expect("writes");
    log.write(&[put("c", "1")], Durability::Buffered).expect("writes");
    log.write(&[LogOp::DeleteRange(bounds("a", "c"))], Durability::Buffered).expect("writes");
    assert_eq!(log.unsynced(), 2);
    let found = |kept| keys(&log.crash(kept), &bounds("", "~"), ALL);
    assert_eq!(found(0), ["a", "b"]);
    assert_eq!(found(1), ["a", "b", "c"]);
    assert_eq!(found(2), ["c"]);
    assert!(log.write(&[put("d", "1")], Durability::Buffered).is_err());
}

#[test]
fn the_memory_twin_fails_and_stands_still_when_told_to() {
    let log = Arc::new(MemoryLog::default());
    log.hold();
    let writer = Arc::clone(&log);
    let waiting = std::thread::spawn(move || writer.write(&[put("a", "1")], Durability::Synced));
    while log.held() == 0 {
        std::thread::yield_now();
    }
    let full = StoreError::DiskFull { detail: "told to".into() };
    log.fail(full.clone());
    log.release();
    assert_eq!(waiting.join().expect("ends"), Err(full.clone()));
    assert_eq!(log.sync(), Err(full));
    assert_eq!(log.get(b"a"), Ok(None));
}

#[test]
fn a_log_that_is_open_is_not_opened_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = open(directory.path()).expect("opens");
    let files = || {
        let files = fs::read_dir(directory.path()).expect("lists");
        files.map(|file| file.expect("lists").file_name()).collect::<BTreeSet<_>>()
    };
    let before = files();
    assert!(matches!(open(directory.path()).err(), Some(StoreError::InUse { .. })));
    // Not even RocksDB's own log was moved away.
    assert_eq!(files(), before);
    drop(first);
    open(directory.path()).expect("opens again");
}

/// The write-ahead file that holds what was written last.
fn last_wal(path: &Path) -> PathBuf {
    let files = fs::read_dir(path).expect("lists").map(|entry| entry.expect("lists").path());
    let mut wals: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|extension| extension == "log"))
        .filter(|file| fs::metadata(file).expect("exists").len() > 0)
        .collect();
    wals.sort();
    wals.pop().expect("a write-ahead file")
}

/// A directory with three synced writes in its write-ahead file, as a crash leaves it.
fn crashed() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let copy = tempfile::tempdir().expect("a directory");
    let log = open(directory.path()).expect("opens");
    for key in ["a", "b", "c"] {
        log.write(&[put(key, &key.repeat(100))], Durability::Synced).expect("writes");
    }
    for entry in fs::read_dir(directory.path()).expect("lists") {
        let from = entry.expect("lists").path();
        let name = from.file_name().expect("a name");
        if name != "LOCK" {
            fs::copy(&from, copy.path().join(name)).expect("copies");
        }
    }
    copy
}

#[test]
fn a_torn_tail_is_dropped_and_what_precedes_it_is_kept() {
    let directory = crashed();
    let wal = last_wal(directory.path());
    let length = fs::metadata(&wal).expect("exists").len();
    let file = fs::OpenOptions::new().write(true).open(&wal).expect("opens");
    file.set_len(length - 7).expect("truncates");
    drop(file);
    for _ in 0..2 {
        let log = open(directory.path()).expect("opens");
        assert_eq!(keys(&log, &bounds("", "~"), ALL), ["a", "b"]);
    }
}

#[test]
fn damage_before_the_tail_is_refused() {
    let directory = crashed();
    let wal = last_wal(directory.path());
    let mut bytes = fs::read(&wal).expect("reads");
    let at = bytes.windows(3).position(|window| window == b"bbb").expect("the second write");
    bytes[at] ^= 1;
    fs::write(&wal, bytes).expect("writes");
    assert!(matches!(open(directory.path()).err(), Some(StoreError::CorruptLog { .. })));
}
