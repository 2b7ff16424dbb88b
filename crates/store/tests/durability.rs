//! What a crash may take away, on both engines.

#![allow(clippy::expect_used, reason = "tests fail by panicking")]

use breccia_store::{Durability, ShardBatch, row};

mod bed;

use bed::{Bed, OTHER, SHARD, beds, contents, raw, stored, text};

#[test]
fn a_crash_takes_volatile_writes_away_up_to_the_last_flush() {
    for bed in beds() {
        let shard = bed.shard(SHARD);
        bed.put(Durability::Volatile, "a", "flushed");
        bed.put(Durability::Volatile, "b", "flushed");
        shard.flush().expect("flushes");
        bed.put(Durability::Volatile, "a", "lost");
        bed.put(Durability::Volatile, "c", "lost");
        bed.write(SHARD, Durability::Volatile, |batch| {
            batch.delete_range(bed::range("b", "c"));
        });
        assert_eq!(bed.get(SHARD, "a").as_deref(), Some("lost"));
        assert_eq!(bed.get(SHARD, "b"), None);
        let bed = bed.crash();
        assert_eq!(bed.get(SHARD, "a").as_deref(), Some("flushed"));
        assert_eq!(bed.get(SHARD, "b").as_deref(), Some("flushed"));
        assert_eq!(bed.get(SHARD, "c"), None);
    }
}

#[test]
fn a_durable_read_shows_what_the_last_flush_left() {
    for bed in beds() {
        let shard = bed.shard(SHARD);
        let durable = |key| shard.get_durable(&raw(key)).expect("reads").map(text);
        bed.put(Durability::Volatile, "a", "1");
        assert_eq!(durable("a"), None);
        shard.flush().expect("flushes");
        assert_eq!(durable("a").as_deref(), Some("1"));
        bed.put(Durability::Volatile, "a", "2");
        bed.put(Durability::Volatile, "a", "3");
        assert_eq!(durable("a").as_deref(), Some("1"));
        bed.write(SHARD, Durability::Volatile, |batch| batch.delete(raw("a")));
        assert_eq!(durable("a").as_deref(), Some("1"));
        shard.flush().expect("flushes");
        assert_eq!(durable("a"), None);
        bed.put(Durability::Volatile, "a", "4");
        assert_eq!(durable("a"), None);
        assert_eq!(bed.get(SHARD, "a").as_deref(), Some("4"));
    }
}

#[test]
fn shards_are_flushed_one_by_one() {
    for bed in beds() {
        let (shard, _other) = (bed.shard(SHARD), bed.shard(OTHER));
        let mut batch = ShardBatch::default();
        batch.put(raw("k"), stored("v"));
        let batches = [(SHARD, batch.clone()), (OTHER, batch)];
        bed.engine().write(&batches, Durability::Volatile).expect("writes");
        shard.flush().expect("flushes");
        let bed = bed.crash();
        assert_eq!(bed.get(SHARD, "k").as_deref(), Some("v"));
        assert_eq!(bed.get(OTHER, "k"), None);
        bed.put(Durability::Volatile, "k", "w");
        bed.engine().flush().expect("flushes");
        assert_eq!(bed.crash().get(SHARD, "k").as_deref(), Some("w"));
    }
}

#[test]
fn a_logged_write_takes_the_volatile_writes_before_it_along() {
    for durability in [Durability::Buffered, Durability::Synced] {
        for bed in beds() {
            drop(bed.shard(SHARD));
            bed.put(durability, "a", "1");
            bed.put(Durability::Volatile, "b", "2");
            bed.put(durability, "c", "3");
            bed.put(Durability::Volatile, "d", "lost");
            let bed = bed.crash();
            let keys: Vec<_> =
                contents(bed.shard(SHARD).as_ref()).into_iter().map(|(key, _)| key).collect();
            assert_eq!(keys, [raw("a"), raw("b"), raw("c")]);
        }
    }
}

#[test]
fn records_of_the_node_survive_between_volatile_writes_that_do_not() {
    for bed in beds() {
        drop(bed.shard(SHARD));
        for round in 0..3_u8 {
            bed.put(Durability::Volatile, "k", "lost");
            bed.engine().put_node_record("round", &[round]).expect("writes");
        }
        bed.put(Durability::Volatile, "k", "lost");
        let bed = bed.crash();
        let record = bed.engine().get_node_record("round").expect("reads");
        assert_eq!(record.as_deref(), Some(&[2][..]));
        assert_eq!(bed.get(SHARD, "k"), None);
        // And once more, over sequence numbers that the lost writes had.
        bed.put(Durability::Volatile, "k", "kept");
        bed.shard(SHARD).flush().expect("flushes");
        bed.engine().put_node_record("round", &[9]).expect("writes");
        let bed = bed.crash();
        assert_eq!(bed.get(SHARD, "k").as_deref(), Some("kept"));
        let record = bed.engine().get_node_record("round").expect("reads");
        assert_eq!(record.as_deref(), Some(&[9][..]));
    }
}

#[test]
fn an_orderly_end_loses_nothing() {
    for bed in beds() {
        drop(bed.shard(SHARD));
        bed.put(Durability::Volatile, "k", "v");
        assert_eq!(bed.reopen().get(SHARD, "k").as_deref(), Some("v"));
    }
}

/// Each write holds a row and its own number, as an applied entry holds its index. Write
/// buffers fill and are flushed by themselves, at moments that nobody chose.
#[test]
fn after_a_crash_a_shard_is_a_prefix_of_what_was_written_to_it() {
    const WRITES: u32 = 1_200;
    for bed in beds() {
        for shard in [SHARD, OTHER] {
            drop(bed.shard(shard));
        }
        for number in 1..=WRITES {
            let filler = number.to_be_bytes().repeat(4 << 10);
            let filler = row::encode(&filler, None);
            for shard in [SHARD, OTHER].into_iter().filter(|s| *s == SHARD || number % 2 == 0) {
                bed.write(shard, Durability::Volatile, |batch| {
                    batch.put(raw(&format!("row{number:05}")), filler.clone());
                    batch.put(raw("applied"), stored(&number.to_string()));
                });
            }
        }
        let is_disk = matches!(bed, Bed::Rocks { .. });
        let bed = bed.crash();
        for (shard, step) in [(SHARD, 1), (OTHER, 2)] {
            let applied = bed.get(shard, "applied").map_or(0, |n| n.parse().expect("a number"));
            assert!(!is_disk || applied > 0, "no write buffer of {shard} was ever flushed");
            let rows = contents(bed.shard(shard).as_ref());
            let found: Vec<_> = rows.into_iter().map(|(key, _)| key).collect();
            let wanted: Vec<_> = (1..=applied)
                .filter(|number: &u32| number.is_multiple_of(step))
                .map(|number| raw(&format!("row{number:05}")))
                .collect();
            let (first, rest) = found.split_first().map_or((None, &[][..]), |(f, r)| (Some(f), r));
            assert_eq!(first, (applied > 0).then_some(&raw("applied")));
            assert_eq!(rest, wanted);
        }
    }
}
