//! Random numbers that a seed repeats.

use std::sync::atomic::{AtomicU64, Ordering};

/// A sequence of numbers; every task that draws takes the next.
#[derive(Debug)]
pub(crate) struct Draws(AtomicU64);

impl Draws {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// SplitMix64 (Steele, Lea, Flood 2014), of which the upper bits are given out.
    pub(crate) fn next(&self) -> u16 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut mixed = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let [first, second, ..] = (mixed ^ (mixed >> 31)).to_be_bytes();
        u16::from_be_bytes([first, second])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_draws_and_they_spread() {
        let drawn = |seed| {
            let draws = Draws::new(seed);
            std::iter::repeat_with(|| draws.next()).take(3_000).collect::<Vec<_>>()
        };
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
        for rest in 0..3 {
            let count = drawn(7).into_iter().filter(|draw| draw % 3 == rest).count();
            assert!((900..1_100).contains(&count), "{count} of 3000");
        }
    }
}
