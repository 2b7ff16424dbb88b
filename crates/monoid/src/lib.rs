//! Mergeable values: counts, sums, extremes, moments, top-K, distinct counts, quantiles
//! and bitmaps, as bytes that merge.
//!
//! A [`Monoid`] is the kind of a table's values with its parameters. It turns operands that
//! people write into encoded states, states merge into states, and a state is presented as
//! a value that people can read:
//!
//! ```
//! use breccia_monoid::{Monoid, merge_all};
//!
//! let mean: Monoid = "mean:f64".parse()?;
//! let one = mean.parse_operand(b"1.5")?;
//! let two = mean.parse_operand(b"2.5")?;
//! let state = merge_all([one.as_slice(), two.as_slice()])?;
//! assert_eq!(mean.present(&state)?.to_json()["mean"], 2.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # One state, one byte string
//!
//! Every monoid here is exactly associative and commutative, and every state has exactly
//! one encoding. RocksDB groups the operands of a row as its compactions happen to fall, so
//! replicas merge the same operands in different trees; they end with the same bytes all
//! the same and can be compared by checksum. That is why floating-point sums are kept as
//! wide integers ([`Monoid::Sum`]), why quantile bins never collapse, and why the sketches
//! are stored in an order of their own instead of their library's.
//!
//! Operands are checked once, before they enter the log ([`Monoid::check`]); what passed
//! merges for ever. Nothing in this crate panics on bytes it does not understand, reads a
//! clock, or draws a random number.

mod accumulator;
mod limits;
mod monoid;
mod name;
mod operand;
mod presented;

mod cursor;
mod state;
mod tag;

mod exact;

mod bitmap;
mod count;
mod distinct;
mod extreme;
mod last;
mod mean;
mod moments;
mod quantiles;
mod sum;
mod top;

pub use accumulator::Accumulator;
pub use distinct::LgK;
pub use limits::{
    LG_K_MAX, LG_K_MIN, RELATIVE_ERROR_MAX, RELATIVE_ERROR_MIN, STATE_BYTES_MAX,
    TOP_ITEM_BYTES_MAX, TOP_LENGTH_MAX, VALUE_BYTES_MAX,
};
pub use monoid::{Monoid, NumberType, ScalarType, merge, merge_all, present};
pub use name::ParseMonoidError;
pub use operand::OperandError;
pub use presented::{
    Distinct, Integers, LastValue, MeanValue, MomentsValue, Number, Presented, QuantilesValue,
    Scalar, Scored,
};
pub use quantiles::RelativeError;
pub use state::{MergeError, StateError};
pub use top::TopLength;
