//! Many operands or states of one monoid, added to one state that stays decoded.

use crate::monoid::Monoid;
use crate::operand::OperandError;
use crate::state::{MergeError, State};
use crate::tag;

/// A state to which operands and other states are added.
pub struct Accumulator {
    monoid: Monoid,
    state: Box<dyn State>,
}

impl Accumulator {
    pub(crate) fn new(monoid: Monoid, state: Box<dyn State>) -> Self {
        Self { monoid, state }
    }

    /// Adds an operand, as [`Monoid::parse_operand`] reads it.
    ///
    /// # Errors
    /// [`OperandError`]; the state is as it was.
    pub fn add(&mut self, text: &[u8]) -> Result<(), OperandError> {
        self.state.add(text)
    }

    /// Merges a state of the same monoid.
    ///
    /// # Errors
    /// [`MergeError::Mismatch`] or [`MergeError::State`], neither if it passed
    /// [`Monoid::check`]. After the latter the accumulator is to be dropped.
    pub fn merge(&mut self, encoded: &[u8]) -> Result<(), MergeError> {
        let (found, body) = tag::decode(encoded)?;
        if found != self.monoid {
            return Err(MergeError::Mismatch { expected: self.monoid, found });
        }
        Ok(self.state.absorb(body)?)
    }

    /// The encoded state.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.monoid.encode(self.state.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use crate::monoid::Monoid;

    #[test]
    fn operands_added_one_by_one_give_the_state_of_their_merge() {
        for (monoid, operands) in [
            ("sum:f64", ["1.5", "-2", "1e300"]),
            ("top:2", ["3 a", "1 b", "2 c"]),
            ("hll", ["a", "b", "a"]),
            ("bitmap", ["1 2", "2", "7"]),
        ] {
            let monoid: Monoid = monoid.parse().unwrap();
            let mut accumulator = monoid.accumulator();
            let mut states = Vec::new();
            for operand in operands {
                accumulator.add(operand.as_bytes()).unwrap();
                states.push(monoid.parse_operand(operand.as_bytes()).unwrap());
            }
            let merged = monoid.merge_all(states.iter().map(Vec::as_slice)).unwrap();
            assert_eq!(accumulator.encode(), merged, "{monoid}");
            accumulator.merge(&merged).unwrap();
            let twice = monoid.merge_all([merged.as_slice(), &merged]).unwrap();
            assert_eq!(accumulator.encode(), twice, "{monoid}");
        }
    }

    #[test]
    fn an_operand_that_is_refused_leaves_no_trace() {
        for (monoid, refused) in [
            ("sum:i64", "1.5"),
            ("mean:f64", "NaN"),
            ("quantiles", "inf"),
            ("bitmap", "1 2 x"),
            ("top:2", "x y"),
        ] {
            let monoid: Monoid = monoid.parse().unwrap();
            let mut accumulator = monoid.accumulator();
            assert!(accumulator.add(refused.as_bytes()).is_err(), "{monoid}");
            assert_eq!(accumulator.encode(), monoid.identity(), "{monoid}");
        }
    }
}
