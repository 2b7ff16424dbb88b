//! How many bytes a group's log takes, without remembering every entry's size.

use std::collections::VecDeque;

/// Entries are counted together up to this many bytes; a cut through them is estimated.
const SEGMENT_BYTES: u64 = 256 << 10;

/// The bytes of a log, by ranges of indexes.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    segments: VecDeque<Segment>,
    bytes: u64,
}

/// Consecutive entries, `first..end`.
#[derive(Debug)]
struct Segment {
    first: u64,
    end: u64,
    bytes: u64,
}

impl Sizes {
    /// The sizes of a log of which only the sum is known.
    pub(super) fn restored(first: u64, end: u64, bytes: u64) -> Self {
        Self { segments: VecDeque::from([Segment { first, end, bytes }]), bytes }
    }

    /// Bytes of all entries.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of the entries before `end`.
    pub(super) fn bytes_before(&self, end: u64) -> u64 {
        let before = self.segments.iter().take_while(|segment| segment.first < end);
        before.map(|segment| segment.share(segment.first, end)).sum()
    }

    /// Counts an entry that follows the last.
    pub(super) fn push(&mut self, index: u64, bytes: u64) {
        self.bytes += bytes;
        match self.segments.back_mut() {
            Some(segment) if segment.end == index && segment.bytes + bytes <= SEGMENT_BYTES => {
                segment.end = index + 1;
                segment.bytes += bytes;
            }
            _ => self.segments.push_back(Segment { first: index, end: index + 1, bytes }),
        }
    }

    /// Forgets the entries before `end`.
    pub(super) fn purge(&mut self, end: u64) {
        while let Some(segment) = self.segments.front_mut() {
            let gone = segment.share(segment.first, end);
            self.bytes -= gone;
            if end < segment.end {
                segment.bytes -= gone;
                segment.first = segment.first.max(end);
                return;
            }
            self.segments.pop_front();
        }
    }

    /// Forgets the entries from `start` on.
    pub(super) fn truncate(&mut self, start: u64) {
        while let Some(segment) = self.segments.back_mut() {
            let gone = segment.share(start, segment.end);
            self.bytes -= gone;
            if segment.first < start {
                segment.bytes -= gone;
                segment.end = segment.end.min(start);
                return;
            }
            self.segments.pop_back();
        }
    }
}

impl Segment {
    /// The bytes of a part of the segment, as if all its entries were equal.
    fn share(&self, start: u64, end: u64) -> u64 {
        let part = end.min(self.end).saturating_sub(start.max(self.first));
        let all = self.end - self.first;
        let share = u128::from(self.bytes) * u128::from(part) / u128::from(all.max(1));
        u64::try_from(share).unwrap_or(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_follow_appends_purges_and_truncations() {
        let mut sizes = Sizes::default();
        for index in 1..=100 {
            sizes.push(index, SEGMENT_BYTES / 4);
        }
        let quarter = SEGMENT_BYTES / 4;
        assert_eq!(sizes.bytes(), 100 * quarter);
        assert_eq!(sizes.bytes_before(11), 10 * quarter);
        sizes.purge(11);
        assert_eq!(sizes.bytes(), 90 * quarter);
        sizes.truncate(91);
        assert_eq!(sizes.bytes(), 80 * quarter);
        sizes.purge(5);
        sizes.truncate(200);
        assert_eq!(sizes.bytes(), 80 * quarter);
        sizes.push(91, 7);
        assert_eq!(sizes.bytes(), 80 * quarter + 7);
        sizes.purge(1_000);
        assert_eq!((sizes.bytes(), sizes.segments.len()), (0, 0));
        sizes.truncate(0);
        sizes.push(1_000, 3);
        assert_eq!(sizes.bytes(), 3);
    }

    #[test]
    fn a_restored_sum_is_shared_out_evenly() {
        let mut sizes = Sizes::restored(10, 20, 1_000);
        assert_eq!(sizes.bytes_before(15), 500);
        sizes.purge(12);
        sizes.truncate(18);
        assert_eq!(sizes.bytes(), 600);
        sizes.truncate(0);
        assert_eq!(sizes.bytes(), 0);
    }
}
