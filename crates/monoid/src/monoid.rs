//! A table's monoid: its kind and parameters, and what can be done with its states.

use crate::accumulator::Accumulator;
use crate::bitmap::Bitmap;
use crate::count::Count;
use crate::distinct::{DistinctItems, LgK};
use crate::extreme::{Extreme, Float};
use crate::last::Last;
use crate::limits::STATE_BYTES_MAX;
use crate::mean::{FloatMean, IntegerMean};
use crate::moments::Moments;
use crate::operand::OperandError;
use crate::presented::Presented;
use crate::quantiles::{Quantiles, RelativeError};
use crate::state::{MergeError, State, StateError};
use crate::sum::{FloatSum, IntegerSum};
use crate::tag;
use crate::top::{Top, TopLength};

/// How the values of a table merge: a kind with its parameters.
///
/// Its text is what people write ([`FromStr`](std::str::FromStr), `Display`); an operand's
/// text is what [`Monoid::parse_operand`] reads.
///
/// Numbers: integers are `i64`. Floating-point operands are `f64` with `-0` taken as `0`;
/// NaN is refused everywhere. Infinities are accepted by sums, means, moments and extremes:
/// a sum with infinities of one sign is that infinity, with both it is NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Monoid {
    /// `count`: how many. Operand: an integer from 0, or nothing for 1. Stops at 2^64 - 1.
    Count,
    /// `sum:i64`, `sum:f64`. Operand: a number.
    ///
    /// Integers are summed in 128 bits, which 2^64 operands cannot overflow, and presented
    /// exactly even outside `i64`. (A crafted state near 2^127 wraps.)
    ///
    /// Floating-point sums are exact: the sum is kept as an integer of 2176 bits in units
    /// of 2^-1074 and rounded once, to the nearest `f64`, when presented. The result does
    /// not depend on order or grouping, and `1e308 + 1e308 - 1e308` is `1e308`.
    Sum(NumberType),
    /// `mean:i64`, `mean:f64`. Operand: a number. Sums as [`Monoid::Sum`].
    Mean(NumberType),
    /// `min:i64`, `min:f64`, `min:bytes`. Operand: a value. Bytes compare as bytes.
    Min(ScalarType),
    /// `max:i64`, `max:f64`, `max:bytes`. Operand: a value. Bytes compare as bytes.
    Max(ScalarType),
    /// `last`: the value with the greatest timestamp; of equal timestamps the greater
    /// value, as bytes. Operand: `timestamp_micros value`.
    Last,
    /// `moments`: count, mean and variance. Operand: a number. The sum and the sum of
    /// squares are exact, as in [`Monoid::Sum`], so nothing cancels.
    Moments,
    /// `top:K`: the K items of highest score; an item counts with its highest score, and of
    /// equal scores the smaller item, as bytes, comes first. Operand: `score item`.
    Top(TopLength),
    /// `hll`, `hll:LGK`: how many distinct items, estimated. Operand: any bytes, one item.
    Distinct(LgK),
    /// `quantiles`, `quantiles:ERROR`: quantiles within a relative error. Operand: a finite
    /// number.
    Quantiles(RelativeError),
    /// `bitmap`: a set of `u32`. Operand: integers separated by spaces.
    Bitmap,
}

/// The type of numbers to add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NumberType {
    /// 64-bit signed integers.
    I64,
    /// 64-bit IEEE 754 numbers.
    F64,
}

/// The type of values to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScalarType {
    /// 64-bit signed integers.
    I64,
    /// 64-bit IEEE 754 numbers.
    F64,
    /// Byte strings.
    Bytes,
}

impl Monoid {
    /// The state of no operands; merging it changes nothing.
    #[must_use]
    pub fn identity(&self) -> Vec<u8> {
        self.encode(self.state().as_ref())
    }

    /// A state to which operands are added one after the other; the identity at first.
    #[must_use]
    pub fn accumulator(&self) -> Accumulator {
        Accumulator::new(*self, self.state())
    }

    /// The encoded state of one operand that a person wrote.
    ///
    /// # Errors
    /// [`OperandError`]: what is wrong with the text, for the person to fix.
    pub fn parse_operand(&self, text: &[u8]) -> Result<Vec<u8>, OperandError> {
        let mut state = self.state();
        state.add(text)?;
        Ok(self.encode(state.as_ref()))
    }

    /// Checks bytes of unknown origin: whether they are a state of this monoid, at most
    /// [`STATE_BYTES_MAX`] long, in the one encoding that this state has. States that pass
    /// merge with each other without error.
    ///
    /// # Errors
    /// [`OperandError::TooLong`], [`OperandError::OtherMonoid`], [`OperandError::State`] or
    /// [`OperandError::NotCanonical`].
    pub fn check(&self, encoded: &[u8]) -> Result<(), OperandError> {
        if encoded.len() > STATE_BYTES_MAX {
            return Err(OperandError::TooLong { bytes: encoded.len(), bytes_max: STATE_BYTES_MAX });
        }
        let (found, body) = tag::decode(encoded)?;
        if found != *self {
            return Err(OperandError::OtherMonoid { expected: *self, found });
        }
        let mut state = self.state();
        state.absorb(body)?;
        if self.encode(state.as_ref()) == encoded {
            Ok(())
        } else {
            Err(OperandError::NotCanonical { monoid: *self })
        }
    }

    /// Merges states of this monoid; none at all are the identity.
    ///
    /// # Errors
    /// [`MergeError::Mismatch`] or [`MergeError::State`]; neither if every state passed
    /// [`Monoid::check`].
    pub fn merge_all<'a>(
        &self,
        states: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Vec<u8>, MergeError> {
        let mut accumulator = self.state();
        for encoded in states {
            let (found, body) = tag::decode(encoded)?;
            if found != *self {
                return Err(MergeError::Mismatch { expected: *self, found });
            }
            accumulator.absorb(body)?;
        }
        Ok(self.encode(accumulator.as_ref()))
    }

    /// What a state of this monoid says.
    ///
    /// # Errors
    /// [`MergeError::Mismatch`] or [`MergeError::State`].
    pub fn present(&self, encoded: &[u8]) -> Result<Presented, MergeError> {
        let (found, body) = tag::decode(encoded)?;
        if found != *self {
            return Err(MergeError::Mismatch { expected: *self, found });
        }
        let mut state = self.state();
        state.absorb(body)?;
        Ok(state.present())
    }

    /// The monoid that an encoded state belongs to, read from its tag.
    ///
    /// # Errors
    /// [`StateError`]; the state behind the tag is not looked at.
    pub fn of(encoded: &[u8]) -> Result<Self, StateError> {
        tag::decode(encoded).map(|(monoid, _)| monoid)
    }

    pub(crate) fn encode(&self, state: &dyn State) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        tag::encode(*self, &mut out);
        state.encode(&mut out);
        out
    }

    /// The identity, decoded.
    fn state(&self) -> Box<dyn State> {
        match *self {
            Self::Count => Box::new(Count::default()),
            Self::Sum(NumberType::I64) => Box::new(IntegerSum::default()),
            Self::Sum(NumberType::F64) => Box::new(FloatSum::default()),
            Self::Mean(NumberType::I64) => Box::new(IntegerMean::default()),
            Self::Mean(NumberType::F64) => Box::new(FloatMean::default()),
            Self::Min(ScalarType::I64) => Box::new(Extreme::<i64>::min()),
            Self::Min(ScalarType::F64) => Box::new(Extreme::<Float>::min()),
            Self::Min(ScalarType::Bytes) => Box::new(Extreme::<Vec<u8>>::min()),
            Self::Max(ScalarType::I64) => Box::new(Extreme::<i64>::max()),
            Self::Max(ScalarType::F64) => Box::new(Extreme::<Float>::max()),
            Self::Max(ScalarType::Bytes) => Box::new(Extreme::<Vec<u8>>::max()),
            Self::Last => Box::new(Last::default()),
            Self::Moments => Box::new(Moments::default()),
            Self::Top(length) => Box::new(Top::new(length)),
            Self::Distinct(lg_k) => Box::new(DistinctItems::new(lg_k)),
            Self::Quantiles(error) => Box::new(Quantiles::new(error)),
            Self::Bitmap => Box::new(Bitmap::default()),
        }
    }
}

/// Merges two states of the same monoid.
///
/// # Errors
/// [`MergeError::Mismatch`] or [`MergeError::State`].
pub fn merge(a: &[u8], b: &[u8]) -> Result<Vec<u8>, MergeError> {
    merge_all([a, b])
}

/// Merges states of one monoid, which the first of them names. The accumulator is decoded
/// once, whatever their number.
///
/// # Errors
/// [`MergeError::Nothing`] without states; [`MergeError::Mismatch`] or
/// [`MergeError::State`].
pub fn merge_all<'a>(states: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, MergeError> {
    let mut states = states.into_iter();
    let first = states.next().ok_or(MergeError::Nothing)?;
    let monoid = Monoid::of(first)?;
    monoid.merge_all(std::iter::once(first).chain(states))
}

/// What a state says, of whichever monoid it names.
///
/// # Errors
/// [`StateError`].
pub fn present(encoded: &[u8]) -> Result<Presented, StateError> {
    let (monoid, body) = tag::decode(encoded)?;
    let mut state = monoid.state();
    state.absorb(body)?;
    Ok(state.present())
}
