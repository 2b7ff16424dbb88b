//! One suite for both engines: whatever RocksDB does, its in-memory twin does too.

#![allow(clippy::expect_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use breccia_store::{
    Bounds, Durability, Engine, IfMissing, Lookup, MemoryEngine, NewVersion, RetentionRules,
    RocksEngine, RocksOptions, ScanRange, ShardBatch, ShardEngine, StoreError, TableReader,
    Transaction, key,
};
use breccia_types::kv::{Direction, Expiry};
use breccia_types::table::TableRef;
use breccia_types::{Retention, ShardId, Table, TableId, TableKind, TableOptions, Timestamp};
use bytes::Bytes;
use tempfile::TempDir;

const SHARD: ShardId = ShardId::new(3);

/// An engine with one shard; the directory lives as long as the engine.
struct Bed {
    engine: Arc<dyn Engine>,
    shard: Arc<dyn ShardEngine>,
    rules: Arc<RetentionRules>,
    _directory: Option<TempDir>,
}

fn options() -> RocksOptions {
    RocksOptions { memory_bytes: 64 << 20, background_jobs: 2, new: IfMissing::Create }
}

fn beds() -> Vec<Bed> {
    let rules = Arc::new(RetentionRules::default());
    let directory = tempfile::tempdir().expect("a directory");
    let rocks = RocksEngine::open(directory.path(), &options(), Arc::clone(&rules)).expect("opens");
    let memory: Arc<dyn Engine> = Arc::new(MemoryEngine::default());
    let rocks: Arc<dyn Engine> = Arc::new(rocks);
    [(memory, None), (rocks, Some(directory))]
        .into_iter()
        .map(|(engine, _directory)| {
            let shard = engine.open_shard(SHARD).expect("a shard");
            Bed { engine, shard, rules: Arc::clone(&rules), _directory }
        })
        .collect()
}

impl Bed {
    fn write(&self, stamp: i64, edit: impl FnOnce(&mut Transaction<'_>)) {
        let mut transaction = Transaction::new(self.shard.as_ref());
        transaction.begin(at(stamp));
        edit(&mut transaction);
        let batches = [(SHARD, transaction.into_batch())];
        self.engine.write(&batches, Durability::Buffered).expect("writes");
        self.shard.advance_horizon(at(stamp));
    }

    fn reader<'a>(&'a self, table: &Table, now: i64) -> TableReader<'a> {
        TableReader::new(self.shard.as_ref(), table.view(), at(now))
    }

    fn keys(&self, table: &Table, now: i64, range: &ScanRange) -> Vec<Bytes> {
        self.reader(table, now).rows(range).map(|row| row.expect("a row").key).collect()
    }
}

const fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn table(id: u32, kind: TableKind) -> Table {
    let options = TableOptions { kind, ..TableOptions::default() };
    Table { id: TableId::new(id), name: format!("t{id}"), options }
}

fn plain() -> Table {
    table(7, TableKind::Plain)
}

fn versioned() -> Table {
    table(8, TableKind::Versioned)
}

fn put(transaction: &mut Transaction<'_>, table: TableRef, key: &[u8], value: &[u8]) {
    transaction.put(table, key, value, None).expect("puts");
}

fn put_version(bed: &Bed, table: &Table, key: &[u8], instant: i64, value: Option<&[u8]>) {
    let version = NewVersion { instant: at(instant), value, ttl: table.options.ttl };
    bed.write(instant, |transaction| transaction.put_version(table.id, key, &version));
}

#[test]
fn an_empty_value_differs_from_an_absent_key_and_any_bytes_are_keys() {
    for bed in beds() {
        let table = plain();
        bed.write(1, |t| {
            for key in [&b""[..], b"\0", b"\xff\xff", b"a", b"ab"] {
                put(t, table.to_ref(), key, b"");
            }
        });
        let reader = bed.reader(&table, 2);
        for key in [&b""[..], b"\0", b"\xff\xff", b"a", b"ab"] {
            assert_eq!(reader.get(key).expect("reads").expect("a row").value.len(), 0);
        }
        assert_eq!(reader.get(b"abc"), Ok(None));
        assert_eq!(bed.keys(&table, 2, &ScanRange::default()).len(), 5);
    }
}

#[test]
fn a_batch_of_several_shards_is_written_whole_or_not_at_all() {
    for bed in beds() {
        let other = ShardId::new(99);
        let mut batch = ShardBatch::default();
        batch.put(b"k".to_vec(), b"\x10v".to_vec());
        let batches = [(SHARD, batch.clone()), (other, batch)];
        assert_eq!(
            bed.engine.write(&batches, Durability::Buffered),
            Err(StoreError::NoSuchShard { shard: other })
        );
        assert_eq!(bed.shard.get(b"k"), Ok(None));
    }
}

#[test]
fn commands_of_one_entry_see_what_earlier_ones_wrote() {
    for bed in beds() {
        let table = plain().to_ref();
        bed.write(1, |t| {
            put(t, table, b"a", b"1");
            assert_eq!(t.get(table, b"a").expect("reads").expect("a row").value, "1");
            assert_eq!(t.delete(table, b"a"), Ok(true));
            assert_eq!(t.delete(table, b"a"), Ok(false));
            put(t, table, b"b", b"2");
            t.delete_range(table, b"b", None).expect("deletes");
            assert_eq!(t.get(table, b"b"), Ok(None));
            put(t, table, b"c", b"3");
        });
        assert_eq!(bed.keys(&plain(), 2, &ScanRange::default()), ["c"]);
    }
}

#[test]
fn scans_honour_prefix_bounds_direction_and_where_the_last_page_ended() {
    for bed in beds() {
        let tables = [plain(), versioned()];
        for table in &tables {
            for key in [&b"a"[..], b"a\0", b"ab", b"b", b"b\xff", b"c"] {
                match table.options.kind {
                    TableKind::Versioned => put_version(&bed, table, key, 1, Some(b"v")),
                    _ => bed.write(1, |t| put(t, table.to_ref(), key, b"v")),
                }
            }
            let keys = |range: ScanRange| bed.keys(table, 2, &range);
            let text = |key: &'static [u8]| Bytes::from_static(key);
            assert_eq!(keys(ScanRange::default()).len(), 6);
            let prefix = ScanRange { prefix: text(b"a"), ..ScanRange::default() };
            assert_eq!(keys(prefix.clone()), [&b"a"[..], b"a\0", b"ab"]);
            let back = ScanRange { direction: Direction::Reverse, ..prefix };
            assert_eq!(keys(back.clone()), [&b"ab"[..], b"a\0", b"a"]);
            let resumed = ScanRange { after: Some(text(b"ab")), ..back };
            assert_eq!(keys(resumed), [&b"a\0"[..], b"a"]);
            let bounded = ScanRange {
                from: Some(text(b"a\0")),
                to: Some(text(b"b\xff")),
                ..ScanRange::default()
            };
            assert_eq!(keys(bounded.clone()), [&b"a\0"[..], b"ab", b"b"]);
            let after = ScanRange { after: Some(text(b"a\0")), ..bounded };
            assert_eq!(keys(after), [&b"ab"[..], b"b"]);
            let upside_down =
                ScanRange { from: Some(text(b"c")), to: Some(text(b"a")), ..ScanRange::default() };
            assert!(keys(upside_down).is_empty());
        }
    }
}

#[test]
fn late_versions_take_their_place_and_the_same_instant_is_replaced() {
    for bed in beds() {
        let table = versioned();
        put_version(&bed, &table, b"k", 30, Some(b"thirty"));
        put_version(&bed, &table, b"k", 10, Some(b"ten"));
        put_version(&bed, &table, b"k", 20, Some(b"twenty"));
        put_version(&bed, &table, b"k", 20, Some(b"TWENTY"));
        put_version(&bed, &table, b"k\0", 5, Some(b"neighbour"));
        let reader = bed.reader(&table, 100);
        let value = |row: Option<breccia_types::kv::Row>| row.map(|row| row.value);
        assert_eq!(value(reader.get(b"k").expect("reads")), Some("thirty".into()));
        for (instant, expected) in
            [(9, None), (10, Some("ten")), (25, Some("TWENTY")), (99, Some("thirty"))]
        {
            let found = value(reader.get_as_of(b"k", at(instant)).expect("reads"));
            assert_eq!(found, expected.map(Bytes::from), "as of {instant}");
        }
        let history = reader.history(b"k", at(10), at(29), 10).expect("reads");
        let instants: Vec<_> = history.iter().map(|v| v.version.as_micros()).collect();
        assert_eq!(instants, [20, 10]);
        let as_of = ScanRange { as_of: Some(at(9)), ..ScanRange::default() };
        assert_eq!(bed.keys(&table, 100, &as_of), ["k\0"]);
    }
}

#[test]
fn a_deleted_row_keeps_its_history() {
    for bed in beds() {
        let table = versioned();
        put_version(&bed, &table, b"k", 10, Some(b"v"));
        put_version(&bed, &table, b"k", 20, None);
        let reader = bed.reader(&table, 100);
        assert_eq!(reader.get(b"k"), Ok(None));
        assert!(reader.get_as_of(b"k", at(19)).expect("reads").is_some());
        let history = reader.history(b"k", Timestamp::MIN, Timestamp::MAX, 10).expect("reads");
        assert_eq!(history.iter().map(|v| v.value.is_some()).collect::<Vec<_>>(), [false, true]);
        assert!(bed.keys(&table, 100, &ScanRange::default()).is_empty());
        assert_eq!(reader.count(), Ok(0));
    }
}

#[test]
fn retention_hides_versions_before_and_after_compaction_alike() {
    for bed in beds() {
        let mut table = versioned();
        table.options.retention =
            Retention { keep_versions: Some(3), keep_for: Some(Duration::from_micros(50)) };
        bed.rules.replace([(table.id, table.options.retention)]);
        for instant in [10, 20, 30, 40, 50] {
            put_version(&bed, &table, b"k", instant, Some(b"v"));
        }
        let seen = |now: i64| {
            let reader = bed.reader(&table, now);
            let history = reader.history(b"k", Timestamp::MIN, Timestamp::MAX, 10).expect("reads");
            history.iter().map(|v| v.version.as_micros()).collect::<Vec<_>>()
        };
        // 30 was replaced at 40, and so outlives its replacement until 90.
        for _compacted in [false, true] {
            assert_eq!(seen(89), [50, 40, 30]);
            assert_eq!(seen(90), [50, 40]);
            assert_eq!(seen(10_000), [50]);
            let reader = bed.reader(&table, 89);
            assert_eq!(reader.get_as_of(b"k", at(25)), Ok(None));
            assert!(reader.get_as_of(b"k", at(35)).expect("reads").is_some());
            bed.engine.flush().expect("flushes");
            bed.shard.compact(None);
        }
    }
}

#[test]
fn an_expired_row_is_gone_at_its_instant_for_reads_scans_and_commands() {
    for bed in beds() {
        let table = plain();
        let reference = table.to_ref();
        bed.write(1, |t| {
            let expires_at = t.resolve(Expiry::After(Duration::from_micros(9)));
            t.put(reference, b"k", b"v", expires_at).expect("puts");
            put(t, reference, b"stays", b"v");
        });
        assert!(bed.reader(&table, 9).get(b"k").expect("reads").is_some());
        assert_eq!(bed.reader(&table, 10).get(b"k"), Ok(None));
        assert_eq!(bed.keys(&table, 10, &ScanRange::default()), ["stays"]);
        bed.write(10, |t| assert_eq!(t.delete(reference, b"k"), Ok(false)));
    }
}

#[test]
fn the_space_of_expired_rows_comes_back() {
    let bed = beds().pop().expect("the engine on disk");
    let table = plain().to_ref();
    for chunk in 0..16_u32 {
        bed.write(1, |t| {
            for row in 0..64_u32 {
                let value: Vec<u8> =
                    (0..16_384_u32).map(|i| ((i * 31 + row * 7 + chunk) % 251) as u8).collect();
                let key = (chunk * 64 + row).to_be_bytes();
                t.put(table, &key, &value, Some(at(60_000_000))).expect("puts");
            }
        });
    }
    bed.engine.flush().expect("flushes");
    let before = bed.shard.usage().disk_bytes;
    assert!(!bed.shard.is_worth_reclaiming(at(60_000_000)));
    let later = at(300_000_000);
    assert!(bed.shard.is_worth_reclaiming(later));
    bed.shard.advance_horizon(later);
    bed.shard.compact(None);
    let after = bed.shard.usage().disk_bytes;
    assert!(after < before / 100, "{before} bytes before, {after} after");
    assert!(!bed.shard.is_worth_reclaiming(later));
}

#[test]
fn the_space_of_a_deleted_range_comes_back() {
    let bed = beds().pop().expect("the engine on disk");
    let table = plain().to_ref();
    for row in 0..1_500_u32 {
        bed.write(1, |t| {
            let value: Vec<u8> =
                (0..16_384_u32).map(|i| ((i * 31 + row * 7) % 251) as u8).collect();
            put(t, table, &row.to_be_bytes(), &value);
        });
    }
    bed.engine.flush().expect("flushes");
    let before = bed.shard.usage().disk_bytes;
    assert!(!bed.shard.has_deletions());
    bed.write(2, |t| t.delete_range(table, b"", None).expect("deletes"));
    assert!(bed.shard.has_deletions());
    assert_eq!(bed.shard.is_worth_reclaiming(at(2)), before >= 8 << 20);
    bed.shard.compact(None);
    let after = bed.shard.usage().disk_bytes;
    assert!(after < before / 100, "{before} bytes before, {after} after");
    assert!(!bed.shard.has_deletions() && !bed.shard.is_worth_reclaiming(at(2)));
}

#[test]
fn operands_merge_with_puts_deletes_and_each_other() {
    for bed in beds() {
        let monoid: breccia_monoid::Monoid = "sum:i64".parse().expect("a monoid");
        let five = monoid.parse_operand(b"5").expect("an operand");
        let table = table(9, TableKind::Monoid(monoid));
        let reference = table.to_ref();
        let merge = |t: &mut Transaction<'_>, times: usize| {
            for _ in 0..times {
                t.merge(reference, b"k", &five, None).expect("merges");
            }
        };
        let expect = |fives: usize| {
            let state = bed.reader(&table, 99).get(b"k").expect("reads").expect("a row").value;
            let wanted = breccia_monoid::merge_all(vec![five.as_slice(); fives]).expect("merges");
            assert_eq!(state, wanted);
        };
        bed.write(1, |t| merge(t, 2));
        expect(2);
        bed.write(2, |t| merge(t, 1));
        bed.engine.flush().expect("flushes");
        bed.shard.compact(None);
        expect(3);
        bed.write(3, |t| {
            put(t, reference, b"k", &five);
            merge(t, 1);
        });
        expect(2);
        bed.write(4, |t| {
            assert_eq!(t.delete(reference, b"k"), Ok(true));
            merge(t, 1);
        });
        expect(1);
    }
}

#[test]
fn an_operand_after_the_expiry_starts_anew() {
    for bed in beds() {
        let monoid: breccia_monoid::Monoid = "count".parse().expect("a monoid");
        let one = monoid.parse_operand(b"1").expect("an operand");
        let table = table(9, TableKind::Monoid(monoid));
        let merge = |stamp: i64, expires_at: i64| {
            bed.write(stamp, |t| {
                t.merge(table.to_ref(), b"k", &one, Some(at(expires_at))).expect("merges");
            });
        };
        merge(1, 10);
        merge(5, 15);
        let count =
            |now: i64| bed.reader(&table, now).get(b"k").expect("reads").map(|row| row.value);
        let two = breccia_monoid::merge_all([one.as_slice(), &one]).expect("merges");
        assert_eq!(count(14), Some(two.into()));
        merge(15, 25);
        assert_eq!(count(24), Some(one.clone().into()));
        assert_eq!(count(25), None);
    }
}

#[test]
fn a_snapshot_and_an_open_cursor_do_not_see_later_writes() {
    for bed in beds() {
        let table = plain();
        bed.write(1, |t| put(t, table.to_ref(), b"a", b"old"));
        let snapshot = bed.shard.snapshot();
        let mut rows = bed.reader(&table, 5).rows(&ScanRange::default());
        bed.write(2, |t| {
            put(t, table.to_ref(), b"a", b"new");
            put(t, table.to_ref(), b"b", b"new");
        });
        let old = TableReader::new(snapshot.as_ref(), table.view(), at(5));
        assert_eq!(old.get(b"a").expect("reads").expect("a row").value, "old");
        assert_eq!(old.count(), Ok(1));
        assert_eq!(rows.next().expect("a row").expect("reads").value, "old");
        assert!(rows.next().is_none());
        assert_eq!(bed.reader(&table, 5).count(), Ok(2));
    }
}

#[test]
fn many_keys_are_read_together_in_their_order() {
    for bed in beds() {
        bed.write(1, |t| put(t, plain().to_ref(), b"a", b"1"));
        let raw = |name: &[u8]| key::row(plain().id, name);
        let found = bed.shard.multi_get(&[raw(b"x"), raw(b"a"), raw(b"a")]).expect("reads");
        let present: Vec<_> = found.iter().map(Option::is_some).collect();
        assert_eq!(present, [false, true, true]);
        assert!(matches!(bed.shard.get_cached(&raw(b"a")), Ok(Lookup::Found(_))));
        assert_eq!(bed.shard.get_cached(&raw(b"x")), Ok(Lookup::Absent));
    }
}

#[test]
fn cursors_keep_within_their_bounds_in_both_directions() {
    for bed in beds() {
        let mut batch = ShardBatch::default();
        for name in [b"a", b"b", b"c", b"d"] {
            batch.put(name.to_vec(), b"v".to_vec());
        }
        bed.engine.write(&[(SHARD, batch)], Durability::Buffered).expect("writes");
        let bounds = Bounds { lower: b"b".to_vec(), upper: b"d".to_vec() };
        let mut cursor = bed.shard.cursor(bounds);
        let key = |cursor: &dyn breccia_store::Cursor| cursor.item().map(|(key, _)| key.to_vec());
        cursor.seek(b"a");
        assert_eq!(key(cursor.as_ref()), Some(b"b".to_vec()));
        cursor.seek_to_last();
        assert_eq!(key(cursor.as_ref()), Some(b"c".to_vec()));
        cursor.next();
        assert_eq!(key(cursor.as_ref()), None);
        cursor.seek_for_prev(b"zzz");
        assert_eq!(key(cursor.as_ref()), Some(b"c".to_vec()));
        cursor.seek_for_prev(b"a");
        assert_eq!(key(cursor.as_ref()), None);
        assert_eq!(cursor.status(), Ok(()));
    }
}

#[test]
fn a_second_process_on_the_same_directory_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let open = || RocksEngine::open(directory.path(), &options(), Arc::default());
    let first = open().expect("opens");
    let files = || {
        let files = std::fs::read_dir(directory.path()).expect("lists");
        files.map(|file| file.expect("lists").file_name()).collect::<BTreeSet<_>>()
    };
    let before = files();
    assert!(matches!(open(), Err(StoreError::InUse { .. })));
    // Not even RocksDB's own log was moved away.
    assert_eq!(files(), before);
    drop(first);
    open().expect("opens again");
}

#[test]
fn what_was_written_is_there_when_the_engine_is_opened_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let table = plain();
    {
        let engine =
            RocksEngine::open(directory.path(), &options(), Arc::default()).expect("opens");
        let shard = engine.open_shard(SHARD).expect("a shard");
        let mut transaction = Transaction::new(shard.as_ref());
        put(&mut transaction, table.to_ref(), b"k", b"v");
        let batches = [(SHARD, transaction.into_batch())];
        engine.write(&batches, Durability::Synced).expect("writes");
        engine.put_node_record("who", b"me").expect("writes");
    }
    let engine = RocksEngine::open(directory.path(), &options(), Arc::default()).expect("opens");
    assert_eq!(engine.shards(), [SHARD]);
    assert_eq!(engine.get_node_record("who"), Ok(Some("me".into())));
    let shard = engine.open_shard(SHARD).expect("a shard");
    let row = TableReader::new(shard.as_ref(), table.view(), at(1)).get(b"k").expect("reads");
    assert_eq!(row.expect("a row").value, "v");
}
