//! Floats of 80 bits (x87 extended precision) in integer arithmetic.
//!
//! INCRBYFLOAT is defined by what Redis does with C's `long double` on x86-64: 64 bits of
//! mantissa and 15 of exponent, every step rounded to the nearest, ties to even. Replicas
//! must agree to the byte and processors differ in what they call `long double`, so the
//! three steps are done here: text to the nearest float, the exact sum to the nearest
//! float, and the float to text with the nearest 17 decimals.

use super::natural::Natural;

/// The weight of the mantissa's lowest bit is 2 to a power in this range. The smallest is
/// that of numbers too small to be normal, zero included.
const EXPONENT_MIN: i32 = -16_445;
const EXPONENT_MAX: i32 = 16_320;
/// The decimals that a text has before trailing zeros go.
const DECIMALS: usize = 17;
const TEN_TO_DECIMALS: u128 = 100_000_000_000_000_000;
/// The longest text that is read, in bytes.
const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;
/// A decimal number that starts so many digits before the point is beyond all floats; so
/// many after the point, it is zero.
const DECIMAL_MAGNITUDE_MAX: i64 = 5_000;
/// Room below the mantissa in sums, in bits.
const GUARD_BITS: i32 = 62;

/// A float that is not NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extended {
    /// Plus or minus infinity.
    Infinite {
        /// Whether it is minus.
        negative: bool,
    },
    /// `mantissa * 2^exponent`; the mantissa's highest bit is set unless the exponent is
    /// the least there is.
    Finite {
        /// Whether there is a minus sign; zero has one too.
        negative: bool,
        /// All 64 bits, none of them implied.
        mantissa: u64,
        /// The weight of the mantissa's lowest bit.
        exponent: i32,
    },
}

impl Extended {
    pub(super) const ZERO: Self =
        Self::Finite { negative: false, mantissa: 0, exponent: EXPONENT_MIN };

    /// Reads a whole text as C's `strtold` does in the C locale: decimal or hexadecimal
    /// with an optional exponent, or `inf`; no blanks. `None` for everything else, for NaN,
    /// and for numbers whose nearest float is infinite, or zero although they are not.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let (negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        if text.eq_ignore_ascii_case(b"inf") || text.eq_ignore_ascii_case(b"infinity") {
            return Some(Self::Infinite { negative });
        }
        match text {
            [b'0', b'x' | b'X', digits @ ..] => parse_hexadecimal(negative, digits),
            digits => parse_decimal(negative, digits),
        }
    }

    /// The nearest float to the sum; `None` if that is infinite or not a number.
    pub(super) fn plus(self, other: Self) -> Option<Self> {
        let (
            Self::Finite { negative, mantissa, exponent },
            Self::Finite {
                negative: other_negative,
                mantissa: other_mantissa,
                exponent: other_exponent,
            },
        ) = (self, other)
        else {
            return None;
        };
        if exponent < other_exponent {
            return other.plus(self);
        }
        let larger = u128::from(mantissa) << GUARD_BITS;
        let distance = exponent.saturating_sub(other_exponent).unsigned_abs();
        let smaller = shifted_right_sticky(u128::from(other_mantissa) << GUARD_BITS, distance);
        let unit = exponent.saturating_sub(GUARD_BITS);
        let sum = if negative == other_negative {
            rounded(negative, larger + smaller, unit)
        } else if larger == smaller {
            Self::ZERO
        } else if larger > smaller {
            rounded(negative, larger - smaller, unit)
        } else {
            rounded(other_negative, smaller - larger, unit)
        };
        matches!(sum, Self::Finite { .. }).then_some(sum)
    }

    /// The number with the nearest 17 decimals, without trailing zeros, and without a sign
    /// if it is zero. `None` for infinity.
    pub(super) fn to_text(self) -> Option<String> {
        let Self::Finite { negative, mantissa, exponent } = self else {
            return None;
        };
        let text = if exponent >= 0 {
            Natural::new(mantissa).shifted_left(exponent.unsigned_abs()).to_decimal()
        } else {
            // Below 2^121: the mantissa has 64 bits and the power of ten 57.
            let scaled = u128::from(mantissa) * TEN_TO_DECIMALS;
            let decimals = shifted_right_nearest(scaled, exponent.unsigned_abs());
            let (whole, part) = (decimals / TEN_TO_DECIMALS, decimals % TEN_TO_DECIMALS);
            let text = format!("{whole}.{part:0DECIMALS$}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        Some(if negative && text != "0" { format!("-{text}") } else { text })
    }
}

fn parse_decimal(negative: bool, text: &[u8]) -> Option<Extended> {
    let (digits, rest) = Digits::split(text, u8::is_ascii_digit)?;
    let exponent = parse_exponent(rest, b'e')?;
    let power = exponent.saturating_sub(i64::try_from(digits.after_point).ok()?);
    let significant: Vec<u8> = digits.values().skip_while(|digit| *digit == 0).collect();
    if significant.is_empty() {
        return Some(signed_zero(negative));
    }
    let magnitude = power.saturating_add(i64::try_from(significant.len()).ok()?);
    if magnitude.abs() > DECIMAL_MAGNITUDE_MAX {
        return None;
    }
    let number = Natural::from_digits(significant.into_iter());
    let power_abs = u32::try_from(power.unsigned_abs()).ok()?;
    let float = if power >= 0 {
        let (high, unit) = number.times_ten_to(power_abs).highest_bits();
        rounded(negative, high, unit)
    } else {
        // Scaled by a power of two so that the quotient has 67 or 68 bits: some to round by.
        let divisor = Natural::new(1).times_ten_to(power_abs);
        let shift = 67 + i32::try_from(divisor.bits()).ok()? - i32::try_from(number.bits()).ok()?;
        let shift_abs = shift.unsigned_abs();
        let quotient = if shift >= 0 {
            number.shifted_left(shift_abs).divided_by(&divisor, 68)
        } else {
            number.divided_by(&divisor.shifted_left(shift_abs), 68)
        };
        rounded(negative, quotient, -shift)
    };
    in_range(float)
}

fn parse_hexadecimal(negative: bool, text: &[u8]) -> Option<Extended> {
    let (digits, rest) = Digits::split(text, u8::is_ascii_hexdigit)?;
    let exponent = parse_exponent(rest, b'p')?;
    let after_point = i64::try_from(digits.after_point).ok()?;
    let mut unit = exponent.saturating_sub(after_point.saturating_mul(4));
    let mut high = 0u128;
    for digit in digits.values() {
        if high >> 96 == 0 {
            high = high << 4 | u128::from(digit);
        } else {
            high |= u128::from(digit != 0);
            unit = unit.saturating_add(4);
        }
    }
    if high == 0 {
        return Some(signed_zero(negative));
    }
    // Clamped far outside of what is in range with a hundred bits of mantissa.
    let unit = i32::try_from(unit.clamp(-100_000, 100_000)).ok()?;
    in_range(rounded(negative, high, unit))
}

/// The digits of a number, and how many of them stand behind the point.
struct Digits<'a> {
    before: &'a [u8],
    after: &'a [u8],
    after_point: usize,
}

impl<'a> Digits<'a> {
    /// Splits off the digits at the start of a text; `None` if there are none.
    fn split(text: &'a [u8], is_digit: impl Fn(&u8) -> bool) -> Option<(Self, &'a [u8])> {
        let run = |text: &[u8]| text.iter().take_while(|byte| is_digit(byte)).count();
        let (before, rest) = text.split_at_checked(run(text))?;
        let (after, rest) = match rest {
            [b'.', decimals @ ..] => decimals.split_at_checked(run(decimals))?,
            rest => (&[][..], rest),
        };
        if before.is_empty() && after.is_empty() {
            return None;
        }
        Some((Self { before, after, after_point: after.len() }, rest))
    }

    fn values(&self) -> impl Iterator<Item = u8> {
        let digits = self.before.iter().chain(self.after);
        digits.filter_map(|digit| char::from(*digit).to_digit(16)?.try_into().ok())
    }
}

/// Reads the exponent that must fill the rest of a text, 0 if there is no rest. What is
/// beyond a million says nothing new.
fn parse_exponent(text: &[u8], mark: u8) -> Option<i64> {
    let text = match text {
        [] => return Some(0),
        [first, rest @ ..] if first.eq_ignore_ascii_case(&mark) => rest,
        _ => return None,
    };
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] => (1, digits),
        digits => (1, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let magnitude = digits.iter().fold(0i64, |value, digit| {
        value.saturating_mul(10).saturating_add(i64::from(digit - b'0')).min(1_000_000)
    });
    Some(sign * magnitude)
}

const fn signed_zero(negative: bool) -> Extended {
    Extended::Finite { negative, mantissa: 0, exponent: EXPONENT_MIN }
}

/// The float unless it is infinite or zero, as the nearest one to another number.
fn in_range(float: Extended) -> Option<Extended> {
    matches!(float, Extended::Finite { mantissa: 1.., .. }).then_some(float)
}

/// The nearest float to `wide * 2^unit`. The lowest bit of `wide` may stand for all bits
/// below it if there are 66 or more; `wide` is below 2^127.
fn rounded(negative: bool, wide: u128, unit: i32) -> Extended {
    let bits = 128 - wide.leading_zeros();
    let below_normal = u32::try_from(EXPONENT_MIN.saturating_sub(unit)).unwrap_or(0);
    let drop = bits.saturating_sub(64).max(below_normal);
    let kept = shifted_right_nearest(wide, drop);
    let unit = unit.saturating_add_unsigned(drop);
    // Rounding up may have made it one bit longer; that bit is then the only one.
    let (kept, unit) = if kept >> 64 == 0 { (kept, unit) } else { (kept >> 1, unit + 1) };
    let Ok(mantissa) = u64::try_from(kept) else {
        return Extended::Infinite { negative };
    };
    if mantissa == 0 {
        return signed_zero(negative);
    }
    let room = u32::try_from(unit.saturating_sub(EXPONENT_MIN)).unwrap_or(0);
    let lift = mantissa.leading_zeros().min(room);
    let exponent = unit.saturating_sub_unsigned(lift);
    if exponent > EXPONENT_MAX {
        return Extended::Infinite { negative };
    }
    Extended::Finite { negative, mantissa: mantissa << lift, exponent }
}

/// `value / 2^bits`, rounded to the nearest, ties to even; `value` is below 2^127.
const fn shifted_right_nearest(value: u128, bits: u32) -> u128 {
    if bits == 0 {
        return value;
    }
    if bits >= 128 {
        return 0;
    }
    let kept = value >> bits;
    let rest = value & ((1 << bits) - 1);
    let half = 1 << (bits - 1);
    let up = rest > half || (rest == half && kept & 1 == 1);
    if up { kept + 1 } else { kept }
}

/// `value / 2^bits`, the lowest bit set if any bit is lost.
const fn shifted_right_sticky(value: u128, bits: u32) -> u128 {
    if bits >= 128 {
        return if value == 0 { 0 } else { 1 };
    }
    let kept = value >> bits;
    if kept << bits == value { kept } else { kept | 1 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> Option<String> {
        Extended::parse(text.as_bytes())?.to_text()
    }

    #[test]
    fn every_form_of_a_number_is_read() {
        for (text, expected) in [
            ("0", "0"),
            ("-0", "0"),
            ("+5", "5"),
            ("5.", "5"),
            (".5", "0.5"),
            ("007.50", "7.5"),
            ("1e3", "1000"),
            ("1E+3", "1000"),
            ("25e-1", "2.5"),
            ("0x1F", "31"),
            ("0x.8p1", "1"),
            ("-0X1.8P-1", "-0.75"),
            ("0e999999999999999999999", "0"),
            ("0x0p99999999", "0"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "",
            "-",
            "+",
            ".",
            "e5",
            "1e",
            "1e+",
            "1.2.3",
            "0x",
            "0x.",
            "0xg",
            "0x1p",
            "1f",
            "--1",
            "nan",
            "NaN(1)",
            "in",
            "infinit",
            "1\0",
            "\t1",
            "1e5000",
            "-1e5000",
            "1e-5000",
            "1e999999999999",
            "1e-999999999999",
            "0x1p16384",
            "0x1p-16447",
        ] {
            assert_eq!(Extended::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(Extended::parse(&[b'1'; TEXT_BYTES_MAX + 1]), None);
    }

    #[test]
    fn the_limits_are_those_of_eighty_bits() {
        // The largest float, and the first number that is nearer to the next power of two.
        let largest =
            Extended::Finite { negative: false, mantissa: u64::MAX, exponent: EXPONENT_MAX };
        assert_eq!(Extended::parse(b"0xffffffffffffffffp16320"), Some(largest));
        assert_eq!(Extended::parse(b"0xffffffffffffffff7p16316"), Some(largest));
        assert_eq!(Extended::parse(b"0xffffffffffffffff8p16316"), None);
        assert_eq!(Extended::parse(b"1.18973149535723176502e+4932"), Some(largest));
        assert_eq!(largest.plus(largest), None);
        // The smallest float; half of it is a tie that goes to zero, a little more is not.
        let smallest = Extended::Finite { negative: false, mantissa: 1, exponent: EXPONENT_MIN };
        assert_eq!(Extended::parse(b"0x1p-16445"), Some(smallest));
        assert_eq!(Extended::parse(b"0x1p-16446"), None);
        assert_eq!(Extended::parse(b"0x1.00000000000000000000000000000001p-16446"), Some(smallest));
        assert_eq!(Extended::parse(b"3.6e-4951"), Some(smallest));
        assert_eq!(smallest.to_text().as_deref(), Some("0"));
    }

    #[test]
    fn ties_go_to_the_even_neighbour() {
        // 2^64 + 1 lies half-way between two floats, as does 2^64 + 3.
        assert_eq!(shown("18446744073709551617").as_deref(), Some("18446744073709551616"));
        assert_eq!(shown("18446744073709551619").as_deref(), Some("18446744073709551620"));
        assert_eq!(
            shown("85.188387750341977681e27").as_deref(),
            Some("85188387750341977677578108928")
        );
        assert_eq!(shown("18446744073709551617.0001").as_deref(), Some("18446744073709551618"));
        // 2^-18 has eighteen decimals, the last one a 5 after a 2 or a 7.
        assert_eq!(shown("0x1p-18").as_deref(), Some("0.00000381469726562"));
        assert_eq!(shown("0x3p-18").as_deref(), Some("0.00001144409179688"));
    }

    #[test]
    fn a_sum_is_rounded_once_from_its_exact_value() {
        let sum = |a: &str, b: &str| {
            let (a, b) = (Extended::parse(a.as_bytes())?, Extended::parse(b.as_bytes())?);
            a.plus(b)?.to_text()
        };
        let power = "0x1p64";
        assert_eq!(sum(power, "1").as_deref(), Some("18446744073709551616"));
        assert_eq!(sum(power, "0x1.000001p0").as_deref(), Some("18446744073709551618"));
        assert_eq!(sum(power, "-0.5").as_deref(), Some("18446744073709551616"));
        assert_eq!(sum(power, "-0.50001").as_deref(), Some("18446744073709551615"));
        assert_eq!(sum(power, "-1e-30").as_deref(), Some("18446744073709551616"));
        assert_eq!(sum("1e4000", "1e-4000"), shown("1e4000"));
        assert_eq!(sum("1.5", "-1.5").as_deref(), Some("0"));
    }

    proptest! {
        #[test]
        fn sixteenths_add_up_as_on_paper(a in -1i64 << 50..1 << 50, b in -1i64 << 50..1 << 50) {
            let text = |sixteenths: i64| {
                let sign = if sixteenths < 0 { "-" } else { "" };
                let (whole, part) = (sixteenths.abs() / 16, sixteenths.abs() % 16 * 625);
                let text = format!("{sign}{whole}.{part:04}");
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            };
            let parse = |sixteenths| Extended::parse(text(sixteenths).as_bytes()).unwrap();
            let sum = parse(a).plus(parse(b)).unwrap();
            prop_assert_eq!(sum.to_text().unwrap(), text(a + b));
        }

        #[test]
        fn doubles_keep_their_value(value in proptest::num::f64::NORMAL) {
            let exact = format!("{value:.1100}");
            let float = Extended::parse(exact.as_bytes());
            let bits = value.to_bits();
            let biased = i32::try_from(bits << 1 >> 53).unwrap();
            let expected = Extended::Finite {
                negative: value < 0.0,
                mantissa: (bits << 12 >> 1) | 1 << 63,
                exponent: biased - 1_023 - 63,
            };
            prop_assert_eq!(float, Some(expected));
        }
    }
}
