//! Inline commands: a line of words as a person types it.
//!
//! Words stand between blanks. `"…"` may hold blanks and the escapes `\n \r \t \b \a \xHH`
//! and `\` before any other byte; `'…'` may hold blanks and `\'`. A closing quote ends its
//! word: something else than a blank after it is an error.

use super::arguments::Place;

/// A quote that is not closed, or not at the end of its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnbalancedQuotes;

/// Splits a line that starts at `offset` of the buffer. A word is never longer than its
/// source, so words are rewritten where they stand.
pub(crate) fn split(
    line: &mut [u8],
    offset: usize,
    words: &mut Vec<Place>,
) -> Result<(), UnbalancedQuotes> {
    let before = words.len();
    let mut splitter = Splitter { line, read: 0, written: 0 };
    loop {
        splitter.skip_blanks();
        let start = splitter.read;
        match splitter.word() {
            Ok(Some(end)) => words.push(Place { start: offset + start, end: offset + end }),
            Ok(None) => return Ok(()),
            Err(error) => {
                words.truncate(before);
                return Err(error);
            }
        }
    }
}

struct Splitter<'a> {
    line: &'a mut [u8],
    read: usize,
    written: usize,
}

impl Splitter<'_> {
    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(is_blank) {
            self.read += 1;
        }
        self.written = self.read;
    }

    /// Where the word ends that starts here; `None` at the end of the line.
    fn word(&mut self) -> Result<Option<usize>, UnbalancedQuotes> {
        if self.peek().is_none() {
            return Ok(None);
        }
        loop {
            match self.next() {
                None | Some(0) => break,
                Some(byte) if is_blank(byte) => break,
                Some(b'"') => {
                    self.double_quoted()?;
                    break;
                }
                Some(b'\'') => {
                    self.single_quoted()?;
                    break;
                }
                Some(byte) => self.write(byte),
            }
        }
        Ok(Some(self.written))
    }

    fn double_quoted(&mut self) -> Result<(), UnbalancedQuotes> {
        loop {
            match self.next().ok_or(UnbalancedQuotes)? {
                b'"' => return self.word_ends(),
                b'\\' => match self.hexadecimal() {
                    Some(byte) => self.write(byte),
                    None => {
                        let escaped = self.next().ok_or(UnbalancedQuotes)?;
                        self.write(unescaped(escaped));
                    }
                },
                byte => self.write(byte),
            }
        }
    }

    fn single_quoted(&mut self) -> Result<(), UnbalancedQuotes> {
        loop {
            match self.next().ok_or(UnbalancedQuotes)? {
                b'\'' => return self.word_ends(),
                b'\\' if self.peek() == Some(b'\'') => {
                    self.read += 1;
                    self.write(b'\'');
                }
                byte => self.write(byte),
            }
        }
    }

    fn word_ends(&self) -> Result<(), UnbalancedQuotes> {
        match self.peek() {
            Some(byte) if !is_blank(byte) => Err(UnbalancedQuotes),
            _ => Ok(()),
        }
    }

    /// The byte that `xHH` means, if that follows.
    fn hexadecimal(&mut self) -> Option<u8> {
        let digit = |at: usize| {
            let digit = char::from(*self.line.get(self.read + at)?).to_digit(16)?;
            u8::try_from(digit).ok()
        };
        let byte = match self.peek() {
            Some(b'x') => digit(1)? * 16 + digit(2)?,
            _ => return None,
        };
        self.read += 3;
        Some(byte)
    }

    fn peek(&self) -> Option<u8> {
        self.line.get(self.read).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.read += 1;
        Some(byte)
    }

    fn write(&mut self, byte: u8) {
        if let Some(place) = self.line.get_mut(self.written) {
            *place = byte;
            self.written += 1;
        }
    }
}

const fn unescaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    }
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 11 | 12)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Vec<Vec<u8>>, UnbalancedQuotes> {
        let mut line = line.as_bytes().to_vec();
        let mut places = Vec::new();
        split(&mut line, 0, &mut places)?;
        Ok(places.iter().map(|place| line[place.start..place.end].to_vec()).collect())
    }

    #[test]
    fn words_are_split_as_redis_splits_them() {
        for (line, expected) in [
            ("", &[][..]),
            ("  \t ", &[]),
            ("get a", &[&b"get"[..], b"a"]),
            ("  get   a  ", &[b"get", b"a"]),
            (r#"set "a b" 'c d'"#, &[b"set", b"a b", b"c d"]),
            (r#"echo "\x41\n\"\q""#, &[b"echo", b"A\n\"q"]),
            (r"echo 'it\'s' a\n", &[b"echo", b"it's", br"a\n"]),
            (r#"echo "" ''"#, &[b"echo", b"", b""]),
            (r#"a"b c" d"#, &[b"ab c", b"d"]),
            (r#"echo "\xzz""#, &[b"echo", b"xzz"]),
        ] {
            assert_eq!(words(line), Ok(expected.iter().map(|word| word.to_vec()).collect()));
        }
        for line in [r#""a"#, "'a", r#""a"b"#, "'a'b", r#"""""k"""#, r#""a\"#] {
            assert_eq!(words(line), Err(UnbalancedQuotes), "{line}");
        }
    }
}
