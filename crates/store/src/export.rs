//! An exported shard: a directory of files, and a manifest that says what they must be.
//!
//! ```text
//! version u8 = 1 | engine u8 | shard u32 | comparator | count u32 | files | crc32c u32
//! file: name | bytes u64 | crc32c u32 | level u8 | smallest key | largest key
//!     | smallest sequence u64 | largest sequence u64 | entries u64 | deletions u64
//! ```
//!
//! Integers are big-endian; texts and keys are a `u32` length and so many bytes. The last
//! checksum is that of every byte before it. The manifest is written after all files are
//! durable, so a directory without one is not an export.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use breccia_types::ShardId;
use thiserror::Error;

use crate::error::StoreError;

mod codec;

/// The file that says what the other files of an export must be.
const MANIFEST: &str = "export.manifest";
/// A manifest that is longer is refused, in bytes: about 200 000 files.
const MANIFEST_BYTES_MAX: u64 = 16 << 20;
const CHUNK_BYTES: usize = 1 << 20;

/// What is wrong with an export, or with one of its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ExportFault {
    /// The file is not there.
    #[error("it is missing")]
    Missing,
    /// The file is shorter or longer than it was, in bytes.
    #[error("it has {found} bytes, not {expected}")]
    Size {
        /// As the manifest says.
        expected: u64,
        /// As it is.
        found: u64,
    },
    /// The file's bytes are not what they were.
    #[error("its checksum is wrong")]
    Checksum,
    /// The manifest's bytes make no sense.
    #[error("it is malformed")]
    Malformed,
    /// The export is of another shard.
    #[error("it is an export of {shard}")]
    OtherShard {
        /// That shard.
        shard: ShardId,
    },
    /// Another kind of engine wrote the export.
    #[error("another kind of engine wrote it")]
    OtherEngine,
}

/// Which engine wrote an export, and so what its files hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExportKind {
    Rocks,
    Memory,
}

/// What an exported shard consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) kind: ExportKind,
    pub(crate) shard: ShardId,
    /// The name of the order of keys.
    pub(crate) comparator: String,
    pub(crate) files: Vec<ExportedFile>,
}

/// One file of an export, as the engine describes it and as its bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExportedFile {
    pub(crate) placement: FilePlacement,
    pub(crate) bytes: u64,
    pub(crate) crc32c: u32,
}

/// A file's name, and its place in the tree of files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FilePlacement {
    pub(crate) name: String,
    pub(crate) level: u8,
    pub(crate) smallest_key: Vec<u8>,
    pub(crate) largest_key: Vec<u8>,
    pub(crate) smallest_sequence: u64,
    pub(crate) largest_sequence: u64,
    pub(crate) entries: u64,
    pub(crate) deletions: u64,
}

impl Manifest {
    /// Makes `directory`, which holds these files, an export that survives a loss of power.
    pub(crate) fn seal(
        directory: &Path,
        (kind, shard): (ExportKind, ShardId),
        comparator: &str,
        files: Vec<FilePlacement>,
    ) -> Result<(), StoreError> {
        let measured = files.into_iter().map(|placement| {
            let path = directory.join(&placement.name);
            sync_file(&path)?;
            let (bytes, crc32c) = measure(&path)?;
            Ok(ExportedFile { placement, bytes, crc32c })
        });
        let sealed = || {
            let files = measured.collect::<io::Result<_>>()?;
            let manifest = Self { kind, shard, comparator: comparator.to_owned(), files };
            let mut file = File::create(directory.join(MANIFEST))?;
            file.write_all(&manifest.encode())?;
            file.sync_all()?;
            sync_directory(directory)?;
            directory.parent().map_or(Ok(()), sync_directory)
        };
        sealed().map_err(|error| StoreError::from_io(&error, "export a shard"))
    }

    /// Reads the manifest of an export, and checks it and every file that it names. What the
    /// engine asks of a manifest beyond that is `fits`.
    ///
    /// # Errors
    /// [`StoreError::BadExport`] names the first file that is not what it should be;
    /// [`StoreError::UnknownFormat`], [`StoreError::Io`].
    pub(crate) fn verify(
        directory: &Path,
        (kind, shard): (ExportKind, ShardId),
        fits: impl FnOnce(&Self) -> bool,
    ) -> Result<Self, StoreError> {
        let manifest = Self::read(directory)?;
        if manifest.kind != kind {
            return Err(bad(MANIFEST, ExportFault::OtherEngine));
        }
        if manifest.shard != shard {
            return Err(bad(MANIFEST, ExportFault::OtherShard { shard: manifest.shard }));
        }
        if !fits(&manifest) {
            return Err(bad(MANIFEST, ExportFault::Malformed));
        }
        for file in &manifest.files {
            let ExportedFile { placement: FilePlacement { name, .. }, bytes: expected, crc32c } =
                file;
            let path = directory.join(name);
            let found = size(&path, name)?;
            if found != *expected {
                return Err(bad(name, ExportFault::Size { expected: *expected, found }));
            }
            let (_, found) = measure(&path).map_err(|error| io_error(&error))?;
            if found != *crc32c {
                return Err(bad(name, ExportFault::Checksum));
            }
        }
        Ok(manifest)
    }

    fn read(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(MANIFEST);
        if size(&path, MANIFEST)? > MANIFEST_BYTES_MAX {
            return Err(bad(MANIFEST, ExportFault::Malformed));
        }
        let encoded = fs::read(path).map_err(|error| io_error(&error))?;
        Self::decode(&encoded)
    }

    /// The paths of the files.
    pub(crate) fn paths<'a>(&'a self, directory: &'a Path) -> impl Iterator<Item = PathBuf> + 'a {
        self.files.iter().map(|file| directory.join(&file.placement.name))
    }
}

/// Makes the entries of a directory survive a loss of power.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    // The parent of a relative path of one part is an empty path.
    let here = Path::new(".");
    File::open(if directory.as_os_str().is_empty() { here } else { directory })?.sync_all()
}

/// Makes a file's bytes survive a loss of power.
pub(crate) fn sync_file(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

pub(crate) fn io_error(error: &io::Error) -> StoreError {
    StoreError::from_io(error, "import a shard")
}

fn bad(file: &str, fault: ExportFault) -> StoreError {
    StoreError::BadExport { file: file.to_owned(), fault }
}

fn size(path: &Path, name: &str) -> Result<u64, StoreError> {
    match fs::metadata(path) {
        Ok(about) => Ok(about.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(bad(name, ExportFault::Missing))
        }
        Err(error) => Err(io_error(&error)),
    }
}

/// A file's length and checksum.
fn measure(path: &Path) -> io::Result<(u64, u32)> {
    let mut file = File::open(path)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let (mut bytes, mut crc) = (0, 0);
    loop {
        let count = file.read(&mut chunk)?;
        let Some(read) = chunk.get(..count).filter(|read| !read.is_empty()) else {
            return Ok((bytes, crc));
        };
        bytes += u64::try_from(count).unwrap_or(u64::MAX);
        crc = crc32c::crc32c_append(crc, read);
    }
}
