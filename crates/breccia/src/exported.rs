//! A row as a line of NDJSON: what `export` writes and `import` reads back to the same bytes.
//!
//! A value that is a JSON object or array on one line stands in the line as it is, byte for
//! byte. Any other UTF-8 value stands there as a JSON string; any other value as base64 in
//! the member `value_base64`. The merged state of a monoid table's row is base64 in
//! `state_base64`. Keys are strings, or base64 in `key_base64`. `version` and `expires_at`
//! are microseconds since 1970.

use std::borrow::Cow;
use std::io::Write;

use anyhow::Result;
use breccia_types::Timestamp;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::payload::{from_base64, to_base64};

/// A row as it is exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExportedRow {
    /// Its key.
    pub(crate) key: Bytes,
    /// What it holds.
    pub(crate) content: Content,
    /// The instant of its version, in versioned tables.
    pub(crate) version: Option<Timestamp>,
    /// When it expires, if it does.
    pub(crate) expires_at: Option<Timestamp>,
}

/// What a row holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// A value.
    Value(Bytes),
    /// The encoded state of a monoid table's row.
    State(Bytes),
}

impl Content {
    /// Bytes of the value or state.
    pub(crate) const fn bytes(&self) -> &Bytes {
        match self {
            Self::Value(bytes) | Self::State(bytes) => bytes,
        }
    }
}

/// The line's form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key_base64: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    value: Option<&'a RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    value_base64: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    state_base64: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
}

impl ExportedRow {
    /// Writes the row as a line.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub(crate) fn write(&self, mut out: impl Write) -> Result<()> {
        let key = std::str::from_utf8(&self.key).ok();
        let (value, state) = match &self.content {
            Content::Value(value) => (Some(value), None),
            Content::State(state) => (None, Some(state)),
        };
        let text = value.and_then(|value| std::str::from_utf8(value).ok());
        let quoted = match text {
            Some(text) if inlined(text).is_none() => {
                Some(RawValue::from_string(serde_json::to_string(text)?)?)
            }
            _ => None,
        };
        let encoded = if text.is_none() { value } else { None };
        let form = Form {
            key: key.map(Cow::Borrowed),
            key_base64: key.is_none().then(|| Cow::Owned(to_base64(&self.key))),
            value: text.and_then(inlined).or(quoted.as_deref()),
            value_base64: encoded.map(|value| Cow::Owned(to_base64(value))),
            state_base64: state.map(|state| Cow::Owned(to_base64(state))),
            version: self.version.map(Timestamp::as_micros),
            expires_at: self.expires_at.map(Timestamp::as_micros),
        };
        serde_json::to_writer(&mut out, &form)?;
        out.write_all(b"\n")?;
        Ok(())
    }

    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(line: &str) -> Result<Self, String> {
        let form: Form<'_> = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let key = match (form.key, form.key_base64) {
            (Some(key), None) => Bytes::from(key.into_owned()),
            (None, Some(key)) => from_base64(&key).map_err(|error| error.to_string())?,
            _ => return Err("it needs either \"key\" or \"key_base64\"".to_owned()),
        };
        let content = match (form.value, form.value_base64, form.state_base64) {
            (Some(value), None, None) => Content::Value(value_of(value)?),
            (None, Some(value), None) => {
                Content::Value(from_base64(&value).map_err(|error| error.to_string())?)
            }
            (None, None, Some(state)) => {
                Content::State(from_base64(&state).map_err(|error| error.to_string())?)
            }
            _ => {
                return Err(
                    "it needs one of \"value\", \"value_base64\" and \"state_base64\"".to_owned()
                );
            }
        };
        Ok(Self {
            key,
            content,
            version: form.version.map(Timestamp::from_micros),
            expires_at: form.expires_at.map(Timestamp::from_micros),
        })
    }
}

/// The bytes that a JSON value in a line stands for.
fn value_of(value: &RawValue) -> Result<Bytes, String> {
    if value.get().starts_with('"') {
        let text: String = serde_json::from_str(value.get()).map_err(|error| error.to_string())?;
        return Ok(Bytes::from(text));
    }
    Ok(Bytes::copy_from_slice(value.get().as_bytes()))
}

/// The text as it may stand in a line, if it is an object or array on one line.
pub(crate) fn inlined(text: &str) -> Option<&RawValue> {
    let brackets = (text.starts_with('{') && text.ends_with('}'))
        || (text.starts_with('[') && text.ends_with(']'));
    if !brackets || text.contains(['\n', '\r']) {
        return None;
    }
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(key: &'static [u8], value: &'static [u8]) -> String {
        let row = ExportedRow {
            key: Bytes::from_static(key),
            content: Content::Value(Bytes::from_static(value)),
            version: Some(Timestamp::from_micros(7)),
            expires_at: None,
        };
        let mut out = Vec::new();
        row.write(&mut out).expect("writes");
        let line = String::from_utf8(out).expect("UTF-8");
        assert!(line.ends_with('\n') && line.matches('\n').count() == 1, "{line}");
        assert_eq!(ExportedRow::read(&line).as_ref(), Ok(&row));
        line
    }

    #[test]
    fn every_value_comes_back_byte_for_byte() {
        for value in [
            &b"{\"a\": 1.50, \"a\":2 }"[..],
            b"[1, 2]",
            b"{\"a\":\n1}",
            b"{not json}",
            b" {\"a\":1}",
            b"text",
            b"5",
            b"null",
            b"\"quoted\"",
            b"",
            b"\xff\x00",
            b"line\nbreak\r",
            b"{\"deep\":1e999}",
        ] {
            line(b"k", value);
            line(b"\xfe", value);
        }
    }

    #[test]
    fn states_of_monoids_come_back_as_states() {
        let row = ExportedRow {
            key: Bytes::from_static(b"k"),
            content: Content::State(Bytes::from_static(b"{}")),
            version: None,
            expires_at: Some(Timestamp::from_micros(9)),
        };
        let mut out = Vec::new();
        row.write(&mut out).expect("writes");
        let line = String::from_utf8(out).expect("UTF-8");
        assert_eq!(line, "{\"key\":\"k\",\"state_base64\":\"e30=\",\"expires_at\":9}\n");
        assert_eq!(ExportedRow::read(&line), Ok(row));
    }

    #[test]
    fn documents_stand_in_the_line_as_they_are() {
        assert_eq!(
            line(b"k", b"{\"a\": 1}"),
            "{\"key\":\"k\",\"value\":{\"a\": 1},\"version\":7}\n"
        );
        assert_eq!(line(b"k", b"5"), "{\"key\":\"k\",\"value\":\"5\",\"version\":7}\n");
    }

    #[test]
    fn a_line_of_another_form_is_refused() {
        for text in [
            "{}",
            "{\"key\":\"a\"}",
            "{\"value\":1}",
            "{\"key\":\"a\",\"value\":1,\"more\":2}",
            "{\"key\":\"a\",\"value\":null}",
            "{\"key\":\"a\",\"key_base64\":\"YQ==\",\"value\":1}",
            "[1]",
            "",
        ] {
            assert!(ExportedRow::read(text).is_err(), "{text}");
        }
    }
}
