//! What every kind of state can do, and why bytes are not one or do not merge.

use std::io;

use thiserror::Error;

use crate::monoid::Monoid;
use crate::operand::OperandError;
use crate::presented::Presented;

/// A decoded state, without its tag; it starts as the identity.
///
/// `encode` is a function of the operands alone: not of their order, nor of how they were
/// grouped. A body is what `encode` writes.
pub(crate) trait State {
    /// Adds an operand that a person wrote. After an error this state is as it was.
    fn add(&mut self, text: &[u8]) -> Result<(), OperandError>;

    /// Merges an encoded body. After an error this state is to be dropped.
    fn absorb(&mut self, body: &[u8]) -> Result<(), StateError>;

    /// Appends the body.
    fn encode(&self, out: &mut Vec<u8>);

    /// What the state says.
    fn present(&self) -> Presented;
}

/// Why bytes are not an encoded state.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StateError {
    /// The bytes end too early.
    #[error("the state ends too early")]
    Truncated,
    /// Bytes follow the end of the state.
    #[error("{bytes} bytes follow the end of the state")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// A format of another build.
    #[error("unknown format version {version} of a state")]
    UnknownVersion {
        /// The version found.
        version: u8,
    },
    /// No monoid has this id.
    #[error("unknown monoid id {id}")]
    UnknownMonoid {
        /// The id found.
        id: u8,
    },
    /// A part of the state has a value that it cannot have.
    #[error("invalid {part} in the state")]
    Invalid {
        /// Which part.
        part: &'static str,
    },
    /// The containers of a bitmap are broken.
    #[error("invalid bitmap in the state")]
    Bitmap {
        /// What the bitmap's decoder says.
        source: io::Error,
    },
}

/// Why states do not merge, or do not present.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MergeError {
    /// There was no state, so no monoid whose identity could be the answer.
    #[error("no states to merge")]
    Nothing,
    /// The states are of different monoids, or of different parameters.
    #[error("a state of the monoid {found} does not merge with one of {expected}")]
    Mismatch {
        /// The monoid expected.
        expected: Monoid,
        /// The monoid that a state names.
        found: Monoid,
    },
    /// Bytes that are no state.
    #[error(transparent)]
    State {
        /// What is wrong with them.
        #[from]
        source: StateError,
    },
}
