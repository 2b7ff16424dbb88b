//! The reply side of the Redis protocol.

use std::fmt::{self, Write};

use bytes::{BufMut, BytesMut};

/// Which version of the protocol a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Protocol {
    /// What every client speaks at first.
    #[default]
    Resp2,
    /// With maps, sets and nulls of their own; after `HELLO 3`.
    Resp3,
}

impl Protocol {
    /// Its number.
    pub(crate) const fn number(self) -> i64 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }
}

/// Replies, encoded one after the other.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    bytes: BytesMut,
    pub(crate) protocol: Protocol,
}

impl Encoder {
    pub(crate) const fn bytes(&self) -> &BytesMut {
        &self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes back everything after a length that was measured before.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    /// Forgets what was encoded, and gives back memory beyond `most` bytes.
    pub(crate) fn clear(&mut self, most: usize) {
        if self.bytes.capacity() > most {
            self.bytes = BytesMut::new();
        }
        self.bytes.clear();
    }

    /// Something that is encoded already.
    pub(crate) fn raw(&mut self, encoded: &[u8]) {
        self.bytes.extend_from_slice(encoded);
    }

    pub(crate) fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    /// A short text without line breaks.
    pub(crate) fn simple(&mut self, text: &str) {
        self.bytes.reserve(text.len() + 3);
        self.raw(b"+");
        self.raw(text.as_bytes());
        self.raw(b"\r\n");
    }

    /// An error: its text starts with its code. Line breaks in it become blanks.
    pub(crate) fn error(&mut self, error: &dyn fmt::Display) {
        self.raw(b"-");
        // Writing to memory does not fail.
        let _ = write!(OneLine(&mut self.bytes), "{error}");
        self.raw(b"\r\n");
    }

    pub(crate) fn integer(&mut self, number: i64) {
        self.header(b':', number);
    }

    /// A count, which is shown as an integer.
    pub(crate) fn count(&mut self, count: usize) {
        self.header(b':', i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn bulk(&mut self, value: &[u8]) {
        self.bytes.reserve(value.len() + 24);
        self.sized(b'$', value.len());
        self.raw(value);
        self.raw(b"\r\n");
    }

    /// Several lines for people.
    pub(crate) fn verbatim(&mut self, text: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => {
                self.sized(b'=', text.len() + 4);
                self.raw(b"txt:");
                self.raw(text.as_bytes());
                self.raw(b"\r\n");
            }
        }
    }

    pub(crate) fn null(&mut self) {
        match self.protocol {
            Protocol::Resp2 => self.raw(b"$-1\r\n"),
            Protocol::Resp3 => self.raw(b"_\r\n"),
        }
    }

    /// The head of an array: so many replies follow.
    pub(crate) fn array(&mut self, length: usize) {
        self.sized(b'*', length);
    }

    /// The head of a map: so many pairs of replies follow.
    pub(crate) fn map(&mut self, pairs: usize) {
        match self.protocol {
            Protocol::Resp2 => self.sized(b'*', pairs.saturating_mul(2)),
            Protocol::Resp3 => self.sized(b'%', pairs),
        }
    }

    /// The head of a set: so many replies follow.
    pub(crate) fn set(&mut self, length: usize) {
        match self.protocol {
            Protocol::Resp2 => self.sized(b'*', length),
            Protocol::Resp3 => self.sized(b'~', length),
        }
    }

    fn sized(&mut self, kind: u8, size: usize) {
        self.header(kind, i64::try_from(size).unwrap_or(i64::MAX));
    }

    fn header(&mut self, kind: u8, number: i64) {
        self.bytes.put_u8(kind);
        put_decimal(&mut self.bytes, number);
        self.raw(b"\r\n");
    }
}

/// The most digits of a 64-bit number, and its sign.
const DECIMAL_BYTES_MAX: usize = 20;

fn put_decimal(bytes: &mut BytesMut, number: i64) {
    let mut digits = [0; DECIMAL_BYTES_MAX];
    let mut first = digits.len();
    let mut rest = number.unsigned_abs();
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        first = at;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        bytes.put_u8(b'-');
    }
    bytes.extend_from_slice(digits.get(first..).unwrap_or_default());
}

struct OneLine<'a>(&'a mut BytesMut);

impl Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let on_one_line = |byte| {
            if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }
        };
        self.0.extend(text.bytes().map(on_one_line));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(protocol: Protocol, encode: impl Fn(&mut Encoder)) -> String {
        let mut encoder = Encoder { protocol, ..Encoder::default() };
        encode(&mut encoder);
        String::from_utf8(encoder.bytes.to_vec()).expect("text")
    }

    #[test]
    fn both_protocols_encode_each_reply_in_their_way() {
        type Encode = fn(&mut Encoder);
        for (encode, resp2, resp3) in [
            ((|e| e.ok()) as Encode, "+OK\r\n", "+OK\r\n"),
            (|e| e.error(&"ERR a\r\nb"), "-ERR a  b\r\n", "-ERR a  b\r\n"),
            (|e| e.integer(0), ":0\r\n", ":0\r\n"),
            (|e| e.integer(-120), ":-120\r\n", ":-120\r\n"),
            (|e| e.integer(i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n"),
            (|e| e.bulk(b""), "$0\r\n\r\n", "$0\r\n\r\n"),
            (|e| e.bulk(b"0123456789"), "$10\r\n0123456789\r\n", "$10\r\n0123456789\r\n"),
            (|e| e.verbatim("hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"),
            (|e| e.null(), "$-1\r\n", "_\r\n"),
            (|e| e.array(3), "*3\r\n", "*3\r\n"),
            (|e| e.map(2), "*4\r\n", "%2\r\n"),
            (|e| e.set(2), "*2\r\n", "~2\r\n"),
        ] {
            assert_eq!(encoded(Protocol::Resp2, encode), resp2);
            assert_eq!(encoded(Protocol::Resp3, encode), resp3);
        }
    }
}
