//! `sum`: sums that do not depend on grouping.
//!
//! ```text
//! body of sum:i64    sum i128 LE
//! body of sum:f64    infinities u8 | exact sum (see `exact`)
//! ```

use crate::cursor::Cursor;
use crate::exact::{Exact, SUM_LIMBS, SUM_UNIT_LOG2, decompose};
use crate::operand::{OperandError, parse_f64, parse_i64};
use crate::presented::{Number, Presented};
use crate::state::{State, StateError};

/// A sum of integers. 2^64 operands cannot overflow it; a crafted state can, and wraps,
/// which is associative too.
#[derive(Debug, Default)]
pub(crate) struct IntegerSum {
    pub(crate) sum: i128,
}

impl IntegerSum {
    pub(crate) fn add(&mut self, number: i128) {
        self.sum = self.sum.wrapping_add(number);
    }
}

impl State for IntegerSum {
    fn add(&mut self, text: &[u8]) -> Result<(), OperandError> {
        self.add(i128::from(parse_i64(text)?));
        Ok(())
    }

    fn absorb(&mut self, body: &[u8]) -> Result<(), StateError> {
        let mut cursor = Cursor::new(body);
        self.add(cursor.i128()?);
        cursor.finish()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.sum.to_le_bytes());
    }

    fn present(&self) -> Presented {
        Presented::Sum(Number::Integer(self.sum))
    }
}

/// Which infinities were among the operands; they are kept apart from the finite sum.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Infinities {
    bits: u8,
}

impl Infinities {
    const POSITIVE: u8 = 1;
    const NEGATIVE: u8 = 2;

    /// Notes the number if it is infinite, and says whether it was.
    pub(crate) fn note(&mut self, number: f64) -> bool {
        if number.is_infinite() {
            self.bits |= if number > 0.0 { Self::POSITIVE } else { Self::NEGATIVE };
        }
        number.is_infinite()
    }

    pub(crate) fn absorb(&mut self, cursor: &mut Cursor<'_>) -> Result<(), StateError> {
        let bits = cursor.u8()?;
        if bits & !(Self::POSITIVE | Self::NEGATIVE) != 0 {
            return Err(StateError::Invalid { part: "infinities" });
        }
        self.bits |= bits;
        Ok(())
    }

    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        out.push(self.bits);
    }

    /// The sum or mean of operands among which these infinities were; `None` if none were.
    pub(crate) const fn dominate(self) -> Option<f64> {
        match self.bits {
            0 => None,
            Self::POSITIVE => Some(f64::INFINITY),
            Self::NEGATIVE => Some(f64::NEG_INFINITY),
            _ => Some(f64::NAN),
        }
    }
}

/// An exact sum of floating-point numbers.
#[derive(Debug, Default)]
pub(crate) struct FloatSum {
    pub(crate) infinities: Infinities,
    pub(crate) finite: Exact<SUM_LIMBS>,
}

impl FloatSum {
    /// Adds a number that is not NaN.
    pub(crate) fn add(&mut self, number: f64) {
        if !self.infinities.note(number) {
            let parts = decompose(number);
            self.finite.add(u128::from(parts.significand), parts.shift, parts.negative);
        }
    }

    pub(crate) fn absorb(&mut self, cursor: &mut Cursor<'_>) -> Result<(), StateError> {
        self.infinities.absorb(cursor)?;
        self.finite.absorb(cursor)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.infinities.encode(out);
        self.finite.encode(out);
    }

    /// The sum, rounded once to the nearest `f64`.
    pub(crate) fn sum(&self) -> f64 {
        self.mean_of(1)
    }

    /// The sum divided by a count of at least 1. The quotient may be finite though the sum
    /// is beyond `f64`.
    pub(crate) fn mean_of(&self, count: u64) -> f64 {
        let finite = || self.finite.round(SUM_UNIT_LOG2).divide(count).to_f64();
        self.infinities.dominate().unwrap_or_else(finite)
    }
}

impl State for FloatSum {
    fn add(&mut self, text: &[u8]) -> Result<(), OperandError> {
        self.add(parse_f64(text)?);
        Ok(())
    }

    fn absorb(&mut self, body: &[u8]) -> Result<(), StateError> {
        let mut cursor = Cursor::new(body);
        self.absorb(&mut cursor)?;
        cursor.finish()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.encode(out);
    }

    fn present(&self) -> Presented {
        Presented::Sum(Number::Float(self.sum()))
    }
}
