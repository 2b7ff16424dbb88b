//! `min` and `max`. Body: nothing, or 1 u8 | the value (8 bytes LE, or the bytes).

use std::cmp::Ordering;

use crate::cursor::Cursor;
use crate::limits::VALUE_BYTES_MAX;
use crate::operand::{OperandError, parse_f64, parse_i64};
use crate::presented::{Presented, Scalar};
use crate::state::{State, StateError};

const PRESENT: u8 = 1;

/// A type of values that compare.
pub(crate) trait Comparable: Ord + Clone {
    fn parse(text: &[u8]) -> Result<Self, OperandError>;
    fn decode(cursor: Cursor<'_>) -> Result<Self, StateError>;
    fn encode(&self, out: &mut Vec<u8>);
    fn scalar(&self) -> Scalar;
}

/// The least or greatest value so far.
#[derive(Debug)]
pub(crate) struct Extreme<T> {
    /// How a better value compares with the best so far.
    better: Ordering,
    best: Option<T>,
}

impl<T: Comparable> Extreme<T> {
    pub(crate) const fn min() -> Self {
        Self { better: Ordering::Less, best: None }
    }

    pub(crate) const fn max() -> Self {
        Self { better: Ordering::Greater, best: None }
    }

    fn offer(&mut self, value: T) {
        if self.best.as_ref().is_none_or(|best| value.cmp(best) == self.better) {
            self.best = Some(value);
        }
    }
}

impl<T: Comparable> State for Extreme<T> {
    fn add(&mut self, text: &[u8]) -> Result<(), OperandError> {
        self.offer(T::parse(text)?);
        Ok(())
    }

    fn absorb(&mut self, body: &[u8]) -> Result<(), StateError> {
        let mut cursor = Cursor::new(body);
        if cursor.is_empty() {
            return Ok(());
        }
        if cursor.u8()? != PRESENT {
            return Err(StateError::Invalid { part: "presence of a value" });
        }
        self.offer(T::decode(cursor)?);
        Ok(())
    }

    fn encode(&self, out: &mut Vec<u8>) {
        if let Some(best) = &self.best {
            out.push(PRESENT);
            best.encode(out);
        }
    }

    fn present(&self) -> Presented {
        Presented::Extreme(self.best.as_ref().map(T::scalar))
    }
}

impl Comparable for i64 {
    fn parse(text: &[u8]) -> Result<Self, OperandError> {
        parse_i64(text)
    }

    fn decode(mut cursor: Cursor<'_>) -> Result<Self, StateError> {
        let value = cursor.i64()?;
        cursor.finish().map(|()| value)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.to_le_bytes());
    }

    fn scalar(&self) -> Scalar {
        Scalar::Integer(*self)
    }
}

/// A number that is neither NaN nor `-0`, so that its order is total and equal numbers have
/// equal bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Float(f64);

impl Ord for Float {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Float {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Float {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Float {}

impl Comparable for Float {
    fn parse(text: &[u8]) -> Result<Self, OperandError> {
        parse_f64(text).map(Self)
    }

    fn decode(mut cursor: Cursor<'_>) -> Result<Self, StateError> {
        let value = cursor.f64()?;
        cursor.finish().map(|()| Self(value))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.0.to_le_bytes());
    }

    fn scalar(&self) -> Scalar {
        Scalar::Float(self.0)
    }
}

impl Comparable for Vec<u8> {
    fn parse(text: &[u8]) -> Result<Self, OperandError> {
        if text.len() > VALUE_BYTES_MAX {
            return Err(OperandError::TooLong { bytes: text.len(), bytes_max: VALUE_BYTES_MAX });
        }
        Ok(text.to_vec())
    }

    fn decode(cursor: Cursor<'_>) -> Result<Self, StateError> {
        let value = cursor.rest();
        if value.len() > VALUE_BYTES_MAX {
            return Err(StateError::Invalid { part: "length of a value" });
        }
        Ok(value.to_vec())
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self);
    }

    fn scalar(&self) -> Scalar {
        Scalar::Bytes(self.clone())
    }
}
