//! Durations: `30d`, `12h`, `500ms`, `1h30m`.

use std::time::Duration;

use super::UnitError;

/// Largest unit first, in milliseconds.
const UNITS: [(&str, u64); 6] = [
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads a duration: one or more whole numbers, each with a unit of `w`, `d`, `h`, `m`,
/// `s` or `ms`.
///
/// # Errors
/// [`UnitError`] if a number or unit is missing or unknown, or the sum does not fit.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let refuse = || UnitError {
        text: text.to_owned(),
        quantity: "duration",
        examples: "whole numbers with units w, d, h, m, s or ms, such as 30d, 12h or 500ms",
    };
    let mut rest = text.trim();
    let mut millis: u64 = 0;
    if rest.is_empty() {
        return Err(refuse());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(refuse)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let number: u64 = number.parse().map_err(|_| refuse())?;
        let factor = UNITS.iter().find(|(name, _)| *name == unit.trim());
        let part = factor.and_then(|(_, factor)| number.checked_mul(*factor));
        millis = part.and_then(|part| millis.checked_add(part)).ok_or_else(refuse)?;
        rest = tail;
    }
    Ok(Duration::from_millis(millis))
}

/// Shows a duration in the largest units that are exact: `30d`, `1h30m`. Parts below a
/// millisecond are left out.
pub(crate) fn show_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut shown = String::new();
    for (name, factor) in UNITS.iter().skip(1) {
        let count = rest / factor;
        rest %= factor;
        if count > 0 {
            shown.push_str(&format!("{count}{name}"));
        }
    }
    if shown.is_empty() { "0s".to_owned() } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_what_they_show() {
        for text in ["30d", "12h", "500ms", "1h30m", "1d1h1m1s1ms"] {
            assert_eq!(show_duration(parse_duration(text).expect(text)), text);
        }
        assert_eq!(parse_duration("2w"), Ok(Duration::from_secs(14 * 86_400)));
        assert_eq!(show_duration(Duration::ZERO), "0s");
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in
            ["", "5", "d", "5x", "-5d", "1.5h", "5d3", "99999999999999999999d", "9999999999999w"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
