//! What a state says: values that people can read, and their JSON.
//!
//! JSON has no NaN, no infinities and no safe integers beyond 64 bits: the former are the
//! strings `"NaN"`, `"Infinity"` and `"-Infinity"`, and an integer outside `i64` is a string
//! of its digits. Bytes that are UTF-8 are a string; others are `{"hex": "00ff"}`.

use std::fmt;

use serde_json::{Map, Value, json};

/// What a state says.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Presented {
    /// How many.
    Count(u64),
    /// A sum.
    Sum(Number),
    /// A mean.
    Mean(MeanValue),
    /// The least or greatest value; `None` without operands.
    Extreme(Option<Scalar>),
    /// The latest value; `None` without operands.
    Last(Option<LastValue>),
    /// Count, mean and variance.
    Moments(MomentsValue),
    /// The items of highest score, best first.
    Top(Vec<Scored>),
    /// An estimate of the number of distinct items.
    Distinct(Distinct),
    /// Quantiles within a relative error.
    Quantiles(QuantilesValue),
    /// A set of integers.
    Bitmap(Integers),
}

/// A sum of either type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// An exact sum of integers, perhaps outside `i64`.
    Integer(i128),
    /// A sum of `f64`, rounded once.
    Float(f64),
}

/// A value of one of the types that compare.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// An integer.
    Integer(i64),
    /// A number, not NaN.
    Float(f64),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// A mean and what it was made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeanValue {
    /// How many operands.
    pub count: u64,
    /// Their sum.
    pub sum: Number,
    /// Sum by count; `None` without operands.
    pub mean: Option<f64>,
}

/// A value and when it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastValue {
    /// Its timestamp, in microseconds.
    pub timestamp_micros: i64,
    /// The value.
    pub value: Vec<u8>,
}

/// Count, mean and variance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MomentsValue {
    /// How many operands.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// Their mean; `None` without operands.
    pub mean: Option<f64>,
    /// The variance of these operands (divided by the count); `None` without operands, NaN
    /// if one is infinite.
    pub variance: Option<f64>,
    /// The estimate of the variance of what they are a sample of (divided by the count less
    /// one); `None` below two operands.
    pub sample_variance: Option<f64>,
}

/// An item and its highest score.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The score.
    pub score: f64,
    /// The item.
    pub item: Vec<u8>,
}

/// An estimate of the number of distinct items.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distinct {
    /// The estimate, rounded.
    pub estimate: u64,
    /// One standard error of the estimate, relative to it.
    pub relative_error: f64,
}

/// Quantiles within a relative error.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantilesValue {
    /// How many operands.
    pub count: u64,
    /// The least operand, exactly; `None` without operands.
    pub min: Option<f64>,
    /// The greatest operand, exactly; `None` without operands.
    pub max: Option<f64>,
    /// Name (`p50`) and value; empty without operands.
    pub quantiles: Vec<(&'static str, f64)>,
    /// How far a quantile may be off, relative to it.
    pub relative_error: f64,
}

/// A set of integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Integers {
    /// How many.
    pub cardinality: u64,
    /// The least; `None` if there are none.
    pub min: Option<u32>,
    /// The greatest; `None` if there are none.
    pub max: Option<u32>,
}

impl Presented {
    /// This value as JSON; `null` for what no operands do not say.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Count(count) => json!(count),
            Self::Sum(sum) => sum.to_json(),
            Self::Mean(mean) => json!({
                "mean": optional(mean.mean),
                "count": mean.count,
                "sum": mean.sum.to_json(),
            }),
            Self::Extreme(value) => value.as_ref().map_or(Value::Null, Scalar::to_json),
            Self::Last(None) => Value::Null,
            Self::Last(Some(last)) => json!({
                "timestamp_micros": last.timestamp_micros,
                "value": bytes_to_json(&last.value),
            }),
            Self::Moments(moments) => moments.to_json(),
            Self::Top(items) => items.iter().map(Scored::to_json).collect(),
            Self::Distinct(distinct) => json!({
                "estimate": distinct.estimate,
                "relative_error": float_to_json(distinct.relative_error),
            }),
            Self::Quantiles(quantiles) => quantiles.to_json(),
            Self::Bitmap(integers) => json!({
                "cardinality": integers.cardinality,
                "min": integers.min,
                "max": integers.max,
            }),
        }
    }
}

impl From<Presented> for Value {
    fn from(presented: Presented) -> Self {
        presented.to_json()
    }
}

/// The JSON, on one line.
impl fmt::Display for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_json().fmt(f)
    }
}

impl Number {
    fn to_json(self) -> Value {
        match self {
            Self::Integer(integer) => i64::try_from(integer)
                .map_or_else(|_| Value::String(integer.to_string()), Value::from),
            Self::Float(float) => float_to_json(float),
        }
    }
}

impl Scalar {
    fn to_json(&self) -> Value {
        match self {
            Self::Integer(integer) => Value::from(*integer),
            Self::Float(float) => float_to_json(*float),
            Self::Bytes(bytes) => bytes_to_json(bytes),
        }
    }
}

impl MomentsValue {
    fn to_json(self) -> Value {
        json!({
            "count": self.count,
            "sum": float_to_json(self.sum),
            "mean": optional(self.mean),
            "variance": optional(self.variance),
            "stddev": optional(self.variance.map(f64::sqrt)),
            "sample_variance": optional(self.sample_variance),
            "sample_stddev": optional(self.sample_variance.map(f64::sqrt)),
        })
    }
}

impl Scored {
    fn to_json(&self) -> Value {
        json!({ "score": float_to_json(self.score), "item": bytes_to_json(&self.item) })
    }
}

impl QuantilesValue {
    fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("count".to_owned(), Value::from(self.count));
        object.insert("min".to_owned(), optional(self.min));
        object.insert("max".to_owned(), optional(self.max));
        for (name, value) in &self.quantiles {
            object.insert((*name).to_owned(), float_to_json(*value));
        }
        object.insert("relative_error".to_owned(), float_to_json(self.relative_error));
        Value::Object(object)
    }
}

fn optional(float: Option<f64>) -> Value {
    float.map_or(Value::Null, float_to_json)
}

fn float_to_json(float: f64) -> Value {
    if float.is_nan() {
        return Value::from("NaN");
    }
    if float.is_infinite() {
        return Value::from(if float > 0.0 { "Infinity" } else { "-Infinity" });
    }
    Value::from(float)
}

fn bytes_to_json(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "hex": hex })
        }
    }
}
