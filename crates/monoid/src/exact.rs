//! Exact sums of floating-point numbers, as wide integers.
//!
//! Every finite `f64` is an integer multiple of 2^-1074, below 2^2098 of them in size. A
//! fixed-point integer in that unit, wide enough for 2^64 operands, adds `f64`s without ever
//! rounding, and integer addition is associative and commutative where that of `f64` is
//! not (Kulisch's long accumulator). Products of two `f64` are multiples of 2^-2148 and get
//! a wider one. Overflow, which only crafted states reach, wraps, and so stays associative.
//!
//! Numbers of like size share most of their bits, so the encoding leaves out the zero bytes
//! below and the sign bytes above:
//!
//! ```text
//! low zero bytes varint | length varint | two's complement bytes LE
//! ```
//!
//! Small integers take some five bytes; prices and latencies some ten.

use std::iter;

use crate::cursor::{Cursor, put_length};
use crate::state::StateError;

/// Limbs of a sum: 2098 bits of size, 64 for the count of operands, one of sign.
pub(crate) const SUM_LIMBS: usize = 34;
/// The unit of a sum, as a power of two.
pub(crate) const SUM_UNIT_LOG2: i32 = -1074;
/// Limbs of a sum of squares: 4196 bits of size, 64 for the count, one of sign.
pub(crate) const SQUARES_LIMBS: usize = 67;
/// The unit of a sum of squares, as a power of two.
pub(crate) const SQUARES_UNIT_LOG2: i32 = 2 * SUM_UNIT_LOG2;

const LIMB_BITS: usize = 64;
const LIMB_BYTES: usize = 8;
const LOW_64: u128 = 0xffff_ffff_ffff_ffff;

const _: () = assert!(SUM_LIMBS * LIMB_BITS > 2098 + 64);
const _: () = assert!(SQUARES_LIMBS * LIMB_BITS > 4196 + 64);

/// A fixed-point integer of `L` limbs of 64 bits, two's complement, lowest limb first.
#[derive(Debug, Clone)]
pub(crate) struct Exact<const L: usize> {
    limbs: [u64; L],
}

/// A finite number as `significand * 2^(shift - 1074)`, with its sign.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decomposed {
    pub(crate) significand: u64,
    pub(crate) shift: usize,
    pub(crate) negative: bool,
}

/// Takes a finite number apart.
pub(crate) fn decompose(number: f64) -> Decomposed {
    const FRACTION_BITS: u32 = 52;
    const HIDDEN: u64 = 1 << FRACTION_BITS;
    let bits = number.to_bits();
    let fraction = bits & (HIDDEN - 1);
    let exponent = (bits >> FRACTION_BITS) & 0x7ff;
    // Subnormal numbers have exponent 0, no hidden bit, and the unit of exponent 1.
    let (significand, shift) = match exponent {
        0 => (fraction, 0),
        _ => (fraction | HIDDEN, exponent - 1),
    };
    // At most 0x7fe, which fits every usize.
    let shift = usize::try_from(shift).unwrap_or_default();
    Decomposed { significand, shift, negative: number.is_sign_negative() }
}

impl<const L: usize> Default for Exact<L> {
    fn default() -> Self {
        Self { limbs: [0; L] }
    }
}

impl<const L: usize> Exact<L> {
    /// Adds `magnitude * 2^shift` units, or subtracts them.
    pub(crate) fn add(&mut self, magnitude: u128, shift: usize, negative: bool) {
        let bits = shift % LIMB_BITS;
        let shifted = magnitude << bits;
        let above = if bits == 0 { 0 } else { magnitude >> (128 - bits) };
        let parts = [low_limb(shifted), high_limb(shifted), low_limb(above)];
        let limbs = self.limbs.iter_mut().skip(shift / LIMB_BITS);
        if negative {
            subtract_limbs(limbs, parts.into_iter());
        } else {
            add_limbs(limbs, parts.into_iter());
        }
    }

    fn merge(&mut self, other: &Self) {
        add_limbs(self.limbs.iter_mut(), other.limbs.iter().copied());
    }

    pub(crate) fn subtract(&mut self, other: &Self) {
        subtract_limbs(self.limbs.iter_mut(), other.limbs.iter().copied());
    }

    pub(crate) fn is_negative(&self) -> bool {
        self.limbs.last().is_some_and(|top| top >> (LIMB_BITS - 1) == 1)
    }

    fn magnitude(&self) -> [u64; L] {
        if !self.is_negative() {
            return self.limbs;
        }
        let mut negated = Self::default();
        negated.subtract(self);
        negated.limbs
    }

    /// This integer, not negative, times a count; `W` limbs must suffice.
    pub(crate) fn times<const W: usize>(&self, count: u64) -> Exact<W> {
        let mut product = Exact::<W>::default();
        multiply_add(&mut product.limbs, &self.limbs, count);
        product
    }

    /// The square of this integer; `W` limbs must suffice.
    pub(crate) fn squared<const W: usize>(&self) -> Exact<W> {
        let magnitude = self.magnitude();
        let mut square = Exact::<W>::default();
        for (index, limb) in magnitude.iter().enumerate() {
            if let Some(limbs) = square.limbs.get_mut(index..) {
                multiply_add(limbs, &magnitude, *limb);
            }
        }
        square
    }

    /// Merges an encoded integer.
    pub(crate) fn absorb(&mut self, cursor: &mut Cursor<'_>) -> Result<(), StateError> {
        let invalid = || StateError::Invalid { part: "exact sum" };
        let zeros = cursor.length()?;
        let length = cursor.length()?;
        if zeros.checked_add(length).is_none_or(|end| end > L * LIMB_BYTES) {
            return Err(invalid());
        }
        let bytes = cursor.take(length)?;
        let sign = if bytes.last().is_some_and(|top| *top >= 0x80) { 0xff } else { 0 };
        let mut all = iter::repeat_n(0, zeros).chain(bytes.iter().copied());
        let mut other = Self::default();
        for limb in &mut other.limbs {
            let bytes = [(); LIMB_BYTES].map(|()| all.next().unwrap_or(sign));
            *limb = u64::from_le_bytes(bytes);
        }
        self.merge(&other);
        Ok(())
    }

    /// Appends this integer; equal integers have equal bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let sign = if self.is_negative() { 0xff } else { 0 };
        let bytes = || self.limbs.iter().flat_map(|limb| limb.to_le_bytes());
        let zeros = bytes().take_while(|byte| *byte == 0).count();
        if zeros == L * LIMB_BYTES {
            out.extend([0, 0]);
            return;
        }
        let mut end = 0;
        let mut top = sign;
        for (index, byte) in bytes().enumerate() {
            if byte != sign {
                (end, top) = (index + 1, byte);
            }
        }
        // -2^n in whole bytes is sign bytes only; keep the lowest of them.
        end = end.max(zeros);
        // The top byte must carry the sign.
        if end == zeros || (top ^ sign) >= 0x80 {
            end += 1;
        }
        put_length(out, zeros);
        put_length(out, end - zeros);
        out.extend(bytes().take(end).skip(zeros));
    }

    /// This integer, in units of `2^unit_log2`, to the nearest 53-bit number (ties to even).
    pub(crate) fn round(&self, unit_log2: i32) -> Rounded {
        let magnitude = self.magnitude();
        let top = magnitude.iter().rposition(|limb| *limb != 0).unwrap_or(0);
        let limb = |index: Option<usize>| {
            index.and_then(|index| magnitude.get(index)).copied().unwrap_or(0)
        };
        let zeros = limb(Some(top)).leading_zeros();
        let sign = if self.is_negative() { -1.0 } else { 1.0 };
        if top == 0 {
            let significand = sign * limb(Some(0)) as f64;
            return Rounded { significand, exponent: unit_log2 };
        }
        // The 64 bits from the highest one bit down, and whether any bit below them is set.
        let below = limb(top.checked_sub(1));
        let window = u128::from(limb(Some(top))) << LIMB_BITS | u128::from(below);
        let head = high_limb(window << zeros);
        let tail = low_limb(window << zeros) != 0
            || magnitude.iter().take(top.saturating_sub(1)).any(|limb| *limb != 0);
        // An odd lowest bit stands for the tail: `as f64` rounds the 64 bits to 53, and this
        // bit decides only what would otherwise be a tie.
        let significand = sign * (head | u64::from(tail)) as f64;
        let shift = i32::try_from(top * LIMB_BITS).unwrap_or(i32::MAX);
        let exponent = unit_log2 + shift - i32::try_from(zeros).unwrap_or(0);
        Rounded { significand, exponent }
    }
}

/// `significand * 2^exponent`: a number that may be outside `f64`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rounded {
    significand: f64,
    exponent: i32,
}

impl Rounded {
    pub(crate) fn divide(self, count: u64) -> Self {
        Self { significand: self.significand / count as f64, ..self }
    }

    /// The number, infinite if it is outside `f64`.
    pub(crate) fn to_f64(self) -> f64 {
        const STEP: i32 = 1000;
        let Self { mut significand, mut exponent } = self;
        while exponent > STEP {
            significand *= power_of_two(STEP);
            exponent -= STEP;
        }
        while exponent < -STEP {
            significand *= power_of_two(-STEP);
            exponent += STEP;
        }
        significand * power_of_two(exponent) + 0.0
    }
}

/// 2^exponent, for exponents of normal numbers.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(u64::try_from(exponent + 1023).unwrap_or(0) << 52)
}

const fn low_limb(wide: u128) -> u64 {
    (wide & LOW_64) as u64
}

const fn high_limb(wide: u128) -> u64 {
    (wide >> LIMB_BITS) as u64
}

fn add_limbs<'a>(limbs: impl Iterator<Item = &'a mut u64>, parts: impl Iterator<Item = u64>) {
    let mut carry = false;
    for (limb, part) in limbs.zip(parts.chain(iter::repeat(0))) {
        let (sum, over) = limb.overflowing_add(part);
        let (sum, over_again) = sum.overflowing_add(u64::from(carry));
        carry = over || over_again;
        *limb = sum;
    }
}

fn subtract_limbs<'a>(limbs: impl Iterator<Item = &'a mut u64>, parts: impl Iterator<Item = u64>) {
    let mut borrow = false;
    for (limb, part) in limbs.zip(parts.chain(iter::repeat(0))) {
        let (rest, under) = limb.overflowing_sub(part);
        let (rest, under_again) = rest.overflowing_sub(u64::from(borrow));
        borrow = under || under_again;
        *limb = rest;
    }
}

/// `limbs += factor * by`, as far as `limbs` reach.
fn multiply_add(limbs: &mut [u64], factor: &[u64], by: u64) {
    let mut carry = 0;
    for (limb, part) in limbs.iter_mut().zip(factor.iter().copied().chain(iter::repeat(0))) {
        // (2^64 - 1)^2 + 2 (2^64 - 1) = 2^128 - 1: never overflows.
        let wide = u128::from(part) * u128::from(by) + u128::from(*limb) + u128::from(carry);
        *limb = low_limb(wide);
        carry = high_limb(wide);
    }
}

#[cfg(test)]
mod tests;
