//! Numbers in arguments.

use breccia_service::strings::number::parse_integer;

use super::super::error::ReplyError;

/// A whole number of 64 bits.
pub(crate) fn integer(text: &[u8]) -> Result<i64, ReplyError> {
    parse_integer(text).ok_or(ReplyError::NotAnInteger)
}

/// What C's `strtoul` takes for a whole number: the form of a cursor.
pub(crate) fn cursor(text: &[u8]) -> Result<u64, ReplyError> {
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    let digits = std::str::from_utf8(digits).map_err(|_| ReplyError::InvalidCursor)?;
    match digits.bytes().all(|byte| byte.is_ascii_digit()) {
        // The empty text is 0 there too.
        true if digits.is_empty() => Ok(0),
        true => digits.parse().map_err(|_| ReplyError::InvalidCursor),
        false => Err(ReplyError::InvalidCursor),
    }
}
