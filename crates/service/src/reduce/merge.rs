//! What the states of a monoid table come to together.

use breccia_monoid::{MergeError, Monoid};
use breccia_types::ReductionId;
use breccia_types::wire::{DecodeError, Reader};
use bytes::Bytes;

use super::{Misfit, Reduce, ReduceError, Rows};

/// Merges the states of a monoid table. A partial is a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MergeStates {
    /// The table's monoid.
    pub monoid: Monoid,
}

impl Reduce for MergeStates {
    const ID: ReductionId = ReductionId::new(3);
    const NAME: &'static str = "merge";
    type Partial = Vec<u8>;

    fn encode(&self) -> Vec<u8> {
        self.monoid.to_string().into_bytes()
    }

    fn decode(request: Bytes) -> Result<Self, DecodeError> {
        Ok(Self { monoid: decode_monoid(&request)? })
    }

    fn partial(&self, rows: &mut Rows<'_>) -> Result<Vec<u8>, ReduceError> {
        let mut whole = self.monoid.accumulator();
        rows.visit(|row| {
            // Half a state must not get in.
            let checked = self.monoid.check(row.value);
            checked.map_err(|error| Misfit(error.to_string().into()))?;
            whole.merge(row.value).map_err(|error| Misfit(error.to_string().into()))
        })?;
        Ok(whole.encode())
    }

    fn combine(&self, left: Vec<u8>, right: Vec<u8>) -> Result<Vec<u8>, ReduceError> {
        combine_states(self.monoid, &left, &right)
    }

    fn encode_partial(&self, partial: &Vec<u8>) -> Vec<u8> {
        partial.clone()
    }

    fn decode_partial(&self, partial: Bytes) -> Result<Vec<u8>, ReduceError> {
        Ok(partial.into())
    }

    fn present(&self, whole: &Vec<u8>) -> Result<String, ReduceError> {
        present_state(self.monoid, whole)
    }
}

/// The monoid that a request names.
pub(super) fn decode_monoid(text: &[u8]) -> Result<Monoid, DecodeError> {
    let unknown = DecodeError::UnknownTag { at: 0, field: "monoid", tag: 0 };
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(unknown)
}

pub(super) fn combine_states(
    monoid: Monoid,
    left: &[u8],
    right: &[u8],
) -> Result<Vec<u8>, ReduceError> {
    monoid.merge_all([left, right]).map_err(unfit)
}

pub(super) fn present_state(monoid: Monoid, whole: &[u8]) -> Result<String, ReduceError> {
    Ok(monoid.present(whole).map_err(unfit)?.to_string())
}

fn unfit(error: MergeError) -> ReduceError {
    ReduceError::Partial { reason: error.to_string() }
}

/// Reads a text with its length.
pub(super) fn take_text(from: &mut Reader) -> Result<String, DecodeError> {
    let at = from.position();
    let bytes = from.take_bytes()?;
    String::from_utf8(bytes.into()).map_err(|_| DecodeError::OutOfRange { at })
}
