//! `mean`: a sum and a count. Body: count u64 LE | body of the sum.

use crate::cursor::Cursor;
use crate::operand::{OperandError, parse_f64, parse_i64};
use crate::presented::{MeanValue, Number, Presented};
use crate::state::{State, StateError};
use crate::sum::{FloatSum, IntegerSum};

/// The mean of integers.
#[derive(Debug, Default)]
pub(crate) struct IntegerMean {
    count: u64,
    sum: IntegerSum,
}

impl State for IntegerMean {
    fn add(&mut self, text: &[u8]) -> Result<(), OperandError> {
        self.sum.add(i128::from(parse_i64(text)?));
        self.count = self.count.saturating_add(1);
        Ok(())
    }

    fn absorb(&mut self, body: &[u8]) -> Result<(), StateError> {
        let mut cursor = Cursor::new(body);
        self.count = self.count.saturating_add(cursor.u64()?);
        self.sum.add(cursor.i128()?);
        cursor.finish()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.count.to_le_bytes());
        State::encode(&self.sum, out);
    }

    fn present(&self) -> Presented {
        let mean = self.sum.sum as f64 / self.count as f64;
        Presented::Mean(MeanValue {
            count: self.count,
            sum: Number::Integer(self.sum.sum),
            mean: (self.count > 0).then_some(mean),
        })
    }
}

/// The mean of floating-point numbers.
#[derive(Debug, Default)]
pub(crate) struct FloatMean {
    count: u64,
    sum: FloatSum,
}

impl State for FloatMean {
    fn add(&mut self, text: &[u8]) -> Result<(), OperandError> {
        self.sum.add(parse_f64(text)?);
        self.count = self.count.saturating_add(1);
        Ok(())
    }

    fn absorb(&mut self, body: &[u8]) -> Result<(), StateError> {
        let mut cursor = Cursor::new(body);
        self.count = self.count.saturating_add(cursor.u64()?);
        self.sum.absorb(&mut cursor)?;
        cursor.finish()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.count.to_le_bytes());
        self.sum.encode(out);
    }

    fn present(&self) -> Presented {
        Presented::Mean(MeanValue {
            count: self.count,
            sum: Number::Float(self.sum.sum()),
            mean: (self.count > 0).then(|| self.sum.mean_of(self.count)),
        })
    }
}
