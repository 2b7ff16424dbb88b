//! Splits a body that comes in pieces into lines, holding no more than one line.

use bytes::{Buf, Bytes, BytesMut};

/// A line without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// The line.
    Whole(Bytes),
    /// The line was longer than a line may be, and was skipped.
    TooLong,
}

/// The bytes of lines that are not whole yet.
#[derive(Debug)]
pub(super) struct Lines {
    buffer: BytesMut,
    searched: usize,
    is_skipping: bool,
    line_bytes_max: usize,
}

impl Lines {
    pub(super) fn new(line_bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), searched: 0, is_skipping: false, line_bytes_max }
    }

    /// Takes in the next piece. Ask for its lines before the next one.
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next line that is whole.
    pub(super) fn next_line(&mut self) -> Option<Line> {
        let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
        let Some(found) = unsearched.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            if self.searched > self.line_bytes_max {
                self.is_skipping = true;
            }
            if self.is_skipping {
                self.buffer.clear();
                self.searched = 0;
            }
            return None;
        };
        let mut line = self.buffer.split_to(self.searched + found);
        self.buffer.advance(1);
        self.searched = 0;
        if std::mem::take(&mut self.is_skipping) || line.len() > self.line_bytes_max {
            return Some(Line::TooLong);
        }
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        Some(Line::Whole(line.freeze()))
    }

    /// The last line, if it lacks its end.
    pub(super) fn finish(mut self) -> Option<Line> {
        if self.buffer.is_empty() && !self.is_skipping {
            return None;
        }
        self.push(b"\n");
        self.next_line()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(pieces: &[&[u8]], line_bytes_max: usize) -> Vec<Line> {
        let mut lines = Lines::new(line_bytes_max);
        let mut found = Vec::new();
        for piece in pieces {
            lines.push(piece);
            while let Some(line) = lines.next_line() {
                found.push(line);
            }
        }
        found.extend(lines.finish());
        found
    }

    fn whole(text: &'static str) -> Line {
        Line::Whole(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn lines_may_end_in_either_way_and_the_last_one_not_at_all() {
        assert_eq!(split(&[b"a\r\nb\n", b"", b"c"], 9), [whole("a"), whole("b"), whole("c")]);
        assert_eq!(split(&[b"\n\n"], 9), [whole(""), whole("")]);
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_and_the_next_one_is_read() {
        let pieces: [&[u8]; 4] = [b"123", b"456", b"7\nab\n", b"12345678"];
        assert_eq!(split(&pieces, 5), [Line::TooLong, whole("ab"), Line::TooLong]);
    }

    proptest! {
        #[test]
        fn how_a_body_is_cut_makes_no_difference(
            text in "[ab\n]{0,40}",
            cuts in prop::collection::vec(0usize..40, 0..5),
        ) {
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
            at.extend([0, text.len()]);
            at.sort_unstable();
            let bytes = text.as_bytes();
            let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(split(&pieces, 100), split(&[bytes], 100));
        }
    }
}
