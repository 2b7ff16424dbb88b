//! Which register an element falls into, and what it leaves there.

use super::REGISTERS;

/// Bits of the hash that choose the register; 2^14 registers.
const INDEX_BITS: u32 = REGISTERS.trailing_zeros();
/// Bits of the hash whose trailing zeros are counted.
pub(super) const RANK_BITS: u32 = u64::BITS - INDEX_BITS;
const SEED: u64 = 0xadc8_3b19;

/// An element as a sketch sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trace {
    /// The register, below [`REGISTERS`].
    pub(super) index: usize,
    /// One more than the trailing zeros of the hash's other bits, `1..=51`.
    pub(super) rank: u8,
}

impl Trace {
    /// The trace of an element.
    pub(super) fn of(element: &[u8]) -> Self {
        let hash = murmur(element, SEED);
        let index = usize::try_from(hash % (1 << INDEX_BITS)).unwrap_or(0);
        let zeros = (hash >> INDEX_BITS).trailing_zeros().min(RANK_BITS);
        Self { index, rank: u8::try_from(zeros + 1).unwrap_or(u8::MAX) }
    }
}

/// MurmurHash64A by Austin Appleby, on little-endian words.
fn murmur(data: &[u8], seed: u64) -> u64 {
    const MULTIPLIER: u64 = 0xc6a4_a793_5bd1_e995;
    const SHIFT: u32 = 47;
    let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
    let mut hash = seed ^ length.wrapping_mul(MULTIPLIER);
    let (words, tail) = data.as_chunks::<8>();
    for word in words {
        let mut word = u64::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        word ^= word >> SHIFT;
        hash = (hash ^ word.wrapping_mul(MULTIPLIER)).wrapping_mul(MULTIPLIER);
    }
    if !tail.is_empty() {
        let word = tail.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        hash = (hash ^ word).wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> SHIFT;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ hash >> SHIFT
}
