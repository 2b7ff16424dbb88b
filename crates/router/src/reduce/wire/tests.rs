use breccia_types::reduce::{KeyRange, Misfits, Read};
use breccia_types::table::{Retention, RowKind, TableView};
use breccia_types::{NodeId, ReductionId, TableId};
use proptest::prelude::*;

use super::*;

/// Requests and messages of the first version, one a line: name, then hexadecimal bytes.
/// Later builds must read them and write them the same.
const FIXTURE: &str = include_str!("../../../testdata/reduce-v1.hex");

fn request() -> Request {
    let retention = Retention { keep_versions: Some(3), keep_for: Some(Duration::from_secs(60)) };
    let table = TableView { id: TableId::new(300), kind: RowKind::Versioned, retention };
    let keys = KeyRange { prefix: "p".into(), from: Some("pa".into()), to: None };
    let request = Bytes::from_static(b"question");
    let shards = |raw: &[u32]| raw.iter().copied().map(ShardId::new).collect::<Vec<_>>();
    Request {
        time_left: Duration::from_millis(1_500),
        consistency: Consistency::Linearizable,
        order: Order {
            reduction: ReductionId::new(2),
            request,
            table,
            keys,
            misfits: Misfits::Refuse,
        },
        own: shards(&[0, 200]),
        others: vec![Task { node: NodeId::new(u64::MAX), shards: shards(&[7]) }],
    }
}

fn messages() -> Vec<(&'static str, Message)> {
    let read = Read { rows: 300, bytes: 70_000, skipped: 1 };
    let part = Part { partial: Some(Bytes::from_static(b"state")), read };
    let missed = Missed {
        shard: ShardId::new(7),
        asked: Some(NodeId::new(3)),
        leader: Some(NodeId::new(4)),
        reason: "no majority".to_owned(),
    };
    let covered = BTreeSet::from([ShardId::new(0), ShardId::new(200)]);
    let gathered = Gathered { part, covered, missed: vec![missed] };
    let busy = RequestError::Busy { shard: ShardId::new(7) };
    vec![
        ("progress", Message::Progress(Progress { shards: 1, rows: 300, bytes: 70_000 })),
        ("gathered", Message::Gathered(gathered)),
        ("gathered_nothing", Message::Gathered(Gathered::default())),
        ("failed", Message::Failed(busy)),
    ]
}

fn fixture(name: &str) -> Bytes {
    let hex = FIXTURE.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let pairs = hex.expect(name).as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn what_an_earlier_build_sent_is_read_and_sent_the_same() {
    assert_eq!(hex(&request().encode()), hex(&fixture("request")));
    assert_eq!(Request::decode(fixture("request")), Ok(request()));
    for (name, message) in messages() {
        assert_eq!(Message::decode(fixture(name)), Ok(message.clone()), "{name}");
        // The text of an error may change.
        if name != "failed" {
            assert_eq!(hex(&message.encode()), hex(&fixture(name)), "{name}");
        }
    }
}

#[test]
fn no_prefix_of_a_message_is_a_message() {
    let bytes = request().encode();
    for end in 0..bytes.len() {
        assert!(Request::decode(bytes.slice(..end)).is_err(), "at {end}");
    }
    for (name, message) in messages() {
        let bytes = message.encode();
        for end in 0..bytes.len() {
            assert!(Message::decode(bytes.slice(..end)).is_err(), "{name} at {end}");
        }
    }
}

#[test]
fn an_answer_that_names_a_shard_twice_is_none() {
    let twice = Bytes::from_static(&[1, 2, 1, 1, b's', 0, 0, 0, 2, 5, 5, 0]);
    assert!(matches!(Message::decode(twice), Err(DecodeError::OutOfRange { .. })));
}

proptest! {
    #[test]
    fn hostile_bytes_are_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from([&[VERSION][..], &bytes].concat());
        let _ = Request::decode(bytes.clone());
        let _ = Message::decode(bytes);
    }
}
