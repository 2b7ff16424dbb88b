//! Cursors over one state of a shard in memory.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::engine::{Bounds, Cursor};
use crate::error::StoreError;

use super::rows::Rows;

pub(super) struct MemoryCursor {
    rows: Arc<Rows>,
    bounds: Bounds,
    at: Option<(Vec<u8>, Bytes)>,
}

impl MemoryCursor {
    /// A cursor over `rows`, which it keeps as they are.
    pub(super) const fn new(rows: Arc<Rows>, bounds: Bounds) -> Self {
        Self { rows, bounds, at: None }
    }

    fn place(&mut self, lower: Bound<&[u8]>, upper: Bound<&[u8]>, first: bool) {
        let within_lower = match lower {
            Bound::Unbounded => Bound::Included(self.bounds.lower.as_slice()),
            bound => bound,
        };
        let within_upper = match upper {
            Bound::Unbounded => Bound::Excluded(self.bounds.upper.as_slice()),
            bound => bound,
        };
        self.at = if is_empty(within_lower, within_upper) {
            None
        } else {
            let mut range = self.rows.range::<[u8], _>((within_lower, within_upper));
            let found = if first { range.next() } else { range.next_back() };
            found
                .filter(|(key, _)| self.bounds.lower <= **key && **key < self.bounds.upper)
                .map(|(key, value)| (key.clone(), value.clone()))
        };
    }
}

/// Whether `BTreeMap::range` would panic on these bounds, or find nothing anyway.
fn is_empty(lower: Bound<&[u8]>, upper: Bound<&[u8]>) -> bool {
    match (lower, upper) {
        (Bound::Included(low), Bound::Included(high)) => low > high,
        (
            Bound::Included(low) | Bound::Excluded(low),
            Bound::Included(high) | Bound::Excluded(high),
        ) => low >= high,
        _ => false,
    }
}

impl Cursor for MemoryCursor {
    fn seek(&mut self, key: &[u8]) {
        let key = key.max(self.bounds.lower.as_slice()).to_vec();
        self.place(Bound::Included(&key), Bound::Unbounded, true);
    }

    fn seek_for_prev(&mut self, key: &[u8]) {
        if key >= self.bounds.upper.as_slice() {
            return self.seek_to_last();
        }
        let key = key.to_vec();
        self.place(Bound::Unbounded, Bound::Included(&key), false);
    }

    fn seek_to_first(&mut self) {
        self.place(Bound::Unbounded, Bound::Unbounded, true);
    }

    fn seek_to_last(&mut self) {
        self.place(Bound::Unbounded, Bound::Unbounded, false);
    }

    fn next(&mut self) {
        if let Some((key, _)) = self.at.take() {
            self.place(Bound::Excluded(&key), Bound::Unbounded, true);
        }
    }

    fn prev(&mut self) {
        if let Some((key, _)) = self.at.take() {
            self.place(Bound::Unbounded, Bound::Excluded(&key), false);
        }
    }

    fn item(&self) -> Option<(&[u8], &[u8])> {
        self.at.as_ref().map(|(key, value)| (key.as_slice(), value.as_ref()))
    }

    fn status(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
