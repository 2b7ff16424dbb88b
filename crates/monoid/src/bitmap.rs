//! `bitmap`: a set of `u32`. Body: nothing, or a Roaring bitmap in its portable format.
//!
//! The format (<https://github.com/RoaringBitmap/RoaringFormatSpec>) is written without run
//! containers: array or bitset then follows from a container's cardinality alone, so a set
//! has one encoding, and no few bytes of a crafted run become half a gigabyte in memory.
//! Other Roaring libraries read it as it is.

use roaring::RoaringBitmap;

use crate::operand::{OperandError, parse_u32};
use crate::presented::{Integers, Presented};
use crate::state::{State, StateError};

/// The format's first four bytes when there are no run containers, u32 LE.
const COOKIE_WITHOUT_RUNS: [u8; 4] = 12_346u32.to_le_bytes();

/// A set of integers.
#[derive(Debug, Default)]
pub(crate) struct Bitmap {
    set: RoaringBitmap,
}

impl State for Bitmap {
    fn add(&mut self, text: &[u8]) -> Result<(), OperandError> {
        let text = text.trim_ascii();
        if text.is_empty() {
            // An operand without integers is a slip, not a set.
            return parse_u32(text).map(drop);
        }
        let words = || text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        for word in words() {
            parse_u32(word)?;
        }
        for word in words() {
            self.set.insert(parse_u32(word)?);
        }
        Ok(())
    }

    fn absorb(&mut self, body: &[u8]) -> Result<(), StateError> {
        if body.is_empty() {
            return Ok(());
        }
        if !body.starts_with(&COOKIE_WITHOUT_RUNS) {
            return Err(StateError::Invalid { part: "kind of bitmap" });
        }
        let mut rest = body;
        let other = RoaringBitmap::deserialize_from(&mut rest)
            .map_err(|source| StateError::Bitmap { source })?;
        if !rest.is_empty() {
            return Err(StateError::Trailing { bytes: rest.len() });
        }
        self.set |= other;
        Ok(())
    }

    fn encode(&self, out: &mut Vec<u8>) {
        if self.set.is_empty() {
            return;
        }
        out.reserve(self.set.serialized_size());
        // Writing to memory cannot fail.
        let written = self.set.serialize_into(&mut *out);
        debug_assert!(written.is_ok(), "memory took the bitmap");
    }

    fn present(&self) -> Presented {
        Presented::Bitmap(Integers {
            cardinality: self.set.len(),
            min: self.set.min(),
            max: self.set.max(),
        })
    }
}
