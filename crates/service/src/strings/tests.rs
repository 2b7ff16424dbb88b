use std::sync::Arc;
use std::time::Duration;

use breccia_store::{Durability, Engine, MemoryEngine, ShardEngine};
use breccia_types::limits::VALUE_BYTES_MAX;
use breccia_types::strings::{
    ExpireCondition, ExpiryChange, SetCondition, StringRefusal, StringReply, StringWrite,
};
use breccia_types::{ShardId, Timestamp};
use bytes::Bytes;

use super::*;

/// Commands and the replies of a real server, in sections that start with no keys.
const FROM_REDIS: &str = include_str!("../../testdata/strings/commands.txt");
const SHARD: ShardId = ShardId::new(0);
const NOW: Timestamp = Timestamp::from_micros(1_000_000_000_000);

/// One shard in memory, at an instant that stands still.
struct Shard {
    engine: MemoryEngine,
    shard: Arc<dyn ShardEngine>,
}

impl Shard {
    fn new() -> Self {
        let engine = MemoryEngine::default();
        let shard = engine.open_shard(SHARD).unwrap();
        Self { engine, shard }
    }

    /// Applies commands as those of one entry.
    fn run_all(&self, commands: &[StringWrite]) -> Vec<StringReply> {
        let mut transaction = Transaction::new(&*self.shard);
        let replies = commands.iter().map(|command| {
            transaction.begin(NOW);
            apply(&mut transaction, command).unwrap()
        });
        let replies = replies.collect();
        let batch = transaction.into_batch();
        self.engine.write(&[(SHARD, batch)], Durability::Buffered).unwrap();
        replies
    }

    fn run(&self, command: StringWrite) -> StringReply {
        self.run_all(&[command]).remove(0)
    }

    fn get(&self, key: &[u8]) -> Option<breccia_store::StoredRow> {
        let mut transaction = Transaction::new(&*self.shard);
        transaction.begin(NOW);
        Rows::new(&mut transaction).get(key).unwrap()
    }
}

/// What a line asks for.
enum Request {
    Write(StringWrite),
    Get(Bytes),
    TimeToLive(Bytes),
    Count(Vec<Bytes>),
}

#[test]
fn replies_are_those_of_a_redis_server() {
    let mut shard = Shard::new();
    for line in FROM_REDIS.lines() {
        let Some((request, expected)) = line.split_once(" => ") else {
            shard = Shard::new();
            continue;
        };
        let reply = match parse(request) {
            Request::Write(command) => {
                let reply = shard.run(command.clone());
                match command {
                    // Front ends reply OK to MSET.
                    StringWrite::SetMany { only_if_none_exists: false, .. } => "OK".to_owned(),
                    _ => show(&reply),
                }
            }
            Request::Get(key) => {
                let row = shard.get(&key);
                show(&row.map_or(StringReply::Nil, |row| StringReply::Bulk(row.value)))
            }
            Request::TimeToLive(key) => match shard.get(&key).map(|row| row.expires_at) {
                None => "-2".to_owned(),
                Some(None) => "-1".to_owned(),
                Some(Some(at)) => ((at.as_micros() - NOW.as_micros()) / 1_000_000).to_string(),
            },
            Request::Count(keys) => {
                let values: Vec<_> = keys.iter().filter_map(|key| shard.get(key)).collect();
                let values: Vec<&[u8]> = values.iter().map(|row| row.value.as_ref()).collect();
                match sketch::count(&values) {
                    Ok(count) => count.to_string(),
                    Err(refusal) => show(&StringReply::Refused(refusal)),
                }
            }
        };
        assert_eq!(reply, expected, "{request}");
    }
}

/// Splits a line into words, `"..."` with `\xNN` among them.
fn words(line: &str) -> Vec<Bytes> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (word, tail) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap(),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        words.push(Bytes::copy_from_slice(word.as_bytes()));
        rest = tail.trim_start();
    }
    words
}

fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(word: &Bytes) -> T {
    str::from_utf8(word).unwrap().parse().unwrap()
}

/// `@n`: n seconds from now.
fn instant(word: &Bytes) -> Option<Timestamp> {
    let seconds: i64 = str::from_utf8(word).ok()?.strip_prefix('@')?.parse().ok()?;
    Some(Timestamp::from_micros(NOW.as_micros() + seconds * 1_000_000))
}

fn parse(line: &str) -> Request {
    let words = words(line);
    let (name, arguments) = words.split_first().unwrap();
    let name = str::from_utf8(name).unwrap();
    let key = arguments.first().cloned().unwrap_or_default();
    let rest = arguments.get(1..).unwrap_or_default().to_vec();
    let has = |flag: &str| rest.iter().any(|word| word == flag.as_bytes());
    Request::Write(match name {
        "GET" => return Request::Get(key),
        "TTL" => return Request::TimeToLive(key),
        "PFCOUNT" => return Request::Count(arguments.to_vec()),
        "SET" => StringWrite::Set {
            key,
            value: rest[0].clone(),
            condition: match (has("NX"), has("XX")) {
                (true, _) => SetCondition::IfAbsent,
                (_, true) => SetCondition::IfPresent,
                _ => SetCondition::Always,
            },
            expiry: match rest[1..].iter().find_map(instant) {
                Some(at) => ExpiryChange::At(at),
                None if has("KEEPTTL") => ExpiryChange::Keep,
                None => ExpiryChange::Clear,
            },
            return_previous: has("GET"),
        },
        "MSET" | "MSETNX" => StringWrite::SetMany {
            pairs: arguments.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect(),
            only_if_none_exists: name == "MSETNX",
        },
        "APPEND" => StringWrite::Append { key, value: rest[0].clone() },
        "SETRANGE" => {
            StringWrite::SetRange { key, offset: number(&rest[0]), value: rest[1].clone() }
        }
        "SETBIT" => {
            StringWrite::SetBit { key, offset: number(&rest[0]), bit: &rest[1][..] == b"1" }
        }
        "INCRBY" => StringWrite::Increment { key, by: number(&rest[0]) },
        "INCRBYFLOAT" => StringWrite::IncrementFloat { key, by: rest[0].clone() },
        "GETDEL" => StringWrite::GetDelete { key },
        "GETEX" => StringWrite::GetExpire {
            key,
            expiry: match rest.iter().find_map(instant) {
                Some(at) => ExpiryChange::At(at),
                None if has("PERSIST") => ExpiryChange::Clear,
                None => ExpiryChange::Keep,
            },
        },
        "DEL" => StringWrite::Delete { keys: arguments.to_vec() },
        "EXPIREAT" => StringWrite::Expire {
            key,
            at: instant(&rest[0]).unwrap(),
            condition: ExpireCondition {
                if_none: has("NX"),
                if_some: has("XX"),
                if_later: has("GT"),
                if_earlier: has("LT"),
            },
        },
        "PERSIST" => StringWrite::Persist { key },
        "RENAME" | "RENAMENX" => {
            let only_if_absent = name == "RENAMENX";
            StringWrite::Rename { from: key, to: rest[0].clone(), only_if_absent }
        }
        "COPY" => StringWrite::Copy { from: key, to: rest[0].clone(), replace: has("REPLACE") },
        "PFADD" => StringWrite::SketchAdd { key, elements: rest },
        "PFMERGE" => StringWrite::SketchMerge { destination: key, sources: rest },
        "FLUSHALL" => StringWrite::Flush,
        _ => panic!("{line}"),
    })
}

fn show(reply: &StringReply) -> String {
    match reply {
        StringReply::Ok => "OK".to_owned(),
        StringReply::Nil => "nil".to_owned(),
        StringReply::Integer(number) => number.to_string(),
        StringReply::Bulk(value) => {
            let shown = value.iter().map(|byte| match byte {
                b'"' | b'\\' => format!("\\x{byte:02x}"),
                b' '..=b'~' => char::from(*byte).to_string(),
                _ => format!("\\x{byte:02x}"),
            });
            format!("\"{}\"", shown.collect::<String>())
        }
        StringReply::Refused(refusal) => match refusal {
            StringRefusal::NotAnInteger => "ERR value is not an integer or out of range",
            StringRefusal::NotAFloat => "ERR value is not a valid float",
            StringRefusal::Overflow => "ERR increment or decrement would overflow",
            StringRefusal::NotFinite => "ERR increment would produce NaN or Infinity",
            StringRefusal::NoSuchKey => "ERR no such key",
            StringRefusal::TooLong => {
                "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
            }
            StringRefusal::NotASketch => "WRONGTYPE Key is not a valid HyperLogLog string value.",
            StringRefusal::CorruptSketch => "INVALIDOBJ Corrupted HLL object detected",
        }
        .to_owned(),
    }
}

fn b(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn set(key: &'static str, value: impl Into<Bytes>) -> StringWrite {
    StringWrite::Set {
        key: b(key),
        value: value.into(),
        condition: SetCondition::Always,
        expiry: ExpiryChange::At(NOW.saturating_add(Duration::from_secs(9))),
        return_previous: false,
    }
}

#[test]
fn values_stop_growing_at_the_limit_and_a_refusal_writes_nothing() {
    let shard = Shard::new();
    let too_long = StringReply::Refused(StringRefusal::TooLong);
    shard.run(set("k", vec![0; VALUE_BYTES_MAX - 1]));
    let end = u64::try_from(VALUE_BYTES_MAX).unwrap();
    let set_range = |offset, value| StringWrite::SetRange { key: b("k"), offset, value };
    let set_bit = |offset| StringWrite::SetBit { key: b("k"), offset, bit: true };
    for command in [
        StringWrite::Append { key: b("k"), value: b("ab") },
        set_range(end - 1, b("ab")),
        set_range(u64::MAX, b("ab")),
        set_bit(end * 8),
        set_bit(u64::MAX),
    ] {
        assert_eq!(shard.run(command), too_long);
        assert_eq!(shard.get(b"k").unwrap().value.len(), VALUE_BYTES_MAX - 1);
    }
    let full = StringReply::Integer(i64::try_from(end).unwrap());
    assert_eq!(shard.run(StringWrite::Append { key: b("k"), value: b("a") }), full);
    assert_eq!(shard.run(set_range(end - 1, b("b"))), full);
    assert_eq!(shard.run(set_bit(end * 8 - 1)), StringReply::Integer(0));
    // Nothing is written, so nothing is too long.
    assert_eq!(shard.run(set_range(u64::MAX, Bytes::new())), full);
}

#[test]
fn commands_of_one_entry_see_what_those_before_them_wrote() {
    let shard = Shard::new();
    shard.run_all(&[set("old", "1"), set("n", "1")]);
    let increment = StringWrite::Increment { key: b("n"), by: 1 };
    let replies = shard.run_all(&[
        increment.clone(),
        increment.clone(),
        StringWrite::Delete { keys: vec![b("old"), b("old"), b("none")] },
        StringWrite::Flush,
        increment.clone(),
        StringWrite::Rename { from: b("n"), to: b("m"), only_if_absent: true },
        StringWrite::Copy { from: b("m"), to: b("n"), replace: false },
        increment,
    ]);
    let numbers = [2, 3, 1].map(StringReply::Integer);
    assert_eq!(replies[..3], numbers);
    assert_eq!(replies[3], StringReply::Ok);
    assert_eq!(replies[4..], [1, 1, 1, 2].map(StringReply::Integer));
    assert_eq!(shard.get(b"m").unwrap().value, b("1"));
    assert_eq!(shard.get(b"n").unwrap().value, b("2"));
    assert_eq!(shard.get(b"n").unwrap().expires_at, None);
    assert_eq!(shard.get(b"old"), None);
}

#[test]
fn an_expired_row_is_as_good_as_absent_although_it_lies_there() {
    let shard = Shard::new();
    shard.run(set("k", "5"));
    let later = NOW.saturating_add(Duration::from_secs(9));
    let mut transaction = Transaction::new(&*shard.shard);
    transaction.begin(later);
    let mut apply = |command| apply(&mut transaction, &command).unwrap();
    assert_eq!(apply(StringWrite::Persist { key: b("k") }), StringReply::Integer(0));
    assert_eq!(apply(StringWrite::Delete { keys: vec![b("k")] }), StringReply::Integer(0));
    assert_eq!(
        apply(StringWrite::Rename { from: b("k"), to: b("l"), only_if_absent: false }),
        StringReply::Refused(StringRefusal::NoSuchKey)
    );
    assert_eq!(apply(StringWrite::Increment { key: b("k"), by: 1 }), StringReply::Integer(1));
    let row = Rows::new(&mut transaction).get(b"k").unwrap().unwrap();
    assert_eq!((row.value, row.expires_at), (b("1"), None));
}

#[test]
fn the_service_speaks_the_format_of_the_log() {
    let shard = Shard::new();
    let mut transaction = Transaction::new(&*shard.shard);
    transaction.begin(NOW);
    let mut dropped = crate::service::DroppedTables::default();
    let mut context =
        ServiceContext { transaction: &mut transaction, dropped: &mut dropped, fuel_used: &mut 0 };
    let command = codec::encode_write(&StringWrite::Append { key: b("k"), value: b("abc") });
    let reply = StringService.write(&mut context, command).unwrap();
    assert_eq!(codec::decode_reply(reply), Ok(StringReply::Integer(3)));
    let refused = StringService.write(&mut context, b("\x01\x7f"));
    assert!(matches!(refused, Err(WriteError::Malformed { .. })));
}
