//! `top`: the items of highest score.
//!
//! ```text
//! body    (score f64 LE | item length varint | item) per item, best first
//! ```

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use crate::cursor::{Cursor, put_length};
use crate::limits::{TOP_ITEM_BYTES_MAX, TOP_LENGTH_MAX};
use crate::operand::{OperandError, parse_f64, split};
use crate::presented::{Presented, Scored};
use crate::state::{State, StateError};

/// How many items `top` keeps: 1 to [`TOP_LENGTH_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TopLength(u16);

impl TopLength {
    /// `None` outside 1 to [`TOP_LENGTH_MAX`].
    #[must_use]
    pub const fn new(length: u16) -> Option<Self> {
        if length >= 1 && length <= TOP_LENGTH_MAX { Some(Self(length)) } else { None }
    }

    /// The number of items.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for TopLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The best items so far, each with its highest score.
///
/// Dropping an item that K others beat is safe at any time: their scores only grow, so it
/// comes back only by a higher score of its own, which then arrives by itself.
#[derive(Debug)]
pub(crate) struct Top {
    length: usize,
    scores: BTreeMap<Vec<u8>, f64>,
}

impl Top {
    pub(crate) fn new(length: TopLength) -> Self {
        Self { length: usize::from(length.get()), scores: BTreeMap::new() }
    }

    fn offer(&mut self, score: f64, item: &[u8]) {
        match self.scores.get_mut(item) {
            Some(highest) => *highest = highest.max(score),
            None => {
                self.scores.insert(item.to_vec(), score);
            }
        }
        // Sorting once per K new items keeps memory at 2K items and the cost per item low.
        if self.scores.len() > 2 * self.length {
            self.scores =
                self.best().into_iter().map(|(item, score)| (item.to_vec(), score)).collect();
        }
    }

    /// The best items, best first.
    fn best(&self) -> Vec<(&[u8], f64)> {
        let mut items: Vec<_> =
            self.scores.iter().map(|(item, score)| (item.as_slice(), *score)).collect();
        items.sort_unstable_by(|a, b| compare(*a, *b));
        items.truncate(self.length);
        items
    }
}

/// Higher scores first, then smaller items.
fn compare((item_a, score_a): (&[u8], f64), (item_b, score_b): (&[u8], f64)) -> Ordering {
    score_b.total_cmp(&score_a).then_with(|| item_a.cmp(item_b))
}

impl State for Top {
    fn add(&mut self, text: &[u8]) -> Result<(), OperandError> {
        let (score, item) = split(text, "score item")?;
        if item.len() > TOP_ITEM_BYTES_MAX {
            return Err(OperandError::TooLong { bytes: item.len(), bytes_max: TOP_ITEM_BYTES_MAX });
        }
        self.offer(parse_f64(score)?, item);
        Ok(())
    }

    fn absorb(&mut self, body: &[u8]) -> Result<(), StateError> {
        let mut cursor = Cursor::new(body);
        while !cursor.is_empty() {
            let score = cursor.f64()?;
            let length = cursor.length()?;
            if length > TOP_ITEM_BYTES_MAX {
                return Err(StateError::Invalid { part: "length of an item" });
            }
            self.offer(score, cursor.take(length)?);
        }
        Ok(())
    }

    fn encode(&self, out: &mut Vec<u8>) {
        for (item, score) in self.best() {
            out.extend(score.to_le_bytes());
            put_length(out, item.len());
            out.extend(item);
        }
    }

    fn present(&self) -> Presented {
        let scored = |(item, score): (&[u8], f64)| Scored { score, item: item.to_vec() };
        Presented::Top(self.best().into_iter().map(scored).collect())
    }
}
