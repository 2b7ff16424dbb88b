//! Keys and values in JSON: a string if they are valid UTF-8, else `{"base64": "..."}`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use breccia_types::RequestError;
use bytes::Bytes;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

const MEMBER: &str = "base64";

/// Bytes in a JSON body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Octets(pub(super) Bytes);

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(MEMBER, &STANDARD.encode(&self.0))?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OctetsVisitor)
    }
}

struct OctetsVisitor;

impl<'de> Visitor<'de> for OctetsVisitor {
    type Value = Octets;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, or an object {\"base64\": \"...\"}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Octets, E> {
        Ok(Octets(Bytes::copy_from_slice(text.as_bytes())))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Octets, E> {
        Ok(Octets(text.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Octets, A::Error> {
        let entry = map.next_entry::<String, String>()?;
        let Some((name, encoded)) = entry.filter(|(name, _)| name == MEMBER) else {
            return Err(de::Error::custom("an object in place of bytes has the member base64"));
        };
        if map.next_key::<String>()?.is_some() {
            return Err(de::Error::custom("an object in place of bytes has no other member"));
        }
        let decoded = STANDARD.decode(encoded);
        decoded.map(|bytes| Octets(bytes.into())).map_err(|error| {
            de::Error::custom(format!("{name} is not valid ({error}); pad it with ="))
        })
    }
}

/// How a path or a query writes keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum KeyEncoding {
    /// As percent-encoded UTF-8.
    #[default]
    Utf8,
    /// As base64url without padding.
    Base64url,
}

impl KeyEncoding {
    /// The key that is meant.
    pub(super) fn decode(self, text: String) -> Result<Bytes, RequestError> {
        match self {
            Self::Utf8 => Ok(text.into()),
            Self::Base64url => decode_base64url("key", &text).map(Bytes::from),
        }
    }
}

/// Writes bytes for a query parameter.
pub(super) fn encode_base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a query parameter that is bytes.
pub(super) fn decode_base64url(
    argument: &'static str,
    text: &str,
) -> Result<Vec<u8>, RequestError> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|error| {
        RequestError::InvalidArgument { argument, reason: format!("not base64url: {error}") }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_a_string_and_other_bytes_are_an_object() {
        let json = |bytes| serde_json::to_string(&Octets(Bytes::from_static(bytes)));
        assert_eq!(json(b"a\"b").expect("json"), r#""a\"b""#);
        assert_eq!(json(b"\xff\x00").expect("json"), r#"{"base64":"/wA="}"#);
    }

    #[test]
    fn other_json_is_refused_and_the_message_says_what_to_write() {
        for text in ["1", "null", "[]", "{}", r#"{"base64":"?"}"#, r#"{"base64":"","x":""}"#] {
            assert!(serde_json::from_str::<Octets>(text).is_err(), "{text}");
        }
        let error = serde_json::from_str::<Octets>("7").expect_err("a number");
        assert!(error.to_string().contains("base64"), "{error}");
    }

    proptest! {
        #[test]
        fn any_bytes_come_back_as_they_were(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let octets = Octets(bytes.into());
            let json = serde_json::to_string(&octets).expect("json");
            prop_assert_eq!(serde_json::from_str::<Octets>(&json).expect("octets"), octets);
        }
    }
}
