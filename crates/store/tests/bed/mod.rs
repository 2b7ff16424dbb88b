//! Both engines behind one type that can be crashed and opened again.

#![allow(dead_code, clippy::panic, reason = "each suite uses a part, and fails by panicking")]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use std::{fs, io};

use breccia_store::{
    Bounds, Durability, Engine, IfMissing, MemoryEngine, Reader, RetentionRules, RocksEngine,
    RocksOptions, ShardBatch, ShardEngine,
};
use breccia_types::ShardId;
use bytes::Bytes;
use tempfile::TempDir;

pub(crate) const SHARD: ShardId = ShardId::new(3);
pub(crate) const OTHER: ShardId = ShardId::new(4);

/// An engine and where it lies.
pub(crate) enum Bed {
    Memory(Arc<MemoryEngine>),
    Rocks { engine: RocksEngine, directory: TempDir },
}

pub(crate) fn options() -> RocksOptions {
    RocksOptions { memory_bytes: 64 << 20, background_jobs: 2, new: IfMissing::Create }
}

pub(crate) fn open(path: &Path) -> RocksEngine {
    RocksEngine::open(path, &options(), Arc::new(RetentionRules::default())).expect("opens")
}

/// An exported shard; the directory lives as long as this.
pub(crate) struct Export {
    pub(crate) path: PathBuf,
    _directory: TempDir,
}

impl Export {
    /// The names of its files, the manifest included.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.path).expect("lists");
        let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<_> =
            entries.map(|entry| name(entry).to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// A bed on each engine, with no shard yet.
pub(crate) fn beds() -> [Bed; 2] {
    [Bed::Memory(Arc::default()), Bed::rocks()]
}

impl Bed {
    pub(crate) fn rocks() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self::Rocks { engine: open(directory.path()), directory }
    }

    /// An empty bed on the same kind of engine.
    pub(crate) fn another(&self) -> Self {
        match self {
            Self::Memory(_) => Self::Memory(Arc::default()),
            Self::Rocks { .. } => Self::rocks(),
        }
    }

    pub(crate) fn engine(&self) -> &dyn Engine {
        match self {
            Self::Memory(engine) => engine.as_ref(),
            Self::Rocks { engine, .. } => engine,
        }
    }

    pub(crate) fn shard(&self, shard: ShardId) -> Arc<dyn ShardEngine> {
        self.engine().open_shard(shard).expect("a shard")
    }

    /// The state after a sudden end of the process: the files are copied while they are open.
    pub(crate) fn crash(self) -> Self {
        match self {
            Self::Memory(engine) => {
                engine.crash();
                Self::Memory(engine)
            }
            Self::Rocks { directory, .. } => {
                let left = tempfile::tempdir().expect("a directory");
                copy_directory(directory.path(), left.path());
                Self::Rocks { engine: open(left.path()), directory: left }
            }
        }
    }

    /// The state after an orderly end of the process.
    pub(crate) fn reopen(self) -> Self {
        match self {
            Self::Memory(engine) => Self::Memory(engine),
            Self::Rocks { engine, directory } => {
                drop(engine);
                Self::Rocks { engine: open(directory.path()), directory }
            }
        }
    }

    pub(crate) fn write(
        &self,
        shard: ShardId,
        durability: Durability,
        edit: impl FnOnce(&mut ShardBatch),
    ) {
        let mut batch = ShardBatch::default();
        edit(&mut batch);
        self.engine().write(&[(shard, batch)], durability).expect("writes");
    }

    pub(crate) fn put(&self, durability: Durability, key: &str, value: &str) {
        self.write(SHARD, durability, |batch| batch.put(raw(key), stored(value)));
    }

    /// Exports the shard into a directory of its own.
    pub(crate) fn export(&self, shard: ShardId) -> Export {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("export");
        self.shard(shard).export(&path).expect("exports");
        Export { path, _directory: directory }
    }

    pub(crate) fn import(&self, export: &Export) -> Arc<dyn ShardEngine> {
        self.engine().import_shard(SHARD, &export.path).expect("imports")
    }

    pub(crate) fn get(&self, shard: ShardId, key: &str) -> Option<String> {
        self.shard(shard).get(&raw(key)).expect("reads").map(text)
    }
}

/// Rows of table 20, so that nothing takes them for the shard's own records.
pub(crate) fn raw(key: &str) -> Vec<u8> {
    [&20_u32.to_be_bytes()[..], key.as_bytes()].concat()
}

pub(crate) fn stored(value: &str) -> Vec<u8> {
    breccia_store::row::encode(value.as_bytes(), None)
}

pub(crate) fn text(stored: Bytes) -> String {
    String::from_utf8_lossy(stored.get(1..).unwrap_or_default()).into_owned()
}

pub(crate) fn range(from: &str, to: &str) -> Bounds {
    Bounds { lower: raw(from), upper: raw(to) }
}

/// Every raw key and value, forwards; checks that backwards and single reads say the same.
pub(crate) fn contents(reader: &dyn Reader) -> Vec<(Vec<u8>, Bytes)> {
    let all = Bounds { lower: Vec::new(), upper: vec![0xff; 8] };
    let item = |cursor: &dyn breccia_store::Cursor| {
        cursor.item().map(|(key, value)| (key.to_vec(), Bytes::copy_from_slice(value)))
    };
    let mut found = Vec::new();
    let mut cursor = reader.cursor(all.clone());
    cursor.seek_to_first();
    while let Some((key, value)) = item(cursor.as_ref()) {
        assert_eq!(reader.get(&key).expect("reads").as_ref(), Some(&value), "{key:?}");
        found.push((key, value));
        cursor.next();
    }
    cursor.status().expect("reads to the end");
    let mut backwards = Vec::new();
    cursor.seek_to_last();
    while let Some(row) = item(cursor.as_ref()) {
        backwards.push(row);
        cursor.prev();
    }
    backwards.reverse();
    assert_eq!(found, backwards);
    found
}

/// Copies an open database. What changes meanwhile is copied again, so that the copy holds
/// what a crash would have left at one moment.
pub(crate) fn copy_directory(from: &Path, to: &Path) {
    for _ in 0..1_000 {
        let before = listing(from);
        if try_copy(from, to).is_ok() && listing(from) == before {
            return;
        }
        fs::remove_dir_all(to).expect("removes");
    }
    panic!("the database does not come to rest");
}

fn listing(directory: &Path) -> Option<Vec<(OsString, u64, Option<SystemTime>)>> {
    let mut entries = fs::read_dir(directory)
        .ok()?
        .map(|entry| {
            let entry = entry.ok()?;
            let about = entry.metadata().ok()?;
            Some((entry.file_name(), about.len(), about.modified().ok()))
        })
        .collect::<Option<Vec<_>>>()?;
    entries.sort();
    Some(entries)
}

fn try_copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            try_copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
