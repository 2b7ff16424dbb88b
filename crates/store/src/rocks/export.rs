//! Exports a shard's files, so that they read the same wherever they are imported.
//!
//! RocksDB's C interface forgets two things that an import wants to know of a file. Its
//! *epoch*, which orders the files of level 0: the import then orders them by sequence
//! number, which is the same here, because no file is ever ingested into a shard. And its
//! *bounds*, which cut range deletions off at the file's edges: the import then takes the
//! widest bounds that the file's contents allow. On level 0, where each file holds its range
//! deletions whole, these are the right ones. On deeper levels a range deletion that spans
//! several files is written to each of them whole, so their bounds would overlap, and it
//! could hide rows of its neighbours. So files are linked only if no file below level 0 holds
//! a range deletion; else the shard's rows are written to new files, which hold nothing else.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::{fs, mem};

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{LiveFile, Options, ReadOptions, SstFileWriter};

use crate::engine::ShardEngine;
use crate::error::StoreError;
use crate::export::{ExportKind, FilePlacement, Manifest};

use super::shard::RocksShard;

/// The order of keys in every family, as RocksDB names it.
pub(super) const COMPARATOR: &str = "leveldb.BytewiseComparator";
/// Levels of every family; a file on a deeper one is refused.
pub(super) const LEVELS: u8 = 7;
/// Size at which a file of rewritten rows ends, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// How often files are linked before they are rewritten, when compactions get in between.
const LINK_ATTEMPTS: usize = 3;

/// Whether the files that were linked may be imported as they are.
enum Linked {
    /// They may.
    Whole,
    /// Range deletions lie below level 0.
    Ranged,
    /// A compaction got in between: nobody knows.
    Moved,
}

impl RocksShard {
    pub(super) fn export_to(&self, into: &Path) -> Result<(), StoreError> {
        self.flush()?;
        if into.exists() {
            return Err(self.export_error(&io::Error::from(io::ErrorKind::AlreadyExists)));
        }
        self.remove(&unfinished(into))?;
        let placed = match self.link_files(into) {
            Ok(Some(placed)) => Ok(placed),
            Ok(None) => self.rewrite_files(into),
            Err(error) => Err(error),
        };
        let sealed = placed.and_then(|placed| {
            Manifest::seal(into, (ExportKind::Rocks, self.family_name().shard), COMPARATOR, placed)
        });
        if sealed.is_err()
            && let Err(error) = self.remove(into)
        {
            tracing::warn!(%error, "an export that failed is left behind");
        }
        sealed
    }

    /// Links the shard's files; `None` if they must not be imported as they are.
    fn link_files(&self, into: &Path) -> Result<Option<Vec<FilePlacement>>, StoreError> {
        let failed = |error: &rocksdb::Error| self.error(error, "export a shard");
        for _ in 0..LINK_ATTEMPTS {
            let checkpoint = Checkpoint::new(self.database()).map_err(|error| failed(&error))?;
            let exported = checkpoint
                .export_column_family(self.family(), into)
                .map_err(|error| failed(&error))?;
            let files = exported.get_files();
            match self.judge(&files).map_err(|error| failed(&error))? {
                Linked::Whole => return Ok(Some(files.into_iter().map(placement).collect())),
                Linked::Ranged => {
                    self.remove(into)?;
                    return Ok(None);
                }
                Linked::Moved => self.remove(into)?,
            }
        }
        Ok(None)
    }

    /// Properties are those of the present files. They are those of the linked files too if
    /// the present files are the same afterwards: a file that goes never comes back.
    fn judge(&self, linked: &[LiveFile]) -> Result<Linked, rocksdb::Error> {
        let deeper = |files: &[LiveFile]| -> BTreeSet<String> {
            files.iter().filter(|file| file.level > 0).map(|file| file.name.clone()).collect()
        };
        let (mut range_deletions, database) = (0, self.database());
        for level in 1..LEVELS {
            let name = format!("rocksdb.aggregated-table-properties-at-level{level}");
            let properties = database.property_value_cf(self.family(), name.as_str())?;
            let counted = count_of(properties.as_deref().unwrap_or_default(), "range deletions");
            // What is not told counts as there.
            range_deletions += counted.unwrap_or(1);
        }
        let mut present = database.live_files()?;
        let family = self.family_name().to_string();
        present.retain(|file| file.column_family_name == family);
        let linked = deeper(linked);
        Ok(if linked.is_empty() {
            Linked::Whole
        } else if linked != deeper(&present) {
            Linked::Moved
        } else if range_deletions == 0 {
            Linked::Whole
        } else {
            Linked::Ranged
        })
    }

    /// Writes every row to new files that follow one another in key order.
    fn rewrite_files(&self, into: &Path) -> Result<Vec<FilePlacement>, StoreError> {
        let failed = |error: rocksdb::Error| self.error(&error, "export a shard");
        fs::create_dir(into).map_err(|error| self.export_error(&error))?;
        let options = self.tuning().plain_family();
        let mut files = RowFiles::new(into, &options, FILE_BYTES_MAX);
        let mut reading = ReadOptions::default();
        reading.fill_cache(false);
        let mut rows = self.database().raw_iterator_cf_opt(self.family(), reading);
        rows.seek_to_first();
        while let Some((key, value)) = rows.item() {
            files.put(key, value).map_err(failed)?;
            rows.next();
        }
        rows.status().map_err(failed)?;
        files.finish().map_err(failed)
    }

    fn remove(&self, directory: &Path) -> Result<(), StoreError> {
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.export_error(&error)),
            _ => Ok(()),
        }
    }

    fn export_error(&self, error: &io::Error) -> StoreError {
        StoreError::from_io(error, "export a shard")
    }
}

/// Where RocksDB gathers the files of an export; a crash may leave it.
fn unfinished(into: &Path) -> PathBuf {
    let mut path = into.as_os_str().to_owned();
    path.push(".tmp");
    path.into()
}

fn placement(file: LiveFile) -> FilePlacement {
    FilePlacement {
        name: file.name.trim_start_matches('/').to_owned(),
        level: u8::try_from(file.level).unwrap_or(u8::MAX),
        smallest_key: file.start_key.unwrap_or_default(),
        largest_key: file.end_key.unwrap_or_default(),
        smallest_sequence: file.smallest_seqno,
        largest_sequence: file.largest_seqno,
        entries: file.num_entries,
        deletions: file.num_deletions,
    }
}

/// A count in RocksDB's text about the properties of files: `# range deletions=0; …`.
pub(super) fn count_of(properties: &str, what: &str) -> Option<u64> {
    let (_, rest) = properties.split_once(&format!("# {what}="))?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Files of rows, each begun when the one before it is full.
struct RowFiles<'a> {
    directory: &'a Path,
    options: &'a Options,
    /// Size at which a file ends, in bytes.
    file_bytes_max: u64,
    open: Option<(SstFileWriter<'a>, FilePlacement)>,
    finished: Vec<FilePlacement>,
}

impl<'a> RowFiles<'a> {
    const fn new(directory: &'a Path, options: &'a Options, file_bytes_max: u64) -> Self {
        Self { directory, options, file_bytes_max, open: None, finished: Vec::new() }
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), rocksdb::Error> {
        let (writer, placement) = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(begin(self.directory, self.options, &self.finished, key)?),
        };
        writer.put(key, value)?;
        placement.entries += 1;
        placement.largest_key.clear();
        placement.largest_key.extend_from_slice(key);
        if writer.file_size() >= self.file_bytes_max {
            self.end()?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), rocksdb::Error> {
        if let Some((mut writer, placement)) = self.open.take() {
            writer.finish()?;
            self.finished.push(placement);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<FilePlacement>, rocksdb::Error> {
        self.end()?;
        Ok(mem::take(&mut self.finished))
    }
}

fn begin<'a>(
    directory: &Path,
    options: &'a Options,
    finished: &[FilePlacement],
    key: &[u8],
) -> Result<(SstFileWriter<'a>, FilePlacement), rocksdb::Error> {
    let name = format!("{:06}.sst", finished.len() + 1);
    let mut writer = SstFileWriter::create(options);
    writer.open(directory.join(&name))?;
    let placement = FilePlacement {
        name,
        level: LEVELS - 1,
        smallest_key: key.to_vec(),
        ..FilePlacement::default()
    };
    Ok((writer, placement))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use breccia_types::ShardId;

    use super::*;
    use crate::engine::{Bounds, Engine};
    use crate::rocks::{RocksEngine, RocksOptions};

    #[test]
    fn rewritten_rows_are_imported_from_as_many_files_as_they_need() {
        let directory = tempfile::tempdir().expect("a directory");
        let options = RocksOptions {
            memory_bytes: 64 << 20,
            background_jobs: 2,
            new: crate::IfMissing::Create,
        };
        let engine = RocksEngine::open(&directory.path().join("db"), &options, Arc::default());
        let engine = engine.expect("opens");
        let (into, shard) = (directory.path().join("export"), ShardId::new(3));
        fs::create_dir(&into).expect("a directory");
        let options = engine.tuning.plain_family();
        let mut files = RowFiles::new(&into, &options, 16 << 10);
        let row = |number: u32| (number.to_be_bytes(), crate::row::encode(&[7; 100], None));
        for number in 0..20_000 {
            let (key, value) = row(number);
            files.put(&key, &value).expect("puts");
        }
        let files = files.finish().expect("finishes");
        assert!(files.len() > 3, "{} files", files.len());
        Manifest::seal(&into, (ExportKind::Rocks, shard), COMPARATOR, files).expect("seals");
        let imported = engine.import_shard(shard, &into).expect("imports");
        for round in 0..2 {
            let mut rows = imported.cursor(Bounds { lower: vec![0], upper: vec![0xff] });
            rows.seek_to_first();
            for number in 0..20_000 {
                let (key, value) = row(number);
                assert_eq!(rows.item(), Some((&key[..], &value[..])), "{number} {round}");
                assert_eq!(imported.get(&key).expect("reads").as_deref(), Some(&value[..]));
                rows.next();
            }
            assert_eq!(rows.item(), None);
            imported.compact(None);
        }
    }

    #[test]
    fn counts_are_read_from_the_text_of_properties() {
        let text = "# data blocks=1; # deletions=12; # range deletions=3; raw key size=9";
        assert_eq!(count_of(text, "deletions"), Some(12));
        assert_eq!(count_of(text, "range deletions"), Some(3));
        assert_eq!(count_of(text, "merge operands"), None);
        assert_eq!(count_of("", "deletions"), None);
    }
}
