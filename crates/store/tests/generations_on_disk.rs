//! What lies in a data directory: old ones, what crashes leave, and how files are shared.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use breccia_store::{Durability, Engine, RetentionRules, RocksEngine, StoreError, key, row};
use breccia_types::{ShardId, TableId, Timestamp};
use rocksdb::{ColumnFamilyDescriptor, DBWithThreadMode, IteratorMode, MultiThreaded, Options};
use tempfile::TempDir;

mod bed;

use bed::{Bed, Export, OTHER, SHARD, contents, open, range, raw, stored, text};

type Database = DBWithThreadMode<MultiThreaded>;

/// The record of a shard's generation 2, and of a shard of which generation 1 was the last.
const PRESENT_2: &[u8] = b"\x01\x01\0\0\0\x02";
const REMOVED_1: &[u8] = b"\x01\x02\0\0\0\x01";

/// Lays hands on a database behind the engine's back.
fn tamper(path: &Path, hand: impl FnOnce(&Database)) {
    let names = Database::list_cf(&Options::default(), path).expect("lists column families");
    let families = names.iter().map(|name| ColumnFamilyDescriptor::new(name, Options::default()));
    let database = Database::open_cf_descriptors(&Options::default(), path, families);
    hand(&database.expect("opens"));
}

/// Makes a family as an import makes it: `k` is "new" and durable.
fn make_imported(database: &Database, family: &str) {
    database.create_cf(family, &Options::default()).expect("creates");
    let handle = database.cf_handle(family).expect("a family");
    database.put_cf(&handle, raw("k"), stored("new")).expect("writes");
    database.flush_cf(&handle).expect("flushes");
}

fn put_record(database: &Database, name: &str, value: &[u8]) {
    let node = database.cf_handle("node").expect("the node's family");
    database.put_cf(&node, name, value).expect("writes");
}

fn families_of_shards(path: &Path) -> Vec<String> {
    let mut names = Database::list_cf(&Options::default(), path).expect("lists");
    names.retain(|name| name.starts_with('s'));
    names.sort();
    names
}

/// A data directory with two shards, in one of which `k` is "old".
fn old_state() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let engine = open(directory.path());
    for shard in [SHARD, OTHER] {
        drop(engine.open_shard(shard).expect("a shard"));
    }
    let mut batch = breccia_store::ShardBatch::default();
    batch.put(raw("k"), stored("old"));
    engine.write(&[(SHARD, batch)], Durability::Synced).expect("writes");
    directory
}

#[test]
fn a_flush_that_cannot_be_done_ends_with_an_error_even_with_lenient_checks() {
    for is_lenient in [false, true] {
        let (directory, aside) = (old_state(), tempfile::tempdir().expect("a directory"));
        if is_lenient {
            fs::write(directory.path().join("DAMAGED"), "for this test").expect("writes");
        }
        let engine = open(directory.path());
        // So that the next flush need not begin another write-ahead file, which would fail first.
        engine.flush().expect("flushes");
        let mut batch = breccia_store::ShardBatch::default();
        batch.put(raw("k"), stored("volatile"));
        engine.write(&[(SHARD, batch)], Durability::Volatile).expect("writes");
        let moved = aside.path().join("moved");
        fs::rename(directory.path(), &moved).expect("moves the database away");
        let (done, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let flushed = engine.open_shard(SHARD).expect("a shard").flush();
            drop(engine);
            done.send(flushed).expect("somebody waits");
        });
        let flushed = ended.recv_timeout(Duration::from_secs(30)).expect("it ends");
        assert!(flushed.is_err(), "lenient: {is_lenient}");
        let engine = open(&moved);
        assert_eq!(value_of_k(&engine).as_deref(), Some("old"));
    }
}

fn value_of_k(engine: &RocksEngine) -> Option<String> {
    let shard = engine.open_shard(SHARD).expect("a shard");
    shard.get(&raw("k")).expect("reads").map(text)
}

fn has_staging(path: &Path) -> bool {
    let mut entries = fs::read_dir(path).expect("lists").map(|entry| entry.expect("an entry"));
    entries.any(|entry| entry.file_name().to_string_lossy().starts_with("import."))
}

/// Whether all files of an export share their bytes with other files.
fn is_linked(export: &Export) -> bool {
    let files = export.files().into_iter().filter(|name| name.ends_with(".sst"));
    let links = files.map(|name| fs::metadata(export.path.join(name)).expect("a file").nlink());
    links.min().expect("files") > 1
}

fn file_bytes(path: &Path) -> u64 {
    let entries = fs::read_dir(path).expect("lists").map(|entry| entry.expect("an entry"));
    let files = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".sst"));
    files.filter_map(|entry| entry.metadata().ok()).map(|about| about.len()).sum()
}

/// The fixture was written by the last version that knew one generation only.
#[test]
fn a_directory_of_the_time_before_generations_opens_as_it_is() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/directory-v1");
    let directory = tempfile::tempdir().expect("a directory");
    bed::copy_directory(&fixture, directory.path());
    assert_eq!(families_of_shards(directory.path()), ["s3.g1"]);
    let row = key::row(TableId::new(7), b"k");
    for _ in 0..2 {
        let engine = open(directory.path());
        assert_eq!(engine.shards(), [SHARD]);
        assert_eq!(engine.get_node_record("who"), Ok(Some("me".into())));
        let shard = engine.open_shard(SHARD).expect("a shard");
        assert_eq!(shard.get(&row).expect("reads").map(text).as_deref(), Some("v"));
    }
    let newer = Bed::rocks();
    drop(newer.shard(SHARD));
    newer.put(Durability::Volatile, "k", "new");
    let engine = open(directory.path());
    engine.import_shard(SHARD, &newer.export(SHARD).path).expect("imports");
    drop(engine);
    assert_eq!(value_of_k(&open(directory.path())).as_deref(), Some("new"));
    assert_eq!(families_of_shards(directory.path()), ["s3.g2"]);
}

/// So that the version before this one can open the directory, until something is imported.
#[test]
fn shards_that_began_here_have_no_record() {
    let directory = old_state();
    drop(open(directory.path()));
    assert_eq!(families_of_shards(directory.path()), ["s3.g1", "s4.g1"]);
    tamper(directory.path(), |database| {
        let node = database.cf_handle("node").expect("the node's family");
        assert_eq!(database.iterator_cf(&node, IteratorMode::Start).count(), 0);
    });
}

#[test]
fn a_crash_before_the_record_is_flipped_leaves_the_old_generation() {
    let steps: [fn(&Database); 2] = [
        |database| database.create_cf("s3.g2", &Options::default()).expect("creates"),
        |database| make_imported(database, "s3.g2"),
    ];
    for step in steps {
        let directory = old_state();
        tamper(directory.path(), step);
        fs::create_dir(directory.path().join("import.s3.g2")).expect("a directory");
        fs::write(directory.path().join("import.s3.g2/000007.sst"), b"half").expect("writes");
        let engine = open(directory.path());
        assert_eq!(engine.shards(), [SHARD, OTHER]);
        assert_eq!(value_of_k(&engine).as_deref(), Some("old"));
        assert!(!has_staging(directory.path()));
        // The import is tried again.
        let newer = Bed::rocks();
        drop(newer.shard(SHARD));
        newer.put(Durability::Volatile, "k", "newer");
        engine.import_shard(SHARD, &newer.export(SHARD).path).expect("imports");
        drop(engine);
        assert_eq!(families_of_shards(directory.path()), ["s3.g3", "s4.g1"]);
        assert_eq!(value_of_k(&open(directory.path())).as_deref(), Some("newer"));
        assert!(!has_staging(directory.path()));
    }
}

#[test]
fn a_crash_after_the_record_is_flipped_leaves_the_new_generation() {
    let directory = old_state();
    tamper(directory.path(), |database| {
        make_imported(database, "s3.g2");
        put_record(database, "shard.3", PRESENT_2);
    });
    for _ in 0..2 {
        let engine = open(directory.path());
        assert_eq!(engine.shards(), [SHARD, OTHER]);
        assert_eq!(value_of_k(&engine).as_deref(), Some("new"));
        drop(engine);
        assert_eq!(families_of_shards(directory.path()), ["s3.g2", "s4.g1"]);
    }
}

#[test]
fn a_crash_in_the_first_import_of_a_shard_leaves_no_shard() {
    let directory = old_state();
    tamper(directory.path(), |database| make_imported(database, "s9.g2"));
    let engine = open(directory.path());
    assert_eq!(engine.shards(), [SHARD, OTHER]);
    let shard = engine.open_shard(ShardId::new(9)).expect("a shard");
    assert!(contents(shard.as_ref()).is_empty());
    drop((shard, engine));
    let engine = open(directory.path());
    assert_eq!(engine.shards(), [SHARD, OTHER, ShardId::new(9)]);
}

#[test]
fn a_crash_in_a_removal_leaves_no_shard_once_the_record_is_there() {
    let directory = old_state();
    tamper(directory.path(), |database| put_record(database, "shard.3", REMOVED_1));
    drop(open(directory.path()));
    assert_eq!(families_of_shards(directory.path()), ["s4.g1"]);
    let engine = open(directory.path());
    assert_eq!(engine.shards(), [OTHER]);
    assert_eq!(value_of_k(&engine), None);
}

#[test]
fn a_record_that_cannot_be_right_is_refused() {
    let open = |record: &'static [u8]| {
        let directory = old_state();
        tamper(directory.path(), |database| put_record(database, "shard.3", record));
        let rules = Arc::new(RetentionRules::default());
        RocksEngine::open(directory.path(), &bed::options(), rules).err()
    };
    // Generation 2 is not there.
    assert!(matches!(open(PRESENT_2), Some(StoreError::Corrupt { shard: SHARD, .. })));
    let unknown = open(b"\x02\x01\0\0\0\x01");
    assert!(matches!(unknown, Some(StoreError::UnknownFormat { found: 2, known: 1, .. })));
}

#[test]
fn an_export_shares_its_bytes_with_the_shard() {
    let bed = Bed::rocks();
    let shard = bed.shard(SHARD);
    for layer in 0..3_u8 {
        bed.write(SHARD, Durability::Volatile, |batch| {
            batch.delete_range(range("row010", "row020"));
            for row in (0..50).filter(|row| row % 3 != layer) {
                batch.put(raw(&format!("row{row:03}")), stored(&layer.to_string()));
            }
        });
        shard.flush().expect("flushes");
    }
    let wanted = contents(shard.as_ref());
    for files in [3, 1] {
        let export = bed.export(SHARD);
        assert_eq!(export.files().len(), files + 1, "{:?}", export.files());
        assert!(is_linked(&export));
        let imported = Bed::rocks().import(&export);
        assert_eq!(contents(imported.as_ref()), wanted);
        assert_eq!(imported.has_deletions(), files == 3);
        shard.compact(None);
    }
}

/// RocksDB's C interface cannot import them: see `rocks/export.rs`.
#[test]
fn rows_are_written_anew_when_range_deletions_have_sunk_below_level_zero() {
    let bed = Bed::rocks();
    let shard = bed.shard(SHARD);
    bed.write(SHARD, Durability::Volatile, |batch| {
        (0..100).for_each(|row| batch.put(raw(&format!("row{row:03}")), stored("v")));
    });
    shard.flush().expect("flushes");
    // For the snapshot's sake compaction keeps what is deleted, and the deletion.
    let snapshot = shard.snapshot();
    bed.write(SHARD, Durability::Volatile, |batch| {
        batch.delete_range(range("row010", "row090"));
        batch.put(raw("row050"), stored("w"));
    });
    shard.compact(None);
    let export = bed.export(SHARD);
    assert!(!is_linked(&export));
    assert_eq!(contents(snapshot.as_ref()).len(), 100);
    let wanted = contents(shard.as_ref());
    assert_eq!(wanted.len(), 21);
    let other = Bed::rocks();
    let imported = other.import(&export);
    assert_eq!(contents(imported.as_ref()), wanted);
    assert!(!imported.has_deletions());
    drop(snapshot);
    shard.compact(None);
    assert!(is_linked(&bed.export(SHARD)));
    assert_eq!(contents(other.crash().shard(SHARD).as_ref()), wanted);
}

#[test]
fn an_old_generation_is_read_only() {
    let bed = Bed::rocks();
    let old = bed.shard(SHARD);
    bed.put(Durability::Volatile, "k", "v");
    let export = bed.export(SHARD);
    bed.put(Durability::Volatile, "k", "w");
    bed.import(&export);
    let again = export.path.join("again");
    for refused in [old.flush(), old.export(&again)] {
        assert!(matches!(refused, Err(StoreError::Io { operation: "flush", .. })), "{refused:?}");
    }
    assert!(!again.exists());
    old.compact(None);
    assert_eq!(old.get(&raw("k")).expect("reads").map(text).as_deref(), Some("w"));
}

#[test]
fn an_export_begins_anew_where_a_crash_left_one_unfinished() {
    let bed = Bed::rocks();
    drop(bed.shard(SHARD));
    bed.put(Durability::Volatile, "k", "v");
    let directory = tempfile::tempdir().expect("a directory");
    let left = directory.path().join("export.tmp");
    fs::create_dir(&left).expect("a directory");
    fs::write(left.join("000001.sst"), b"half").expect("writes");
    let into = directory.path().join("export");
    bed.shard(SHARD).export(&into).expect("exports");
    let imported = Bed::rocks().engine().import_shard(SHARD, &into).expect("imports");
    assert_eq!(contents(imported.as_ref()).len(), 1);
}

#[test]
fn what_has_expired_for_the_old_generation_has_not_for_the_new() {
    let at = Timestamp::from_micros;
    let bed = Bed::rocks();
    let old = bed.shard(SHARD);
    bed.write(SHARD, Durability::Volatile, |batch| {
        batch.put(raw("k"), row::encode(b"v", Some(at(100))));
    });
    let export = bed.export(SHARD);
    old.advance_horizon(at(1_000));
    let new = bed.import(&export);
    old.advance_horizon(at(2_000));
    new.compact(None);
    assert_eq!(contents(new.as_ref()).len(), 1);
    assert!(!new.has_deletions() && !new.is_worth_reclaiming(at(1_000)));
    new.advance_horizon(at(99));
    new.compact(None);
    assert_eq!(contents(new.as_ref()).len(), 1);
    new.advance_horizon(at(100));
    new.compact(None);
    assert_eq!(contents(new.as_ref()).len(), 0);
}

#[test]
fn the_space_of_an_old_generation_comes_back_with_its_last_reader() {
    let bed = Bed::rocks();
    let old = bed.shard(SHARD);
    let empty = bed.export(SHARD);
    let mut noise = 1_u32;
    let noise: Vec<u8> = (0..4 << 20)
        .map(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            noise.to_be_bytes()[0]
        })
        .collect();
    bed.write(SHARD, Durability::Volatile, |batch| batch.put(raw("k"), row::encode(&noise, None)));
    old.flush().expect("flushes");
    bed.import(&empty);
    let Bed::Rocks { directory, .. } = &bed else { unreachable!("a bed on disk") };
    assert!(file_bytes(directory.path()) > 4 << 20);
    assert_eq!(contents(old.as_ref()).len(), 1);
    drop(old);
    let deadline = Instant::now() + Duration::from_secs(30);
    while file_bytes(directory.path()) > 1 << 20 {
        assert!(Instant::now() < deadline, "the files of the old generation stay");
        std::thread::yield_now();
    }
}
