//! `moments`: count, mean and variance.
//!
//! ```text
//! body    count u64 LE | infinities u8 | exact sum | exact sum of squares
//! ```
//!
//! The usual merge of (count, mean, m2) by Welford and Chan rounds at every step, so its
//! result depends on the grouping. Sums of `x` and `x^2` do not if they are exact, and then
//! `count * sum(x^2) - sum(x)^2` does not cancel either: the variance is rounded once.

use crate::cursor::Cursor;
use crate::exact::{Exact, SQUARES_LIMBS, SQUARES_UNIT_LOG2, decompose};
use crate::operand::{OperandError, parse_f64};
use crate::presented::{MomentsValue, Presented};
use crate::state::{State, StateError};
use crate::sum::FloatSum;

/// Limbs of the square of a sum, and of a count times a sum of squares.
const SPREAD_LIMBS: usize = SQUARES_LIMBS + 2;

/// Exact sums of the operands and of their squares.
#[derive(Debug, Default)]
pub(crate) struct Moments {
    count: u64,
    sum: FloatSum,
    squares: Exact<SQUARES_LIMBS>,
}

impl Moments {
    fn offer(&mut self, number: f64) {
        self.count = self.count.saturating_add(1);
        self.sum.add(number);
        if number.is_finite() {
            let parts = decompose(number);
            let square = u128::from(parts.significand) * u128::from(parts.significand);
            self.squares.add(square, 2 * parts.shift, false);
        }
    }

    /// The sum of squared distances from the mean, divided by `by`; needs operands.
    fn spread_by(&self, by: u64) -> f64 {
        if self.sum.infinities.dominate().is_some() {
            return f64::NAN;
        }
        let mut spread = self.squares.times::<SPREAD_LIMBS>(self.count);
        spread.subtract(&self.sum.finite.squared());
        // Only a crafted state has a negative spread.
        if spread.is_negative() {
            return 0.0;
        }
        spread.round(SQUARES_UNIT_LOG2).divide(self.count).divide(by).to_f64()
    }
}

impl State for Moments {
    fn add(&mut self, text: &[u8]) -> Result<(), OperandError> {
        self.offer(parse_f64(text)?);
        Ok(())
    }

    fn absorb(&mut self, body: &[u8]) -> Result<(), StateError> {
        let mut cursor = Cursor::new(body);
        self.count = self.count.saturating_add(cursor.u64()?);
        self.sum.absorb(&mut cursor)?;
        self.squares.absorb(&mut cursor)?;
        cursor.finish()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.count.to_le_bytes());
        self.sum.encode(out);
        self.squares.encode(out);
    }

    fn present(&self) -> Presented {
        let count = self.count;
        Presented::Moments(MomentsValue {
            count,
            sum: self.sum.sum(),
            mean: (count > 0).then(|| self.sum.mean_of(count)),
            variance: (count > 0).then(|| self.spread_by(count)),
            sample_variance: (count > 1).then(|| self.spread_by(count - 1)),
        })
    }
}
