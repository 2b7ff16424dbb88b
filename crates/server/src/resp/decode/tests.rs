//! Words to commands, and words that are none to Redis's errors.

use breccia_types::strings::{ExpireCondition, ExpiryChange, SetCondition, StringWrite};
use breccia_types::time::ManualClock;
use breccia_types::{NodeClock, Timestamp};
use bytes::Bytes;

use super::super::arguments::Words;
use super::super::command::{
    Command, Decoded, Fixed, Kill, LcsShown, Read, ReplyMode, ScanPage, Session, Unit, View, Visit,
    WriteReply,
};
use super::super::encoder::Protocol;
use super::super::table;

const NOW_MS: i64 = 1_000_000;

fn decode(line: &str) -> Decoded {
    decode_words(&line.split_whitespace().collect::<Vec<_>>())
}

fn decode_words(words: &[&str]) -> Decoded {
    let clock = ManualClock::new(Timestamp::from_millis(NOW_MS).expect("in range"));
    let clock = NodeClock::new(Box::new(clock), Timestamp::MIN);
    let words = Words::new(words);
    let (_, spec) = table::find(words.arguments().get(0)).expect("a command");
    spec.decode(words.arguments(), &clock)
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn plain(write: StringWrite) -> Decoded {
    Ok(Command::Write(write, WriteReply::Plain))
}

fn at(millis: i64) -> ExpiryChange {
    ExpiryChange::At(Timestamp::from_millis(millis).expect("in range"))
}

#[test]
fn set_takes_all_its_options() {
    use SetCondition::{Always, IfAbsent, IfPresent};
    for (options, condition, expiry, return_previous) in [
        ("", Always, ExpiryChange::Clear, false),
        ("nx", IfAbsent, ExpiryChange::Clear, false),
        ("XX GET", IfPresent, ExpiryChange::Clear, true),
        ("NX GET KEEPTTL", IfAbsent, ExpiryChange::Keep, true),
        ("EX 10", Always, at(NOW_MS + 10_000), false),
        ("px 10 nx", IfAbsent, at(NOW_MS + 10), false),
        ("EXAT 10", Always, at(10_000), false),
        ("GET PXAT 10", Always, at(10), true),
        ("EX 10 EX 20", Always, at(NOW_MS + 20_000), false),
        ("PXAT 9223372036854775807", Always, ExpiryChange::At(Timestamp::MAX), false),
    ] {
        let (key, value) = (bytes("k"), bytes("v"));
        let write = StringWrite::Set { key, value, condition, expiry, return_previous };
        assert_eq!(decode(&format!("SET k v {options}")), plain(write), "{options}");
    }
}

#[test]
fn expiries_of_keys_are_counted_from_now_or_from_1970() {
    let expire = |millis, condition| {
        let at = Timestamp::from_millis(millis).expect("in range");
        plain(StringWrite::Expire { key: bytes("k"), at, condition })
    };
    let always = ExpireCondition::default();
    for (line, expected) in [
        ("EXPIRE k 10", expire(NOW_MS + 10_000, always)),
        ("PEXPIRE k -10", expire(NOW_MS - 10, always)),
        ("EXPIREAT k 10", expire(10_000, always)),
        ("PEXPIREAT k 10", expire(10, always)),
        ("EXPIRE k 10 nx", expire(NOW_MS + 10_000, ExpireCondition { if_none: true, ..always })),
        (
            "PEXPIREAT k 10 XX GT",
            expire(10, ExpireCondition { if_some: true, if_later: true, ..always }),
        ),
        (
            "PEXPIREAT k 10 LT XX",
            expire(10, ExpireCondition { if_some: true, if_earlier: true, ..always }),
        ),
    ] {
        assert_eq!(decode(line), expected, "{line}");
    }
}

#[test]
fn reads_and_visits_name_what_they_want() {
    let one = |view| Ok(Command::Read(Read::One { key: bytes("k"), view }));
    let scan = |cursor, pattern: Option<&str>, count, strings| {
        let pattern = pattern.map(bytes);
        Ok(Command::Visit(Visit::Scan(ScanPage { cursor, pattern, count, strings })))
    };
    for (line, expected) in [
        ("GET k", one(View::Value)),
        ("substr k 0 -1", one(View::Range { start: 0, end: -1 })),
        ("PTTL k", one(View::TimeToLive(Unit::Milliseconds))),
        ("OBJECT encoding k", one(View::Encoding)),
        ("SCAN 0", scan(0, None, 10, true)),
        ("SCAN 18446744073709551615 MATCH a*", scan(u64::MAX, Some("a*"), 10, true)),
        ("SCAN 1 MATCH * COUNT 5 TYPE list", scan(1, None, 5, false)),
        ("GETEX k", one(View::Value)),
        (
            "LCS {k}1 {k}2 IDX MINMATCHLEN 4",
            Ok(Command::Read(Read::CommonSubsequence {
                first: bytes("{k}1"),
                second: bytes("{k}2"),
                shown: LcsShown::Indexes { length_min: 4, with_length: false },
            })),
        ),
    ] {
        assert_eq!(decode(line), expected, "{line}");
    }
}

#[test]
fn deletes_are_scattered_by_slot() {
    let delete =
        |keys: &[&str]| StringWrite::Delete { keys: keys.iter().map(|k| bytes(k)).collect() };
    assert_eq!(decode("DEL {a}1 {a}2"), plain(delete(&["{a}1", "{a}2"])));
    // The slots of b and a are 3300 and 15495.
    let scattered = vec![delete(&["b"]), delete(&["a", "{a}2"])];
    assert_eq!(decode("UNLINK a b {a}2"), Ok(Command::WriteScattered(scattered)));
}

#[test]
fn connection_commands_carry_their_options() {
    let session = |session| Ok(Command::Session(session));
    let kill = |kill| session(Session::Kill(kill));
    let hello =
        |protocol, name: Option<&str>| session(Session::Hello { protocol, name: name.map(bytes) });
    for (line, expected) in [
        ("HELLO", hello(None, None)),
        ("HELLO 3 AUTH default x SETNAME me", hello(Some(Protocol::Resp3), Some("me"))),
        ("CLIENT reply skip", session(Session::Reply(ReplyMode::SkipNext))),
        (
            "CLIENT KILL 127.0.0.1:1",
            kill(Kill { address: Some(bytes("127.0.0.1:1")), old_style: true, ..Kill::default() }),
        ),
        (
            "CLIENT KILL ID 7 SKIPME no TYPE pubsub",
            kill(Kill { id: Some(7), nobody: true, ..Kill::default() }),
        ),
        ("PING x", Ok(Command::Fixed(Fixed::Bulk(bytes("x"))))),
        ("CLUSTER KEYSLOT foo", Ok(Command::Fixed(Fixed::Integer(12_182)))),
    ] {
        assert_eq!(decode(line), expected, "{line}");
    }
}

#[test]
fn mistakes_are_called_what_redis_calls_them() {
    let crossing = "CROSSSLOT Keys in request don't hash to the same slot";
    let integer = "ERR value is not an integer or out of range";
    let syntax = "ERR syntax error";
    for (line, text) in [
        ("GET", "ERR wrong number of arguments for 'get' command"),
        ("get a b", "ERR wrong number of arguments for 'get' command"),
        ("CLIENT", "ERR wrong number of arguments for 'client' command"),
        ("CLIENT id x", "ERR wrong number of arguments for 'client|id' command"),
        ("client Foo", "ERR unknown subcommand 'Foo'. Try CLIENT HELP."),
        ("MSET a 1 a", "ERR wrong number of arguments for 'mset' command"),
        ("MSET a 1 b 2", crossing),
        ("RENAME a b", crossing),
        ("COPY a b", crossing),
        ("PFMERGE a b", crossing),
        ("LCS a b", crossing),
        ("SET k v EX 0", "ERR invalid expire time in 'set' command"),
        ("SET k v EX 10000000000000000", "ERR invalid expire time in 'set' command"),
        ("SET k v PX 9223372036854775807", "ERR invalid expire time in 'set' command"),
        ("SET k v EX a", integer),
        ("SET k v EX", syntax),
        ("SET k v NX XX", syntax),
        ("SET k v EX 1 PX 1", syntax),
        ("SET k v EX 1 KEEPTTL", syntax),
        ("SET k v KEEPTTL EX 1", syntax),
        ("SET k v PERSIST", syntax),
        ("GETEX k NX", syntax),
        ("GETEX k PERSIST EX 1", syntax),
        ("GETEX k EX 0", "ERR invalid expire time in 'getex' command"),
        ("SETEX k 0 v", "ERR invalid expire time in 'setex' command"),
        ("PSETEX k -1 v", "ERR invalid expire time in 'psetex' command"),
        ("EXPIRE k 9223370399119966000", "ERR invalid expire time in 'expire' command"),
        ("PEXPIRE k 9223372036854775807", "ERR invalid expire time in 'pexpire' command"),
        ("EXPIRE k 1 FOO", "ERR Unsupported option FOO"),
        ("EXPIRE k 1 NX GT", "ERR NX and XX, GT or LT options at the same time are not compatible"),
        ("EXPIRE k 1 GT LT", "ERR GT and LT options at the same time are not compatible"),
        ("INCRBY k 1.5", integer),
        ("DECRBY k -9223372036854775808", "ERR decrement would overflow"),
        ("SETRANGE k -1 v", "ERR offset is out of range"),
        ("SETBIT k 4294967296 1", "ERR bit offset is not an integer or out of range"),
        ("SETBIT k 1 2", "ERR bit is not an integer or out of range"),
        ("COPY k k", "ERR source and destination objects are the same"),
        ("COPY k k DB 1", "ERR Copying to another database is not allowed in cluster mode"),
        ("SCAN x", "ERR invalid cursor"),
        ("SCAN 0 COUNT 0", syntax),
        ("SCAN 0 COUNT", syntax),
        ("SELECT 1", "ERR SELECT is not allowed in cluster mode"),
        ("HELLO 4", "NOPROTO unsupported protocol version"),
        ("HELLO x", "ERR Protocol version is not an integer or out of range"),
        ("HELLO 3 FOO", "ERR Syntax error in HELLO option 'FOO'"),
        ("HELLO 3 AUTH a b", "WRONGPASS invalid username-password pair or user is disabled."),
        ("CLUSTER COUNTKEYSINSLOT 16384", "ERR Invalid slot"),
    ] {
        assert_eq!(decode(line).map_err(|error| error.to_string()), Err(text.to_owned()), "{line}");
    }
    let named = decode_words(&["CLIENT", "SETNAME", "a b"]).map_err(|error| error.to_string());
    let text = "ERR Client names cannot contain spaces, newlines or special characters.";
    assert_eq!(named, Err(text.to_owned()));
}
