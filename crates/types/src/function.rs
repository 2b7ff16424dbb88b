//! Functions that users have deployed, as the whole cluster knows them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::RequestError;
use crate::limits::{
    FUNCTION_FUEL_DEFAULT, FUNCTION_FUEL_MAX, FUNCTION_MEMORY_BYTES_DEFAULT,
    FUNCTION_MEMORY_BYTES_MAX, FUNCTION_MEMORY_BYTES_MIN, FUNCTION_NAME_BYTES_MAX,
    FUNCTION_OUTPUT_BYTES_DEFAULT, FUNCTION_OUTPUT_BYTES_MAX, FUNCTION_ROWS_DEFAULT,
    FUNCTION_ROWS_MAX, FUNCTION_TIME_DEFAULT, FUNCTION_TIME_MAX,
};
use crate::time::Timestamp;

/// What a function does, and so where and how it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FunctionKind {
    /// Looks at the rows around a key and answers.
    Read,
    /// Changes the rows around a key and answers: the same on every replica.
    Write,
    /// Comes to one result over many rows.
    Reduce,
}

impl FunctionKind {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Reduce => "reduce",
        }
    }
}

impl fmt::Display for FunctionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for FunctionKind {
    type Err = RequestError;

    fn from_str(name: &str) -> Result<Self, RequestError> {
        [Self::Read, Self::Write, Self::Reduce].into_iter().find(|kind| kind.name() == name).ok_or(
            RequestError::InvalidArgument {
                argument: "kind",
                reason: format!("{name:?} is none of read, write, reduce"),
            },
        )
    }
}

/// What one call of a function may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FunctionLimits {
    /// Units of computing, about one per instruction; of write functions alone.
    pub fuel: u64,
    /// How long it may run; of read and reduce functions alone.
    #[serde(rename = "time_ms", with = "millis")]
    pub time: Duration,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes of what it returns: a reply, a state, what is presented.
    pub output_bytes: u64,
    /// How many rows it may read and write.
    pub rows: u64,
}

impl Default for FunctionLimits {
    fn default() -> Self {
        Self {
            fuel: FUNCTION_FUEL_DEFAULT,
            time: FUNCTION_TIME_DEFAULT,
            memory_bytes: FUNCTION_MEMORY_BYTES_DEFAULT,
            output_bytes: FUNCTION_OUTPUT_BYTES_DEFAULT,
            rows: FUNCTION_ROWS_DEFAULT,
        }
    }
}

impl FunctionLimits {
    /// Checks the limits against what may be granted at most.
    ///
    /// # Errors
    /// [`RequestError::InvalidArgument`] names the limit that is none or too large.
    pub fn check(&self) -> Result<(), RequestError> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let bounds = [
            ("fuel", self.fuel, 1, FUNCTION_FUEL_MAX, ""),
            ("time", millis(self.time), 1, millis(FUNCTION_TIME_MAX), " ms"),
            (
                "memory",
                self.memory_bytes,
                FUNCTION_MEMORY_BYTES_MIN,
                FUNCTION_MEMORY_BYTES_MAX,
                " bytes",
            ),
            ("output", self.output_bytes, 1, FUNCTION_OUTPUT_BYTES_MAX, " bytes"),
            ("rows", self.rows, 1, FUNCTION_ROWS_MAX, ""),
        ];
        for (argument, value, least, most, unit) in bounds {
            if !(least..=most).contains(&value) {
                let reason = format!("{value}{unit} is not between {least} and {most}{unit}");
                return Err(RequestError::InvalidArgument { argument, reason });
            }
        }
        Ok(())
    }
}

/// The SHA-256 of a module's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModuleDigest([u8; 32]);

impl ModuleDigest {
    /// A digest.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ModuleDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ModuleDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ModuleDigest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ModuleDigest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let malformed = || serde::de::Error::custom(format!("{text:?} is not 64 hex digits"));
        let mut digest = [0; 32];
        if text.len() != 2 * digest.len() || !text.is_ascii() {
            return Err(malformed());
        }
        for (at, byte) in digest.iter_mut().enumerate() {
            let digits = text.get(2 * at..2 * at + 2).ok_or_else(malformed)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| malformed())?;
        }
        Ok(Self(digest))
    }
}

/// A function that was deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// What it does.
    pub kind: FunctionKind,
    /// Counts what was deployed under the name, from 1 on.
    pub version: u64,
    /// Names the module.
    pub digest: ModuleDigest,
    /// How long the module is, in bytes.
    pub module_bytes: u64,
    /// What a call may use.
    pub limits: FunctionLimits,
    /// When it was deployed.
    pub deployed_at: Timestamp,
}

/// Checks the name of a function: a letter or `_`, then letters, digits and `_`, so that it
/// stands in SQL and in addresses as it is.
///
/// # Errors
/// [`RequestError::InvalidArgument`].
pub fn check_function_name(name: &str) -> Result<(), RequestError> {
    let mut chars = name.chars();
    let starts_well = chars.next().is_some_and(|c| c.is_ascii_lowercase() || c == '_');
    let goes_on_well = chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if starts_well && goes_on_well && name.len() <= FUNCTION_NAME_BYTES_MAX {
        return Ok(());
    }
    Err(RequestError::InvalidArgument {
        argument: "function",
        reason: format!(
            "{name:?} is no function's name: a lower-case letter or _, then lower-case letters, \
             digits and _, at most {FUNCTION_NAME_BYTES_MAX} in all"
        ),
    })
}

mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        time: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_the_same_after_it_was_written_as_json() {
        let function = Function {
            name: "longest".into(),
            kind: FunctionKind::Reduce,
            version: 3,
            digest: ModuleDigest::new([0xab; 32]),
            module_bytes: 17,
            limits: FunctionLimits::default(),
            deployed_at: Timestamp::from_micros(5),
        };
        let json = serde_json::to_string(&function).expect("writes");
        assert!(json.contains(r#""time_ms":10000"#), "{json}");
        assert_eq!(serde_json::from_str::<Function>(&json).expect("reads"), function);
    }

    #[test]
    fn names_that_sql_or_an_address_would_read_otherwise_are_refused() {
        for good in ["f", "_x1", "longest_delay"] {
            assert_eq!(check_function_name(good), Ok(()));
        }
        for bad in ["", "1f", "a-b", "a/b", "Sum", "é", &"x".repeat(200)] {
            assert!(check_function_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_limit_beyond_what_may_be_granted_is_refused_by_name() {
        let refused = |limits: FunctionLimits| match limits.check() {
            Err(RequestError::InvalidArgument { argument, .. }) => argument,
            other => panic!("{other:?}"),
        };
        let default = FunctionLimits::default();
        assert_eq!(default.check(), Ok(()));
        assert_eq!(refused(FunctionLimits { fuel: 0, ..default }), "fuel");
        assert_eq!(refused(FunctionLimits { time: Duration::from_secs(3600), ..default }), "time");
        assert_eq!(refused(FunctionLimits { memory_bytes: 1, ..default }), "memory");
        assert_eq!(refused(FunctionLimits { output_bytes: u64::MAX, ..default }), "output");
    }
}
