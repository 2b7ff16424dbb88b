//! Operands as people write them, and why one is refused.

use thiserror::Error;

use crate::monoid::Monoid;
use crate::state::StateError;

/// How much of a refused text an error repeats, in characters.
const QUOTED_CHARS_MAX: usize = 64;

/// Why an operand was refused. All of them are for whoever sent it to fix.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OperandError {
    /// The text is not an integer in the range.
    #[error("{text:?} is not an integer from {min} to {max}")]
    NotAnInteger {
        /// The text, or its beginning.
        text: String,
        /// The smallest integer accepted.
        min: i64,
        /// The largest integer accepted.
        max: u64,
    },
    /// The text is not a number, or is NaN.
    #[error("{text:?} is not a number")]
    NotANumber {
        /// The text, or its beginning.
        text: String,
    },
    /// The number is infinite and the monoid takes finite ones only.
    #[error("{text:?} is not a finite number")]
    NotFinite {
        /// The text, or its beginning.
        text: String,
    },
    /// The operand has two parts and the second is missing.
    #[error("{text:?} is not of the form {form:?}")]
    MissingPart {
        /// The text, or its beginning.
        text: String,
        /// The form of an operand.
        form: &'static str,
    },
    /// A part of the operand, or the state, is too long.
    #[error("{bytes} bytes are too long: at most {bytes_max}")]
    TooLong {
        /// Its length, in bytes.
        bytes: usize,
        /// The longest accepted, in bytes.
        bytes_max: usize,
    },
    /// The state is of another monoid, or has other parameters.
    #[error("the state is of the monoid {found}, not {expected}")]
    OtherMonoid {
        /// The table's monoid.
        expected: Monoid,
        /// The state's monoid.
        found: Monoid,
    },
    /// The bytes are no state.
    #[error(transparent)]
    State {
        /// What is wrong with them.
        #[from]
        source: StateError,
    },
    /// The bytes can be read, but are not how this state is written.
    #[error("not the one encoding that this state of {monoid} has")]
    NotCanonical {
        /// The state's monoid.
        monoid: Monoid,
    },
}

/// The beginning of a text, for an error.
pub(crate) fn quote(text: &[u8]) -> String {
    let bytes = text.get(..QUOTED_CHARS_MAX * 4).unwrap_or(text);
    String::from_utf8_lossy(bytes).chars().take(QUOTED_CHARS_MAX).collect()
}

fn parse<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text.trim_ascii()).ok()?.parse().ok()
}

/// An integer.
pub(crate) fn parse_i64(text: &[u8]) -> Result<i64, OperandError> {
    parse(text).ok_or_else(|| OperandError::NotAnInteger {
        text: quote(text),
        min: i64::MIN,
        max: i64::MAX.unsigned_abs(),
    })
}

/// An integer from 0.
pub(crate) fn parse_u64(text: &[u8]) -> Result<u64, OperandError> {
    let refuse = || OperandError::NotAnInteger { text: quote(text), min: 0, max: u64::MAX };
    parse(text).ok_or_else(refuse)
}

/// An integer from 0 to 2^32 - 1.
pub(crate) fn parse_u32(text: &[u8]) -> Result<u32, OperandError> {
    parse(text).ok_or_else(|| OperandError::NotAnInteger {
        text: quote(text),
        min: 0,
        max: u64::from(u32::MAX),
    })
}

/// A number, not NaN; `-0` becomes `0`.
pub(crate) fn parse_f64(text: &[u8]) -> Result<f64, OperandError> {
    match parse::<f64>(text) {
        // Adding 0 turns -0 into 0, so that equal numbers have equal bytes.
        Some(number) if !number.is_nan() => Ok(number + 0.0),
        _ => Err(OperandError::NotANumber { text: quote(text) }),
    }
}

/// The text before the first space and all bytes after it.
pub(crate) fn split<'a>(
    text: &'a [u8],
    form: &'static str,
) -> Result<(&'a [u8], &'a [u8]), OperandError> {
    let missing = || OperandError::MissingPart { text: quote(text), form };
    let space = text.iter().position(|byte| *byte == b' ').ok_or_else(missing)?;
    let (first, rest) = text.split_at_checked(space).ok_or_else(missing)?;
    Ok((first, rest.get(1..).unwrap_or_default()))
}
