//! Reductions: functions that travel to every shard, and whose results are combined on the
//! way back.
//!
//! An author writes a [`Reduce`]: what is asked, decoded. The nodes see it as an
//! [`AnyReduce`], which takes and gives bytes, each with the version of its encoding in
//! front, and find it by its id among their [`Reductions`].

mod aggregate;
mod count;
mod field;
mod merge;
mod operands;
mod registry;
mod rows;

use breccia_store::StoreError;
use breccia_types::limits::REDUCE_STATE_BYTES_MAX;
use breccia_types::wire::DecodeError;
use breccia_types::{ReductionId, RequestError};
use bytes::Bytes;
use thiserror::Error;

pub use aggregate::encode_aggregate;
pub use count::Count;
pub use field::{Found, find};
pub use merge::MergeStates;
pub use operands::Operands;
pub use registry::{AnyReduce, Reductions, decode_partial, encode_request, unversioned};
pub use rows::{Misfit, Rows, Sight, Stop};

/// A reduction of a table's rows: a request with all its parameters.
///
/// `combine` must be associative and commutative: results are combined per node, and again on
/// the way to the caller, in whatever order and grouping the cluster's shape gives.
pub trait Reduce: Send + Sync + Sized + 'static {
    /// The id by which nodes name it to each other. Those below 1,000 are the project's own.
    const ID: ReductionId;
    /// Its name, for people.
    const NAME: &'static str;
    /// The version of its encodings, of requests and partials alike. Another one is refused.
    const VERSION: u8 = 1;

    /// What the rows of one shard, or of several together, come to.
    type Partial: Send;

    /// Writes the request.
    fn encode(&self) -> Vec<u8>;

    /// Reads what [`Reduce::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`].
    fn decode(request: Bytes) -> Result<Self, DecodeError>;

    /// Reduces the rows of one shard. Runs on a thread that may wait; [`Rows::visit`] ends it
    /// when nobody waits for it any more.
    ///
    /// # Errors
    /// What [`Rows::visit`] reports, or [`ReduceError::Partial`]; the shard then counts as
    /// not reduced.
    fn partial(&self, rows: &mut Rows<'_>) -> Result<Self::Partial, ReduceError>;

    /// Combines two partials.
    ///
    /// # Errors
    /// [`ReduceError::Partial`] if they do not fit each other.
    fn combine(
        &self,
        left: Self::Partial,
        right: Self::Partial,
    ) -> Result<Self::Partial, ReduceError>;

    /// Whether two small partials are combined so quickly that it may be done on a thread
    /// that must not wait.
    fn combines_at_once(&self) -> bool {
        true
    }

    /// Writes a partial.
    fn encode_partial(&self, partial: &Self::Partial) -> Vec<u8>;

    /// Reads what [`Reduce::encode_partial`] wrote.
    ///
    /// # Errors
    /// [`ReduceError::Malformed`] or [`ReduceError::Partial`].
    fn decode_partial(&self, partial: Bytes) -> Result<Self::Partial, ReduceError>;

    /// What people see of the whole, as JSON text; without one, `null`.
    ///
    /// # Errors
    /// [`ReduceError::Partial`].
    fn present(&self, _whole: &Self::Partial) -> Result<String, ReduceError> {
        Ok("null".to_owned())
    }
}

/// Why something was not reduced.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReduceError {
    /// There is no such reduction here.
    #[error("this node has no {id}: is it of an older version?")]
    Unknown {
        /// Which was asked for.
        id: ReductionId,
    },
    /// What is asked, or a partial, cannot be read.
    #[error("a reduction cannot be read")]
    Malformed(#[from] DecodeError),
    /// A partial is none of this reduction.
    #[error("a partial does not fit: {reason}")]
    Partial {
        /// What is wrong with it.
        reason: String,
    },
    /// What it comes to takes too many bytes.
    #[error(
        "what it comes to has {bytes} bytes; at most {REDUCE_STATE_BYTES_MAX} are allowed: \
         reduce fewer rows at once, or something smaller"
    )]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// A row has no operand, and the reduction is strict.
    #[error("the row {key:?} has no operand: {reason}")]
    Unfit {
        /// Its key.
        key: Bytes,
        /// What is wrong with it.
        reason: String,
    },
    /// The reduction cannot go on with some row, as by a division by zero.
    #[error("{reason}")]
    Refused {
        /// What happened.
        reason: String,
    },
    /// Something that is said to whoever asked as it is.
    #[error(transparent)]
    Stated(RequestError),
    /// Whoever asked is gone.
    #[error("nobody waits for it any more")]
    Stopped,
    /// The time is up.
    #[error("the deadline passed")]
    Late,
    /// The shard cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ReduceError> for RequestError {
    fn from(error: ReduceError) -> Self {
        let invalid = |reason| Self::InvalidArgument { argument: "reduction", reason };
        match error {
            ReduceError::Unfit { key, reason } => {
                Self::UnfitRow { key: String::from_utf8_lossy(&key).into_owned(), reason }
            }
            ReduceError::Unknown { .. } | ReduceError::TooLarge { .. } => {
                invalid(error.to_string())
            }
            ReduceError::Stated(error) => error,
            ReduceError::Refused { reason } => Self::InvalidQuery { reason },
            ReduceError::Malformed(source) => invalid(format!("it cannot be read: {source}")),
            ReduceError::Stopped | ReduceError::Late => Self::DeadlineExceeded,
            ReduceError::Store(error) => Self::Storage { reason: error.to_string() },
            ReduceError::Partial { .. } => Self::Internal { reason: error.to_string() },
        }
    }
}

#[cfg(test)]
mod tests;
