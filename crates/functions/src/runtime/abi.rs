//! How values lie in a function's memory. All integers are little endian.
//!
//! ```text
//! input of a call:  list of keys | list of arguments
//! list:             count u32 | each: length u32 | bytes
//! rows:             count u32 | each: key length u32 | key | value length u32 | value
//! packed:           pointer in the high 32 bits of an i64, length in the low ones
//! ```

use bytes::Bytes;

/// Bytes of rows after which a batch is full.
const BATCH_BYTES_MAX: usize = 64 << 10;
/// Rows after which a batch is full.
const BATCH_ROWS_MAX: u32 = 1_024;

/// The input of a call.
pub(crate) fn input(keys: &[Bytes], args: &[Bytes]) -> Vec<u8> {
    let mut out = Vec::new();
    for list in [keys, args] {
        out.extend_from_slice(&length(list.len()));
        for item in list {
            put(&mut out, item);
        }
    }
    out
}

/// Rows that a reduce function is shown together.
#[derive(Debug, Clone)]
pub struct Batch {
    /// As the function reads it; the count at the front is filled in last.
    encoded: Vec<u8>,
    rows: u32,
}

impl Default for Batch {
    fn default() -> Self {
        Self { encoded: vec![0; 4], rows: 0 }
    }
}

impl Batch {
    /// Adds a row.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        put(&mut self.encoded, key);
        put(&mut self.encoded, value);
        self.rows += 1;
        if let Some(count) = self.encoded.first_chunk_mut::<4>() {
            *count = self.rows.to_le_bytes();
        }
    }

    /// Whether there is no row in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Whether it is time to show it to the function.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.rows >= BATCH_ROWS_MAX || self.encoded.len() >= BATCH_BYTES_MAX
    }

    /// Takes all rows out.
    pub fn clear(&mut self) {
        *self = Self { encoded: std::mem::take(&mut self.encoded), rows: 0 };
        self.encoded.clear();
        self.encoded.extend_from_slice(&[0; 4]);
    }

    pub(crate) fn encoded(&self) -> &[u8] {
        &self.encoded
    }
}

/// A pointer and a length, from what a function returns.
pub(crate) fn unpack(packed: i64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = packed.to_be_bytes();
    (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
}

/// A pointer and a length, as a function takes them.
pub(crate) fn pack(pointer: u32, length: u32) -> i64 {
    let ([a, b, c, d], [e, f, g, h]) = (pointer.to_be_bytes(), length.to_be_bytes());
    i64::from_be_bytes([a, b, c, d, e, f, g, h])
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&length(bytes.len()));
    out.extend_from_slice(bytes);
}

/// Nothing that a function sees is longer than its memory.
fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_the_keys_and_then_the_arguments() {
        let keys = [Bytes::from_static(b"k")];
        let args = [Bytes::from_static(b"ab"), Bytes::new()];
        let expected = b"\x01\0\0\0\x01\0\0\0k\x02\0\0\0\x02\0\0\0ab\0\0\0\0";
        assert_eq!(input(&keys, &args), expected);
    }

    #[test]
    fn a_batch_counts_its_rows_and_is_empty_once_cleared() {
        let mut batch = Batch::default();
        assert!(batch.is_empty());
        batch.push(b"k", b"v");
        batch.push(b"", b"");
        assert_eq!(batch.encoded(), b"\x02\0\0\0\x01\0\0\0k\x01\0\0\0v\0\0\0\0\0\0\0\0");
        batch.clear();
        assert_eq!((batch.is_empty(), batch.encoded()), (true, &[0; 4][..]));
        for _ in 0..BATCH_ROWS_MAX {
            assert!(!batch.is_full());
            batch.push(b"", b"");
        }
        assert!(batch.is_full());
    }

    #[test]
    fn pointers_and_lengths_of_any_size_come_back() {
        for pair in [(0, 0), (1, 2), (u32::MAX, u32::MAX), (1 << 31, 7)] {
            assert_eq!(unpack(pack(pair.0, pair.1)), pair);
        }
    }
}
