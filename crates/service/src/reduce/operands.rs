//! What the operands found in the rows come to.

use std::io::Write;
use std::ops::ControlFlow;

use breccia_monoid::{Monoid, NumberType, OperandError, ScalarType};
use breccia_store::RowRef;
use breccia_types::ReductionId;
use breccia_types::reduce::Input;
use breccia_types::wire::{DecodeError, Reader, Writer};
use bytes::Bytes;

use super::field::{Found, find};
use super::merge::{combine_states, decode_monoid, present_state, take_text};
use super::{Misfit, Reduce, ReduceError, Rows};

const KEY: u8 = 1;
const VALUE: u8 = 2;
const FIELD: u8 = 3;

/// Takes an operand from each row and merges them by a monoid. A partial is a state.
///
/// Of `top` the input is the score, a number, and the item is the row's key; of `last` the
/// input is the value, and its instant the row's version; of `count` it only has to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operands {
    /// How they merge.
    pub monoid: Monoid,
    /// Where in a row its operand is.
    pub input: Input,
}

impl Reduce for Operands {
    const ID: ReductionId = ReductionId::new(2);
    const NAME: &'static str = "operands";
    type Partial = Vec<u8>;

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut to = Writer::new(&mut out);
        to.put_bytes(self.monoid.to_string().as_bytes());
        match &self.input {
            Input::Key => to.put_u8(KEY),
            Input::Value => to.put_u8(VALUE),
            Input::Field(path) => {
                to.put_u8(FIELD);
                to.put_bytes(path.to_string().as_bytes());
            }
        }
        out
    }

    fn decode(request: Bytes) -> Result<Self, DecodeError> {
        let mut from = Reader::new(request);
        let monoid = decode_monoid(&from.take_bytes()?)?;
        let input = match from.take_u8()? {
            KEY => Input::Key,
            VALUE => Input::Value,
            FIELD => {
                let at = from.position();
                let path = take_text(&mut from)?.parse();
                Input::Field(path.map_err(|_| DecodeError::OutOfRange { at })?)
            }
            tag => return Err(from.unknown("input", tag)),
        };
        from.finish()?;
        Ok(Self { monoid, input })
    }

    fn partial(&self, rows: &mut Rows<'_>) -> Result<Vec<u8>, ReduceError> {
        let mut whole = self.monoid.accumulator();
        let (mut scalar, mut operand) = (Vec::new(), Vec::new());
        let mut too_long = None;
        rows.visit_while(|row| {
            let text: &[u8] = match &self.input {
                Input::Key => row.key,
                Input::Value => row.value,
                Input::Field(path) => {
                    let found = find(row.value, path.steps(), &mut scalar);
                    check(self.monoid, found)?;
                    &scalar
                }
            };
            match whole.add(self.operand(row, text, &mut operand)?) {
                Ok(()) => Ok(ControlFlow::Continue(())),
                // It counts, and has no room: without it the answer would be wrong.
                Err(error @ OperandError::TooLong { .. }) => {
                    let key = String::from_utf8_lossy(row.key.get(..64).unwrap_or(row.key));
                    too_long = Some(format!("the row whose key begins with {key:?}: {error}"));
                    Ok(ControlFlow::Break(()))
                }
                Err(error) => Err(Misfit(error.to_string().into())),
            }
        })?;
        match too_long {
            Some(reason) => Err(ReduceError::Refused { reason }),
            None => Ok(whole.encode()),
        }
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

impl Operands {
    /// The operand of a row whose input is `text`, as the monoid reads it.
    fn operand<'o>(
        &self,
        row: RowRef<'_>,
        text: &'o [u8],
        out: &'o mut Vec<u8>,
    ) -> Result<&'o [u8], Misfit> {
        out.clear();
        match self.monoid {
            Monoid::Count => return Ok(&[]),
            Monoid::Top(_) => {
                out.extend_from_slice(text.trim_ascii());
                out.push(b' ');
                out.extend_from_slice(row.key);
            }
            Monoid::Last => {
                let no_version = || Misfit("it has no version to say when it was".into());
                let version = row.version.ok_or_else(no_version)?;
                // Writing to memory cannot fail.
                let _ = write!(out, "{} ", version.as_micros());
                out.extend_from_slice(text);
            }
            _ => return Ok(text),
        }
        Ok(out.as_slice())
    }
}

/// Whether the monoid takes numbers only.
const fn wants_numbers(monoid: Monoid) -> bool {
    match monoid {
        Monoid::Sum(NumberType::I64 | NumberType::F64)
        | Monoid::Mean(NumberType::I64 | NumberType::F64)
        | Monoid::Min(ScalarType::I64 | ScalarType::F64)
        | Monoid::Max(ScalarType::I64 | ScalarType::F64)
        | Monoid::Moments
        | Monoid::Top(_)
        | Monoid::Quantiles(_)
        | Monoid::Bitmap => true,
        Monoid::Count
        | Monoid::Min(ScalarType::Bytes)
        | Monoid::Max(ScalarType::Bytes)
        | Monoid::Last
        | Monoid::Distinct(_) => false,
    }
}

fn check(monoid: Monoid, found: Result<Found, serde_json::Error>) -> Result<(), Misfit> {
    let reason = match found {
        Ok(Found::Number) => return Ok(()),
        Ok(Found::Text | Found::Boolean) if !wants_numbers(monoid) => return Ok(()),
        Ok(Found::Text) => "the field is text, not a number",
        Ok(Found::Boolean) => "the field is true or false, not a number",
        Ok(Found::Null) => "the field is null",
        Ok(Found::Nested) => "the field is an array or an object",
        Ok(Found::Nothing) => "there is no such field",
        Err(error) => return Err(Misfit(format!("the value is no JSON: {error}").into())),
    };
    Err(Misfit(reason.into()))
}
