//! What clients are told when something goes wrong: the one place where errors get their
//! RESP texts.
//!
//! Where Redis has an error for it, its text is Redis's, because clients match on it. The
//! first word is the code: `BUSY`, `TIMEOUT` and `CLUSTERDOWN` ask for another try later,
//! `MISCONF` and `CLUSTERDOWN` for an operator, and everything else for another request.

use breccia_types::RequestError;
use breccia_types::strings::StringRefusal;
use thiserror::Error;

use super::arguments::Arguments;
use super::limits::{CLIENT_NAME_BYTES_MAX, ECHOED_BYTES_MAX, KEYS_REPLY_BYTES_MAX};

/// An error reply, its code included.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum ReplyError {
    #[error("ERR wrong number of arguments for '{command}' command")]
    Arity { command: &'static str },
    #[error("ERR unknown command '{name}', with args beginning with: {arguments}")]
    UnknownCommand { name: String, arguments: String },
    #[error("ERR unknown subcommand '{name}'. Try {container} HELP.")]
    UnknownSubcommand { name: String, container: String },
    #[error("ERR syntax error")]
    Syntax,
    #[error("ERR value is not an integer or out of range")]
    NotAnInteger,
    #[error("ERR invalid expire time in '{command}' command")]
    InvalidExpiry { command: &'static str },
    #[error("ERR Unsupported option {option}")]
    UnsupportedOption { option: String },
    #[error("ERR NX and XX, GT or LT options at the same time are not compatible")]
    ExpireConditionsExclude,
    #[error("ERR GT and LT options at the same time are not compatible")]
    LaterAndEarlier,
    #[error("ERR offset is out of range")]
    OffsetOutOfRange,
    #[error("ERR bit offset is not an integer or out of range")]
    BitOffset,
    #[error("ERR bit is not an integer or out of range")]
    Bit,
    #[error("ERR decrement would overflow")]
    DecrementOverflow,
    #[error("ERR source and destination objects are the same")]
    SameObject,
    #[error("ERR {what} is not allowed in cluster mode")]
    NotInClusterMode { what: &'static str },
    #[error("ERR Bad number of keys provided")]
    BadKeyCount,
    #[error("ERR Number of keys can't be negative")]
    NegativeKeyCount,
    #[error("ERR Number of keys can't be greater than number of args")]
    TooManyCallKeys,
    #[error("ERR a request id is a UUID, or 32 hexadecimal digits")]
    RequestId,
    #[error("ERR invalid cursor")]
    InvalidCursor,
    #[error("ERR this cursor is not known any more; start the scan again from 0")]
    ForgottenCursor,
    #[error("ERR the keys take more than {KEYS_REPLY_BYTES_MAX} bytes; use SCAN")]
    TooManyKeys,
    #[error("ERR If you want both the length and indexes, please just use IDX.")]
    LengthAndIndexes,
    #[error("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")]
    LcsTooLarge,
    #[error("MOVED {slot} {address}")]
    Moved { slot: u16, address: String },
    #[error("CROSSSLOT Keys in request don't hash to the same slot")]
    CrossSlot,
    #[error("NOPROTO unsupported protocol version")]
    UnsupportedProtocol,
    #[error("ERR Protocol version is not an integer or out of range")]
    ProtocolNotAnInteger,
    #[error("ERR Syntax error in HELLO option '{option}'")]
    HelloOption { option: String },
    #[error(
        "ERR AUTH <password> called without any password configured for \
         the default user. Are you sure your configuration is correct?"
    )]
    NoPasswordSet,
    #[error("WRONGPASS invalid username-password pair or user is disabled.")]
    WrongPassword,
    #[error("ERR Client names cannot contain spaces, newlines or special characters.")]
    ClientName,
    #[error("ERR a client name has at most {CLIENT_NAME_BYTES_MAX} bytes")]
    ClientNameTooLong,
    #[error("ERR Unrecognized option '{option}'")]
    ClientInfoOption { option: String },
    #[error("ERR {attribute} cannot contain spaces, newlines or special characters.")]
    ClientInfoValue { attribute: &'static str },
    #[error("ERR Invalid client ID")]
    InvalidClientId,
    #[error("ERR client-id should be greater than 0")]
    ClientIdRange,
    #[error("ERR Unknown client type '{name}'")]
    UnknownClientType { name: String },
    #[error("ERR No such user '{name}'")]
    NoSuchUser { name: String },
    #[error("ERR No such client")]
    NoSuchClient,
    #[error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")]
    UnblockReason,
    #[error("ERR Unknown option or number of arguments for CONFIG SET - '{name}'")]
    UnknownSetting { name: String },
    #[error("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")]
    SettingRefused { name: String, reason: &'static str },
    #[error("ERR Invalid command specified")]
    InvalidCommand,
    #[error("ERR The command has no key arguments")]
    NoKeyArguments,
    #[error("ERR Invalid number of arguments specified for command")]
    InvalidArgumentCount,
    #[error("ERR Invalid slot")]
    InvalidSlot,
    #[error("ERR Invalid slot or number of keys")]
    SlotOrCount,
    #[error("ERR FUNCTION FLUSH only supports SYNC|ASYNC option")]
    FunctionFlush,
    #[error("ERR DEBUG is not available here")]
    NoDebug,
    #[error(
        "ERR An LFU maxmemory policy is not selected, access frequency not \
         tracked. Please note that when switching between policies at runtime LRU and LFU data \
         will take some time to adjust."
    )]
    NoFrequency,
    #[error("ERR timeout is negative")]
    NegativeTimeout,
    #[error("ERR timeout is not an integer or out of range")]
    TimeoutNotAnInteger,
    #[error("{}", refusal_text(*.0))]
    Refused(StringRefusal),
    #[error("{}", request_text(.0))]
    Request(RequestError),
}

impl ReplyError {
    /// The error for a command whose name is in no table.
    pub(crate) fn unknown_command(arguments: Arguments<'_>) -> Self {
        let mut beginning = String::new();
        for argument in arguments.from(1) {
            let room = ECHOED_BYTES_MAX.saturating_sub(beginning.len());
            if room == 0 {
                break;
            }
            let shown = argument.get(..room).unwrap_or(argument);
            beginning.push_str(&format!("'{}' ", String::from_utf8_lossy(shown)));
        }
        Self::UnknownCommand { name: shown(arguments.get(0)), arguments: beginning }
    }
}

impl From<RequestError> for ReplyError {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<StringRefusal> for ReplyError {
    fn from(refusal: StringRefusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Client text as an error repeats it.
pub(crate) fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text.get(..ECHOED_BYTES_MAX).unwrap_or(text)).into_owned()
}

const fn refusal_text(refusal: StringRefusal) -> &'static str {
    match refusal {
        StringRefusal::NotAnInteger => "ERR value is not an integer or out of range",
        StringRefusal::NotAFloat => "ERR value is not a valid float",
        StringRefusal::Overflow => "ERR increment or decrement would overflow",
        StringRefusal::NotFinite => "ERR increment would produce NaN or Infinity",
        StringRefusal::NoSuchKey => "ERR no such key",
        StringRefusal::TooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
        StringRefusal::NotASketch => "WRONGTYPE Key is not a valid HyperLogLog string value.",
        StringRefusal::CorruptSketch => "INVALIDOBJ Corrupted HLL object detected",
    }
}

fn request_text(error: &RequestError) -> String {
    use RequestError as E;
    let code = match error {
        E::CrossSlot => return ReplyError::CrossSlot.to_string(),
        E::ValueTooLong { .. } => return refusal_text(StringRefusal::TooLong).to_owned(),
        E::Busy { .. } => "BUSY",
        E::DeadlineExceeded | E::OutcomeUnknown { .. } => "TIMEOUT",
        E::ReadOnly { .. } => "MISCONF",
        E::ShardUnavailable { .. } | E::ShuttingDown => "CLUSTERDOWN",
        E::Storage { .. } => "IOERR",
        _ => "ERR",
    };
    format!("{code} {error}")
}

#[cfg(test)]
mod tests {
    use breccia_types::ShardId;

    use super::*;

    #[test]
    fn unknown_commands_are_repeated_up_to_a_bound() {
        let long = "x".repeat(300);
        for (words, text) in [
            (vec!["foo"], "ERR unknown command 'foo', with args beginning with: ".to_owned()),
            (
                vec!["foo", "bar", "baz"],
                "ERR unknown command 'foo', with args beginning with: 'bar' 'baz' ".to_owned(),
            ),
            (
                vec!["foo", &long, "baz"],
                format!(
                    "ERR unknown command 'foo', with args beginning with: '{}' ",
                    "x".repeat(128)
                ),
            ),
        ] {
            let words = super::super::arguments::Words::new(&words);
            assert_eq!(ReplyError::unknown_command(words.arguments()).to_string(), text);
        }
    }

    #[test]
    fn the_first_word_says_who_must_act() {
        let reason = || "r".to_owned();
        for (error, text) in [
            (RequestError::CrossSlot, "CROSSSLOT Keys in request don't hash to the same slot"),
            (
                RequestError::Busy { shard: ShardId::new(1) },
                "BUSY too much is waiting for s1; try again a little later",
            ),
            (RequestError::ReadOnly { reason: reason() }, "MISCONF the node is read-only: r"),
            (RequestError::Storage { reason: reason() }, "IOERR the storage failed: r"),
            (RequestError::ShuttingDown, "CLUSTERDOWN the node is shutting down"),
            (
                RequestError::ValueTooLong { bytes: 1 },
                "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            ),
        ] {
            assert_eq!(ReplyError::from(error).to_string(), text);
        }
    }
}
