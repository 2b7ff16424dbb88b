//! The primitives of our own byte formats: bytes, varints, lengths and options.
//!
//! Commands and replies are written into replicated logs, so what is built from these is a
//! persisted format. Every value has exactly one encoding: a varint is as short as can be,
//! a flag is 0 or 1, and nothing may follow the last field. Hostile bytes are an error,
//! never a panic, and make no allocation larger than the input warrants.

use bytes::Bytes;
use thiserror::Error;

/// The longest varint, in bytes: 64 bits, seven to a byte.
const VARINT_BYTES_MAX: u32 = 10;

/// Why bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end within a field.
    #[error("the bytes end at {at}, within a field that needs {needed} more")]
    Truncated {
        /// Where the field, or what is left of it, starts.
        at: usize,
        /// How many bytes are missing.
        needed: usize,
    },
    /// Bytes follow the last field.
    #[error("{bytes} bytes follow the last field")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// A varint is longer than 64 bits, or longer than its number needs.
    #[error("the number at {at} is not a shortest varint of 64 bits")]
    Varint {
        /// Where it starts.
        at: usize,
    },
    /// A number is larger than its field allows.
    #[error("the number at {at} is out of its field's range")]
    OutOfRange {
        /// Where it starts.
        at: usize,
    },
    /// A byte that names an operation, a variant or a flag names none.
    #[error("{tag} at {at} is not a known {field}")]
    UnknownTag {
        /// Where it is.
        at: usize,
        /// What it should name.
        field: &'static str,
        /// The byte.
        tag: u8,
    },
    /// The format's version is not one that this build reads.
    #[error("format version {version} is not known")]
    UnknownVersion {
        /// The version.
        version: u8,
    },
}

/// Appends fields to a buffer.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// A writer at the end of `out`.
    #[inline]
    #[must_use]
    pub const fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// One byte.
    #[inline]
    pub fn put_u8(&mut self, value: u8) {
        self.out.push(value);
    }

    /// A flag, as one byte 0 or 1.
    #[inline]
    pub fn put_bool(&mut self, value: bool) {
        self.out.push(u8::from(value));
    }

    /// A number in LEB128: seven bits to a byte, lowest first, 1 to 10 bytes.
    #[inline]
    pub fn put_varint(&mut self, value: u64) {
        let mut left = value;
        while left >= 0x80 {
            let [low, ..] = left.to_le_bytes();
            self.out.push(low | 0x80);
            left >>= 7;
        }
        let [low, ..] = left.to_le_bytes();
        self.out.push(low);
    }

    /// A signed number as a varint, small magnitudes first: 0, -1, 1, -2, 2 ...
    #[inline]
    pub fn put_zigzag(&mut self, value: i64) {
        self.put_varint(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    /// How many items follow, or the length of what follows.
    #[inline]
    pub fn put_count(&mut self, count: usize) {
        // usize has at most 64 bits on every target that Rust has.
        self.put_varint(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// Bytes: their count, then they themselves.
    #[inline]
    pub fn put_bytes(&mut self, bytes: &[u8]) {
        self.put_count(bytes.len());
        self.out.extend_from_slice(bytes);
    }

    /// Bytes of a length that the reader knows.
    #[inline]
    pub fn put_array(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// A flag, and if it is set the value as `put` writes it.
    #[inline]
    pub fn put_option<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.put_bool(value.is_some());
        if let Some(value) = value {
            put(self, value);
        }
    }

    /// A count, and every item as `put` writes it.
    #[inline]
    pub fn put_many<T>(&mut self, items: &[T], mut put: impl FnMut(&mut Self, &T)) {
        self.put_count(items.len());
        for item in items {
            put(self, item);
        }
    }
}

/// Takes fields from the front of a buffer; byte fields share the buffer's memory.
#[derive(Debug, Clone)]
pub struct Reader {
    bytes: Bytes,
    at: usize,
}

impl Reader {
    /// A reader at the start of `bytes`.
    #[inline]
    #[must_use]
    pub const fn new(bytes: Bytes) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes are left.
    #[inline]
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    /// Where the next field starts, counted from the first byte.
    #[inline]
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }

    /// What [`Writer::put_u8`] wrote.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    #[inline]
    pub fn take_u8(&mut self) -> Result<u8, DecodeError> {
        match self.bytes.get(self.at) {
            Some(byte) => {
                self.at += 1;
                Ok(*byte)
            }
            None => Err(DecodeError::Truncated { at: self.at, needed: 1 }),
        }
    }

    /// What [`Writer::put_bool`] wrote.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] or [`DecodeError::UnknownTag`].
    #[inline]
    pub fn take_bool(&mut self) -> Result<bool, DecodeError> {
        match self.take_u8()? {
            0 => Ok(false),
            1 => Ok(true),
            tag => Err(self.unknown("flag", tag)),
        }
    }

    /// What [`Writer::put_varint`] wrote.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] or [`DecodeError::Varint`].
    #[inline]
    pub fn take_varint(&mut self) -> Result<u64, DecodeError> {
        let start = self.at;
        let first = self.take_u8()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        let mut value = u64::from(first & 0x7f);
        for index in 1..VARINT_BYTES_MAX {
            let byte = self.take_u8()?;
            let shift = 7 * index;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                break;
            }
            value |= bits << shift;
            match byte {
                0 => break,
                1..=0x7f => return Ok(value),
                _ => {}
            }
        }
        Err(DecodeError::Varint { at: start })
    }

    /// What [`Writer::put_zigzag`] wrote.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] or [`DecodeError::Varint`].
    #[inline]
    pub fn take_zigzag(&mut self) -> Result<i64, DecodeError> {
        let raw = self.take_varint()?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    /// A count of items that take at least `item_bytes_min` bytes each. A count that the
    /// bytes left cannot hold is an error, so a `Vec` may be reserved for it.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] or [`DecodeError::Varint`].
    #[inline]
    pub fn take_count(&mut self, item_bytes_min: usize) -> Result<usize, DecodeError> {
        let count = self.take_varint()?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let needed = count.saturating_mul(item_bytes_min.max(1));
        self.require(needed)?;
        Ok(count)
    }

    /// What [`Writer::put_bytes`] wrote, as a slice of the input.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] or [`DecodeError::Varint`].
    #[inline]
    pub fn take_bytes(&mut self) -> Result<Bytes, DecodeError> {
        let length = self.take_count(1)?;
        let start = self.at;
        self.at += length;
        Ok(self.bytes.slice(start..self.at))
    }

    /// What [`Writer::put_array`] wrote.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    #[inline]
    pub fn take_array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>()) {
            Some(array) => {
                self.at += N;
                Ok(*array)
            }
            None => Err(DecodeError::Truncated {
                at: self.at,
                needed: N.saturating_sub(self.remaining()),
            }),
        }
    }

    /// What [`Writer::put_option`] wrote, the value as `take` reads it.
    ///
    /// # Errors
    /// Those of [`Reader::take_bool`] and of `take`.
    #[inline]
    pub fn take_option<T>(
        &mut self,
        take: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if self.take_bool()? { take(self).map(Some) } else { Ok(None) }
    }

    /// What [`Writer::put_many`] wrote, each item as `take` reads it; `item_bytes_min` as in
    /// [`Reader::take_count`].
    ///
    /// # Errors
    /// Those of [`Reader::take_count`] and of `take`.
    #[inline]
    pub fn take_many<T>(
        &mut self,
        item_bytes_min: usize,
        mut take: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.take_count(item_bytes_min)?;
        // Items may be larger in memory than on the wire: let hostile counts pay as they go.
        let mut items = Vec::with_capacity(count.min(1_024));
        for _ in 0..count {
            items.push(take(self)?);
        }
        Ok(items)
    }

    /// Ends the reading: nothing may be left.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`].
    #[inline]
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            bytes => Err(DecodeError::Trailing { bytes }),
        }
    }

    /// The error that the byte just taken, `tag`, is not a known `field`.
    #[must_use]
    pub const fn unknown(&self, field: &'static str, tag: u8) -> DecodeError {
        DecodeError::UnknownTag { at: self.at.saturating_sub(1), field, tag }
    }

    #[inline]
    const fn require(&self, needed: usize) -> Result<(), DecodeError> {
        match needed.checked_sub(self.remaining()) {
            None | Some(0) => Ok(()),
            Some(missing) => Err(DecodeError::Truncated { at: self.at, needed: missing }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(put: impl FnOnce(&mut Writer<'_>)) -> Bytes {
        let mut out = Vec::new();
        put(&mut Writer::new(&mut out));
        out.into()
    }

    #[test]
    fn varints_have_one_encoding_each() {
        for (value, bytes) in [
            (0, &[0][..]),
            (127, &[0x7f]),
            (128, &[0x80, 1]),
            (300, &[0xac, 2]),
            (u64::MAX, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ] {
            assert_eq!(written(|to| to.put_varint(value)), bytes);
            assert_eq!(Reader::new(Bytes::copy_from_slice(bytes)).take_varint(), Ok(value));
        }
        let too_long = [0x80, 0];
        let too_large = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2];
        let endless = [0x80; 11];
        for bytes in [&too_long[..], &too_large, &endless] {
            let read = Reader::new(Bytes::copy_from_slice(bytes)).take_varint();
            assert_eq!(read, Err(DecodeError::Varint { at: 0 }));
        }
        let cut = Reader::new(Bytes::from_static(&[0x80])).take_varint();
        assert_eq!(cut, Err(DecodeError::Truncated { at: 1, needed: 1 }));
    }

    #[test]
    fn a_count_beyond_the_input_is_refused_before_anything_is_reserved() {
        let bytes = written(|to| to.put_varint(u64::MAX));
        assert!(matches!(
            Reader::new(bytes.clone()).take_bytes(),
            Err(DecodeError::Truncated { .. })
        ));
        assert!(Reader::new(bytes).take_many(2, Reader::take_u8).is_err());
        let three = written(|to| to.put_many(&[1u8, 2, 3], |to, item| to.put_u8(*item)));
        assert_eq!(Reader::new(three.clone()).take_many(1, Reader::take_u8), Ok(vec![1, 2, 3]));
        assert!(Reader::new(three).take_many(2, Reader::take_u8).is_err());
    }

    #[test]
    fn flags_are_zero_or_one_and_nothing_may_follow() {
        let mut reader = Reader::new(Bytes::from_static(&[2, 9]));
        let error = DecodeError::UnknownTag { at: 0, field: "flag", tag: 2 };
        assert_eq!(reader.take_bool(), Err(error));
        assert_eq!(reader.finish(), Err(DecodeError::Trailing { bytes: 1 }));
    }

    proptest! {
        #[test]
        fn fields_come_back_in_their_order(
            number in any::<u64>(),
            signed in any::<i64>(),
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            maybe in any::<Option<i64>>(),
            array in any::<[u8; 8]>(),
        ) {
            let encoded = written(|to| {
                to.put_varint(number);
                to.put_zigzag(signed);
                to.put_bytes(&bytes);
                to.put_option(maybe, Writer::put_zigzag);
                to.put_array(&array);
            });
            let mut reader = Reader::new(encoded);
            prop_assert_eq!(reader.take_varint(), Ok(number));
            prop_assert_eq!(reader.take_zigzag(), Ok(signed));
            prop_assert_eq!(reader.take_bytes(), Ok(Bytes::from(bytes)));
            prop_assert_eq!(reader.take_option(Reader::take_zigzag), Ok(maybe));
            prop_assert_eq!(reader.take_array::<8>(), Ok(array));
            prop_assert_eq!(reader.finish(), Ok(()));
        }
    }
}
