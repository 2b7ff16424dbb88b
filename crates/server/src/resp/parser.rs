//! The request side of the Redis protocol: bytes to commands, without copying them.
//!
//! The parser remembers how far it got, so that a command that arrives in many pieces is
//! not read again from its start with each. All its positions count from the start of the
//! buffer; [`Parser::take`] cuts the complete commands off and moves the rest down.

use breccia_service::strings::number::parse_integer;
use breccia_types::limits::{RESP_ARGUMENTS_MAX, RESP_BULK_BYTES_MAX, RESP_INLINE_BYTES_MAX};
use bytes::{Bytes, BytesMut};
use thiserror::Error;

use super::arguments::{Arguments, Place};
use super::inline::{self, UnbalancedQuotes};

/// Why a connection's bytes are no commands. The connection ends with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum ProtocolError {
    #[error("ERR Protocol error: too big mbulk count string")]
    CountTooLong,
    #[error("ERR Protocol error: too big bulk count string")]
    LengthTooLong,
    #[error("ERR Protocol error: too big inline request")]
    InlineTooLong,
    #[error("ERR Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    #[error("ERR Protocol error: invalid multibulk length")]
    InvalidCount,
    #[error("ERR Protocol error: invalid bulk length")]
    InvalidLength,
    #[error("ERR Protocol error: too many bytes of incomplete requests")]
    TooManyBytes,
    #[error("ERR Protocol error: expected '$', got '{}'", char::from(*.found))]
    ExpectedBulk { found: u8 },
}

/// Turns a connection's bytes into commands.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// How far the buffer is read.
    position: usize,
    /// The arguments of the complete commands, and after them those of the one that is
    /// not complete.
    places: Vec<Place>,
    /// For each complete command, where its places end.
    ends: Vec<usize>,
    /// Where the bytes of the complete commands end.
    complete: usize,
    /// What the next bytes are.
    state: State,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// The start of a command.
    #[default]
    Start,
    /// The length of an argument; so many are missing.
    Length { missing: usize },
    /// An argument of so many bytes; with it so many are missing.
    Argument { missing: usize, length: usize },
}

/// Complete commands, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    chunk: Bytes,
    places: Vec<Place>,
    ends: Vec<usize>,
}

impl Batch {
    /// The commands in order.
    pub(crate) fn commands(&self) -> impl Iterator<Item = Arguments<'_>> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let places = self.places.get(start..*end).unwrap_or_default();
            start = *end;
            Arguments::new(&self.chunk, places)
        })
    }

    /// Gives the commands' memory back; what was kept of it lives on.
    pub(crate) fn release(&mut self) {
        self.chunk = Bytes::new();
    }
}

/// Up to how many places memory is kept for the next batch.
const PLACES_KEPT_MAX: usize = 16_384;

impl Parser {
    /// Reads on until `most` commands are complete or the buffer is at its end.
    ///
    /// # Errors
    /// [`ProtocolError`]; the commands before it are complete and can be taken.
    pub(crate) fn parse(
        &mut self,
        buffer: &mut BytesMut,
        most: usize,
    ) -> Result<(), ProtocolError> {
        while self.ends.len() < most {
            let went_on = match self.state {
                State::Start => self.start(buffer)?,
                State::Length { missing } => self.length(buffer, missing)?,
                State::Argument { missing, length } => self.argument(buffer, missing, length),
            };
            if !went_on {
                break;
            }
        }
        Ok(())
    }

    /// Whether commands can be taken.
    pub(crate) const fn has_commands(&self) -> bool {
        !self.ends.is_empty()
    }

    /// How many more bytes the argument needs that is being received; 0 if that is unknown.
    pub(crate) fn wanted(&self, buffer: &BytesMut) -> usize {
        match self.state {
            State::Argument { length, .. } => {
                (self.position + length + 2).saturating_sub(buffer.len())
            }
            _ => 0,
        }
    }

    /// Cuts the complete commands off the buffer.
    pub(crate) fn take(&mut self, buffer: &mut BytesMut, spent: Batch) -> Batch {
        let Batch { mut places, mut ends, .. } = spent;
        places.clear();
        ends.clear();
        places.shrink_to(PLACES_KEPT_MAX);
        std::mem::swap(&mut self.places, &mut places);
        std::mem::swap(&mut self.ends, &mut ends);
        let taken = ends.last().copied().unwrap_or(0);
        let shift = self.complete;
        let down = |place: &Place| Place { start: place.start - shift, end: place.end - shift };
        self.places.extend(places.iter().skip(taken).map(down));
        places.truncate(taken);
        self.position -= shift;
        self.complete = 0;
        let chunk = buffer.split_to(shift).freeze();
        Batch { chunk, places, ends }
    }

    fn start(&mut self, buffer: &mut BytesMut) -> Result<bool, ProtocolError> {
        match buffer.get(self.position) {
            None => Ok(false),
            Some(b'*') => self.count(buffer),
            Some(_) => self.inline(buffer),
        }
    }

    fn count(&mut self, buffer: &BytesMut) -> Result<bool, ProtocolError> {
        let Some(line) = self.line(buffer, ProtocolError::CountTooLong)? else {
            return Ok(false);
        };
        let count = parse_integer(line.get(1..).unwrap_or_default());
        let count = count.ok_or(ProtocolError::InvalidCount)?;
        self.position += line.len() + 2;
        match usize::try_from(count) {
            Err(_) | Ok(0) => self.skip(),
            Ok(missing) if missing <= RESP_ARGUMENTS_MAX => self.state = State::Length { missing },
            Ok(_) => return Err(ProtocolError::InvalidCount),
        }
        Ok(true)
    }

    fn length(&mut self, buffer: &BytesMut, missing: usize) -> Result<bool, ProtocolError> {
        let Some(line) = self.line(buffer, ProtocolError::LengthTooLong)? else {
            return Ok(false);
        };
        let (found, digits) = line.split_first().unwrap_or((&b'\r', &[]));
        if *found != b'$' {
            return Err(ProtocolError::ExpectedBulk { found: *found });
        }
        let length = parse_integer(digits).and_then(|length| usize::try_from(length).ok());
        let length = length.filter(|length| *length <= RESP_BULK_BYTES_MAX);
        let length = length.ok_or(ProtocolError::InvalidLength)?;
        self.position += line.len() + 2;
        self.state = State::Argument { missing, length };
        Ok(true)
    }

    fn argument(&mut self, buffer: &BytesMut, missing: usize, length: usize) -> bool {
        let end = self.position + length;
        if buffer.len() < end + 2 {
            return false;
        }
        self.places.push(Place { start: self.position, end });
        self.position = end + 2;
        match missing - 1 {
            0 => self.complete_command(),
            missing => self.state = State::Length { missing },
        }
        true
    }

    fn inline(&mut self, buffer: &mut BytesMut) -> Result<bool, ProtocolError> {
        let rest = buffer.get_mut(self.position..).unwrap_or_default();
        let Some(length) = rest.iter().position(|byte| *byte == b'\n') else {
            return match rest.len() > RESP_INLINE_BYTES_MAX {
                true => Err(ProtocolError::InlineTooLong),
                false => Ok(false),
            };
        };
        let line = rest.get_mut(..length).unwrap_or_default();
        let line = match line {
            [line @ .., b'\r'] => line,
            line => line,
        };
        let before = self.places.len();
        inline::split(line, self.position, &mut self.places)
            .map_err(|UnbalancedQuotes| ProtocolError::UnbalancedQuotes)?;
        self.position += length + 1;
        if self.places.len() == before {
            self.skip();
        } else {
            self.complete_command();
        }
        Ok(true)
    }

    /// The line at the present position without its end, if it is there whole.
    fn line<'b>(
        &self,
        buffer: &'b BytesMut,
        too_long: ProtocolError,
    ) -> Result<Option<&'b [u8]>, ProtocolError> {
        let rest = buffer.get(self.position..).unwrap_or_default();
        match rest.iter().position(|byte| *byte == b'\r') {
            Some(length) if length + 2 <= rest.len() => Ok(rest.get(..length)),
            Some(_) => Ok(None),
            None if rest.len() > RESP_INLINE_BYTES_MAX => Err(too_long),
            None => Ok(None),
        }
    }

    fn complete_command(&mut self) {
        self.ends.push(self.places.len());
        self.skip();
    }

    fn skip(&mut self) {
        self.complete = self.position;
        self.state = State::Start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(input: &[u8]) -> (Vec<Vec<String>>, Result<(), ProtocolError>) {
        fed(&[input])
    }

    fn fed(pieces: &[&[u8]]) -> (Vec<Vec<String>>, Result<(), ProtocolError>) {
        let (mut parser, mut buffer) = (Parser::default(), BytesMut::new());
        let mut commands = Vec::new();
        let mut batch = Batch::default();
        for piece in pieces {
            buffer.extend_from_slice(piece);
            let result = parser.parse(&mut buffer, 1_000);
            batch = parser.take(&mut buffer, batch);
            let text = |word: &[u8]| String::from_utf8_lossy(word).into_owned();
            commands.extend(batch.commands().map(|all| all.from(0).map(text).collect()));
            if result.is_err() {
                return (commands, result);
            }
        }
        (commands, Ok(()))
    }

    #[test]
    fn commands_come_out_in_order_whatever_their_form() {
        let input = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n\r\nping\r\n*0\r\n*-10\r\nset \"a b\" 'c'\n";
        let (commands, result) = parsed(input);
        assert_eq!(result, Ok(()));
        assert_eq!(commands, [vec!["GET", "a"], vec!["ping"], vec!["set", "a b", "c"]]);
    }

    #[test]
    fn commands_may_arrive_byte_by_byte() {
        let input = b"*2\r\n$4\r\nECHO\r\n$7\r\na\r\nb\r\nc\r\nping\r\n*1\r\n$4\r\nQUIT\r\n";
        let pieces: Vec<&[u8]> = input.chunks(1).collect();
        let (commands, result) = fed(&pieces);
        assert_eq!(result, Ok(()));
        assert_eq!(commands, [vec!["ECHO", "a\r\nb\r\nc"], vec!["ping"], vec!["QUIT"]]);
    }

    #[test]
    fn broken_requests_are_called_what_redis_calls_them() {
        use ProtocolError as E;
        let long =
            |start: &str| [start.as_bytes(), &vec![b'1'; RESP_INLINE_BYTES_MAX + 1]].concat();
        for (input, error) in [
            (b"*3000000000\r\n".to_vec(), E::InvalidCount),
            (b"*abc\r\n".to_vec(), E::InvalidCount),
            (b"*\r\n".to_vec(), E::InvalidCount),
            (b"*1\r\nfoo\r\n".to_vec(), E::ExpectedBulk { found: b'f' }),
            (b"*1\r\n$-10\r\n".to_vec(), E::InvalidLength),
            (b"*1\r\n$2000000000\r\n".to_vec(), E::InvalidLength),
            (b"*1\r\n$blabla\r\n".to_vec(), E::InvalidLength),
            (long("*"), E::CountTooLong),
            (long("*1\r\n$"), E::LengthTooLong),
            (long("x"), E::InlineTooLong),
            (b"set \"\"\"k\"\"\" v\r\n".to_vec(), E::UnbalancedQuotes),
        ] {
            assert_eq!(parsed(&input), (vec![], Err(error)), "{input:?}");
        }
        assert_eq!(
            E::ExpectedBulk { found: b'f' }.to_string(),
            "ERR Protocol error: expected '$', got 'f'"
        );
    }

    #[test]
    fn commands_before_a_broken_one_are_not_lost() {
        let (commands, result) = parsed(b"ping\r\n*1\r\nfoo\r\n");
        assert_eq!(commands, [["ping"]]);
        assert_eq!(result, Err(ProtocolError::ExpectedBulk { found: b'f' }));
    }

    #[test]
    fn no_more_commands_are_parsed_than_asked_for() {
        let (mut parser, mut buffer) = (Parser::default(), BytesMut::from("a\r\nb\r\nc\r\n"));
        parser.parse(&mut buffer, 2).expect("valid");
        let batch = parser.take(&mut buffer, Batch::default());
        assert_eq!(batch.commands().count(), 2);
        parser.parse(&mut buffer, 2).expect("valid");
        let batch = parser.take(&mut buffer, batch);
        assert_eq!(batch.commands().map(|all| all.get(0).to_vec()).next(), Some(b"c".to_vec()));
    }
}
