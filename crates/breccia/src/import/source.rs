//! The file of an import: plain, `.gz` or `.zst`, with a count of the bytes read from disk.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;

use crate::exit::Failure;

/// Bytes that are read from disk, or decompressed, at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// A file that is read from its start, once to learn its columns and once to send its rows.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    path: PathBuf,
    compression: Compression,
    bytes: u64,
}

/// How the file is compressed, by the end of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Zstandard,
}

impl Source {
    /// The file at `path`.
    ///
    /// # Errors
    /// [`Failure`] if there is no such file, or it cannot be read twice (a pipe).
    pub(crate) fn new(path: &Path) -> Result<Self, Failure> {
        let metadata = std::fs::metadata(path)
            .map_err(|error| Failure::fix(format!("cannot read {}: {error}", path.display())))?;
        if !metadata.is_file() {
            return Err(Failure::fix(format!(
                "{} is no regular file: an import reads its file twice, first to learn the \
                 columns' types",
                path.display()
            )));
        }
        let compression = match path.extension().and_then(|end| end.to_str()) {
            Some("gz") => Compression::Gzip,
            Some("zst") => Compression::Zstandard,
            _ => Compression::None,
        };
        Ok(Self { path: path.to_owned(), compression, bytes: metadata.len() })
    }

    /// Its length on disk, in bytes.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its name without what only tells the compression.
    pub(crate) fn uncompressed_name(&self) -> &Path {
        match self.compression {
            Compression::None => &self.path,
            Compression::Gzip | Compression::Zstandard => {
                self.path.file_stem().map_or(&self.path, Path::new)
            }
        }
    }

    /// Opens it at its start; `consumed` counts the bytes read from disk.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub(crate) fn open(&self, consumed: Arc<AtomicU64>) -> io::Result<Box<dyn BufRead + Send>> {
        let file = Counting { file: File::open(&self.path)?, consumed };
        let buffered = BufReader::with_capacity(BUFFER_BYTES, file);
        Ok(match self.compression {
            Compression::None => Box::new(buffered),
            Compression::Gzip => {
                let decoder = flate2::bufread::MultiGzDecoder::new(buffered);
                Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder))
            }
            Compression::Zstandard => {
                let decoder = zstd::stream::read::Decoder::with_buffer(buffered)?;
                Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder))
            }
        })
    }
}

struct Counting {
    file: File,
    consumed: Arc<AtomicU64>,
}

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        let count_u64 = u64::try_from(count).unwrap_or(u64::MAX);
        self.consumed.fetch_add(count_u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn text_of(path: &Path) -> String {
        let source = Source::new(path).expect("a file");
        let consumed = Arc::new(AtomicU64::new(0));
        let mut text = String::new();
        let mut reader = source.open(consumed.clone()).expect("opens");
        reader.read_to_string(&mut text).expect("reads");
        assert_eq!(consumed.load(Ordering::Relaxed), source.bytes());
        assert_eq!(source.uncompressed_name().file_name().and_then(|n| n.to_str()), Some("a.csv"));
        text
    }

    #[test]
    fn compressed_files_read_as_what_they_hold() {
        let dir = tempfile::tempdir().expect("dir");
        let plain = dir.path().join("a.csv");
        std::fs::write(&plain, "a,b\n1,2\n").expect("write");
        let gz = dir.path().join("a.csv.gz");
        // Two members, as `cat one.gz two.gz` makes.
        let mut bytes = Vec::new();
        for part in ["a,b\n", "1,2\n"] {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(part.as_bytes()).expect("encode");
            bytes.extend(encoder.finish().expect("finish"));
        }
        std::fs::write(&gz, bytes).expect("write");
        let zst = dir.path().join("a.csv.zst");
        std::fs::write(&zst, zstd::encode_all(&b"a,b\n1,2\n"[..], 1).expect("encode"))
            .expect("write");
        for path in [plain, gz, zst] {
            assert_eq!(text_of(&path), "a,b\n1,2\n", "{}", path.display());
        }
    }

    #[test]
    fn a_folder_and_a_missing_file_are_refused() {
        let dir = tempfile::tempdir().expect("dir");
        assert!(Source::new(dir.path()).is_err());
        assert!(Source::new(&dir.path().join("absent")).is_err());
    }
}
