//! Random writes, flushes, compactions, snapshots, exports and imports on both engines
//! against a naive model: every generation reads as the model says.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::ops::Range;

use breccia_store::batch::Pending;
use breccia_store::{Bounds, Durability, ShardBatch, row};
use bytes::Bytes;
use proptest::prelude::*;

mod bed;

use bed::{Bed, SHARD, beds, contents, raw};

#[derive(Debug, Clone)]
enum Step {
    Put(u8, i8),
    Delete(u8),
    DeleteRange(Range<u8>),
    Merge(u8, i8),
    Flush,
    Compact,
    /// Deletes a range and compacts under a snapshot, for the sake of which the deletion
    /// sinks to the last level with all that it hides.
    Bury(Range<u8>),
    /// Exports the shard and imports it in its own place.
    Replace,
    /// Exports the shard and goes on in another database.
    Move,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..24_u8;
    prop_oneof![
        8 => (key(), any::<i8>()).prop_map(|(key, value)| Step::Put(key, value)),
        3 => key().prop_map(Step::Delete),
        2 => (key(), 1..12_u8).prop_map(|(from, count)| Step::DeleteRange(from..from + count)),
        4 => (key(), any::<i8>()).prop_map(|(key, value)| Step::Merge(key, value)),
        6 => Just(Step::Flush),
        1 => Just(Step::Compact),
        1 => (key(), 1..12_u8).prop_map(|(from, count)| Step::Bury(from..from + count)),
        1 => Just(Step::Replace),
        1 => Just(Step::Move),
        1 => Just(Step::Crash),
    ]
}

fn state(value: i8) -> Vec<u8> {
    let monoid: breccia_monoid::Monoid = "sum:i64".parse().expect("a monoid");
    let operand = monoid.parse_operand(value.to_string().as_bytes());
    row::encode(&operand.expect("an operand"), None)
}

fn merged(before: Option<&Vec<u8>>, operand: &[u8]) -> Vec<u8> {
    let states = before.map(Vec::as_slice).into_iter().chain([operand]);
    let merged = breccia_monoid::merge_all(states.map(|state| &state[1..])).expect("merges");
    row::encode(&merged, None)
}

fn raw_key(key: u8) -> Vec<u8> {
    raw(&format!("{key:03}"))
}

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// What is written, and what would be left by a crash.
#[derive(Default)]
struct Model {
    rows: Rows,
    durable: Rows,
}

impl Model {
    fn apply(&mut self, step: &Step) {
        match step {
            Step::Put(key, value) => drop(self.rows.insert(raw_key(*key), state(*value))),
            Step::Delete(key) => drop(self.rows.remove(&raw_key(*key))),
            Step::DeleteRange(keys) => self.delete(keys),
            Step::Merge(key, value) => {
                let merged = merged(self.rows.get(&raw_key(*key)), &state(*value));
                self.rows.insert(raw_key(*key), merged);
            }
            Step::Crash => self.rows.clone_from(&self.durable),
            Step::Bury(keys) => {
                self.delete(keys);
                self.durable.clone_from(&self.rows);
            }
            Step::Flush | Step::Compact | Step::Replace | Step::Move => {
                self.durable.clone_from(&self.rows);
            }
        }
    }

    fn delete(&mut self, keys: &Range<u8>) {
        self.rows.retain(|key, _| *key < raw_key(keys.start) || *key >= raw_key(keys.end));
    }
}

fn bounds(keys: &Range<u8>) -> Bounds {
    Bounds { lower: raw_key(keys.start), upper: raw_key(keys.end) }
}

fn carry_out(bed: Bed, step: &Step) -> Bed {
    let shard = bed.shard(SHARD);
    let write = |edit: &dyn Fn(&mut ShardBatch)| bed.write(SHARD, Durability::Volatile, edit);
    match step {
        Step::Put(key, value) => write(&|batch| batch.put(raw_key(*key), state(*value))),
        Step::Delete(key) => write(&|batch| batch.delete(raw_key(*key))),
        Step::DeleteRange(keys) => write(&|batch| batch.delete_range(bounds(keys))),
        Step::Merge(key, value) => {
            write(&|batch| batch.set(raw_key(*key), Pending::Merge(vec![state(*value)])));
        }
        Step::Flush => shard.flush().expect("flushes"),
        Step::Compact => {
            shard.flush().expect("flushes");
            shard.compact(None);
        }
        Step::Bury(keys) => {
            let snapshot = shard.snapshot();
            let before = contents(snapshot.as_ref());
            write(&|batch| batch.delete_range(bounds(keys)));
            shard.flush().expect("flushes");
            shard.compact(None);
            assert_eq!(contents(snapshot.as_ref()), before);
        }
        Step::Replace => drop(bed.import(&bed.export(SHARD))),
        Step::Move => {
            let other = bed.another();
            drop(other.import(&bed.export(SHARD)));
            return other;
        }
        Step::Crash => {
            drop(shard);
            return bed.crash();
        }
    }
    bed
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn every_generation_reads_as_the_model_says(steps in prop::collection::vec(step(), 1..80)) {
        for mut bed in beds() {
            drop(bed.shard(SHARD));
            let mut model = Model::default();
            for step in &steps {
                model.apply(step);
                bed = carry_out(bed, step);
                let rows = model.rows.clone().into_iter();
                let wanted: Vec<_> = rows.map(|(key, value)| (key, Bytes::from(value))).collect();
                prop_assert_eq!(contents(bed.shard(SHARD).as_ref()), wanted, "after {:?}", step);
            }
        }
    }
}
