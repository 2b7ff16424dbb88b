//! Natural numbers of any size: what the exact conversion between decimal text and binary
//! floats needs, and no more.

use std::cmp::Ordering;

const LIMB_BITS: u32 = 32;
/// The largest power of ten in a limb, and how many zeros it has.
const LIMB_TEN_POWER: u32 = 1_000_000_000;
const LIMB_DECIMALS: u32 = 9;

/// A natural number: limbs of 32 bits, least significant first, none of them a leading
/// zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Natural {
    limbs: Vec<u32>,
}

impl Natural {
    /// The number of 64 bits.
    pub(super) fn new(value: u64) -> Self {
        let (low, high) = halves(value);
        let mut number = Self { limbs: vec![low, high] };
        number.trim();
        number
    }

    /// The number of these decimal digits, each `0..=9`.
    pub(super) fn from_digits(digits: impl Iterator<Item = u8>) -> Self {
        let mut number = Self { limbs: Vec::new() };
        let (mut chunk, mut scale) = (0u32, 1u32);
        for digit in digits {
            chunk = chunk * 10 + u32::from(digit);
            scale *= 10;
            if scale == LIMB_TEN_POWER {
                number.multiply_add(scale, chunk);
                (chunk, scale) = (0, 1);
            }
        }
        number.multiply_add(scale, chunk);
        number
    }

    /// This number times a power of ten.
    pub(super) fn times_ten_to(mut self, power: u32) -> Self {
        for _ in 0..power / LIMB_DECIMALS {
            self.multiply_add(LIMB_TEN_POWER, 0);
        }
        self.multiply_add(10u32.pow(power % LIMB_DECIMALS), 0);
        self
    }

    /// How many bits it has, without leading zeros.
    pub(super) fn bits(&self) -> u32 {
        let top = self.limbs.last().map_or(0, |limb| LIMB_BITS - limb.leading_zeros());
        let below = u32::try_from(self.limbs.len().saturating_sub(1)).unwrap_or(u32::MAX);
        below.saturating_mul(LIMB_BITS).saturating_add(top)
    }

    /// This number times a power of two.
    pub(super) fn shifted_left(&self, bits: u32) -> Self {
        let whole = usize::try_from(bits / LIMB_BITS).unwrap_or(usize::MAX);
        let mut limbs = vec![0; whole];
        let mut carry = 0;
        for limb in &self.limbs {
            let (low, high) = halves(u64::from(*limb) << (bits % LIMB_BITS));
            limbs.push(low | carry);
            carry = high;
        }
        limbs.push(carry);
        let mut number = Self { limbs };
        number.trim();
        number
    }

    /// About this number as `high * 2^exponent`, `high` of at most 96 bits. If there are
    /// more bits it has exactly 96, and its lowest is set if any bit below it is: enough to
    /// round by.
    pub(super) fn highest_bits(&self) -> (u128, i32) {
        let align = self.limbs.last().map_or(0, |limb| limb.leading_zeros());
        let aligned = self.shifted_left(align);
        let mut parts = aligned.limbs.iter().rev();
        let high =
            parts.by_ref().take(3).fold(0, |high, limb| high << LIMB_BITS | u128::from(*limb));
        let sticky = parts.any(|limb| *limb != 0);
        let cut = u32::try_from(self.limbs.len().saturating_sub(3)).unwrap_or(u32::MAX);
        let exponent = 0i32.saturating_add_unsigned(cut.saturating_mul(LIMB_BITS));
        (high | u128::from(sticky), exponent.saturating_sub_unsigned(align))
    }

    /// The quotient of `self / divisor`, which must be below 2 to the power `quotient_bits`,
    /// at most 127; the lowest bit is set also if there is a remainder.
    pub(super) fn divided_by(mut self, divisor: &Self, quotient_bits: u32) -> u128 {
        // Compare the dividend, ever doubled, with one divisor that stands still.
        let divisor = divisor.shifted_left(quotient_bits);
        let mut quotient = 0;
        for _ in 0..=quotient_bits {
            quotient <<= 1;
            if self.compare(&divisor) != Ordering::Less {
                self.subtract(&divisor);
                quotient |= 1;
            }
            self.double();
        }
        quotient | u128::from(!self.limbs.is_empty())
    }

    /// Its decimal digits.
    pub(super) fn to_decimal(&self) -> String {
        let mut rest = self.clone();
        let mut chunks = Vec::new();
        while !rest.limbs.is_empty() {
            chunks.push(rest.divide_by_limb(LIMB_TEN_POWER));
        }
        let mut text = chunks.pop().unwrap_or(0).to_string();
        for chunk in chunks.iter().rev() {
            text.push_str(&format!("{chunk:09}"));
        }
        text
    }

    fn multiply_add(&mut self, factor: u32, addend: u32) {
        let mut carry = addend;
        for limb in &mut self.limbs {
            let product = u64::from(*limb) * u64::from(factor) + u64::from(carry);
            (*limb, carry) = halves(product);
        }
        if carry != 0 {
            self.limbs.push(carry);
        }
    }

    fn double(&mut self) {
        self.multiply_add(2, 0);
    }

    fn divide_by_limb(&mut self, divisor: u32) -> u32 {
        let mut remainder = 0;
        for limb in self.limbs.iter_mut().rev() {
            let dividend = u64::from(remainder) << LIMB_BITS | u64::from(*limb);
            // Both fit: the remainder before is below the divisor.
            (*limb, _) = halves(dividend / u64::from(divisor));
            (remainder, _) = halves(dividend % u64::from(divisor));
        }
        self.trim();
        remainder
    }

    fn compare(&self, other: &Self) -> Ordering {
        let by_length = self.limbs.len().cmp(&other.limbs.len());
        by_length.then_with(|| self.limbs.iter().rev().cmp(other.limbs.iter().rev()))
    }

    /// Subtracts a number that is not larger.
    fn subtract(&mut self, other: &Self) {
        let others = other.limbs.iter().copied().chain(std::iter::repeat(0));
        let mut borrow = false;
        for (limb, other) in self.limbs.iter_mut().zip(others) {
            let (less, first) = limb.overflowing_sub(other);
            let (less, second) = less.overflowing_sub(u32::from(borrow));
            *limb = less;
            borrow = first || second;
        }
        self.trim();
    }

    fn trim(&mut self) {
        while self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
    }
}

/// The low and the high half of 64 bits.
const fn halves(value: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn natural(value: u128) -> Natural {
        Natural::from_digits(value.to_string().bytes().map(|digit| digit - b'0'))
    }

    proptest! {
        #[test]
        fn it_agrees_with_128_bits(a in 0..u128::MAX >> 1, b in 1..u64::MAX, shift in 0..64u32) {
            prop_assert_eq!(natural(a).to_decimal(), a.to_string());
            prop_assert_eq!(natural(a).bits(), 128 - a.leading_zeros());
            let shifted = natural(u128::from(b)).shifted_left(shift);
            prop_assert_eq!(&shifted, &natural(u128::from(b) << shift));
            let b = u128::from(b);
            let quotient = natural(a).divided_by(&natural(b), 127);
            prop_assert_eq!(quotient, (a / b) | u128::from(a % b != 0));
        }
    }

    #[test]
    fn powers_of_ten_have_their_zeros() {
        for power in [0, 1, 8, 9, 10, 100, 4_932] {
            let zeros = usize::try_from(power).unwrap();
            let text = Natural::new(12).times_ten_to(power).to_decimal();
            assert_eq!(text, format!("12{}", "0".repeat(zeros)));
        }
        assert_eq!(Natural::new(0).to_decimal(), "0");
    }

    #[test]
    fn bits_that_are_cut_off_stick() {
        let one_bit = Natural::new(1).shifted_left(200);
        assert_eq!(one_bit.highest_bits(), (1 << 95, 105));
        let mut two_bits = one_bit;
        two_bits.multiply_add(1, 1);
        assert_eq!(two_bits.highest_bits(), (1 << 95 | 1, 105));
    }
}
