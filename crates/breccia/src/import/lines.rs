//! Lines of a file with their numbers, bounded in length, that can be put back.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};

use breccia_types::limits::VALUE_BYTES_MAX;

/// The longest line, in bytes; a longer one is a bad line. No row of it could be stored.
const LINE_BYTES_MAX: usize = VALUE_BYTES_MAX;
/// The byte-order mark that some programs write at the start of UTF-8 files.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A line without its line break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Its number in the file, from 1.
    pub(crate) number: u64,
    /// Its bytes; cut off where `complete` is false.
    pub(crate) bytes: Vec<u8>,
    /// Whether it was not longer than a line may be.
    pub(crate) complete: bool,
}

/// A line or record that could not become a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadLine {
    /// The number of its first line in the file, from 1.
    pub(crate) number: u64,
    /// What is wrong with it.
    pub(crate) reason: String,
}

/// Reads lines.
pub(crate) struct Lines {
    reader: Box<dyn BufRead + Send>,
    last: u64,
    again: VecDeque<Line>,
    line_bytes_max: usize,
}

impl Lines {
    /// The lines of what `reader` reads.
    pub(crate) fn new(reader: Box<dyn BufRead + Send>) -> Self {
        Self { reader, last: 0, again: VecDeque::new(), line_bytes_max: LINE_BYTES_MAX }
    }

    /// The next line, or `None` at the end.
    ///
    /// # Errors
    /// If the file cannot be read, or its compressed form is damaged.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line>> {
        if let Some(line) = self.again.pop_front() {
            return Ok(Some(line));
        }
        let limit = u64::try_from(self.line_bytes_max).unwrap_or(u64::MAX).saturating_add(1);
        let mut bytes = Vec::new();
        let read = self.reader.by_ref().take(limit).read_until(b'\n', &mut bytes)?;
        if read == 0 {
            return Ok(None);
        }
        self.last += 1;
        let ended = bytes.last() == Some(&b'\n');
        let complete = ended || bytes.len() <= self.line_bytes_max;
        if ended {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        if !complete {
            self.skip_to_line_end()?;
            bytes.truncate(self.line_bytes_max);
        }
        if self.last == 1 && bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(Some(Line { number: self.last, bytes, complete }))
    }

    /// Puts lines back in the order in which they were read, to be read once more.
    pub(crate) fn put_back(&mut self, lines: Vec<Line>) {
        for line in lines.into_iter().rev() {
            self.again.push_front(line);
        }
    }

    /// The number of the last line read from the file.
    pub(crate) const fn last_number(&self) -> u64 {
        self.last
    }

    fn skip_to_line_end(&mut self) -> io::Result<()> {
        loop {
            let chunk = self.reader.fill_buf()?;
            let (skip, done) = match chunk.iter().position(|byte| *byte == b'\n') {
                Some(at) => (at + 1, true),
                None => (chunk.len(), chunk.is_empty()),
            };
            self.reader.consume(skip);
            if done {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
impl Lines {
    /// The lines of a text.
    pub(crate) fn of(text: &'static str) -> Self {
        Self::new(Box::new(text.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut lines: Lines) -> Vec<(u64, String, bool)> {
        let mut read = Vec::new();
        while let Some(line) = lines.next().expect("reads") {
            let text = String::from_utf8(line.bytes).expect("UTF-8");
            read.push((line.number, text, line.complete));
        }
        read
    }

    #[test]
    fn every_line_break_ends_a_line_and_the_last_needs_none() {
        let read = all(Lines::of("\u{feff}a\r\n\nb"));
        let want = [(1, "a".into(), true), (2, String::new(), true), (3, "b".into(), true)];
        assert_eq!(read, want);
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_the_next_is_whole() {
        let mut lines = Lines::of("abcdef\nabc\nxy\n");
        lines.line_bytes_max = 3;
        let read = all(lines);
        let want = [(1, "abc".into(), false), (2, "abc".into(), true), (3, "xy".into(), true)];
        assert_eq!(read, want);
    }

    #[test]
    fn lines_that_were_put_back_come_again_in_order() {
        let mut lines = Lines::of("a\nb\nc\n");
        let first = lines.next().expect("reads").expect("a");
        let second = lines.next().expect("reads").expect("b");
        lines.put_back(vec![first, second]);
        let numbers: Vec<u64> = all(lines).into_iter().map(|(number, ..)| number).collect();
        assert_eq!(numbers, [1, 2, 3]);
    }
}
