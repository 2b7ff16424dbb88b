//! The longest common subsequence of two values, by the usual table of the lengths for all
//! pairs of prefixes.

use super::super::command::LcsShown;
use super::super::encoder::Encoder;
use super::super::error::ReplyError;
use super::super::limits::LCS_BYTES_MAX;

/// The longest common subsequence of two values.
pub(crate) struct Lcs {
    subsequence: Vec<u8>,
    /// From the end of the values to their start.
    matches: Vec<Match>,
}

/// A run of bytes that both values have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Match {
    first: usize,
    second: usize,
    length: usize,
}

impl Lcs {
    /// Finds it. Takes time and memory in proportion to the product of both lengths.
    ///
    /// # Errors
    /// [`ReplyError::LcsTooLarge`].
    pub(crate) fn find(first: &[u8], second: &[u8]) -> Result<Self, ReplyError> {
        let table = Table::fill(first, second)?;
        let mut found = Self { subsequence: Vec::new(), matches: Vec::new() };
        let (mut i, mut j) = (first.len(), second.len());
        let mut run: Option<Match> = None;
        while i > 0 && j > 0 {
            let byte = first.get(i - 1).copied();
            if byte == second.get(j - 1).copied() {
                found.subsequence.extend(byte);
                (i, j) = (i - 1, j - 1);
                run = match run {
                    Some(run) if run.first == i + 1 && run.second == j + 1 => {
                        Some(Match { first: i, second: j, length: run.length + 1 })
                    }
                    ended => {
                        found.matches.extend(ended);
                        Some(Match { first: i, second: j, length: 1 })
                    }
                };
            } else {
                found.matches.extend(run.take());
                if table.at(i - 1, j) > table.at(i, j - 1) {
                    i -= 1;
                } else {
                    j -= 1;
                }
            }
        }
        found.matches.extend(run);
        found.subsequence.reverse();
        Ok(found)
    }

    /// Encodes what was asked for.
    pub(crate) fn encode(&self, encoder: &mut Encoder, shown: LcsShown) {
        match shown {
            LcsShown::Subsequence => encoder.bulk(&self.subsequence),
            LcsShown::Length => encoder.count(self.subsequence.len()),
            LcsShown::Indexes { length_min, with_length } => {
                let length_min = usize::try_from(length_min).unwrap_or(usize::MAX);
                let chosen = || self.matches.iter().filter(|found| found.length >= length_min);
                encoder.map(2);
                encoder.bulk(b"matches");
                encoder.array(chosen().count());
                for found in chosen() {
                    encoder.array(if with_length { 3 } else { 2 });
                    for start in [found.first, found.second] {
                        encoder.array(2);
                        encoder.count(start);
                        encoder.count(start + found.length - 1);
                    }
                    if with_length {
                        encoder.count(found.length);
                    }
                }
                encoder.bulk(b"len");
                encoder.count(self.subsequence.len());
            }
        }
    }
}

/// The lengths for all pairs of prefixes, row by row of the first value's.
struct Table {
    width: usize,
    lengths: Vec<u32>,
}

impl Table {
    fn fill(first: &[u8], second: &[u8]) -> Result<Self, ReplyError> {
        let width = second.len() + 1;
        let cells = width.checked_mul(first.len() + 1);
        let fits = |cells: &usize| *cells <= LCS_BYTES_MAX / size_of::<u32>();
        let cells = cells.filter(fits).ok_or(ReplyError::LcsTooLarge)?;
        let mut lengths = vec![0; cells];
        for (row, byte) in first.iter().enumerate() {
            let (done, open) = lengths.split_at_mut((row + 1) * width);
            let above = done.get(row * width..).unwrap_or_default();
            let mut left = 0;
            let cells = open.iter_mut().skip(1).zip(above.windows(2));
            for ((cell, above), other) in cells.zip(second) {
                let (diagonal, straight) = match above {
                    [diagonal, straight] => (*diagonal, *straight),
                    _ => (0, 0),
                };
                *cell = if byte == other { diagonal + 1 } else { straight.max(left) };
                left = *cell;
            }
        }
        Ok(Self { width, lengths })
    }

    fn at(&self, first: usize, second: usize) -> u32 {
        self.lengths.get(first * self.width + second).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subsequence_and_its_runs_are_those_of_redis() {
        let found = Lcs::find(b"ohmytext", b"mynewtext").expect("small");
        assert_eq!(found.subsequence, b"mytext");
        let runs =
            [Match { first: 4, second: 5, length: 4 }, Match { first: 2, second: 0, length: 2 }];
        assert_eq!(found.matches, runs);
        for (first, second, common) in [("", "a", ""), ("abc", "abc", "abc"), ("ab", "cd", "")] {
            let found = Lcs::find(first.as_bytes(), second.as_bytes()).expect("small");
            assert_eq!(found.subsequence, common.as_bytes());
        }
    }

    #[test]
    fn values_that_need_too_much_memory_are_refused() {
        let long = vec![b'a'; 5_000];
        assert_eq!(Lcs::find(&long, &long).err(), Some(ReplyError::LcsTooLarge));
    }
}
