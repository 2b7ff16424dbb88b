//! Room that the log keeps for itself on the disk.
//!
//! A node that starts on a full disk must write a little before it can be read: its vote, and
//! an entry with which it begins to lead. So the log holds a file of nothing, which goes when
//! there is no other room, and comes back when there is.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::StoreError;

const FILE: &str = "RESERVE";
/// What the file takes. Enough for many starts with a thousand shards.
pub(super) const RESERVE_BYTES: u64 = 4 << 20;
static CHUNK: [u8; 64 << 10] = [0; 64 << 10];

/// The file, and whether it is there and whole.
pub(super) struct Reserve {
    path: PathBuf,
    is_held: AtomicBool,
}

impl Reserve {
    /// The reserve of the log in this folder, which is there. Gives it up if that is the only
    /// room there is.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join(FILE);
        let is_whole = fs::metadata(&path).is_ok_and(|file| file.len() == RESERVE_BYTES);
        let reserve = Self { path, is_held: AtomicBool::new(is_whole) };
        if free_bytes(folder)? < RESERVE_BYTES {
            reserve.give_up()?;
        }
        Ok(reserve)
    }

    pub(super) fn is_held(&self) -> bool {
        self.is_held.load(Ordering::Acquire)
    }

    /// Removes the file.
    pub(super) fn give_up(&self) -> io::Result<()> {
        self.is_held.store(false, Ordering::Release);
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Makes the file, unless it is there.
    pub(super) fn take(&self) -> Result<(), StoreError> {
        if self.is_held() {
            return Ok(());
        }
        let taken = self.fill();
        taken.map_err(|error| StoreError::from_io(&error, "reserve room for the log"))?;
        self.is_held.store(true, Ordering::Release);
        Ok(())
    }

    fn fill(&self) -> io::Result<()> {
        // As much again must be left, or what was given up would be taken back at once.
        let free = free_bytes(self.path.parent().unwrap_or(&self.path))?;
        if free < 2 * RESERVE_BYTES {
            let detail = format!("{free} bytes are left");
            return Err(io::Error::new(io::ErrorKind::StorageFull, detail));
        }
        let mut file = File::create(&self.path)?;
        let mut left = RESERVE_BYTES;
        while left > 0 {
            file.write_all(&CHUNK)?;
            left = left.saturating_sub(CHUNK.len() as u64);
        }
        file.sync_all()
    }
}

fn free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_whole_or_not_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let reserve = Reserve::open(folder.path()).expect("opens");
        assert!(!reserve.is_held());
        reserve.take().expect("there is room");
        assert!(Reserve::open(folder.path()).expect("opens").is_held());
        let file = File::options().write(true).open(folder.path().join(FILE)).expect("opens");
        file.set_len(RESERVE_BYTES - 1).expect("a crash while it was written");
        let reserve = Reserve::open(folder.path()).expect("opens");
        assert!(!reserve.is_held());
        reserve.take().expect("there is room");
        reserve.give_up().expect("removes");
        assert!(!folder.path().join(FILE).exists());
    }
}
