//! One scalar of a JSON document, found without building the document.

use std::fmt;
use std::io::Write;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A number; its text is given.
    Number,
    /// A string; it is given.
    Text,
    /// `true` or `false`; its text is given.
    Boolean,
    /// `null`.
    Null,
    /// An array or an object.
    Nested,
    /// Nothing.
    Nothing,
}

/// Looks for what is at the path, and puts its text into `text`. Of members with the same name
/// the last one counts.
///
/// # Errors
/// What makes it no JSON, wherever that is.
pub fn find(json: &[u8], path: &[String], text: &mut Vec<u8>) -> Result<Found, serde_json::Error> {
    let mut from = serde_json::Deserializer::from_slice(json);
    let found = Finder { path, text }.deserialize(&mut from)?;
    from.end()?;
    Ok(found)
}

struct Finder<'f> {
    path: &'f [String],
    text: &'f mut Vec<u8>,
}

impl Finder<'_> {
    fn scalar<E: Error>(self, found: Found, value: impl fmt::Display) -> Result<Found, E> {
        if !self.path.is_empty() {
            return Ok(Found::Nothing);
        }
        self.text.clear();
        // Writing to memory cannot fail.
        let _ = write!(self.text, "{value}");
        Ok(found)
    }
}

impl<'de> DeserializeSeed<'de> for Finder<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Found, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Finder<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Found, E> {
        self.scalar(Found::Boolean, value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Found, E> {
        self.scalar(Found::Number, value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Found, E> {
        self.scalar(Found::Number, value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Found, E> {
        self.scalar(Found::Number, value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Found, E> {
        self.scalar(Found::Text, value)
    }

    fn visit_unit<E: Error>(self) -> Result<Found, E> {
        Ok(if self.path.is_empty() { Found::Null } else { Found::Nothing })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        let Some((step, rest)) = self.path.split_first() else {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Found::Nested);
        };
        let mut found = Found::Nothing;
        while let Some(is_step) = map.next_key_seed(Is(step))? {
            if is_step {
                found = map.next_value_seed(Finder { path: rest, text: self.text })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Found, A::Error> {
        let Some((step, rest)) = self.path.split_first() else {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Found::Nested);
        };
        let position: Option<usize> = step.parse().ok();
        let mut found = Found::Nothing;
        for at in 0_usize.. {
            let is_there = if Some(at) == position {
                let item = items.next_element_seed(Finder { path: rest, text: self.text })?;
                found = item.unwrap_or(Found::Nothing);
                item.is_some()
            } else {
                items.next_element::<IgnoredAny>()?.is_some()
            };
            if !is_there {
                break;
            }
        }
        Ok(found)
    }
}

/// Whether a member has this name.
struct Is<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<bool, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scalar_is_found_wherever_the_path_leads() {
        let json = br#"{"a": {"b": [1, {"c": "x\ty"}]}, "n": null, "t": true, "f": -2.50,
            "u": 18446744073709551615, "a.b": 1e3, "twice": 1, "twice": 2}"#;
        for (path, found, text) in [
            (&["a", "b", "0"][..], Found::Number, "1"),
            (&["a", "b", "1", "c"], Found::Text, "x\ty"),
            (&["a", "b"], Found::Nested, ""),
            (&["a", "b", "2"], Found::Nothing, ""),
            (&["a", "b", "x"], Found::Nothing, ""),
            (&["n"], Found::Null, ""),
            (&["n", "x"], Found::Nothing, ""),
            (&["t"], Found::Boolean, "true"),
            (&["f"], Found::Number, "-2.5"),
            (&["f", "x"], Found::Nothing, ""),
            (&["u"], Found::Number, "18446744073709551615"),
            (&["a.b"], Found::Number, "1000"),
            (&["twice"], Found::Number, "2"),
            (&["none"], Found::Nothing, ""),
        ] {
            let path: Vec<String> = path.iter().map(|step| (*step).to_owned()).collect();
            let mut out = Vec::new();
            assert_eq!(find(json, &path, &mut out).unwrap(), found, "{path:?}");
            assert_eq!(String::from_utf8(out).unwrap(), text, "{path:?}");
        }
    }

    #[test]
    fn what_is_no_json_is_said_to_be_none_even_behind_what_was_looked_for() {
        for json in [&b""[..], b"{", b"nul", b"{\"a\": 1} x", b"{\"a\": 1,}", b"\xff"] {
            assert!(find(json, &["a".to_owned()], &mut Vec::new()).is_err(), "{json:?}");
        }
    }
}
