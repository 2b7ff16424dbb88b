//! What `rocks/export.rs` takes for granted of RocksDB. If this fails after an upgrade, rows
//! need not be written anew any more, or must be for another reason.

#![allow(clippy::expect_used, reason = "tests fail by panicking")]

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BottommostLevelCompaction, CompactOptions, DBCompressionType, DBWithThreadMode,
    ExportImportFilesMetaData, ImportColumnFamilyOptions, IteratorMode, MultiThreaded, Options,
};

type Database = DBWithThreadMode<MultiThreaded>;

type Row = (Box<[u8]>, Box<[u8]>);

fn rows(database: &Database) -> Vec<Row> {
    let family = database.cf_handle("s").expect("a family");
    let rows = database.iterator_cf(&family, IteratorMode::Start);
    rows.map(|row| row.expect("a row")).collect()
}

/// A family whose last level has many small files, and a range deletion over most of them,
/// which a compaction under a snapshot has left there.
fn fill(database: &Database) {
    let family = database.cf_handle("s").expect("a family");
    let key = |number: u32| format!("k{number:06}");
    for number in 0..2_000 {
        database.put_cf(&family, key(number), [b'o'; 500]).expect("writes");
    }
    database.flush_cf(&family).expect("flushes");
    let _snapshot = database.snapshot();
    database.delete_range_cf(&family, key(100), key(1_900)).expect("deletes");
    for number in (0..2_000).step_by(7) {
        database.put_cf(&family, key(number), b"new").expect("writes");
    }
    database.flush_cf(&family).expect("flushes");
    let mut everything = CompactOptions::default();
    everything.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
    database.compact_range_cf_opt(&family, None::<&[u8]>, None::<&[u8]>, &everything);
}

#[test]
fn files_below_level_zero_under_one_range_deletion_are_imported_with_their_bounds_only() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_target_file_size_base(64 << 10);
    options.set_compression_type(DBCompressionType::None);
    let open = |name: &str| Database::open(&options, directory.path().join(name)).expect("opens");
    let from = open("from");
    from.create_cf("s", &options).expect("creates");
    fill(&from);
    let family = from.cf_handle("s").expect("a family");
    let exported = Checkpoint::new(&from)
        .and_then(|checkpoint| {
            checkpoint.export_column_family(&family, directory.path().join("export"))
        })
        .expect("exports");
    let files = exported.get_files();
    assert!(files.len() > 4 && files.iter().all(|file| file.level > 0), "{files:?}");

    let import = |into: &Database, metadata: &ExportImportFilesMetaData| {
        let copying = ImportColumnFamilyOptions::new();
        into.create_column_family_with_import(&options, "s", &copying, metadata)
    };
    // Within the process that exported, RocksDB remembers the bounds.
    let (kept, told) = (open("kept"), open("told"));
    import(&kept, &exported).expect("imports");
    assert_eq!(rows(&kept), rows(&from));
    // Nobody else can tell it.
    let mut metadata = ExportImportFilesMetaData::default();
    metadata.set_db_comparator_name(&exported.get_db_comparator_name());
    metadata.set_files(&files).expect("sets");
    let refused = import(&told, &metadata).expect_err("a refusal");
    assert!(refused.to_string().contains("overlapping ranges"), "{refused}");
}
