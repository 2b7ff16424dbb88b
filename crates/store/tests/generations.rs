//! Exports, imports and removals of shards, on both engines.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::fs;

use breccia_store::batch::Pending;
use breccia_store::{Durability, ExportFault, ShardBatch, StoreError};

mod bed;

use bed::{Bed, OTHER, SHARD, beds, contents, range, raw, stored};

/// What becomes of a file's bytes; `None` if the file goes.
type Damage = fn(Vec<u8>) -> Option<Vec<u8>>;

const MANIFEST: &str = "export.manifest";

fn operand(number: &[u8]) -> Vec<u8> {
    let monoid: breccia_monoid::Monoid = "sum:i64".parse().expect("a monoid");
    breccia_store::row::encode(&monoid.parse_operand(number).expect("an operand"), None)
}

fn merge(batch: &mut ShardBatch, key: &str, number: &[u8]) {
    batch.set(raw(key), Pending::Merge(vec![operand(number)]));
}

/// Twelve layers, each in a file of its own: every layer overwrites, deletes, deletes ranges
/// and merges over the ones below it.
fn fill(bed: &Bed) {
    let shard = bed.shard(SHARD);
    for layer in 0..12_u32 {
        bed.write(SHARD, Durability::Volatile, |batch| {
            if layer % 3 == 1 {
                let from = format!("row{:03}", layer * 7);
                batch.delete_range(range(&from, &format!("row{:03}", layer * 7 + 20)));
            }
            for row in (0..200).filter(|row| (row + layer) % 4 != 0) {
                let key = format!("row{row:03}");
                match (row * 31 + layer * 17) % 5 {
                    0 => batch.delete(raw(&key)),
                    _ => batch.put(raw(&key), stored(&format!("{key} of layer {layer}"))),
                }
            }
            for row in 0..10 {
                match (row + layer) % 7 {
                    0 => batch.delete(raw(&format!("sum{row}"))),
                    1 => batch.put(raw(&format!("sum{row}")), operand(b"100")),
                    _ => merge(batch, &format!("sum{row}"), b"3"),
                }
            }
        });
        if layer < 11 {
            shard.flush().expect("flushes");
        }
    }
}

#[test]
fn an_import_reads_as_what_was_exported_and_so_does_an_import_of_that() {
    for bed in beds() {
        fill(&bed);
        let wanted = contents(bed.shard(SHARD).as_ref());
        assert!(wanted.len() > 100);
        let other = bed.another();
        assert_eq!(contents(other.import(&bed.export(SHARD)).as_ref()), wanted);
        // New writes go over what was imported, whatever sequence numbers the two have.
        for bed in [&bed, &other] {
            bed.write(SHARD, Durability::Volatile, |batch| {
                batch.delete_range(range("row010", "row050"));
                batch.put(raw("row020"), stored("new"));
                batch.delete(raw("row100"));
                merge(batch, "sum3", b"4");
            });
        }
        let wanted = contents(bed.shard(SHARD).as_ref());
        assert_eq!(contents(other.shard(SHARD).as_ref()), wanted);
        let third = bed.another();
        assert_eq!(contents(third.import(&other.export(SHARD)).as_ref()), wanted);
        other.shard(SHARD).compact(None);
        assert_eq!(contents(other.shard(SHARD).as_ref()), wanted);
        let imported = third.import(&other.export(SHARD));
        assert_eq!(contents(imported.as_ref()), wanted);
        imported.compact(None);
        assert_eq!(contents(imported.as_ref()), wanted);
        for bed in [other.crash(), third.crash().reopen()] {
            assert_eq!(contents(bed.shard(SHARD).as_ref()), wanted);
        }
    }
}

#[test]
fn an_empty_shard_is_exported_and_imported() {
    for bed in beds() {
        drop(bed.shard(SHARD));
        let empty = bed.export(SHARD);
        bed.put(Durability::Volatile, "k", "v");
        let imported = bed.import(&empty);
        assert!(contents(imported.as_ref()).is_empty());
        bed.put(Durability::Volatile, "l", "w");
        imported.flush().expect("flushes");
        assert_eq!(contents(bed.crash().shard(SHARD).as_ref()).len(), 1);
    }
}

#[test]
fn what_is_written_after_an_export_is_not_in_it() {
    for bed in beds() {
        drop(bed.shard(SHARD));
        bed.put(Durability::Volatile, "k", "old");
        let export = bed.export(SHARD);
        bed.put(Durability::Volatile, "k", "new");
        bed.shard(SHARD).compact(None);
        bed.import(&export);
        assert_eq!(bed.get(SHARD, "k").as_deref(), Some("old"));
    }
}

#[test]
fn who_reads_an_old_generation_goes_on_reading_it() {
    for bed in beds() {
        fill(&bed);
        let old = bed.shard(SHARD);
        let wanted = contents(old.as_ref());
        let snapshot = old.snapshot();
        let all = range("", "zzz");
        let mut cursor = old.cursor(all);
        cursor.seek_to_first();
        let empty = bed.another();
        drop(empty.shard(SHARD));
        let new = bed.import(&empty.export(SHARD));
        bed.put(Durability::Synced, "only", "new");
        assert_eq!(contents(new.as_ref()).len(), 1);
        assert_eq!(contents(old.as_ref()), wanted);
        assert_eq!(contents(snapshot.as_ref()), wanted);
        for (key, value) in &wanted {
            assert_eq!(cursor.item(), Some((key.as_slice(), value.as_ref())));
            cursor.next();
        }
        assert_eq!((cursor.item(), cursor.status()), (None, Ok(())));
        drop((cursor, snapshot));
        drop(old);
        assert_eq!(contents(bed.crash().shard(SHARD).as_ref()).len(), 1);
    }
}

#[test]
fn a_file_that_is_damaged_cut_or_missing_is_refused_by_name() {
    for bed in beds() {
        fill(&bed);
        let intact = bed.export(SHARD);
        let other = bed.another();
        drop(other.shard(SHARD));
        other.put(Durability::Volatile, "k", "old");
        for name in intact.files() {
            let damages: [Damage; 4] = [
                |_| None,
                |bytes| Some(bytes[..bytes.len() - 1].to_vec()),
                |bytes| Some([bytes, vec![0]].concat()),
                |mut bytes| {
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 1;
                    Some(bytes)
                },
            ];
            for damage in damages {
                let copy = tempfile::tempdir().expect("a directory");
                bed::copy_directory(&intact.path, copy.path());
                let path = copy.path().join(&name);
                match damage(fs::read(&path).expect("reads")) {
                    Some(bytes) => fs::write(&path, bytes).expect("writes"),
                    None => fs::remove_file(&path).expect("removes"),
                }
                let refused = other.engine().import_shard(SHARD, copy.path()).err();
                assert!(
                    matches!(&refused, Some(StoreError::BadExport { file, .. }) if *file == name),
                    "{name}: {refused:?}"
                );
                assert_eq!(other.get(SHARD, "k").as_deref(), Some("old"));
            }
        }
        other.shard(SHARD).flush().expect("flushes");
        let other = other.crash();
        assert_eq!(other.get(SHARD, "k").as_deref(), Some("old"));
        other.import(&intact);
        assert_eq!(other.get(SHARD, "k"), None);
    }
}

#[test]
fn an_export_of_another_shard_or_engine_or_of_nothing_is_refused() {
    let [memory, rocks] = beds();
    let refused = |bed: &Bed, shard, path: &std::path::Path| {
        let error = bed.engine().import_shard(shard, path).err();
        assert!(bed.engine().shards().iter().all(|present| *present == SHARD));
        match error.expect("a refusal") {
            StoreError::BadExport { file, fault } if file == MANIFEST => fault,
            other => unreachable!("{other:?}"),
        }
    };
    for (bed, stranger) in [(&memory, &rocks), (&rocks, &memory)] {
        drop(bed.shard(SHARD));
        let export = bed.export(SHARD);
        assert_eq!(refused(stranger, SHARD, &export.path), ExportFault::OtherEngine);
        assert_eq!(refused(bed, OTHER, &export.path), ExportFault::OtherShard { shard: SHARD });
        let nothing = export.path.join("nothing");
        assert_eq!(refused(bed, SHARD, &nothing), ExportFault::Missing);
    }
}

#[test]
fn an_export_does_not_touch_what_is_there_and_leaves_nothing_when_it_fails() {
    for bed in beds() {
        drop(bed.shard(SHARD));
        bed.put(Durability::Volatile, "k", "v");
        let export = bed.export(SHARD);
        let files = export.files();
        assert!(bed.shard(SHARD).export(&export.path).is_err());
        assert_eq!(export.files(), files);
        let nowhere = export.path.join("no").join("where");
        assert!(bed.shard(SHARD).export(&nowhere).is_err());
        assert_eq!(export.files(), files);
        bed.import(&export);
        bed.import(&export);
        assert_eq!(export.files(), files);
        assert_eq!(bed.get(SHARD, "k").as_deref(), Some("v"));
    }
}

#[test]
fn a_removed_shard_stays_away_and_may_come_back_empty_or_imported() {
    for bed in beds() {
        drop(bed.shard(OTHER));
        bed.engine().remove_shard(SHARD).expect("nothing to remove");
        fill(&bed);
        let old = bed.shard(SHARD);
        let wanted = contents(old.as_ref());
        let export = bed.export(SHARD);
        bed.engine().remove_shard(SHARD).expect("removes");
        bed.engine().remove_shard(SHARD).expect("nothing to remove");
        assert_eq!(bed.engine().shards(), [OTHER]);
        let batches = [(SHARD, ShardBatch::default())];
        let refused = bed.engine().write(&batches, Durability::Volatile);
        assert_eq!(refused, Err(StoreError::NoSuchShard { shard: SHARD }));
        assert_eq!(contents(old.as_ref()), wanted);
        drop(old);
        let bed = bed.crash();
        assert_eq!(bed.engine().shards(), [OTHER]);
        assert!(contents(bed.shard(SHARD).as_ref()).is_empty());
        bed.put(Durability::Synced, "k", "v");
        let bed = bed.crash().reopen();
        assert_eq!(bed.engine().shards(), [SHARD, OTHER]);
        assert_eq!(bed.get(SHARD, "k").as_deref(), Some("v"));
        bed.engine().remove_shard(SHARD).expect("removes");
        bed.import(&export);
        assert_eq!(contents(bed.crash().shard(SHARD).as_ref()), wanted);
    }
}

#[test]
fn an_import_is_current_after_a_crash_and_volatile_writes_to_it_are_lost_alone() {
    for bed in beds() {
        fill(&bed);
        let export = bed.export(SHARD);
        let wanted = contents(bed.shard(SHARD).as_ref());
        let other = bed.another();
        drop(other.shard(SHARD));
        other.put(Durability::Synced, "old", "generation");
        other.import(&export);
        other.put(Durability::Volatile, "k", "lost");
        let other = other.crash();
        assert_eq!(contents(other.shard(SHARD).as_ref()), wanted);
        let shard = other.shard(SHARD);
        assert_eq!(shard.get_durable(&wanted[0].0).expect("reads").as_ref(), Some(&wanted[0].1));
    }
}
