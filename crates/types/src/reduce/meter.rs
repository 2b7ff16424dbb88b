//! How far a reduction has come, counted by all who work on it.

use std::sync::atomic::{AtomicU64, Ordering};

/// How far a reduction has come. Told while it runs; what an answer covers is in its coverage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Shards that are reduced.
    pub shards: u64,
    /// Rows that were read.
    pub rows: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

impl Progress {
    /// What came after `earlier`.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            shards: self.shards.saturating_sub(earlier.shards),
            rows: self.rows.saturating_sub(earlier.rows),
            bytes: self.bytes.saturating_sub(earlier.bytes),
        }
    }
}

/// Counts how far a reduction has come. What turns out to have been in vain is taken back.
#[derive(Debug, Default)]
pub struct Meter {
    shards: AtomicU64,
    rows: AtomicU64,
    bytes: AtomicU64,
}

impl Meter {
    /// Adds what was done.
    pub fn add(&self, done: Progress) {
        self.shards.fetch_add(done.shards, Ordering::Relaxed);
        self.rows.fetch_add(done.rows, Ordering::Relaxed);
        self.bytes.fetch_add(done.bytes, Ordering::Relaxed);
    }

    /// Takes back what had been added and is to be done again.
    pub fn take_back(&self, done: Progress) {
        self.shards.fetch_sub(done.shards, Ordering::Relaxed);
        self.rows.fetch_sub(done.rows, Ordering::Relaxed);
        self.bytes.fetch_sub(done.bytes, Ordering::Relaxed);
    }

    /// How far it has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Progress { shards: of(&self.shards), rows: of(&self.rows), bytes: of(&self.bytes) }
    }
}
