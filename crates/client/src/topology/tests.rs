use super::*;

fn topology() -> Topology {
    let node = |id: &str, address: &str, unreachable: Option<&str>| v1::NodeSummary {
        id: id.into(),
        address: address.into(),
        unreachable: unreachable.map(Into::into),
        ..Default::default()
    };
    let replica = |node: &str, role: &str, trouble: Option<&str>| v1::Replica {
        node: node.into(),
        role: role.into(),
        trouble: trouble.map(Into::into),
        ..Default::default()
    };
    let shard = |shard, slot_first, slot_last, leader: &str| v1::Shard {
        shard,
        slot_first,
        slot_last,
        leader: leader.into(),
        replicas: vec![
            replica("a", "follower", Some("damaged")),
            replica("b", "leader", None),
            replica("c", "", None),
            replica("d", "learner", None),
        ],
        ..Default::default()
    };
    let nodes = vec![
        node("a", "a:1", None),
        node("b", "b:1", None),
        node("c", "", Some("gone")),
        node("d", "d:1", None),
    ];
    let meta = shard(ShardId::META.get(), 0, 0, "c");
    let shards = vec![shard(1, 8_192, 16_383, "b"), shard(0, 0, 8_191, "a"), meta];
    Topology::new(
        v1::NodesResponse { nodes, ..Default::default() },
        v1::ShardsResponse { shards, epoch: 1 },
    )
}

fn slot(raw: u16) -> Slot {
    Slot::new(raw).expect("a slot")
}

fn choose(target: Target, doubtful: &[&str], draw: usize) -> String {
    let given: [Address; 1] = ["seed:1".into()];
    let is_doubtful = |address: &Address| doubtful.contains(&&**address);
    topology().choose(target, &given, is_doubtful, draw).expect("an address").to_string()
}

#[test]
fn each_slot_has_the_leader_of_its_shard_and_the_meta_shard_has_no_slots() {
    let topology = topology();
    for (raw, leader) in [(0, "a:1"), (8_191, "a:1"), (8_192, "b:1"), (16_383, "b:1")] {
        assert_eq!(topology.leader_of(slot(raw)).map(|it| &**it), Some(leader), "slot {raw}");
    }
    assert!(topology.is_whole());
}

#[test]
fn a_leader_that_does_not_answer_is_none() {
    let mut topology = topology();
    topology.shards[0].leader = None;
    assert_eq!(topology.leader_of(slot(0)), None);
    assert!(!topology.is_whole());
    assert!(!Topology::default().is_whole());
    assert_eq!(Topology::default().leader_of(slot(0)), None);
}

#[test]
fn the_leader_is_asked_then_others_then_what_was_given_then_anyone() {
    let leader = Target::Leader(slot(0));
    assert_eq!(choose(leader, &[], 1), "a:1");
    assert_eq!(choose(leader, &["a:1"], 0), "b:1");
    assert_eq!(choose(leader, &["a:1", "b:1", "d:1"], 0), "seed:1");
    assert_eq!(choose(leader, &["a:1", "b:1", "d:1", "seed:1"], 1), "b:1");
}

#[test]
fn replicas_in_service_are_asked_in_turn_and_any_node_for_what_has_no_slot() {
    let asked = |target| (0..3).map(move |draw| choose(target, &[], draw));
    assert!(asked(Target::Replica(slot(0))).eq(["b:1", "d:1", "b:1"]));
    assert!(asked(Target::Anyone).eq(["a:1", "b:1", "d:1"]));
    assert_eq!(choose(Target::Replica(slot(0)), &["b:1"], 0), "d:1");
}

#[test]
fn before_anything_is_known_what_was_given_is_asked() {
    let nothing = Topology::default();
    let target = Target::Leader(slot(0));
    let given: [Address; 1] = ["seed:1".into()];
    assert_eq!(nothing.choose(target, &given, |_| false, 7).as_deref(), Some("seed:1"));
    assert_eq!(nothing.choose(target, &[], |_| false, 7), None);
}
