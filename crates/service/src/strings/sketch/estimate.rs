//! How many elements a sketch has seen: the improved raw estimator of Otmar Ertl, "New
//! cardinality estimation algorithms for HyperLogLog sketches", 2017, section 4.

use super::REGISTERS;
use super::hash::RANK_BITS;

/// Registers as a float, and how many different values a register of six bits has.
const REGISTERS_F64: f64 = 16_384.0;
const VALUES: usize = 64;
/// 1 / (2 ln 2).
const ALPHA: f64 = 0.721_347_520_444_481_7;

/// How many registers hold which value.
#[derive(Debug, Clone)]
pub(super) struct Histogram([u32; VALUES]);

impl Histogram {
    /// Of no registers.
    pub(super) const fn new() -> Self {
        Self([0; VALUES])
    }

    /// Counts `registers` registers that hold `value`.
    pub(super) fn add(&mut self, value: u8, registers: usize) {
        if let Some(count) = self.0.get_mut(usize::from(value)) {
            *count = count.saturating_add(u32::try_from(registers).unwrap_or(u32::MAX));
        }
    }

    /// The estimate, once all [`REGISTERS`] registers are counted.
    pub(super) fn estimate(&self) -> u64 {
        let count = |value: u32| {
            let count = usize::try_from(value).ok().and_then(|value| self.0.get(value));
            f64::from(count.copied().unwrap_or(0))
        };
        let full = count(RANK_BITS + 1);
        let mut z = REGISTERS_F64 * tau((REGISTERS_F64 - full) / REGISTERS_F64);
        for value in (1..=RANK_BITS).rev() {
            z = 0.5 * (z + count(value));
        }
        z += REGISTERS_F64 * sigma(count(0) / REGISTERS_F64);
        let estimate = (ALPHA * REGISTERS_F64 * REGISTERS_F64 / z).round();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rounded number, not negative; beyond 64 bits the cast saturates"
        )]
        let estimate = estimate as u64;
        estimate
    }
}

/// The contribution of registers that are still zero; infinite if all are.
fn sigma(zero_share: f64) -> f64 {
    if zero_share >= 1.0 {
        return f64::INFINITY;
    }
    let (mut power, mut weight, mut sum) = (zero_share, 1.0, zero_share);
    loop {
        power *= power;
        let before = sum;
        sum += power * weight;
        weight += weight;
        if sum.to_bits() == before.to_bits() {
            return sum;
        }
    }
}

/// The contribution of registers that are full, from the share of those that are not.
fn tau(open_share: f64) -> f64 {
    if open_share <= 0.0 || open_share >= 1.0 {
        return 0.0;
    }
    let (mut root, mut weight, mut sum) = (open_share, 1.0, 1.0 - open_share);
    loop {
        root = root.sqrt();
        let before = sum;
        weight *= 0.5;
        sum -= (1.0 - root) * (1.0 - root) * weight;
        if sum.to_bits() == before.to_bits() {
            return sum / 3.0;
        }
    }
}

const _: () = assert!(REGISTERS == 16_384);
