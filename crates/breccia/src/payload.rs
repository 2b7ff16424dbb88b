//! How keys and values, which are any bytes, are shown and written as text.
//!
//! Text is shown as it is. What is not UTF-8, or would move the cursor of a terminal, is
//! shown to people as `base64:...`; JSON documents then carry the member `key_base64` or
//! `value_base64` in place of `key` or `value`. On the command line a text is taken
//! literally, unless `--key-base64` or `--value-base64` says otherwise.

use std::borrow::Cow;

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value};

use crate::exit::Failure;

/// Marks base64 that is shown to people.
const BASE64_MARK: &str = "base64:";

/// The bytes as one line for people.
pub(crate) fn show(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) && !text.starts_with(BASE64_MARK) => {
            Cow::Borrowed(text)
        }
        _ => Cow::Owned(format!("{BASE64_MARK}{}", STANDARD.encode(bytes))),
    }
}

/// Puts the bytes into a JSON document: text under `name`, other bytes under
/// `<name>_base64`.
pub(crate) fn insert(document: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => document.insert(name.to_owned(), Value::from(text)),
        Err(_) => document.insert(format!("{name}_base64"), STANDARD.encode(bytes).into()),
    };
}

/// Base64 of any bytes.
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The bytes of a base64 text.
///
/// # Errors
/// [`Failure`] if it is not base64.
pub(crate) fn from_base64(text: &str) -> Result<Bytes, Failure> {
    match STANDARD.decode(text) {
        Ok(bytes) => Ok(Bytes::from(bytes)),
        Err(error) => Err(Failure::usage(format!("{text:?} is not base64: {error}"))),
    }
}

/// How an argument of the command line stands for bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Literally.
    Text,
    /// In base64.
    Base64,
}

impl Encoding {
    /// Base64 if its flag was given.
    pub(crate) const fn from_flag(base64: bool) -> Self {
        if base64 { Self::Base64 } else { Self::Text }
    }

    /// The bytes that the argument stands for.
    ///
    /// # Errors
    /// [`Failure`] if it should be base64 and is not.
    pub(crate) fn read(self, text: &str) -> Result<Bytes, Failure> {
        match self {
            Self::Text => Ok(Bytes::copy_from_slice(text.as_bytes())),
            Self::Base64 => from_base64(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_shown_as_it_is_and_other_bytes_are_marked() {
        assert_eq!(show("naïve {1}".as_bytes()), "naïve {1}");
        assert_eq!(show(b"\xff\x00"), "base64:/wA=");
        assert_eq!(show(b"a\x1b[2J"), "base64:YRtbMko=");
        assert_eq!(show(b"base64:YQ=="), "base64:YmFzZTY0OllRPT0=");
    }

    #[test]
    fn documents_name_the_encoding_of_a_member() {
        let mut document = Map::new();
        insert(&mut document, "key", b"a\nb");
        insert(&mut document, "value", b"\xff");
        assert_eq!(Value::Object(document).to_string(), r#"{"key":"a\nb","value_base64":"/w=="}"#);
    }

    #[test]
    fn arguments_are_literal_unless_a_flag_says_base64() {
        assert_eq!(Encoding::Text.read("base64:YQ==").expect("text"), "base64:YQ==");
        assert_eq!(Encoding::Base64.read("YQ==").expect("base64"), "a");
        assert!(Encoding::Base64.read("?").is_err());
    }
}
