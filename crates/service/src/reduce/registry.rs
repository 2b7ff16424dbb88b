//! Reductions as nodes see them: by id, over bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use breccia_types::ReductionId;
use breccia_types::limits::REDUCE_STATE_BYTES_MAX;
use breccia_types::wire::DecodeError;
use bytes::Bytes;

use super::{Count, MergeStates, Operands, Reduce, ReduceError, Rows};

/// A reduction over bytes: each begins with the version of its encoding.
pub trait AnyReduce: Send + Sync {
    /// As [`Reduce::NAME`].
    fn name(&self) -> &'static str;

    /// As [`Reduce::combines_at_once`].
    fn combines_at_once(&self) -> bool;

    /// As [`Reduce::partial`].
    ///
    /// # Errors
    /// Those, and [`ReduceError::TooLarge`].
    fn partial_bytes(&self, rows: &mut Rows<'_>) -> Result<Bytes, ReduceError>;

    /// As [`Reduce::combine`].
    ///
    /// # Errors
    /// Those, [`ReduceError::Malformed`] and [`ReduceError::TooLarge`].
    fn combine_bytes(&self, left: Bytes, right: Bytes) -> Result<Bytes, ReduceError>;

    /// As [`Reduce::present`].
    ///
    /// # Errors
    /// Those, and [`ReduceError::Malformed`].
    fn present_bytes(&self, whole: Bytes) -> Result<String, ReduceError>;
}

impl<R: Reduce> AnyReduce for R {
    fn name(&self) -> &'static str {
        R::NAME
    }

    fn combines_at_once(&self) -> bool {
        Reduce::combines_at_once(self)
    }

    fn partial_bytes(&self, rows: &mut Rows<'_>) -> Result<Bytes, ReduceError> {
        let partial = self.partial(rows)?;
        bounded(versioned(R::VERSION, &self.encode_partial(&partial)))
    }

    fn combine_bytes(&self, left: Bytes, right: Bytes) -> Result<Bytes, ReduceError> {
        let (left, right) = (decode_partial(self, left)?, decode_partial(self, right)?);
        let both = self.combine(left, right)?;
        bounded(versioned(R::VERSION, &self.encode_partial(&both)))
    }

    fn present_bytes(&self, whole: Bytes) -> Result<String, ReduceError> {
        self.present(&decode_partial(self, whole)?)
    }
}

/// Writes what is asked, as [`Reductions::decode`] reads it.
pub fn encode_request<R: Reduce>(request: &R) -> Bytes {
    versioned(R::VERSION, &request.encode())
}

/// Reads a partial that nodes have given.
///
/// # Errors
/// [`ReduceError::Malformed`] or [`ReduceError::Partial`].
pub fn decode_partial<R: Reduce>(reduction: &R, bytes: Bytes) -> Result<R::Partial, ReduceError> {
    reduction.decode_partial(unversioned(R::VERSION, bytes)?)
}

type Decode = Arc<dyn Fn(Bytes) -> Result<Box<dyn AnyReduce>, ReduceError> + Send + Sync>;

/// The reductions of a node, by id. All nodes of a cluster had better have the same.
#[derive(Clone)]
pub struct Reductions(Arc<BTreeMap<ReductionId, Decode>>);

impl Default for Reductions {
    /// Those that every node has: [`Count`], [`Operands`], [`MergeStates`].
    fn default() -> Self {
        Self(Arc::default()).with::<Count>().with::<Operands>().with::<MergeStates>()
    }
}

impl Reductions {
    /// These and one more. Of two with the same id the later one counts.
    #[must_use]
    pub fn with<R: Reduce>(self) -> Self {
        self.with_decoder(R::ID, |bytes| {
            let request = unversioned(R::VERSION, bytes)?;
            Ok(Box::new(R::decode(request)?))
        })
    }

    /// These and one that needs more than its request to be decoded, such as what it shares
    /// with others of this node.
    #[must_use]
    pub fn with_decoder(
        self,
        id: ReductionId,
        decode: impl Fn(Bytes) -> Result<Box<dyn AnyReduce>, ReduceError> + Send + Sync + 'static,
    ) -> Self {
        let mut reductions = self.0.as_ref().clone();
        reductions.insert(id, Arc::new(decode));
        Self(Arc::new(reductions))
    }

    /// The reduction that a request asks for.
    ///
    /// # Errors
    /// [`ReduceError::Unknown`] or [`ReduceError::Malformed`].
    pub fn decode(
        &self,
        id: ReductionId,
        request: Bytes,
    ) -> Result<Box<dyn AnyReduce>, ReduceError> {
        let decode = self.0.get(&id).ok_or(ReduceError::Unknown { id })?;
        decode(request)
    }
}

fn versioned(version: u8, bytes: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(bytes.len() + 1);
    out.push(version);
    out.extend_from_slice(bytes);
    out.into()
}

/// What follows the version of an encoding, which must be the one that is known.
///
/// # Errors
/// [`DecodeError`].
pub fn unversioned(known: u8, bytes: Bytes) -> Result<Bytes, DecodeError> {
    match bytes.first() {
        Some(version) if *version == known => Ok(bytes.slice(1..)),
        Some(version) => Err(DecodeError::UnknownVersion { version: *version }),
        None => Err(DecodeError::Truncated { at: 0, needed: 1 }),
    }
}

fn bounded(bytes: Bytes) -> Result<Bytes, ReduceError> {
    match bytes.len() <= REDUCE_STATE_BYTES_MAX {
        true => Ok(bytes),
        false => Err(ReduceError::TooLarge { bytes: bytes.len() }),
    }
}
