//! Numbers as Redis reads them from values and arguments, and writes them back.

use breccia_types::strings::StringRefusal;

use super::extended::Extended;

/// The longest text of a 64-bit number, in bytes: a sign and nineteen digits.
const INTEGER_BYTES_MAX: usize = 20;

/// Reads a whole number in its one canonical form: no plus sign, no blanks, no leading
/// zeros, no `-0`, within 64 bits.
#[must_use]
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    if text.len() > INTEGER_BYTES_MAX {
        return None;
    }
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] => {}
        _ => return None,
    }
    digits.iter().try_fold(0i64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| i64::from(digit - b'0'))?;
        let shifted = value.checked_mul(10)?;
        if negative { shifted.checked_sub(digit) } else { shifted.checked_add(digit) }
    })
}

/// A whole number plus another; no value counts as 0.
///
/// # Errors
/// [`StringRefusal::NotAnInteger`] or [`StringRefusal::Overflow`].
pub fn add_integers(value: Option<&[u8]>, by: i64) -> Result<i64, StringRefusal> {
    let value = match value {
        Some(text) => parse_integer(text).ok_or(StringRefusal::NotAnInteger)?,
        None => 0,
    };
    value.checked_add(by).ok_or(StringRefusal::Overflow)
}

/// A decimal number plus another, as text; no value counts as 0.
///
/// The sum has the bits that Redis computes on x86-64, whatever the processor here: both
/// numbers become 80-bit floats, and the sum is shown with up to 17 decimals, without an
/// exponent and without trailing zeros.
///
/// # Errors
/// [`StringRefusal::NotAFloat`] or [`StringRefusal::NotFinite`].
pub fn add_floats(value: Option<&[u8]>, by: &[u8]) -> Result<String, StringRefusal> {
    let value = match value {
        Some(text) => Extended::parse(text).ok_or(StringRefusal::NotAFloat)?,
        None => Extended::ZERO,
    };
    let by = Extended::parse(by).ok_or(StringRefusal::NotAFloat)?;
    value.plus(by).and_then(Extended::to_text).ok_or(StringRefusal::NotFinite)
}

/// Checks the text of a decimal number that is to be added, without adding it.
///
/// # Errors
/// [`StringRefusal::NotAFloat`]; infinity is one that only an addition refuses.
pub fn check_float(text: &[u8]) -> Result<(), StringRefusal> {
    Extended::parse(text).map(|_| ()).ok_or(StringRefusal::NotAFloat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_in_their_canonical_form_only() {
        for (text, value) in [
            ("0", 0),
            ("7", 7),
            ("-1", -1),
            ("10", 10),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(parse_integer(text.as_bytes()), Some(value), "{text}");
        }
        for text in [
            "",
            "-",
            "+1",
            "-0",
            "00",
            "01",
            "-01",
            " 1",
            "1 ",
            "1.0",
            "1\0",
            "0x1",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999999999",
        ] {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn integer_sums_stop_at_64_bits() {
        assert_eq!(add_integers(None, i64::MIN), Ok(i64::MIN));
        assert_eq!(add_integers(Some(b"9223372036854775807"), 1), Err(StringRefusal::Overflow));
        assert_eq!(add_integers(Some(b"-9223372036854775808"), -1), Err(StringRefusal::Overflow));
        assert_eq!(add_integers(Some(b"a"), 1), Err(StringRefusal::NotAnInteger));
    }

    #[test]
    fn decimal_sums_look_as_in_redis() {
        for (value, by, sum) in [
            ("1", "1", "2"),
            ("3.0", "1.1", "4.1"),
            ("0", "17179869184.5", "17179869184.5"),
            ("1.5", "-1.5", "0"),
            ("0", "-0.0", "0"),
            ("-0.000000000000000000001", "0", "0"),
            ("1.23e5", "1", "123001"),
            ("0x10", ".5", "16.5"),
            ("0.1", "0.2", "0.3"),
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("1e25", "0", "10000000000000000000000000"),
        ] {
            let got = add_floats(Some(value.as_bytes()), by.as_bytes());
            assert_eq!(got.as_deref(), Ok(sum), "{value} + {by}");
        }
        for (value, by, refusal) in [
            ("1", "inf", StringRefusal::NotFinite),
            ("1", "-Infinity", StringRefusal::NotFinite),
            ("inf", "-inf", StringRefusal::NotFinite),
            ("1e4932", "1e4932", StringRefusal::NotFinite),
            ("1", "nan", StringRefusal::NotAFloat),
            ("1e5000", "1", StringRefusal::NotAFloat),
            (" 1", "1", StringRefusal::NotAFloat),
            ("1", "1 ", StringRefusal::NotAFloat),
        ] {
            let got = add_floats(Some(value.as_bytes()), by.as_bytes());
            assert_eq!(got, Err(refusal), "{value} + {by}");
        }
    }
}
