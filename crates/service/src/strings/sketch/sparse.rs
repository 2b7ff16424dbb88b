//! The sparse encoding: runs of equal registers.
//!
//! | bytes | run |
//! |---|---|
//! | `00nnnnnn` | `n + 1` zeros |
//! | `01nnnnnn nnnnnnnn` | `n + 1` zeros, high bits first |
//! | `1rrrrrnn` | `n + 1` registers of rank `r + 1` |
//!
//! How runs are split and joined decides the bytes that a sequence of PFADD leaves, and
//! with them when a sketch becomes dense; it is Redis's way.

use super::{HEADER_BYTES, REGISTERS};

/// The longest sparse sketch with its header, in bytes (Redis's `hll-sparse-max-bytes`).
pub(super) const SPARSE_BYTES_MAX: usize = 3_000;
/// The highest rank that a run can have.
const RANK_MAX: u8 = 32;
/// The longest run of registers that are not zero.
const RUN_MAX: usize = 4;
/// The longest run of zeros in one byte.
const SHORT_ZEROS_MAX: usize = 64;
/// How many runs are looked at for joining after one has changed.
const JOIN_STEPS: usize = 5;

/// The runs do not make up 2^14 registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Corrupt;

/// What became of an attempt to raise a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Raised {
    /// It was as high.
    No,
    /// It was lower.
    Yes,
    /// It is lower, and the sketch must become dense to hold what it shall be.
    NeedsDense,
}

/// Equal registers in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// What they hold, `0..=32`.
    pub(super) rank: u8,
    /// How many they are, at least 1.
    pub(super) length: usize,
    /// How many bytes say so.
    bytes: usize,
}

/// No register set.
pub(super) fn empty() -> Vec<u8> {
    let mut bytes = Vec::new();
    push_zeros(&mut bytes, REGISTERS);
    bytes
}

/// All runs, checked to make up exactly the registers there are.
pub(super) fn runs(bytes: &[u8]) -> Result<Vec<Run>, Corrupt> {
    let mut runs = Vec::new();
    let (mut at, mut registers) = (0, 0);
    while at < bytes.len() {
        let run = run_at(bytes, at).ok_or(Corrupt)?;
        at += run.bytes;
        registers += run.length;
        if registers > REGISTERS {
            return Err(Corrupt);
        }
        runs.push(run);
    }
    if registers == REGISTERS { Ok(runs) } else { Err(Corrupt) }
}

/// Raises a register to `rank` if it is lower.
///
/// # Errors
/// [`Corrupt`] if no run covers the register.
pub(super) fn raise(bytes: &mut Vec<u8>, index: usize, rank: u8) -> Result<Raised, Corrupt> {
    let place = find(bytes, index).ok_or(Corrupt)?;
    let Place { run, at, first, before } = place;
    if run.rank >= rank {
        return Ok(Raised::No);
    }
    if rank > RANK_MAX {
        return Ok(Raised::NeedsDense);
    }
    let mut split = Vec::with_capacity(5);
    push_run(&mut split, run.rank, index.saturating_sub(first));
    push_run(&mut split, rank, 1);
    push_run(&mut split, run.rank, (first + run.length).saturating_sub(index + 1));
    let length = HEADER_BYTES + bytes.len() - run.bytes + split.len();
    if split.len() > run.bytes && length > SPARSE_BYTES_MAX {
        return Ok(Raised::NeedsDense);
    }
    bytes.splice(at..at + run.bytes, split);
    join(bytes, before.unwrap_or(0));
    Ok(Raised::Yes)
}

/// Where a register is.
struct Place {
    run: Run,
    /// Where its run starts, in bytes.
    at: usize,
    /// The run's first register.
    first: usize,
    /// Where the run before it starts.
    before: Option<usize>,
}

fn find(bytes: &[u8], index: usize) -> Option<Place> {
    let (mut at, mut first, mut before) = (0, 0, None);
    loop {
        let run = run_at(bytes, at)?;
        if index < first + run.length {
            return Some(Place { run, at, first, before });
        }
        before = Some(at);
        at += run.bytes;
        first += run.length;
    }
}

fn run_at(bytes: &[u8], at: usize) -> Option<Run> {
    Some(match *bytes.get(at..)? {
        [byte, ..] if byte & 0x80 != 0 => {
            Run { rank: (byte >> 2 & 0x1f) + 1, length: usize::from(byte & 0x03) + 1, bytes: 1 }
        }
        [byte, ..] if byte & 0x40 == 0 => Run { rank: 0, length: usize::from(byte) + 1, bytes: 1 },
        [high, low, ..] => {
            let length = usize::from(u16::from_be_bytes([high & 0x3f, low])) + 1;
            Run { rank: 0, length, bytes: 2 }
        }
        _ => return None,
    })
}

/// Joins neighbours of the same rank where one run can hold both, in the few runs from
/// `at` on.
fn join(bytes: &mut Vec<u8>, mut at: usize) {
    for _ in 0..JOIN_STEPS {
        let Some(run) = run_at(bytes, at) else { return };
        let next = run_at(bytes, at + run.bytes).filter(|next| next.rank == run.rank);
        match next {
            Some(next) if run.rank > 0 && run.length + next.length <= RUN_MAX => {
                let mut joined = Vec::with_capacity(1);
                push_run(&mut joined, run.rank, run.length + next.length);
                bytes.splice(at..at + run.bytes + next.bytes, joined);
            }
            _ => at += run.bytes,
        }
    }
}

/// Appends a run that may be empty; one of a rank is at most [`RUN_MAX`] long.
fn push_run(bytes: &mut Vec<u8>, rank: u8, length: usize) {
    if length == 0 {
        return;
    }
    match rank.checked_sub(1) {
        None => push_zeros(bytes, length),
        Some(rank) => {
            let [length, ..] = (length - 1).to_le_bytes();
            bytes.push(0x80 | (rank & 0x1f) << 2 | length & 0x03);
        }
    }
}

/// Appends a run of zeros, at least one and at most [`REGISTERS`].
fn push_zeros(bytes: &mut Vec<u8>, length: usize) {
    let [low, high, ..] = (length - 1).to_le_bytes();
    if length > SHORT_ZEROS_MAX {
        bytes.push(0x40 | high & 0x3f);
    }
    bytes.push(low);
}
