//! Records of CSV and TSV files (RFC 4180).
//!
//! This reader exists because of what a stray quote does to others: an opening quote that is
//! never closed swallows the rest of the file into one field. Here a record that fails
//! costs its first line only: the lines after it are read again as records of their own.

use std::io;

use super::lines::{BadLine, Line, Lines};

/// The most lines that one record may span, through line breaks in quotes.
const RECORD_LINES_MAX: usize = 10_000;

/// The fields of one record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// The number of its first line, from 1.
    pub(crate) line: u64,
    text: String,
    /// Where each field ends in `text`.
    ends: Vec<usize>,
}

impl Record {
    /// The number of fields.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The field at this position.
    pub(crate) fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.text.get(start..end)
    }

    /// The fields in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

/// Reads records.
pub(crate) struct Records {
    lines: Lines,
    delimiter: u8,
    /// The number of fields that every record must have, once it is known.
    fields: Option<usize>,
}

impl Records {
    /// The records in `lines`, with fields separated by `delimiter`.
    pub(crate) const fn new(lines: Lines, delimiter: u8) -> Self {
        Self { lines, delimiter, fields: None }
    }

    /// From now on a record with another number of fields is bad.
    pub(crate) const fn require_fields(&mut self, count: usize) {
        self.fields = Some(count);
    }

    /// The number of the last line read.
    pub(crate) const fn last_line(&self) -> u64 {
        self.lines.last_number()
    }

    /// The next record, or what is wrong with the next line; `None` at the end. Empty
    /// lines are passed over.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) fn next(&mut self) -> io::Result<Option<Result<Record, BadLine>>> {
        let first = loop {
            match self.lines.next()? {
                None => return Ok(None),
                Some(line) if line.bytes.is_empty() => {}
                Some(line) => break line,
            }
        };
        let mut parser = Parser::new(self.delimiter);
        let mut more: Vec<Line> = Vec::new();
        let outcome = loop {
            let line = more.last().unwrap_or(&first);
            if !line.complete {
                break Err("the line is longer than a value may be".to_owned());
            }
            match parser.feed(&line.bytes) {
                Err(reason) => break Err(reason.to_owned()),
                Ok(Fed::Complete) => break self.finish(parser, first.number),
                Ok(Fed::OpenQuote) => {}
            }
            if more.len() + 1 >= RECORD_LINES_MAX {
                break Err(format!("a quote is not closed within {RECORD_LINES_MAX} lines"));
            }
            match self.lines.next()? {
                Some(line) => more.push(line),
                None => break Err("a quote is opened and never closed".to_owned()),
            }
        };
        Ok(Some(outcome.map_err(|reason| {
            self.lines.put_back(more);
            BadLine { number: first.number, reason }
        })))
    }

    fn finish(&self, parser: Parser, line: u64) -> Result<Record, String> {
        let text = String::from_utf8(parser.bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        let record = Record { line, text, ends: parser.ends };
        match self.fields {
            Some(wanted) if wanted != record.len() => {
                Err(format!("it has {} fields, and the header has {wanted}", record.len()))
            }
            _ => Ok(record),
        }
    }
}

/// Whether a record ended with the line it was fed.
enum Fed {
    Complete,
    OpenQuote,
}

#[derive(Clone, Copy)]
enum State {
    FieldStart,
    Bare,
    Quoted,
    /// After a quote within quotes: the end of the field, or the first half of `""`.
    QuoteInQuotes,
}

struct Parser {
    delimiter: u8,
    state: State,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Parser {
    const fn new(delimiter: u8) -> Self {
        Self { delimiter, state: State::FieldStart, bytes: Vec::new(), ends: Vec::new() }
    }

    fn feed(&mut self, line: &[u8]) -> Result<Fed, &'static str> {
        match self.state {
            State::FieldStart if !line.contains(&b'"') => {
                self.split(line);
                return Ok(Fed::Complete);
            }
            State::Quoted => self.bytes.push(b'\n'),
            _ => {}
        }
        for byte in line {
            self.step(*byte)?;
        }
        if matches!(self.state, State::Quoted) {
            return Ok(Fed::OpenQuote);
        }
        self.ends.push(self.bytes.len());
        Ok(Fed::Complete)
    }

    /// The fast way for lines without quotes.
    fn split(&mut self, line: &[u8]) {
        self.bytes.reserve(line.len());
        for field in line.split(|byte| *byte == self.delimiter) {
            self.bytes.extend_from_slice(field);
            self.ends.push(self.bytes.len());
        }
    }

    fn step(&mut self, byte: u8) -> Result<(), &'static str> {
        let delimiter = byte == self.delimiter;
        self.state = match self.state {
            State::FieldStart if byte == b'"' => State::Quoted,
            State::FieldStart | State::Bare | State::QuoteInQuotes if delimiter => {
                self.ends.push(self.bytes.len());
                State::FieldStart
            }
            State::FieldStart | State::Bare => {
                self.bytes.push(byte);
                State::Bare
            }
            State::Quoted if byte == b'"' => State::QuoteInQuotes,
            State::Quoted => {
                self.bytes.push(byte);
                State::Quoted
            }
            State::QuoteInQuotes if byte == b'"' => {
                self.bytes.push(byte);
                State::Quoted
            }
            State::QuoteInQuotes => return Err("text follows a closing quote"),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static str, fields: Option<usize>) -> Vec<Result<Vec<String>, (u64, String)>> {
        let mut records = Records::new(Lines::of(text), b',');
        if let Some(count) = fields {
            records.require_fields(count);
        }
        let mut all = Vec::new();
        while let Some(next) = records.next().expect("reads") {
            all.push(match next {
                Ok(record) => Ok(record.iter().map(str::to_owned).collect()),
                Err(bad) => Err((bad.number, bad.reason)),
            });
        }
        all
    }

    fn good(fields: &[&str]) -> Result<Vec<String>, (u64, String)> {
        Ok(fields.iter().map(|field| (*field).to_owned()).collect())
    }

    #[test]
    fn fields_are_split_with_and_without_quotes() {
        let all =
            read("a,b,c\r\n\n\"x,y\",\"he said \"\"no\"\"\",\n,,\n5\" pipe,b,\"\"\n", Some(3));
        assert_eq!(
            all,
            [
                good(&["a", "b", "c"]),
                good(&["x,y", "he said \"no\"", ""]),
                good(&["", "", ""]),
                good(&["5\" pipe", "b", ""]),
            ]
        );
    }

    #[test]
    fn a_line_break_in_quotes_belongs_to_the_field() {
        assert_eq!(read("\"a\nb\",c\nd,e", Some(2)), [good(&["a\nb", "c"]), good(&["d", "e"])]);
    }

    #[test]
    fn a_quote_that_is_never_closed_costs_one_line() {
        let all = read("a,b\n\"oops,2\n3,4\n5,6\n", Some(2));
        assert_eq!(all.len(), 4);
        assert_eq!(all[1].as_ref().expect_err("open").0, 2);
        assert_eq!(all[3], good(&["5", "6"]));
    }

    #[test]
    fn a_stray_quote_that_meets_another_costs_its_own_lines_only() {
        let all = read("\"oops,2\n3,4\n5,\"six\"\n7,8\n", Some(2));
        assert_eq!(all[0].as_ref().expect_err("stray").0, 1);
        assert_eq!(all[1..], [good(&["3", "4"]), good(&["5", "six"]), good(&["7", "8"])]);
    }

    #[test]
    fn another_number_of_fields_is_a_bad_line_with_its_number() {
        let all = read("1,2\n3\n4,5,6\n7,8\n", Some(2));
        let bad: Vec<u64> = all.iter().filter_map(|r| r.as_ref().err().map(|e| e.0)).collect();
        assert_eq!(bad, [2, 3]);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_a_bad_line() {
        let mut records = Records::new(Lines::new(Box::new(&b"a,\xff\nb,c\n"[..])), b',');
        assert!(records.next().expect("reads").expect("a line").is_err());
        assert!(records.next().expect("reads").expect("a line").is_ok());
    }
}
