use breccia_types::{Epoch, NodeId, ReplicaId, ShardId};
use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::step::Step;

/// What a build of format version 1 wrote. Never changed: later builds must read it.
const FIXTURE_V1: &str = include_str!("../../../testdata/v1/placement.hex");
/// The same of format version 2.
const FIXTURE_V2: &str = include_str!("../../../testdata/v2/placement.hex");

/// Three shards; shard 1 moved from n1 to n300 and has a learner on n2, shard 2 lost one.
fn sample() -> Placement {
    let shard = ShardId::new(1);
    let r = ReplicaId::new;
    let steps = [
        Step::AddLearner { shard, node: NodeId::new(300) },
        Step::Replace { shard, add: r(4), remove: r(2) },
        Step::AddLearner { shard, node: NodeId::new(2) },
        Step::AddLearner { shard: ShardId::new(2), node: NodeId::new(u64::MAX) },
        Step::Remove { shard: ShardId::new(2), replica: r(6) },
    ];
    let founded = Placement::founded_by(NodeId::new(1), Epoch::new(200), 3).expect("in range");
    steps.iter().fold(founded, |placement, step| placement.after(step).expect("possible"))
}

/// The same after the log of shard 1 has gone ahead.
fn followed() -> Placement {
    let shard = ShardId::new(1);
    let voter = |place: &ReplicaPlace| ReplicaPlace { role: Role::Voter, ..*place };
    let members: Vec<_> = sample().replicas(shard).iter().map(voter).collect();
    let as_of = LogPoint { term: 3, index: 400 };
    sample().after_log(shard, &members, as_of).expect("it differs")
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .map(|digit| u8::try_from(digit).expect("a digit"))
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn a_placement_that_an_earlier_build_wrote_is_read_and_written_the_same() {
    let fixture = from_hex(FIXTURE_V2);
    assert_eq!(Placement::decode(fixture.clone().into()), Ok(followed()));
    assert_eq!(followed().encode(), fixture);
}

#[test]
fn a_placement_of_version_1_is_read_as_one_that_has_followed_no_log() {
    assert_eq!(Placement::decode(from_hex(FIXTURE_V1).into()), Ok(sample()));
}

#[test]
fn another_version_is_refused_by_its_number() {
    let mut bytes = sample().encode();
    bytes[0] = 3;
    let error = DecodeError::UnknownVersion { version: 3 };
    assert_eq!(Placement::decode(bytes.into()), Err(error));
}

#[test]
fn what_no_placement_can_be_is_refused() {
    let replica = |id: u8, node: u8, role: u8| vec![id, 0, 0, 0, 0, 0, 0, 0, node, role];
    let with = |replicas: &[Vec<u8>]| {
        let mut bytes = vec![VERSION, 7, 9, 2, 0, 1, 1, 1];
        bytes.extend(replica(1, 1, VOTER));
        bytes.extend([100, 0, 0, u8::try_from(replicas.len()).expect("few")]);
        bytes.extend(replicas.concat());
        Placement::decode(bytes.into())
    };
    assert!(with(&[replica(2, 1, VOTER), replica(3, 2, LEARNER)]).is_ok());
    for (what, replicas) in [
        ("an id that was never given out", vec![replica(10, 1, VOTER)]),
        ("the id that is none", vec![replica(0, 1, VOTER)]),
        ("the id of another shard's replica", vec![replica(1, 1, VOTER)]),
        ("ids that do not ascend", vec![replica(3, 1, VOTER), replica(2, 2, VOTER)]),
        ("two replicas on a node", vec![replica(2, 1, VOTER), replica(3, 1, VOTER)]),
    ] {
        assert!(matches!(with(&replicas), Err(DecodeError::OutOfRange { .. })), "{what}");
    }
    let unknown = with(&[replica(2, 1, 3)]);
    assert!(matches!(unknown, Err(DecodeError::UnknownTag { field: "role", tag: 3, .. })));
    for (what, bytes) in [
        ("no shard", &[VERSION, 7, 9, 0][..]),
        ("slots that belong to no shard", &[VERSION, 7, 9, 1, 1, 0, 0, 0]),
        ("a shard without slots", &[VERSION, 7, 9, 2, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("a slot beyond the last", &[VERSION, 7, 9, 2, 0, 0, 0, 0, 0x80, 0x80, 1, 0, 0, 0]),
    ] {
        let read = Placement::decode(Bytes::copy_from_slice(bytes));
        assert!(matches!(read, Err(DecodeError::OutOfRange { .. })), "{what}");
    }
}

proptest! {
    #[test]
    fn every_placement_comes_back(
        epoch in any::<u64>(), shards in 1..50u32, added in prop::collection::vec(any::<u64>(), 0..40),
    ) {
        let founded = Placement::founded_by(NodeId::new(0), Epoch::new(epoch), shards);
        let placement = added.iter().fold(founded.expect("in range"), |placement, node| {
            let shard = ShardId::new(u32::try_from(node % 50).expect("small"));
            let step = Step::AddLearner { shard, node: NodeId::new(*node) };
            placement.after(&step).unwrap_or(placement)
        });
        prop_assert_eq!(Placement::decode(placement.encode().into()), Ok(placement));
    }

    #[test]
    fn hostile_bytes_are_an_error_and_what_is_read_is_written_the_same(
        mut bytes in prop::collection::vec(any::<u8>(), 0..60), at in any::<prop::sample::Index>(),
    ) {
        let mut changed = followed().encode();
        *at.get_mut(&mut changed) ^= bytes.first().copied().unwrap_or(1);
        if let Some(version) = bytes.first_mut() {
            *version = VERSION;
        }
        for bytes in [bytes, changed] {
            let is_current = bytes.first() == Some(&VERSION);
            if let (true, Ok(placement)) = (is_current, Placement::decode(bytes.clone().into())) {
                prop_assert_eq!(placement.encode(), bytes);
            }
        }
    }
}
