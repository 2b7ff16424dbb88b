//! One row, seen in the ways that Redis has.

use breccia_service::strings::number::parse_integer;
use breccia_types::kv::Row;
use breccia_types::{NodeClock, Timestamp};

use super::super::command::{Unit, View};
use super::super::encoder::Encoder;
use super::super::error::ReplyError;

/// Up to this length Redis keeps a value together with its header.
const EMBEDDED_BYTES_MAX: usize = 44;
/// What TTL and EXPIRETIME answer for a key without expiry.
const NO_EXPIRY: i64 = -1;
/// What they answer for no key.
const NO_KEY: i64 = -2;

/// Encodes what the view shows of a row.
///
/// # Errors
/// [`ReplyError::NoFrequency`].
pub(crate) fn encode(
    encoder: &mut Encoder,
    view: View,
    row: Option<&Row>,
    clock: &NodeClock,
) -> Result<(), ReplyError> {
    let Some(row) = row else {
        encode_absent(encoder, view);
        return Ok(());
    };
    let value = row.value.as_ref();
    match view {
        View::Value => encoder.bulk(value),
        View::Length => encoder.count(value.len()),
        View::Range { start, end } => encoder.bulk(range(value, start, end)),
        View::Bit { offset } => encoder.integer(i64::from(bit(value, offset))),
        View::Type => encoder.simple("string"),
        View::TimeToLive(unit) => {
            let now = clock.now().as_millis();
            let left = |at: Timestamp| at.as_millis().saturating_sub(now).max(0);
            encoder.integer(row.expires_at.map_or(NO_EXPIRY, |at| in_unit(left(at), unit)));
        }
        View::ExpiresAt(unit) => {
            let at = row.expires_at.map(Timestamp::as_millis);
            encoder.integer(at.map_or(NO_EXPIRY, |at| in_unit(at, unit)));
        }
        View::Encoding => encoder.bulk(encoding(value).as_bytes()),
        View::References => encoder.integer(1),
        View::IdleTime => encoder.integer(0),
        View::Frequency => return Err(ReplyError::NoFrequency),
    }
    Ok(())
}

fn encode_absent(encoder: &mut Encoder, view: View) {
    match view {
        View::Length | View::Bit { .. } => encoder.integer(0),
        View::Range { .. } => encoder.bulk(b""),
        View::Type => encoder.simple("none"),
        View::TimeToLive(_) | View::ExpiresAt(_) => encoder.integer(NO_KEY),
        View::Value | View::Encoding | View::References | View::IdleTime | View::Frequency => {
            encoder.null()
        }
    }
}

/// Milliseconds in a unit; seconds are rounded.
const fn in_unit(millis: i64, unit: Unit) -> i64 {
    match unit {
        Unit::Milliseconds => millis,
        Unit::Seconds => millis.saturating_add(500) / 1_000,
    }
}

fn range(value: &[u8], start: i64, end: i64) -> &[u8] {
    if start < 0 && end < 0 && start > end {
        return &[];
    }
    let length = i64::try_from(value.len()).unwrap_or(i64::MAX);
    let from_start = |position: i64| {
        let position = if position < 0 { position.saturating_add(length) } else { position };
        usize::try_from(position.max(0)).unwrap_or(usize::MAX)
    };
    let end = from_start(end).saturating_add(1).min(value.len());
    value.get(from_start(start)..end).unwrap_or_default()
}

fn bit(value: &[u8], offset: u64) -> bool {
    let byte = usize::try_from(offset / 8).ok().and_then(|at| value.get(at));
    byte.is_some_and(|byte| byte & (0x80 >> (offset % 8)) != 0)
}

fn encoding(value: &[u8]) -> &'static str {
    if parse_integer(value).is_some() {
        "int"
    } else if value.len() <= EMBEDDED_BYTES_MAX {
        "embstr"
    } else {
        "raw"
    }
}

#[cfg(test)]
mod tests {
    use breccia_types::time::ManualClock;
    use bytes::Bytes;

    use super::*;

    fn shown(view: View, value: &'static [u8], expires_at_ms: Option<i64>) -> String {
        let row = Row {
            key: Bytes::new(),
            value: Bytes::from_static(value),
            expires_at: expires_at_ms.and_then(Timestamp::from_millis),
            version: None,
        };
        let mut encoder = Encoder::default();
        let now = Timestamp::from_millis(10_000).expect("in range");
        let clock = NodeClock::new(Box::new(ManualClock::new(now)), Timestamp::MIN);
        encode(&mut encoder, view, Some(&row), &clock).expect("shown");
        String::from_utf8_lossy(encoder.bytes()).into_owned()
    }

    #[test]
    fn ranges_are_cut_as_redis_cuts_them() {
        for (start, end, part) in [
            (0, 3, "Hell"),
            (0, -1, "Hello World"),
            (-4, -1, "orld"),
            (5, 3, ""),
            (5, 5_000, " World"),
            (-5_000, 10_000, "Hello World"),
            (0, -100, "H"),
            (-1, -5, ""),
            (-1, i64::MIN, ""),
            (i64::MIN, i64::MIN, "H"),
            (i64::MAX, i64::MAX, ""),
        ] {
            assert_eq!(range(b"Hello World", start, end), part.as_bytes(), "{start} {end}");
        }
        assert_eq!(range(b"", 0, -1), b"");
    }

    #[test]
    fn times_are_rounded_to_seconds() {
        let ttl = View::TimeToLive;
        for (view, expires_at, reply) in [
            (ttl(Unit::Seconds), None, ":-1\r\n"),
            (ttl(Unit::Seconds), Some(11_499), ":1\r\n"),
            (ttl(Unit::Seconds), Some(11_500), ":2\r\n"),
            (ttl(Unit::Milliseconds), Some(11_500), ":1500\r\n"),
            (View::ExpiresAt(Unit::Seconds), Some(11_500), ":12\r\n"),
            (View::ExpiresAt(Unit::Milliseconds), Some(11_500), ":11500\r\n"),
        ] {
            assert_eq!(shown(view, b"v", expires_at), reply);
        }
    }

    #[test]
    fn bits_count_from_the_most_significant() {
        for (offset, is_set) in [(0, true), (1, false), (7, false), (15, true), (16, false)] {
            assert_eq!(bit(&[0x80, 0x01], offset), is_set, "{offset}");
        }
    }

    #[test]
    fn encodings_are_those_that_redis_would_choose() {
        for (value, name) in [
            (&b"12"[..], "int"),
            (b"-9223372036854775808", "int"),
            (b"9223372036854775808", "embstr"),
            (b"012", "embstr"),
            (&[b'a'; 44], "embstr"),
            (&[b'a'; 45], "raw"),
        ] {
            assert_eq!(encoding(value), name);
        }
    }
}
