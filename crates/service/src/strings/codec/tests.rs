use proptest::prelude::*;

use super::*;

/// Commands and replies of the first version, one a line: name, then hexadecimal bytes.
/// Later builds must read them and write them the same.
const FIXTURE: &str = include_str!("../../../testdata/strings/v1.hex");

fn b(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn sample_commands() -> Vec<(&'static str, StringWrite)> {
    let set = |condition, expiry, return_previous| StringWrite::Set {
        key: b("key"),
        value: b("value"),
        condition,
        expiry,
        return_previous,
    };
    let pairs = vec![(b("k1"), b("v1")), (b("k2"), Bytes::new())];
    let condition =
        ExpireCondition { if_none: true, if_some: false, if_later: true, if_earlier: false };
    vec![
        ("set", set(SetCondition::Always, ExpiryChange::Clear, false)),
        ("set_nx_keepttl", set(SetCondition::IfAbsent, ExpiryChange::Keep, false)),
        ("set_xx_pxat_get", set(SetCondition::IfPresent, ExpiryChange::At(at(1 << 50)), true)),
        ("mset", StringWrite::SetMany { pairs: pairs.clone(), only_if_none_exists: false }),
        ("msetnx", StringWrite::SetMany { pairs, only_if_none_exists: true }),
        ("append", StringWrite::Append { key: b("key"), value: b("tail") }),
        ("setrange", StringWrite::SetRange { key: b("key"), offset: 300, value: b("x") }),
        ("setbit", StringWrite::SetBit { key: b("key"), offset: 7, bit: true }),
        ("incrby", StringWrite::Increment { key: b("key"), by: i64::MIN }),
        ("incrbyfloat", StringWrite::IncrementFloat { key: b("key"), by: b("1.1") }),
        ("getdel", StringWrite::GetDelete { key: b("key") }),
        ("getex", StringWrite::GetExpire { key: b("key"), expiry: ExpiryChange::At(at(-1)) }),
        ("del", StringWrite::Delete { keys: vec![b("a"), b("b")] }),
        ("expire", StringWrite::Expire { key: b("key"), at: at(1_000_000), condition }),
        ("persist", StringWrite::Persist { key: b("key") }),
        ("rename", StringWrite::Rename { from: b("a"), to: b("b"), only_if_absent: false }),
        ("copy", StringWrite::Copy { from: b("a"), to: b("b"), replace: true }),
        ("pfadd", StringWrite::SketchAdd { key: b("key"), elements: vec![b("x"), Bytes::new()] }),
        ("pfmerge", StringWrite::SketchMerge { destination: b("d"), sources: vec![b("s")] }),
        ("flush", StringWrite::Flush),
    ]
}

fn sample_replies() -> Vec<(&'static str, StringReply)> {
    use StringRefusal::{
        CorruptSketch, NoSuchKey, NotAFloat, NotASketch, NotAnInteger, NotFinite, Overflow, TooLong,
    };
    vec![
        ("reply_ok", StringReply::Ok),
        ("reply_nil", StringReply::Nil),
        ("reply_integer", StringReply::Integer(-300)),
        ("reply_bulk", StringReply::Bulk(b("value"))),
        ("reply_not_an_integer", StringReply::Refused(NotAnInteger)),
        ("reply_not_a_float", StringReply::Refused(NotAFloat)),
        ("reply_overflow", StringReply::Refused(Overflow)),
        ("reply_not_finite", StringReply::Refused(NotFinite)),
        ("reply_no_such_key", StringReply::Refused(NoSuchKey)),
        ("reply_too_long", StringReply::Refused(TooLong)),
        ("reply_not_a_sketch", StringReply::Refused(NotASketch)),
        ("reply_corrupt_sketch", StringReply::Refused(CorruptSketch)),
    ]
}

fn line(name: &str, bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name} {hex}\n")
}

fn bytes_of_line(name: &str) -> Bytes {
    let hex = FIXTURE.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let digits = hex.expect(name).as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn the_first_version_is_written_and_read_as_ever() {
    let commands = sample_commands();
    let replies = sample_replies();
    let mut written = String::new();
    for (name, command) in &commands {
        written += &line(name, &encode_write(command));
    }
    for (name, reply) in &replies {
        written += &line(name, &encode_reply(reply));
    }
    assert_eq!(FIXTURE, written, "the format in the log has changed:\n{written}");
    for (name, command) in commands {
        assert_eq!(decode_write(bytes_of_line(name)), Ok(command), "{name}");
    }
    for (name, reply) in replies {
        assert_eq!(decode_reply(bytes_of_line(name)), Ok(reply), "{name}");
    }
}

#[test]
fn every_cut_and_every_addition_is_noticed() {
    for (name, command) in sample_commands() {
        let bytes = encode_write(&command);
        for end in 0..bytes.len() {
            assert!(decode_write(bytes.slice(..end)).is_err(), "{name} cut at {end}");
        }
        let longer: Bytes = [&bytes[..], &[0]].concat().into();
        assert_eq!(decode_write(longer), Err(DecodeError::Trailing { bytes: 1 }), "{name}");
    }
    for (name, reply) in sample_replies() {
        let bytes = encode_reply(&reply);
        for end in 0..bytes.len() {
            assert!(decode_reply(bytes.slice(..end)).is_err(), "{name} cut at {end}");
        }
    }
}

#[test]
fn what_this_build_does_not_know_is_refused_by_name() {
    let unknown = |at, field, tag| DecodeError::UnknownTag { at, field, tag };
    let write = |bytes: &'static [u8]| decode_write(Bytes::from_static(bytes)).unwrap_err();
    let reply = |bytes: &'static [u8]| decode_reply(Bytes::from_static(bytes)).unwrap_err();
    assert_eq!(write(&[2, FLUSH]), DecodeError::UnknownVersion { version: 2 });
    assert_eq!(write(&[1, 0]), unknown(1, "operation", 0));
    assert_eq!(write(&[1, FLUSH + 1]), unknown(1, "operation", FLUSH + 1));
    assert_eq!(write(&[1, SET, 0, 0, 3, 0, 0]), unknown(4, "condition", 3));
    assert_eq!(write(&[1, SET, 0, 0, 0, 3, 0]), unknown(5, "expiry", 3));
    assert_eq!(write(&[1, SET, 0, 0, 0, 0, 2]), unknown(6, "flag", 2));
    assert_eq!(reply(&[1, 6]), unknown(1, "reply", 6));
    assert_eq!(reply(&[1, REFUSED, 9]), unknown(2, "refusal", 9));
}

#[test]
fn keys_and_values_share_the_memory_of_the_entry() {
    let bytes = encode_write(&StringWrite::Append { key: b("key"), value: b("value") });
    let entry = bytes.as_ptr_range();
    let Ok(StringWrite::Append { key, value }) = decode_write(bytes.clone()) else {
        panic!("not an append");
    };
    assert!(entry.contains(&key.as_ptr()) && entry.contains(&value.as_ptr()));
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn keys() -> impl Strategy<Value = Vec<Bytes>> {
    prop::collection::vec(bytes(), 0..6)
}

fn instant() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_micros)
}

fn expiry() -> impl Strategy<Value = ExpiryChange> {
    prop_oneof![
        Just(ExpiryChange::Clear),
        Just(ExpiryChange::Keep),
        instant().prop_map(ExpiryChange::At),
    ]
}

fn set() -> impl Strategy<Value = StringWrite> {
    let condition = prop_oneof![
        Just(SetCondition::Always),
        Just(SetCondition::IfAbsent),
        Just(SetCondition::IfPresent),
    ];
    (bytes(), bytes(), condition, expiry(), any::<bool>()).prop_map(
        |(key, value, condition, expiry, return_previous)| StringWrite::Set {
            key,
            value,
            condition,
            expiry,
            return_previous,
        },
    )
}

fn expire() -> impl Strategy<Value = StringWrite> {
    (bytes(), instant(), any::<[bool; 4]>()).prop_map(|(key, at, flags)| {
        let [if_none, if_some, if_later, if_earlier] = flags;
        let condition = ExpireCondition { if_none, if_some, if_later, if_earlier };
        StringWrite::Expire { key, at, condition }
    })
}

fn about_values() -> impl Strategy<Value = StringWrite> {
    prop_oneof![
        set(),
        (prop::collection::vec((bytes(), bytes()), 0..4), any::<bool>()).prop_map(
            |(pairs, only_if_none_exists)| StringWrite::SetMany { pairs, only_if_none_exists }
        ),
        (bytes(), bytes()).prop_map(|(key, value)| StringWrite::Append { key, value }),
        (bytes(), any::<u64>(), bytes()).prop_map(|(key, offset, value)| StringWrite::SetRange {
            key,
            offset,
            value
        }),
        (bytes(), any::<u64>(), any::<bool>()).prop_map(|(key, offset, bit)| StringWrite::SetBit {
            key,
            offset,
            bit
        }),
        (bytes(), any::<i64>()).prop_map(|(key, by)| StringWrite::Increment { key, by }),
        (bytes(), bytes()).prop_map(|(key, by)| StringWrite::IncrementFloat { key, by }),
        bytes().prop_map(|key| StringWrite::GetDelete { key }),
        (bytes(), expiry()).prop_map(|(key, expiry)| StringWrite::GetExpire { key, expiry }),
    ]
}

fn about_keys() -> impl Strategy<Value = StringWrite> {
    prop_oneof![
        keys().prop_map(|keys| StringWrite::Delete { keys }),
        expire(),
        bytes().prop_map(|key| StringWrite::Persist { key }),
        (bytes(), bytes(), any::<bool>()).prop_map(|(from, to, only_if_absent)| {
            StringWrite::Rename { from, to, only_if_absent }
        }),
        (bytes(), bytes(), any::<bool>()).prop_map(|(from, to, replace)| StringWrite::Copy {
            from,
            to,
            replace
        }),
        (bytes(), keys()).prop_map(|(key, elements)| StringWrite::SketchAdd { key, elements }),
        (bytes(), keys())
            .prop_map(|(destination, sources)| StringWrite::SketchMerge { destination, sources }),
        Just(StringWrite::Flush),
    ]
}

fn reply() -> impl Strategy<Value = StringReply> {
    prop_oneof![
        Just(StringReply::Ok),
        Just(StringReply::Nil),
        any::<i64>().prop_map(StringReply::Integer),
        bytes().prop_map(StringReply::Bulk),
        Just(StringReply::Refused(StringRefusal::Overflow)),
    ]
}

proptest! {
    #[test]
    fn commands_come_back_as_they_went(command in prop_oneof![about_values(), about_keys()]) {
        prop_assert_eq!(decode_write(encode_write(&command)), Ok(command));
    }

    #[test]
    fn replies_come_back_as_they_went(reply in reply()) {
        prop_assert_eq!(decode_reply(encode_reply(&reply)), Ok(reply));
    }

    #[test]
    fn hostile_bytes_are_refused_or_have_this_one_encoding(
        operation in 0..20u8,
        tail in prop::collection::vec(prop_oneof![0..4u8, any::<u8>()], 0..40),
    ) {
        let bytes: Bytes = [&[VERSION, operation][..], &tail].concat().into();
        if let Ok(command) = decode_write(bytes.clone()) {
            prop_assert_eq!(encode_write(&command), bytes.clone());
        }
        if let Ok(reply) = decode_reply(bytes.clone()) {
            prop_assert_eq!(encode_reply(&reply), bytes);
        }
    }
}
