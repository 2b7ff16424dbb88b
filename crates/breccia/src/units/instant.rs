//! Instants: RFC 3339, a date, or microseconds since 1970.

use breccia_types::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::UnitError;

/// Reads an instant: RFC 3339 (`2013-01-01T10:00:00Z`), a date with or without a time (in
/// UTC), or a whole number of microseconds since 1970-01-01T00:00:00Z.
///
/// # Errors
/// [`UnitError`] if it is none of these, or out of range.
pub(crate) fn parse_instant(text: &str) -> Result<Timestamp, UnitError> {
    let trimmed = text.trim();
    if let Ok(micros) = trimmed.parse::<i64>() {
        return Ok(Timestamp::from_micros(micros));
    }
    let zoned = trimmed.parse::<jiff::Timestamp>();
    let instant = zoned.or_else(|_| {
        let civil: DateTime = trimmed.parse()?;
        civil.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp())
    });
    instant.map(|instant| Timestamp::from_micros(instant.as_microsecond())).map_err(|_| UnitError {
        text: text.to_owned(),
        quantity: "instant",
        examples: "2013-01-01T10:00:00Z, 2013-01-01, or microseconds since 1970",
    })
}

/// Shows an instant as RFC 3339 in UTC, or as microseconds where no calendar reaches.
pub(crate) fn show_instant(instant: Timestamp) -> String {
    match jiff::Timestamp::from_microsecond(instant.as_micros()) {
        Ok(shown) => shown.to_string(),
        Err(_) => instant.as_micros().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_in_every_spelling() {
        for (text, micros) in [
            ("0", 0),
            ("-5", -5),
            ("1970-01-02", 86_400_000_000),
            ("1970-01-01T00:00:01Z", 1_000_000),
            ("1970-01-01T01:00:01+01:00", 1_000_000),
            ("1970-01-01 00:00:01", 1_000_000),
            ("1970-01-01T00:00:00.000001Z", 1),
        ] {
            assert_eq!(parse_instant(text), Ok(Timestamp::from_micros(micros)), "{text}");
        }
    }

    #[test]
    fn instants_read_what_they_show() {
        for micros in [0, 1, 1_357_034_400_000_000, i64::MAX, -1] {
            let instant = Timestamp::from_micros(micros);
            assert_eq!(parse_instant(&show_instant(instant)), Ok(instant));
        }
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for text in ["", "yesterday", "2013-13-01", "2013-01-01T25:00:00Z", "12:00"] {
            assert!(parse_instant(text).is_err(), "{text}");
        }
    }
}
