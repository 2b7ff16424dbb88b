//! `quantiles`: DDSketch, quantiles within a relative error.
//!
//! A value falls into the bin of its logarithm to the base `(1 + a) / (1 - a)`; answering
//! with the middle of a bin is off by at most `a`, relative to the value (Masson, Rim and
//! Lee, "DDSketch", VLDB 2019). A t-digest is often closer but has no bound, and its bytes
//! depend on the order of merging. The paper's variant collapses bins to bound its size,
//! which makes merging depend on grouping; here all of `f64` is at most 1.5 million bins at
//! an error of 0.1 % and 150 000 at 1 %, of which real data fill some hundreds, so bins
//! never collapse and merging is integer addition.
//!
//! ```text
//! body    nothing, or: min f64 LE | max f64 LE | zeros varint | negative bins | positive bins
//! bins    how many varint | (key distance varint | count varint) per bin, keys ascending
//! ```
//!
//! The first key's distance is from `-KEY_MAX`, every other's from the key before it.

use std::collections::BTreeMap;
use std::fmt;

use crate::cursor::{Cursor, put_length, put_varint};
use crate::limits::{RELATIVE_ERROR_MAX, RELATIVE_ERROR_MIN};
use crate::operand::{OperandError, parse_f64, quote};
use crate::presented::{Presented, QuantilesValue};
use crate::state::{State, StateError};

/// No bin's key is larger: ln(5e-324) is -744.4, and the finest base is e^0.002.
const KEY_MAX: i32 = 400_000;

/// What a state presents, each with its share of operands below it.
const PRESENTED: [(&str, f64); 7] = [
    ("p25", 0.25),
    ("p50", 0.5),
    ("p75", 0.75),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p999", 0.999),
];

/// How far a quantile may be off, relative to it: 0.1 % to 10 %, 1 % by default.
///
/// The `q`-quantile of `n` operands is the one at position `floor(q (n - 1))` in their
/// order; what is presented differs from it by at most this part of it (for magnitudes
/// below 2.3e-308, where `f64` itself gets coarse, by a little more).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RelativeError {
    parts_per_million: u32,
}

impl RelativeError {
    /// `None` outside [`RELATIVE_ERROR_MIN`] to [`RELATIVE_ERROR_MAX`] parts per million.
    #[must_use]
    pub const fn new(parts_per_million: u32) -> Option<Self> {
        if parts_per_million >= RELATIVE_ERROR_MIN && parts_per_million <= RELATIVE_ERROR_MAX {
            Some(Self { parts_per_million })
        } else {
            None
        }
    }

    /// Reads `0.01`: digits after `0.`, at most six.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("0.").or_else(|| text.strip_prefix('.'))?;
        if digits.is_empty() || digits.len() > 6 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        Self::new(format!("{digits:0<6}").parse().ok()?)
    }

    /// In parts per million.
    #[must_use]
    pub const fn parts_per_million(self) -> u32 {
        self.parts_per_million
    }

    /// As a number: 0.01 for one per cent.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        f64::from(self.parts_per_million) / 1e6
    }
}

impl Default for RelativeError {
    fn default() -> Self {
        Self { parts_per_million: 10_000 }
    }
}

impl fmt::Display for RelativeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_f64().fmt(f)
    }
}

/// Counts by key. Counts stop at 2^64 - 1.
#[derive(Debug, Default)]
struct Bins {
    counts: BTreeMap<i32, u64>,
}

impl Bins {
    fn add(&mut self, key: i32, count: u64) {
        let bin = self.counts.entry(key).or_insert(0);
        *bin = bin.saturating_add(count);
    }

    fn absorb(&mut self, cursor: &mut Cursor<'_>) -> Result<(), StateError> {
        let invalid = || StateError::Invalid { part: "bins" };
        let mut key = -KEY_MAX;
        for _ in 0..cursor.varint()? {
            let distance = i32::try_from(cursor.varint()?).map_err(|_| invalid())?;
            key = key.checked_add(distance).filter(|k| *k <= KEY_MAX).ok_or_else(invalid)?;
            match cursor.varint()? {
                0 => return Err(invalid()),
                count => self.add(key, count),
            }
        }
        Ok(())
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_length(out, self.counts.len());
        let mut previous = -KEY_MAX;
        for (key, count) in &self.counts {
            // Keys ascend from -KEY_MAX, so a distance is never negative.
            put_varint(out, u64::try_from(key - previous).unwrap_or(0));
            put_varint(out, *count);
            previous = *key;
        }
    }

    fn total(&self) -> u128 {
        self.counts.values().map(|count| u128::from(*count)).sum()
    }
}

/// A DDSketch whose bins never collapse.
#[derive(Debug)]
pub(crate) struct Quantiles {
    error: RelativeError,
    /// The logarithm of the ratio between neighbouring bins.
    ln_base: f64,
    range: Option<(f64, f64)>,
    zeros: u64,
    /// By the key of the magnitude.
    negative: Bins,
    positive: Bins,
}

impl Quantiles {
    pub(crate) fn new(error: RelativeError) -> Self {
        let off = error.as_f64();
        Self {
            error,
            ln_base: ((1.0 + off) / (1.0 - off)).ln(),
            range: None,
            zeros: 0,
            negative: Bins::default(),
            positive: Bins::default(),
        }
    }

    fn widen(&mut self, min: f64, max: f64) {
        let (least, greatest) = self.range.unwrap_or((min, max));
        self.range = Some((least.min(min), greatest.max(max)));
    }

    #[expect(clippy::cast_possible_truncation, reason = "below KEY_MAX for every f64")]
    fn key(&self, magnitude: f64) -> i32 {
        (magnitude.ln() / self.ln_base).ceil() as i32
    }

    /// The middle of a bin, in the sense of relative error: `2 base^key / (base + 1)`.
    fn middle(&self, key: i32) -> f64 {
        // (1 - a) base^key equals it; as one power it does not overflow before it must.
        (f64::from(key) * self.ln_base + (-self.error.as_f64()).ln_1p()).exp()
    }

    fn count(&self) -> u128 {
        self.negative.total() + u128::from(self.zeros) + self.positive.total()
    }

    /// The operand at a position in the order of all, within the relative error.
    fn at(&self, position: u128) -> f64 {
        // From the most negative: the greatest magnitude first.
        let negative =
            self.negative.counts.iter().rev().map(|(key, count)| (-self.middle(*key), *count));
        let positive = self.positive.counts.iter().map(|(key, count)| (self.middle(*key), *count));
        let mut passed = 0;
        for (value, count) in negative.chain([(0.0, self.zeros)]).chain(positive) {
            passed += u128::from(count);
            if passed > position {
                return value;
            }
        }
        f64::INFINITY
    }

    /// The `q`-quantile; needs operands.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a count, which is neither negative nor larger"
    )]
    fn quantile(&self, q: f64, (min, max): (f64, f64)) -> f64 {
        let last = self.count().saturating_sub(1);
        let position = (q * last as f64).floor() as u128;
        // The middle of an outermost bin may lie beyond the operands.
        self.at(position.min(last)).max(min).min(max)
    }
}

impl State for Quantiles {
    fn add(&mut self, text: &[u8]) -> Result<(), OperandError> {
        let number = parse_f64(text)?;
        if number.is_infinite() {
            return Err(OperandError::NotFinite { text: quote(text) });
        }
        let key = self.key(number.abs());
        if number > 0.0 {
            self.positive.add(key, 1);
        } else if number < 0.0 {
            self.negative.add(key, 1);
        } else {
            self.zeros = self.zeros.saturating_add(1);
        }
        self.widen(number, number);
        Ok(())
    }

    fn absorb(&mut self, body: &[u8]) -> Result<(), StateError> {
        let mut cursor = Cursor::new(body);
        if cursor.is_empty() {
            return Ok(());
        }
        let (min, max) = (cursor.f64()?, cursor.f64()?);
        if !(min.is_finite() && max.is_finite() && min <= max) {
            return Err(StateError::Invalid { part: "range" });
        }
        self.widen(min, max);
        self.zeros = self.zeros.saturating_add(cursor.varint()?);
        self.negative.absorb(&mut cursor)?;
        self.positive.absorb(&mut cursor)?;
        cursor.finish()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let Some((min, max)) = self.range else { return };
        out.extend(min.to_le_bytes());
        out.extend(max.to_le_bytes());
        put_varint(out, self.zeros);
        self.negative.encode(out);
        self.positive.encode(out);
    }

    fn present(&self) -> Presented {
        let quantiles = self.range.map_or_else(Vec::new, |range| {
            PRESENTED.iter().map(|(name, q)| (*name, self.quantile(*q, range))).collect()
        });
        Presented::Quantiles(QuantilesValue {
            count: u64::try_from(self.count()).unwrap_or(u64::MAX),
            min: self.range.map(|(min, _)| min),
            max: self.range.map(|(_, max)| max),
            quantiles,
            relative_error: self.error.as_f64(),
        })
    }
}
