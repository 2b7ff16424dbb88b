//! The text of a monoid: `count`, `sum:i64`, `top:10`, `hll`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::distinct::LgK;
use crate::limits::{LG_K_MAX, LG_K_MIN, RELATIVE_ERROR_MAX, RELATIVE_ERROR_MIN, TOP_LENGTH_MAX};
use crate::monoid::{Monoid, NumberType, ScalarType};
use crate::quantiles::RelativeError;
use crate::top::TopLength;

/// Every form of a monoid's text.
const FORMS: &str = "count, sum:i64|f64, mean:i64|f64, min:i64|f64|bytes, max:i64|f64|bytes, \
     last, moments, top:K, hll[:LGK], quantiles[:ERROR] or bitmap";

/// Why a text names no monoid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseMonoidError {
    /// There is no monoid of that name.
    #[error("unknown monoid {text:?}: use {FORMS}")]
    Unknown {
        /// The text given.
        text: String,
    },
    /// The monoid needs a parameter, or another one, or none.
    #[error("{text:?} is no monoid: {name} takes {takes}; the monoids are {FORMS}")]
    Parameter {
        /// The text given.
        text: String,
        /// The monoid's name.
        name: &'static str,
        /// What may follow the name.
        takes: String,
    },
}

impl FromStr for Monoid {
    type Err = ParseMonoidError;

    fn from_str(text: &str) -> Result<Self, ParseMonoidError> {
        let (name, parameter) = match text.split_once(':') {
            Some((name, parameter)) => (name, Some(parameter)),
            None => (text, None),
        };
        let refuse = |name, takes: String| ParseMonoidError::Parameter {
            text: text.to_owned(),
            name,
            takes,
        };
        let plain = |name, monoid| match parameter {
            None => Ok(monoid),
            Some(_) => Err(refuse(name, "no parameter".to_owned())),
        };
        let number = |name| {
            parameter
                .and_then(NumberType::parse)
                .ok_or_else(|| refuse(name, ":i64 or :f64".to_owned()))
        };
        let scalar = |name| {
            parameter
                .and_then(ScalarType::parse)
                .ok_or_else(|| refuse(name, ":i64, :f64 or :bytes".to_owned()))
        };
        match name {
            "count" => plain("count", Self::Count),
            "sum" => number("sum").map(Self::Sum),
            "mean" => number("mean").map(Self::Mean),
            "min" => scalar("min").map(Self::Min),
            "max" => scalar("max").map(Self::Max),
            "last" => plain("last", Self::Last),
            "moments" => plain("moments", Self::Moments),
            "top" => parameter
                .and_then(|k| TopLength::new(k.parse().ok()?))
                .map(Self::Top)
                .ok_or_else(|| refuse("top", format!(":K from 1 to {TOP_LENGTH_MAX}"))),
            "hll" => parameter
                .map_or(Some(LgK::default()), |lg_k| LgK::new(lg_k.parse().ok()?))
                .map(Self::Distinct)
                .ok_or_else(|| refuse("hll", format!(":LGK from {LG_K_MIN} to {LG_K_MAX}"))),
            "quantiles" => parameter
                .map_or(Some(RelativeError::default()), RelativeError::parse)
                .map(Self::Quantiles)
                .ok_or_else(|| refuse("quantiles", relative_error_form())),
            "bitmap" => plain("bitmap", Self::Bitmap),
            _ => Err(ParseMonoidError::Unknown { text: text.to_owned() }),
        }
    }
}

fn relative_error_form() -> String {
    let part = |per_million: u32| f64::from(per_million) / 1e6;
    format!(
        ":ERROR from {} to {} with at most 6 decimals",
        part(RELATIVE_ERROR_MIN),
        part(RELATIVE_ERROR_MAX)
    )
}

impl fmt::Display for Monoid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count => f.write_str("count"),
            Self::Sum(of) => write!(f, "sum:{of}"),
            Self::Mean(of) => write!(f, "mean:{of}"),
            Self::Min(of) => write!(f, "min:{of}"),
            Self::Max(of) => write!(f, "max:{of}"),
            Self::Last => f.write_str("last"),
            Self::Moments => f.write_str("moments"),
            Self::Top(length) => write!(f, "top:{length}"),
            Self::Distinct(lg_k) if *lg_k == LgK::default() => f.write_str("hll"),
            Self::Distinct(lg_k) => write!(f, "hll:{lg_k}"),
            Self::Quantiles(error) if *error == RelativeError::default() => {
                f.write_str("quantiles")
            }
            Self::Quantiles(error) => write!(f, "quantiles:{error}"),
            Self::Bitmap => f.write_str("bitmap"),
        }
    }
}

impl NumberType {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "i64" => Some(Self::I64),
            "f64" => Some(Self::F64),
            _ => None,
        }
    }
}

impl fmt::Display for NumberType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::I64 => "i64",
            Self::F64 => "f64",
        })
    }
}

impl ScalarType {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "bytes" => Some(Self::Bytes),
            "i64" => Some(Self::I64),
            "f64" => Some(Self::F64),
            _ => None,
        }
    }
}

impl fmt::Display for ScalarType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::I64 => "i64",
            Self::F64 => "f64",
            Self::Bytes => "bytes",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monoid_survives_its_text() {
        let texts = [
            "count",
            "sum:i64",
            "sum:f64",
            "mean:i64",
            "mean:f64",
            "min:i64",
            "min:f64",
            "min:bytes",
            "max:i64",
            "max:f64",
            "max:bytes",
            "last",
            "moments",
            "top:10",
            "hll",
            "hll:14",
            "quantiles",
            "quantiles:0.05",
            "quantiles:0.0025",
            "bitmap",
        ];
        for text in texts {
            assert_eq!(text.parse::<Monoid>().unwrap().to_string(), text);
        }
        assert_eq!("hll:12".parse::<Monoid>().unwrap().to_string(), "hll");
        assert_eq!("quantiles:0.01".parse::<Monoid>().unwrap().to_string(), "quantiles");
    }

    #[test]
    fn a_text_that_names_no_monoid_is_told_what_does() {
        let texts = [
            "",
            "cuont",
            "count:1",
            "sum",
            "sum:u8",
            "min:",
            "top",
            "top:0",
            "top:1001",
            "hll:3",
            "hll:19",
            "hll:x",
            "quantiles:0",
            "quantiles:1",
            "quantiles:nan",
            "quantiles:0.0000001",
            "bitmap:u64",
        ];
        for text in texts {
            let error = text.parse::<Monoid>().unwrap_err().to_string();
            assert!(error.contains("mean:i64|f64") && error.contains("hll[:LGK]"), "{error}");
        }
    }
}
