//! The YCSB core workloads A to F as streams of operations.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::keys::{Chooser, Distribution, key_of};

/// The longest scan of workload E, in rows.
const SCAN_ROWS_MAX: usize = 100;
/// Bytes from which values are cut, at random places.
const VALUE_POOL_BYTES: usize = 1 << 20;
/// What values are made of.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A workload of the YCSB core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Workload {
    /// Update heavy: half reads, half updates, zipfian.
    A,
    /// Read mostly: 95 % reads, 5 % updates, zipfian.
    B,
    /// Read only, zipfian.
    C,
    /// Read latest: 95 % reads, 5 % inserts, latest.
    D,
    /// Short ranges: 95 % scans of up to 100 rows, 5 % inserts, zipfian.
    E,
    /// Half reads, half read-modify-writes, zipfian.
    F,
    /// Updates only, uniform; not one of YCSB's.
    W,
}

impl Workload {
    /// Its letter.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
            Self::C => "c",
            Self::D => "d",
            Self::E => "e",
            Self::F => "f",
            Self::W => "w",
        }
    }

    /// The distribution that YCSB gives it.
    pub(crate) const fn distribution(self) -> Distribution {
        match self {
            Self::D => Distribution::Latest,
            Self::W => Distribution::Uniform,
            Self::A | Self::B | Self::C | Self::E | Self::F => Distribution::Zipfian,
        }
    }

    /// What most operations are, how many of a hundred, and what the others are.
    const fn mix(self) -> (OperationKind, u32, OperationKind) {
        use OperationKind::{Insert, Read, ReadModifyWrite, Scan, Update};
        match self {
            Self::A => (Read, 50, Update),
            Self::B => (Read, 95, Update),
            Self::C => (Read, 100, Read),
            Self::D => (Read, 95, Insert),
            Self::E => (Scan, 95, Insert),
            Self::F => (Read, 50, ReadModifyWrite),
            Self::W => (Update, 100, Update),
        }
    }
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OperationKind {
    /// Reads one record.
    Read,
    /// Writes a record that is there.
    Update,
    /// Writes a new record.
    Insert,
    /// Reads records in key order.
    Scan,
    /// Reads a record, then writes it.
    ReadModifyWrite,
}

impl OperationKind {
    /// All kinds.
    pub(crate) const ALL: [Self; 5] =
        [Self::Read, Self::Update, Self::Insert, Self::Scan, Self::ReadModifyWrite];

    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Update => "update",
            Self::Insert => "insert",
            Self::Scan => "scan",
            Self::ReadModifyWrite => "read-modify-write",
        }
    }
}

/// An operation to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operation {
    /// What it does.
    pub(crate) kind: OperationKind,
    /// The record's key, or the first key of a scan.
    pub(crate) key: Bytes,
    /// What is written; empty for reads and scans.
    pub(crate) value: Bytes,
    /// Rows of a scan.
    pub(crate) rows: usize,
}

/// The records of one target: how many there are, while connections insert more.
///
/// Each connection notes a lower bound of the records that it is about to insert, before it
/// takes their numbers. Whoever sees the numbers taken also sees the note, so records below
/// all notes are surely written.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    next: Arc<AtomicU64>,
    inserting: Arc<[AtomicU64]>,
}

/// The note of a connection that inserts nothing.
const NOTHING: u64 = u64::MAX;

impl Records {
    /// As many records as were loaded, and so many connections.
    pub(crate) fn new(loaded: u64, connections: usize) -> Self {
        let inserting = (0..connections).map(|_| AtomicU64::new(NOTHING)).collect();
        Self { next: Arc::new(AtomicU64::new(loaded)), inserting }
    }

    /// The number of a new record, which this connection will insert.
    fn reserve(&self, connection: usize) -> u64 {
        if let Some(note) = self.inserting.get(connection)
            && note.load(Ordering::SeqCst) == NOTHING
        {
            note.store(self.next.load(Ordering::SeqCst), Ordering::SeqCst);
        }
        self.next.fetch_add(1, Ordering::SeqCst)
    }

    /// All records that this connection has reserved are written.
    fn settle(&self, connection: usize) {
        if let Some(note) = self.inserting.get(connection) {
            note.store(NOTHING, Ordering::SeqCst);
        }
    }

    /// Records that are surely written.
    fn written(&self) -> u64 {
        let next = self.next.load(Ordering::SeqCst);
        let notes = self.inserting.iter().map(|note| note.load(Ordering::SeqCst));
        notes.fold(next, u64::min)
    }
}

/// Makes the operations of one connection.
#[derive(Debug)]
pub(crate) struct Generator {
    /// What the operations are.
    pub(crate) workload: Workload,
    /// Which records they touch.
    pub(crate) chooser: Chooser,
    /// The records there are.
    pub(crate) records: Records,
    /// What is written.
    pub(crate) values: Values,
    /// Tells rounds and connections apart.
    pub(crate) random: SmallRng,
    /// The connection's position among those of the target.
    pub(crate) connection: usize,
}

impl Generator {
    /// The next operation.
    pub(crate) fn next(&mut self) -> Operation {
        let (common, percent, rare) = self.workload.mix();
        let kind = if self.random.random_range(0..100) < percent { common } else { rare };
        let record = match kind {
            OperationKind::Insert => self.records.reserve(self.connection),
            _ => self.chooser.choose(self.records.written(), &mut self.random),
        };
        let value = match kind {
            OperationKind::Read | OperationKind::Scan => Bytes::new(),
            _ => self.values.next(&mut self.random),
        };
        let rows = match kind {
            OperationKind::Scan => self.random.random_range(1..=SCAN_ROWS_MAX),
            _ => 0,
        };
        Operation { kind, key: Bytes::from(key_of(record)), value, rows }
    }

    /// All operations made so far were answered.
    pub(crate) fn settle(&self) {
        self.records.settle(self.connection);
    }
}

/// Values of one length that hardly compress.
#[derive(Debug, Clone)]
pub(crate) struct Values {
    pool: Bytes,
    bytes: usize,
}

impl Values {
    /// Values of `bytes` bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let mut random = SmallRng::seed_from_u64(0x6272_6563_6369_6121);
        let pool: Vec<u8> = (0..VALUE_POOL_BYTES + bytes)
            .map(|_| ALPHABET.get(random.random_range(0..64_usize)).copied().unwrap_or(b'.'))
            .collect();
        Self { pool: Bytes::from(pool), bytes }
    }

    /// A value.
    pub(crate) fn next(&self, random: &mut SmallRng) -> Bytes {
        let start = random.random_range(0..VALUE_POOL_BYTES);
        self.pool.slice(start..start + self.bytes)
    }
}

/// Makes the operation that loads a record.
pub(crate) fn load(record: u64, values: &Values, random: &mut SmallRng) -> Operation {
    Operation {
        kind: OperationKind::Insert,
        key: Bytes::from(key_of(record)),
        value: values.next(random),
        rows: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(workload: Workload) -> [usize; 5] {
        let mut generator = Generator {
            workload,
            chooser: Chooser::new(workload.distribution(), 1_000),
            records: Records::new(1_000, 1),
            values: Values::new(10),
            random: SmallRng::seed_from_u64(3),
            connection: 0,
        };
        let mut counts = [0; 5];
        for _ in 0..10_000 {
            let operation = generator.next();
            let at = OperationKind::ALL.iter().position(|kind| *kind == operation.kind);
            counts[at.expect("listed")] += 1;
        }
        counts
    }

    #[test]
    fn every_workload_has_the_mix_of_ycsb() {
        let near = |count: usize, percent: usize| count.abs_diff(percent * 100) < 250;
        for (workload, percents) in [
            (Workload::A, [50, 50, 0, 0, 0]),
            (Workload::B, [95, 5, 0, 0, 0]),
            (Workload::C, [100, 0, 0, 0, 0]),
            (Workload::D, [95, 0, 5, 0, 0]),
            (Workload::E, [0, 0, 5, 95, 0]),
            (Workload::F, [50, 0, 0, 0, 50]),
            (Workload::W, [0, 100, 0, 0, 0]),
        ] {
            let counts = counts(workload);
            let all = counts.iter().zip(percents).all(|(count, percent)| near(*count, percent));
            assert!(all, "{workload:?}: {counts:?}");
        }
    }

    #[test]
    fn inserts_are_new_records_and_readers_see_only_what_is_surely_written() {
        let records = Records::new(10, 2);
        assert_eq!((records.reserve(0), records.reserve(1), records.reserve(0)), (10, 11, 12));
        assert_eq!(records.written(), 10);
        records.settle(0);
        assert_eq!(records.written(), 11);
        records.settle(1);
        assert_eq!(records.written(), 13);
    }

    #[test]
    fn values_have_the_length_asked_for() {
        let mut random = SmallRng::seed_from_u64(1);
        for bytes in [0, 1, 100, VALUE_POOL_BYTES * 2] {
            assert_eq!(Values::new(bytes).next(&mut random).len(), bytes);
        }
    }
}
