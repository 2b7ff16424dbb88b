//! `hll`: HyperLogLog, how many distinct items.
//!
//! Items are hashed, and counts estimated, by the Apache DataSketches library; its own bytes
//! depend on the order of updates, so states are kept in this form instead, which converts
//! to and from the library's without loss:
//!
//! ```text
//! body      0 u8 | coupons u32 LE, ascending          few items: each hash, shortened
//!           1 u8 | 2^lgK registers u8                 many items
//! coupon    6 bits register value (1 to 63) | 26 bits slot
//! ```
//!
//! A state has coupons up to [`LgK::coupons_max`] of them, and registers above. Both merges
//! (union, maximum) are exact, and which form a union has follows from the items alone.

use std::collections::BTreeSet;
use std::fmt;

use datasketches::hash::value::raw_bytes;
use datasketches::hll::{HllSketch, HllType};

use crate::cursor::Cursor;
use crate::limits::{LG_K_MAX, LG_K_MIN};
use crate::operand::OperandError;
use crate::presented::{Distinct, Presented};
use crate::state::{State, StateError};

const COUPONS: u8 = 0;
const REGISTERS: u8 = 1;

const SLOT_BITS: u32 = 26;
const SLOT_MASK: u32 = (1 << SLOT_BITS) - 1;
const REGISTER_MAX: u8 = 63;

/// Bytes of the library's format before a list's only coupon.
const LIST_PREAMBLE_BYTES: usize = 8;

/// One standard error of an estimate from coupons: they tell 2^26 slots apart.
const COUPON_RELATIVE_ERROR: f64 = 0.409 / 8192.0;

/// The base-2 logarithm of an `hll`'s registers: [`LG_K_MIN`] to [`LG_K_MAX`], 12 by
/// default.
///
/// The standard error of an estimate is `1.04 / sqrt(2^lgK)`, 1.6 % for 12, and 0.005 % as
/// long as at most [`LgK::coupons_max`] items were seen. A row takes up to 2^lgK bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LgK(u8);

impl LgK {
    /// `None` outside [`LG_K_MIN`] to [`LG_K_MAX`].
    #[must_use]
    pub const fn new(lg_k: u8) -> Option<Self> {
        if lg_k >= LG_K_MIN && lg_k <= LG_K_MAX { Some(Self(lg_k)) } else { None }
    }

    /// The logarithm.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The number of registers.
    #[must_use]
    pub const fn registers(self) -> usize {
        1 << self.0
    }

    /// How many items are counted almost exactly, before registers are used.
    #[must_use]
    pub const fn coupons_max(self) -> usize {
        // Where the library itself goes over from its list or hash set to registers.
        if self.0 < 8 { 7 } else { 3 * self.registers() / 32 }
    }

    /// One standard error of an estimate from registers.
    fn relative_error(self) -> f64 {
        1.04 / (self.registers() as f64).sqrt()
    }
}

impl Default for LgK {
    fn default() -> Self {
        Self(12)
    }
}

impl fmt::Display for LgK {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The hashes of the items, or the registers that they raised.
#[derive(Debug)]
enum Seen {
    Coupons(BTreeSet<u32>),
    Registers(Vec<u8>),
}

/// A HyperLogLog sketch.
#[derive(Debug)]
pub(crate) struct DistinctItems {
    lg_k: LgK,
    seen: Seen,
}

/// The coupon of an item.
fn coupon(item: &[u8]) -> u32 {
    // The library shows a coupon only in the bytes of a sketch that holds nothing else.
    let Ok(mut sketch) = HllSketch::new(LgK::default().get(), HllType::Hll8) else {
        return 0;
    };
    sketch.update(raw_bytes::from_slice(item));
    let bytes = sketch.serialize();
    let coupon = bytes.get(LIST_PREAMBLE_BYTES..).and_then(|coupons| coupons.first_chunk());
    coupon.copied().map_or(0, u32::from_le_bytes)
}

/// A coupon's register, of `registers` (a power of two), and value.
fn split_coupon(coupon: u32, registers: usize) -> (usize, u8) {
    let slot = usize::try_from(coupon & SLOT_MASK).unwrap_or(0) & (registers - 1);
    let [.., top] = coupon.to_le_bytes();
    (slot, top >> (SLOT_BITS - 24))
}

fn raise(registers: &mut [u8], coupon: u32) {
    let (slot, value) = split_coupon(coupon, registers.len());
    if let Some(register) = registers.get_mut(slot) {
        *register = value.max(*register);
    }
}

impl DistinctItems {
    pub(crate) const fn new(lg_k: LgK) -> Self {
        Self { lg_k, seen: Seen::Coupons(BTreeSet::new()) }
    }

    fn add_coupon(&mut self, coupon: u32) {
        match &mut self.seen {
            Seen::Registers(registers) => raise(registers, coupon),
            Seen::Coupons(coupons) => {
                coupons.insert(coupon);
                if coupons.len() > self.lg_k.coupons_max() {
                    self.registers();
                }
            }
        }
    }

    /// Goes over to registers, if not there yet.
    fn registers(&mut self) -> &mut [u8] {
        if let Seen::Coupons(coupons) = &self.seen {
            let mut registers = vec![0; self.lg_k.registers()];
            for coupon in coupons {
                raise(&mut registers, *coupon);
            }
            self.seen = Seen::Registers(registers);
        }
        match &mut self.seen {
            Seen::Registers(registers) => registers,
            Seen::Coupons(_) => &mut [],
        }
    }

    fn absorb_coupons(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let (coupons, rest) = bytes.as_chunks();
        if !rest.is_empty() || coupons.len() > self.lg_k.coupons_max() {
            return Err(StateError::Invalid { part: "number of coupons" });
        }
        for coupon in coupons {
            let coupon = u32::from_le_bytes(*coupon);
            if coupon >> SLOT_BITS == 0 {
                return Err(StateError::Invalid { part: "coupon" });
            }
            self.add_coupon(coupon);
        }
        Ok(())
    }

    fn absorb_registers(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let valid = bytes.iter().all(|register| *register <= REGISTER_MAX);
        if bytes.len() != self.lg_k.registers() || !valid {
            return Err(StateError::Invalid { part: "registers" });
        }
        for (register, other) in self.registers().iter_mut().zip(bytes) {
            *register = (*register).max(*other);
        }
        Ok(())
    }

    fn estimate(&self) -> f64 {
        let bytes = match &self.seen {
            Seen::Coupons(coupons) if coupons.is_empty() => return 0.0,
            Seen::Coupons(coupons) => library::coupons(self.lg_k, coupons),
            Seen::Registers(registers) => library::registers(self.lg_k, registers),
        };
        // These bytes are ours, so the library reads them; the tests do it for every form.
        HllSketch::deserialize(&bytes).map_or(0.0, |sketch| sketch.estimate())
    }
}

impl State for DistinctItems {
    fn add(&mut self, text: &[u8]) -> Result<(), OperandError> {
        self.add_coupon(coupon(text));
        Ok(())
    }

    fn absorb(&mut self, body: &[u8]) -> Result<(), StateError> {
        let mut cursor = Cursor::new(body);
        match cursor.u8()? {
            COUPONS => self.absorb_coupons(cursor.rest()),
            REGISTERS => self.absorb_registers(cursor.rest()),
            _ => Err(StateError::Invalid { part: "form of hll" }),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match &self.seen {
            Seen::Coupons(coupons) => {
                out.push(COUPONS);
                out.extend(coupons.iter().flat_map(|coupon| coupon.to_le_bytes()));
            }
            Seen::Registers(registers) => {
                out.push(REGISTERS);
                out.extend(registers);
            }
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate is not negative, and beyond u64 the cast stops at its maximum"
    )]
    fn present(&self) -> Presented {
        let relative_error = match self.seen {
            Seen::Coupons(_) => COUPON_RELATIVE_ERROR,
            Seen::Registers(_) => self.lg_k.relative_error(),
        };
        Presented::Distinct(Distinct { estimate: self.estimate().round() as u64, relative_error })
    }
}

/// The format of the DataSketches libraries (of Java, C++, Python and Rust), version 1,
/// type `HLL_8`.
mod library {
    use std::collections::BTreeSet;

    use super::LgK;

    const SERIAL_VERSION: u8 = 1;
    const FAMILY_HLL: u8 = 7;
    const FLAG_COMPACT: u8 = 8;
    const FLAG_OUT_OF_ORDER: u8 = 16;
    const TYPE_HLL_8: u8 = 2 << 2;
    const MODE_LIST: u8 = 0;
    const MODE_SET: u8 = 1;
    const MODE_REGISTERS: u8 = 2;
    const LIST_LG: u8 = 3;
    const SET_LG_MIN: u8 = 5;

    /// A sketch of coupons: a list below 8 of them, else a compact hash set.
    pub(super) fn coupons(lg_k: LgK, coupons: &BTreeSet<u32>) -> Vec<u8> {
        let count = u32::try_from(coupons.len()).unwrap_or(u32::MAX);
        let list = count < 1 << LIST_LG;
        let mut bytes = if list {
            let state = u8::try_from(count).unwrap_or(u8::MAX);
            let mode = TYPE_HLL_8 | MODE_LIST;
            vec![2, SERIAL_VERSION, FAMILY_HLL, lg_k.get(), LIST_LG, FLAG_COMPACT, state, mode]
        } else {
            // The smallest table that is at most three quarters full.
            let mut lg = SET_LG_MIN;
            while u64::from(count) * 4 > 3 << lg {
                lg += 1;
            }
            let mode = TYPE_HLL_8 | MODE_SET;
            vec![3, SERIAL_VERSION, FAMILY_HLL, lg_k.get(), lg, FLAG_COMPACT, 0, mode]
        };
        if !list {
            bytes.extend(count.to_le_bytes());
        }
        bytes.extend(coupons.iter().flat_map(|coupon| coupon.to_le_bytes()));
        bytes
    }

    /// A sketch of registers, to be estimated from them alone, not from their history.
    pub(super) fn registers(lg_k: LgK, registers: &[u8]) -> Vec<u8> {
        let flags = FLAG_COMPACT | FLAG_OUT_OF_ORDER;
        let mode = TYPE_HLL_8 | MODE_REGISTERS;
        let mut bytes = vec![10, SERIAL_VERSION, FAMILY_HLL, lg_k.get(), 0, flags, 0, mode];
        let sum_of_powers = |from: u8, below: u8| -> f64 {
            let values = registers.iter().filter(|value| (from..below).contains(value));
            values.map(|value| 1.0 / (1u64 << (value & 63)) as f64).sum()
        };
        let zeros = registers.iter().filter(|value| **value == 0).count();
        bytes.extend(0.0f64.to_le_bytes());
        // Both sums are exact: powers of two that span less than 53 bits.
        bytes.extend(sum_of_powers(0, 32).to_le_bytes());
        bytes.extend(sum_of_powers(32, 64).to_le_bytes());
        bytes.extend(u32::try_from(zeros).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(0u32.to_le_bytes());
        bytes.extend(registers);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Our form against the library's own sketch: the same estimate at every size.
    #[test]
    fn the_library_reads_every_form_and_agrees() {
        for lg_k in [LG_K_MIN, 7, 8, 12, LG_K_MAX] {
            let mut ours = DistinctItems::new(LgK::new(lg_k).unwrap());
            let mut theirs = HllSketch::new(lg_k, HllType::Hll8).unwrap();
            for item in 1..=20_000u32 {
                let name = format!("item {item}");
                ours.add(name.as_bytes()).unwrap();
                theirs.update(raw_bytes::from_slice(name.as_bytes()));
                if item < 100 || item % 997 == 0 {
                    let (a, b) = (ours.estimate(), theirs.composite_estimate());
                    assert!((a - b).abs() <= b * 1e-9, "lgK {lg_k}, {item} items: {a} and {b}");
                }
            }
        }
    }

    #[test]
    fn an_item_has_the_coupon_of_the_library() {
        assert_ne!(coupon(b""), 0);
        let (slot, value) = split_coupon(coupon(b"abc"), 1 << 26);
        let mut sketch = HllSketch::new(LgK::default().get(), HllType::Hll8).unwrap();
        sketch.update(raw_bytes::from_slice(b"abc"));
        let packed = u32::from(value) << SLOT_BITS | u32::try_from(slot).unwrap();
        assert_eq!(sketch.serialize()[8..12], packed.to_le_bytes());
    }
}
