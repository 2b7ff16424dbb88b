//! The tag before every state: format version, monoid id, parameters.
//!
//! ```text
//! format version u8 (1) | monoid id u8 | parameters | body
//! ```
//!
//! Parameters are nothing, except: `top` its length u16 LE, `hll` its lgK u8, `quantiles`
//! its relative error in parts per million u32 LE. States whose tags differ do not merge.

use crate::cursor::Cursor;
use crate::distinct::LgK;
use crate::monoid::{Monoid, NumberType, ScalarType};
use crate::quantiles::RelativeError;
use crate::state::StateError;
use crate::top::TopLength;

const FORMAT_VERSION: u8 = 1;

// Ids are on disk: never renumber, never reuse.
const COUNT: u8 = 1;
const SUM_I64: u8 = 2;
const SUM_F64: u8 = 3;
const MEAN_I64: u8 = 4;
const MEAN_F64: u8 = 5;
const MIN_I64: u8 = 6;
const MIN_F64: u8 = 7;
const MIN_BYTES: u8 = 8;
const MAX_I64: u8 = 9;
const MAX_F64: u8 = 10;
const MAX_BYTES: u8 = 11;
const LAST: u8 = 12;
const MOMENTS: u8 = 13;
const TOP: u8 = 14;
const DISTINCT: u8 = 15;
const QUANTILES: u8 = 16;
const BITMAP: u8 = 17;

/// Appends the tag of a monoid's states.
pub(crate) fn encode(monoid: Monoid, out: &mut Vec<u8>) {
    out.extend([FORMAT_VERSION, id(monoid)]);
    match monoid {
        Monoid::Top(length) => out.extend(length.get().to_le_bytes()),
        Monoid::Distinct(lg_k) => out.push(lg_k.get()),
        Monoid::Quantiles(error) => out.extend(error.parts_per_million().to_le_bytes()),
        _ => {}
    }
}

const fn id(monoid: Monoid) -> u8 {
    match monoid {
        Monoid::Count => COUNT,
        Monoid::Sum(NumberType::I64) => SUM_I64,
        Monoid::Sum(NumberType::F64) => SUM_F64,
        Monoid::Mean(NumberType::I64) => MEAN_I64,
        Monoid::Mean(NumberType::F64) => MEAN_F64,
        Monoid::Min(ScalarType::I64) => MIN_I64,
        Monoid::Min(ScalarType::F64) => MIN_F64,
        Monoid::Min(ScalarType::Bytes) => MIN_BYTES,
        Monoid::Max(ScalarType::I64) => MAX_I64,
        Monoid::Max(ScalarType::F64) => MAX_F64,
        Monoid::Max(ScalarType::Bytes) => MAX_BYTES,
        Monoid::Last => LAST,
        Monoid::Moments => MOMENTS,
        Monoid::Top(_) => TOP,
        Monoid::Distinct(_) => DISTINCT,
        Monoid::Quantiles(_) => QUANTILES,
        Monoid::Bitmap => BITMAP,
    }
}

/// Splits a state into the monoid that its tag names and its body.
pub(crate) fn decode(encoded: &[u8]) -> Result<(Monoid, &[u8]), StateError> {
    let mut cursor = Cursor::new(encoded);
    let version = cursor.u8()?;
    if version != FORMAT_VERSION {
        return Err(StateError::UnknownVersion { version });
    }
    let monoid = match cursor.u8()? {
        COUNT => Monoid::Count,
        SUM_I64 => Monoid::Sum(NumberType::I64),
        SUM_F64 => Monoid::Sum(NumberType::F64),
        MEAN_I64 => Monoid::Mean(NumberType::I64),
        MEAN_F64 => Monoid::Mean(NumberType::F64),
        MIN_I64 => Monoid::Min(ScalarType::I64),
        MIN_F64 => Monoid::Min(ScalarType::F64),
        MIN_BYTES => Monoid::Min(ScalarType::Bytes),
        MAX_I64 => Monoid::Max(ScalarType::I64),
        MAX_F64 => Monoid::Max(ScalarType::F64),
        MAX_BYTES => Monoid::Max(ScalarType::Bytes),
        LAST => Monoid::Last,
        MOMENTS => Monoid::Moments,
        TOP => TopLength::new(u16::from_le_bytes(cursor.array()?))
            .map(Monoid::Top)
            .ok_or(StateError::Invalid { part: "length of top" })?,
        DISTINCT => LgK::new(cursor.u8()?)
            .map(Monoid::Distinct)
            .ok_or(StateError::Invalid { part: "lgK of hll" })?,
        QUANTILES => RelativeError::new(u32::from_le_bytes(cursor.array()?))
            .map(Monoid::Quantiles)
            .ok_or(StateError::Invalid { part: "relative error of quantiles" })?,
        BITMAP => Monoid::Bitmap,
        id => return Err(StateError::UnknownMonoid { id }),
    };
    Ok((monoid, cursor.rest()))
}
