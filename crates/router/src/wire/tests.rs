use breccia_types::RequestId;
use proptest::prelude::*;

use super::*;

/// Requests and replies of the first version, one a line: name, then hexadecimal bytes.
/// Later builds must read them and write them the same.
const FIXTURE: &str = include_str!("../../testdata/v1.hex");

fn request(body: Body) -> ForwardedRequest {
    ForwardedRequest {
        epoch: Epoch::new(300),
        shard: ShardId::new(7),
        hops_left: 3,
        visited: vec![NodeId::new(1), NodeId::new(u64::MAX)],
        time_left: Duration::from_millis(1_500),
        body,
    }
}

fn requests() -> Vec<(&'static str, ForwardedRequest)> {
    let command = |request_id| Command {
        service: ServiceId::new(2),
        request_id,
        payload: Bytes::from_static(b"payload"),
    };
    let id = Some(RequestId::new(*b"0123456789abcdef"));
    let read = |consistency| {
        let request = Bytes::from_static(b"question");
        request_of(ShardRead { service: ServiceId::new(1), request, consistency })
    };
    let commands = vec![command(None), command(id)];
    vec![
        ("write", request(Body::Write { commands })),
        ("write_nothing", request(Body::Write { commands: Vec::new() })),
        ("read", read(Consistency::Linearizable)),
        ("read_strict", read(Consistency::Strict)),
        ("read_stale", read(Consistency::Stale { max: Duration::from_secs(1) })),
    ]
}

fn request_of(read: ShardRead) -> ForwardedRequest {
    request(Body::Read(read))
}

fn replies() -> Vec<(&'static str, ForwardedReply)> {
    let (by, service) = (NodeId::new(5), ServiceId::new(9));
    let outcomes = vec![
        Ok(Bytes::from_static(b"reply")),
        Err(Rejected::UnknownService { service }),
        Err(Rejected::Malformed { service }),
    ];
    let epoch = Epoch::new(301);
    vec![
        ("outcomes", ForwardedReply::Outcomes { by, outcomes }),
        ("bytes", ForwardedReply::Bytes { by, bytes: Bytes::from_static(b"answer") }),
        ("wrong_owner", ForwardedReply::WrongOwner { leader: Some(by), epoch }),
        ("no_leader", ForwardedReply::WrongOwner { leader: None, epoch }),
        ("not_now", ForwardedReply::NotNow { reason: "no majority".to_owned() }),
        ("unknown", ForwardedReply::Unknown),
        ("failed", ForwardedReply::Failed(RequestError::Busy { shard: ShardId::new(7) })),
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
    for (name, request) in requests() {
        assert_eq!(hex(&request.encode()), hex(&fixture(name)), "{name}");
        assert_eq!(ForwardedRequest::decode(fixture(name)), Ok(request));
    }
    for (name, reply) in replies() {
        assert_eq!(ForwardedReply::decode(fixture(name)), Ok(reply.clone()));
        // The text of an error may change.
        if name != "failed" {
            assert_eq!(hex(&reply.encode()), hex(&fixture(name)), "{name}");
        }
    }
}

#[test]
fn no_prefix_of_a_message_is_a_message_and_nothing_may_follow_it() {
    for (name, request) in requests() {
        let bytes = request.encode();
        for end in 0..bytes.len() {
            assert!(ForwardedRequest::decode(bytes.slice(..end)).is_err(), "{name} at {end}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(ForwardedRequest::decode(longer.into()).is_err(), "{name}");
    }
    for (name, reply) in replies() {
        let bytes = reply.encode();
        for end in 0..bytes.len() {
            assert!(ForwardedReply::decode(bytes.slice(..end)).is_err(), "{name} at {end}");
        }
    }
}

#[test]
fn only_a_write_without_request_ids_is_harmful_to_repeat() {
    let repetitions: Vec<_> =
        requests().into_iter().map(|(name, request)| (name, request.body.repetition())).collect();
    assert_eq!(repetitions[0], ("write", Repetition::Harmful));
    for (name, repetition) in &repetitions[2..] {
        assert_eq!(*repetition, Repetition::Harmless, "{name}");
    }
}

proptest! {
    #[test]
    fn hostile_bytes_are_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from([&[VERSION][..], &bytes].concat());
        if let Ok(request) = ForwardedRequest::decode(bytes.clone()) {
            prop_assert_eq!(request.encode(), bytes.clone());
        }
        let _ = ForwardedReply::decode(bytes);
    }
}
