//! Reading and writing the parts of a state: little-endian numbers and varints.

use crate::state::StateError;

/// A reader over untrusted bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn take(&mut self, bytes: usize) -> Result<&'a [u8], StateError> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(StateError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], StateError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(StateError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, StateError> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, StateError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, StateError> {
        self.array().map(i64::from_le_bytes)
    }

    pub(crate) fn i128(&mut self) -> Result<i128, StateError> {
        self.array().map(i128::from_le_bytes)
    }

    /// A number that is neither NaN nor `-0`.
    pub(crate) fn f64(&mut self) -> Result<f64, StateError> {
        let number = self.array().map(f64::from_le_bytes)?;
        if number.is_nan() || (number == 0.0 && number.is_sign_negative()) {
            return Err(StateError::Invalid { part: "number" });
        }
        Ok(number)
    }

    /// An unsigned LEB128 number.
    pub(crate) fn varint(&mut self) -> Result<u64, StateError> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(StateError::Invalid { part: "varint" })
    }

    /// A varint that counts bytes or elements.
    pub(crate) fn length(&mut self) -> Result<usize, StateError> {
        usize::try_from(self.varint()?).map_err(|_| StateError::Invalid { part: "length" })
    }

    /// All bytes that are left.
    pub(crate) const fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Ends the reading: nothing may be left.
    pub(crate) const fn finish(self) -> Result<(), StateError> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(StateError::Trailing { bytes }),
        }
    }
}

/// Appends an unsigned LEB128 number.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Appends a length as a varint.
pub(crate) fn put_length(out: &mut Vec<u8>, length: usize) {
    // No target has a usize wider than 64 bits.
    put_varint(out, u64::try_from(length).unwrap_or(u64::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_varint_survives_its_bytes() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, number);
            let mut cursor = Cursor::new(&bytes);
            assert_eq!(cursor.varint().unwrap(), number);
            cursor.finish().unwrap();
        }
    }

    #[test]
    fn a_varint_beyond_64_bits_is_refused() {
        assert!(Cursor::new(&[0xff; 10]).varint().is_err());
        assert!(
            Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2])
                .varint()
                .is_err()
        );
        assert!(Cursor::new(&[0x80]).varint().is_err());
    }
}
