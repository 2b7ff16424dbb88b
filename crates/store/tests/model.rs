//! Random commands against both engines and against a naive model: whatever is written,
//! flushed, compacted or expired, all three show the same rows.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use breccia_store::{
    Durability, Engine, IfMissing, MemoryEngine, NewVersion, RetentionRules, RocksEngine,
    RocksOptions, ScanRange, ShardEngine, TableReader, Transaction,
};
use breccia_types::kv::Direction;
use breccia_types::table::TableRef;
use breccia_types::{Retention, ShardId, Table, TableId, TableKind, TableOptions, Timestamp};
use bytes::Bytes;
use proptest::prelude::*;

const SHARD: ShardId = ShardId::new(0);

#[derive(Debug, Clone)]
enum Step {
    Put {
        key: Bytes,
        value: u8,
        ttl: Option<u8>,
    },
    Delete {
        key: Bytes,
    },
    DeleteRange {
        from: Bytes,
        to: Option<Bytes>,
    },
    PutVersion {
        key: Bytes,
        instant: u8,
        value: Option<u8>,
    },
    Flush,
    Compact,
    /// Ends the batch that is being gathered and lets so much time pass.
    Write {
        micros: u8,
    },
}

fn key() -> impl Strategy<Value = Bytes> {
    let byte = prop_oneof![Just(0u8), Just(b'a'), Just(0xff)];
    prop::collection::vec(byte, 0..3).prop_map(Bytes::from)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (key(), any::<u8>(), prop::option::of(1..20u8))
            .prop_map(|(key, value, ttl)| Step::Put { key, value, ttl }),
        2 => key().prop_map(|key| Step::Delete { key }),
        1 => (key(), prop::option::of(key())).prop_map(|(from, to)| Step::DeleteRange { from, to }),
        4 => (key(), 0..40u8, prop::option::of(any::<u8>()))
            .prop_map(|(key, instant, value)| Step::PutVersion { key, instant, value }),
        1 => Just(Step::Flush),
        1 => Just(Step::Compact),
        4 => (0..10u8).prop_map(|micros| Step::Write { micros }),
    ]
}

fn plain() -> Table {
    Table { id: TableId::new(20), name: "plain".into(), options: TableOptions::default() }
}

fn versioned(retention: Retention) -> Table {
    let options = TableOptions { kind: TableKind::Versioned, retention, ..TableOptions::default() };
    Table { id: TableId::new(21), name: "versioned".into(), options }
}

/// What the rows should be, kept as plainly as possible.
#[derive(Default)]
struct Model {
    rows: BTreeMap<Bytes, (u8, Option<i64>)>,
    versions: BTreeMap<Bytes, BTreeMap<i64, Option<u8>>>,
}

impl Model {
    fn rows(&self, now: i64) -> Vec<(Bytes, u8)> {
        let alive = self.rows.iter().filter(|(_, (_, expiry))| expiry.is_none_or(|at| at > now));
        alive.map(|(key, (value, _))| (key.clone(), *value)).collect()
    }

    fn history(&self, key: &Bytes, retention: Retention, now: i64) -> Vec<(i64, Option<u8>)> {
        let keep = retention.keep_versions.map_or(usize::MAX, |keep| keep as usize);
        let keep_for = retention.keep_for.map(|d| i64::try_from(d.as_micros()).expect("small"));
        let mut shown: Vec<(i64, Option<u8>)> = Vec::new();
        for (instant, value) in self.versions.get(key).into_iter().flatten().rev() {
            let outlived = match (keep_for, shown.last()) {
                (Some(keep_for), Some((newer, _))) => newer + keep_for <= now,
                _ => false,
            };
            if shown.len() >= keep || outlived {
                break;
            }
            shown.push((*instant, *value));
        }
        shown
    }
}

fn upper(to: &Option<Bytes>, key: &Bytes) -> bool {
    to.as_ref().is_none_or(|to| key < to)
}

struct Bed {
    engine: Arc<dyn Engine>,
    shard: Arc<dyn ShardEngine>,
}

impl Bed {
    fn new(engine: Arc<dyn Engine>) -> Self {
        let shard = engine.open_shard(SHARD).expect("a shard");
        Self { engine, shard }
    }

    /// Writes a batch; just before, commands must see what the model shows.
    fn write(&self, model: &Model, now: i64, steps: &[Step]) {
        let (plain, versioned) = (plain().to_ref(), versioned(Retention::default()).to_ref());
        let mut transaction = Transaction::new(self.shard.as_ref());
        transaction.begin(at(now));
        for step in steps {
            let t = &mut transaction;
            match step {
                Step::Put { key, value, ttl } => {
                    let expires_at = ttl.map(|ttl| at(now + i64::from(ttl)));
                    t.put(plain, key, &[*value], expires_at).expect("puts");
                }
                Step::Delete { key } => drop(t.delete(plain, key).expect("deletes")),
                Step::DeleteRange { from, to } => {
                    t.delete_range(plain, from, to.as_deref()).expect("deletes");
                }
                Step::PutVersion { key, instant, value } => {
                    let value = value.map(|value| [value]);
                    let value = value.as_ref().map(<[u8; 1]>::as_slice);
                    let instant = at(i64::from(*instant));
                    t.put_version(versioned.id, key, &NewVersion { instant, value, ttl: None });
                }
                Step::Flush | Step::Compact | Step::Write { .. } => {}
            }
        }
        let everything = model.rows(now);
        assert_eq!(visited(&transaction, plain, &[], None), everything);
        for (after, _) in &everything {
            let prefix = after.get(..1).unwrap_or_default();
            let wanted = |key: &Bytes| key.starts_with(prefix) && key > after;
            let wanted: Vec<_> =
                everything.iter().filter(|(key, _)| wanted(key)).cloned().collect();
            assert_eq!(visited(&transaction, plain, prefix, Some(after)), wanted);
        }
        let newest = |versions: &BTreeMap<i64, Option<u8>>| versions.values().next_back().copied();
        let versions = model.versions.iter();
        let newest = versions.filter_map(|(key, v)| newest(v).flatten().map(|v| (key.clone(), v)));
        assert_eq!(visited(&transaction, versioned, &[], None), newest.collect::<Vec<_>>());
        let batches = [(SHARD, transaction.into_batch())];
        self.engine.write(&batches, Durability::Buffered).expect("writes");
        self.shard.advance_horizon(at(now));
    }

    fn compare(&self, model: &Model, retention: Retention, now: i64) {
        let plain = plain();
        let reader = TableReader::new(self.shard.as_ref(), plain.view(), at(now));
        for direction in [Direction::Forward, Direction::Reverse] {
            let range = ScanRange { direction, ..ScanRange::default() };
            let mut found: Vec<_> = reader
                .rows(&range)
                .map(|row| row.expect("a row"))
                .map(|row| (row.key, row.value[0]))
                .collect();
            if direction == Direction::Reverse {
                found.reverse();
            }
            assert_eq!(found, model.rows(now));
        }
        let versioned = versioned(retention);
        let reader = TableReader::new(self.shard.as_ref(), versioned.view(), at(now));
        let mut latest = Vec::new();
        for key in model.versions.keys() {
            let wanted = model.history(key, retention, now);
            let found = reader.history(key, Timestamp::MIN, Timestamp::MAX, 1_000).expect("reads");
            let found: Vec<_> = found
                .iter()
                .map(|v| (v.version.as_micros(), v.value.as_ref().map(|value| value[0])))
                .collect();
            assert_eq!(found, wanted, "history of {key:?} at {now}");
            for as_of in [0, 10, 25, 40] {
                let wanted = wanted.iter().find(|(instant, _)| *instant <= as_of);
                let found = reader.get_as_of(key, at(as_of)).expect("reads");
                assert_eq!(found.map(|row| row.value[0]), wanted.and_then(|(_, value)| *value));
            }
            if let Some((_, Some(value))) = wanted.first() {
                latest.push((key.clone(), *value));
            }
        }
        let mut shown = Vec::new();
        let visited = reader.visit_versions(&ScanRange::default(), |row| {
            let instant = row.version.expect("an instant").as_micros();
            shown.push((Bytes::copy_from_slice(row.key), instant, row.value[0]));
            ControlFlow::<()>::Continue(())
        });
        visited.expect("visits");
        let all = model.versions.keys().flat_map(|key| {
            let history = model.history(key, retention, now);
            let values = history.into_iter().filter_map(|(at, value)| value.map(|v| (at, v)));
            values.map(|(at, value)| (key.clone(), at, value)).collect::<Vec<_>>()
        });
        assert_eq!(shown, all.collect::<Vec<_>>(), "all versions at {now}");
        for direction in [Direction::Forward, Direction::Reverse] {
            let range = ScanRange { direction, ..ScanRange::default() };
            let rows = reader.rows(&range).map(|row| row.expect("a row"));
            let mut found: Vec<_> = rows.map(|row| (row.key, row.value[0])).collect();
            if direction == Direction::Reverse {
                found.reverse();
            }
            assert_eq!(found, latest);
        }
    }
}

/// The rows that a command sees.
fn visited(
    transaction: &Transaction<'_>,
    table: TableRef,
    prefix: &[u8],
    after: Option<&[u8]>,
) -> Vec<(Bytes, u8)> {
    let mut rows = Vec::new();
    let visited = transaction.visit(table, prefix, after, |key, value| {
        rows.push((Bytes::copy_from_slice(key), value[0]));
        ControlFlow::Continue(())
    });
    visited.expect("visits");
    rows
}

const fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn apply(model: &mut Model, now: i64, step: &Step) {
    match step {
        Step::Put { key, value, ttl } => {
            model.rows.insert(key.clone(), (*value, ttl.map(|ttl| now + i64::from(ttl))));
        }
        Step::Delete { key } => drop(model.rows.remove(key)),
        Step::DeleteRange { from, to } => {
            model.rows.retain(|key, _| !(from <= key && upper(to, key)));
        }
        Step::PutVersion { key, instant, value } => {
            model.versions.entry(key.clone()).or_default().insert(i64::from(*instant), *value);
        }
        Step::Flush | Step::Compact | Step::Write { .. } => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn engines_show_what_a_naive_model_shows(
        steps in prop::collection::vec(step(), 1..60),
        keep_versions in prop::option::of(1..4u32),
        keep_for in prop::option::of(1..30u64),
    ) {
        let retention =
            Retention { keep_versions, keep_for: keep_for.map(Duration::from_micros) };
        let rules = Arc::new(RetentionRules::default());
        rules.replace([(versioned(retention).id, retention)]);
        let directory = tempfile::tempdir().expect("a directory");
        let options = RocksOptions { memory_bytes: 64 << 20, background_jobs: 2, new: IfMissing::Create };
        let rocks = RocksEngine::open(directory.path(), &options, rules).expect("opens");
        let beds = [Bed::new(Arc::new(MemoryEngine::default())), Bed::new(Arc::new(rocks))];
        let mut model = Model::default();
        let (mut now, mut gathered) = (1, Vec::new());
        for step in steps.into_iter().chain([Step::Write { micros: 0 }]) {
            apply(&mut model, now, &step);
            match step {
                Step::Flush => beds.iter().for_each(|bed| bed.engine.flush().expect("flushes")),
                Step::Compact => beds.iter().for_each(|bed| bed.shard.compact(None)),
                Step::Write { micros } => {
                    for bed in &beds {
                        bed.write(&model, now, &gathered);
                        bed.compare(&model, retention, now);
                    }
                    gathered.clear();
                    now += i64::from(micros);
                }
                step => gathered.push(step),
            }
        }
    }
}
