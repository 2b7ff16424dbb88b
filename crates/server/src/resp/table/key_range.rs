//! Where a command's keys stand among its arguments.

/// The positions of the keys: from the first to the last, each so many after the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyRange {
    /// The first; 0 if the command has no keys.
    pub(crate) first: usize,
    /// The last; negative positions count from the end.
    pub(crate) last: i64,
    pub(crate) step: usize,
}

pub(crate) const NO_KEYS: KeyRange = KeyRange { first: 0, last: 0, step: 0 };
pub(crate) const FIRST: KeyRange = KeyRange { first: 1, last: 1, step: 1 };
pub(crate) const FIRST_TWO: KeyRange = KeyRange { first: 1, last: 2, step: 1 };
pub(crate) const SECOND: KeyRange = KeyRange { first: 2, last: 2, step: 1 };
pub(crate) const ALL: KeyRange = KeyRange { first: 1, last: -1, step: 1 };
pub(crate) const EVERY_OTHER: KeyRange = KeyRange { first: 1, last: -1, step: 2 };

impl KeyRange {
    /// The positions in a command of so many arguments, its name included.
    pub(crate) fn positions(self, count: usize) -> impl Iterator<Item = usize> {
        let end = match usize::try_from(self.last) {
            Ok(last) => (last + 1).min(count),
            Err(_) => count,
        };
        let end = if self.first == 0 { 0 } else { end };
        (self.first..end).step_by(self.step.max(1))
    }
}
