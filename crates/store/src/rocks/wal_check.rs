//! Whether RocksDB's write-ahead log is whole, but for what a crash may cut off its end.
//!
//! RocksDB checks that by itself when it is strict. When it is lenient it skips what is
//! damaged and replays the rest, which would lose acknowledged writes without a word. So a
//! database is opened leniently only after this check.
//!
//! The format is RocksDB's log format: blocks of 32 KiB, each a sequence of records with a
//! checksum, a length and a type; a record never crosses a block, and a block's last bytes
//! are zero if no header fits.

use std::path::Path;

use crate::error::StoreError;

const BLOCK_BYTES: usize = 32 << 10;
const HEADER_BYTES: usize = 7;
/// Added to a rotated checksum, so that a checksum of bytes that hold checksums is no weaker.
const MASK: u32 = 0xa282_ead8;

/// Checks every log file of a database.
///
/// # Errors
/// [`StoreError::CorruptLog`] naming the first file that is damaged before its end, or
/// [`StoreError::Io`].
pub(crate) fn check_logs(path: &Path) -> Result<(), StoreError> {
    let failed = |error: std::io::Error| StoreError::Io {
        operation: "check the write-ahead log",
        detail: error.to_string(),
    };
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if file.extension().is_some_and(|extension| extension == "log") {
            let bytes = std::fs::read(&file).map_err(failed)?;
            if let Some(at) = first_damage(&bytes) {
                let detail = format!("{} is damaged at byte {at}", file.display());
                return Err(StoreError::CorruptLog { detail });
            }
        }
    }
    Ok(())
}

/// Where a log is damaged: the first record whose bytes are all there but are not what was
/// written. `None` if the log is whole, or only its end is missing.
fn first_damage(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(header) = bytes.get(at..).and_then(|rest| rest.first_chunk::<HEADER_BYTES>()) {
        let left = BLOCK_BYTES - at % BLOCK_BYTES;
        if left < HEADER_BYTES {
            at += left;
            continue;
        }
        let [c0, c1, c2, c3, l0, l1, kind] = *header;
        let length = usize::from(u16::from_le_bytes([l0, l1]));
        if *header == [0; HEADER_BYTES] {
            // Space that was reserved and never written, which only the end can be.
            return bytes
                .get(at..)
                .and_then(|rest| rest.iter().position(|byte| *byte != 0))
                .map(|_| at);
        }
        let header_bytes = if is_recyclable(kind) { HEADER_BYTES + 4 } else { HEADER_BYTES };
        let checked = at + HEADER_BYTES - 1..at + header_bytes + length;
        if header_bytes + length > left {
            return Some(at);
        }
        let content = bytes.get(checked.clone())?;
        let expected = u32::from_le_bytes([c0, c1, c2, c3]);
        if crc32c::crc32c(content).rotate_right(15).wrapping_add(MASK) != expected {
            return Some(at);
        }
        at = checked.end;
    }
    None
}

/// Whether a record's header carries the number of its log too.
const fn is_recyclable(kind: u8) -> bool {
    matches!(kind, 5..=8 | 11 | 131)
}

#[cfg(test)]
mod tests {
    use rocksdb::{DB, Options, WriteOptions};

    use super::*;

    /// The log of a database with many rows, large and small.
    fn log() -> Vec<u8> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut options = Options::default();
        options.create_if_missing(true);
        let database = DB::open(&options, folder.path()).expect("opens");
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        for row in 0..200_u32 {
            let bytes = usize::try_from(row % 7).expect("small") * 9_001;
            database.put_opt(row.to_be_bytes(), vec![7; bytes], &synced).expect("writes");
        }
        assert_eq!(check_logs(folder.path()), Ok(()));
        let files = std::fs::read_dir(folder.path()).expect("lists");
        let mut files = files.map(|file| file.expect("a file").path());
        let log = files.find(|file| file.extension().is_some_and(|end| end == "log"));
        std::fs::read(log.expect("a log")).expect("reads")
    }

    #[test]
    fn a_log_is_whole_wherever_a_crash_cuts_it() {
        let log = log();
        for end in (0..log.len()).step_by(997).chain(log.len() - 40..=log.len()) {
            assert_eq!(first_damage(&log[..end]), None, "cut at {end}");
        }
        assert_eq!(first_damage(&[log.clone(), vec![0; 10_000]].concat()), None);
    }

    #[test]
    fn a_flipped_byte_before_the_end_is_damage() {
        let log = log();
        for at in (0..log.len() - 70_000).step_by(7_919) {
            let mut damaged = log.clone();
            damaged[at] ^= 0x40;
            assert!(first_damage(&damaged).is_some_and(|found| found <= at), "byte {at}");
        }
    }
}
