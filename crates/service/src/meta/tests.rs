use std::sync::Arc;

use breccia_ring::{ReplicaPlace, Step};
use breccia_store::{Durability, Engine, MemoryEngine, ShardEngine};
use breccia_types::table::FIRST_USER_TABLE_ID;
use breccia_types::{
    ClusterId, Command, Entry, Epoch, LogIndex, MemberStatus, ReplicaId, RequestId, ShardId,
    Timestamp,
};

use super::*;
use crate::{Services, ShardMachine};

/// A meta shard with its machine.
struct Shard {
    engine: MemoryEngine,
    shard: Arc<dyn ShardEngine>,
    machine: ShardMachine,
}

fn member(node: u64, incarnation: u64) -> Member {
    Member {
        node: NodeId::new(node),
        incarnation,
        peer: format!("n{node}:7401"),
        http: format!("n{node}:7400"),
        resp: format!("n{node}:7379"),
        zone: String::new(),
        status: MemberStatus::Active,
    }
}

impl Shard {
    fn founded() -> Self {
        let founder = NodeId::new(1);
        let founding = Founding {
            id: ClusterId::new([7; 16]),
            settings: Settings { replicas: 3 },
            member: member(1, 1),
            tables: vec![Table {
                id: REDIS_TABLE_ID,
                name: "redis".to_owned(),
                options: TableOptions::default(),
            }],
            dropping: Vec::new(),
            next_table: FIRST_USER_TABLE_ID,
            placement: Placement::founded_by(founder, Epoch::new(1), 4).expect("in range"),
            meta_placement: Placement::founded_by(founder, Epoch::new(1), 1).expect("in range"),
        };
        let engine = MemoryEngine::default();
        let shard = engine.open_shard(ShardId::META).expect("opens");
        let batch = founding.into_batch();
        engine.write(&[(ShardId::META, batch)], Durability::Synced).expect("writes");
        let services = Services::new([Arc::new(MetaService) as Arc<dyn Service>]);
        let machine = ShardMachine::open(Arc::clone(&shard), services).expect("opens");
        Self { engine, shard, machine }
    }

    fn write(&mut self, write: &MetaWrite) -> MetaReply {
        let index: LogIndex = self.machine.applied().index.next();
        let stamp = Timestamp::from_micros(i64::try_from(index.get()).expect("small"));
        let request_id: Option<RequestId> = None;
        let command = Command { service: SERVICE_ID, request_id, payload: encode_write(write) };
        let entry = Entry { index, stamp, commands: vec![command] };
        let mut prepared = self.machine.prepare(&[entry]).expect("prepares");
        let batch = std::mem::take(&mut prepared.batch);
        self.engine.write(&[(ShardId::META, batch)], Durability::Synced).expect("writes");
        let outcomes = self.machine.commit(prepared);
        decode_reply(outcomes[0][0].as_ref().expect("applied")).expect("decodes")
    }

    fn state(&self) -> ClusterState {
        ClusterState::load(self.shard.as_ref()).expect("loads").expect("founded")
    }

    fn place(&mut self, of: Placed, from: &Placement, step: &Step) -> MetaReply {
        let placement = from.after(step).expect("possible").encode();
        self.write(&MetaWrite::Place { of, from_epoch: from.epoch().get(), placement })
    }
}

fn create(name: &str) -> MetaWrite {
    MetaWrite::CreateTable { name: name.to_owned(), options: TableOptions::default() }
}

fn is_refused(reply: &MetaReply, why: &MetaRefusal) -> bool {
    matches!(reply, MetaReply::Refused { refusal } if refusal == why)
}

#[test]
fn a_node_without_the_meta_shard_knows_no_cluster() {
    let empty = MemoryEngine::default().open_shard(ShardId::META).expect("opens");
    assert_eq!(ClusterState::load(empty.as_ref()), Ok(None));
}

#[test]
fn a_later_run_of_a_node_takes_its_place_and_an_earlier_one_is_refused() {
    let mut shard = Shard::founded();
    let moved = Member { peer: "elsewhere:1".to_owned(), ..member(2, 5) };
    for member in [member(2, 4), moved.clone()] {
        assert_eq!(shard.write(&MetaWrite::Register { member }), MetaReply::Done);
    }
    let reply = shard.write(&MetaWrite::Register { member: member(2, 4) });
    assert!(is_refused(&reply, &MetaRefusal::StaleIncarnation { known: 5 }), "{reply:?}");
    assert_eq!(shard.state().members[&NodeId::new(2)], moved);
}

#[test]
fn a_placement_made_from_an_old_one_is_refused() {
    let mut shard = Shard::founded();
    let first = shard.state().placement;
    let step = |node| Step::AddLearner { shard: ShardId::new(0), node: NodeId::new(node) };
    assert_eq!(shard.place(Placed::Shards, &first, &step(2)), MetaReply::Done);
    let reply = shard.place(Placed::Shards, &first, &step(3));
    assert!(is_refused(&reply, &MetaRefusal::StaleEpoch { epoch: 2 }), "{reply:?}");
    let state = shard.state();
    let added =
        ReplicaPlace { replica: ReplicaId::new(5), node: NodeId::new(2), role: Role::Learner };
    assert_eq!(state.placement.replicas(ShardId::new(0))[1], added);
    assert_eq!(state.meta_placement.epoch(), Epoch::new(1));
}

#[test]
fn a_node_is_forgotten_only_when_it_holds_nothing() {
    let mut shard = Shard::founded();
    let reply = shard.write(&MetaWrite::Remove { node: NodeId::new(1) });
    assert!(is_refused(&reply, &MetaRefusal::HoldsReplicas), "{reply:?}");
    shard.write(&MetaWrite::Register { member: member(2, 1) });
    assert_eq!(shard.write(&MetaWrite::Remove { node: NodeId::new(2) }), MetaReply::Done);
    assert!(!shard.state().members.contains_key(&NodeId::new(2)));
}

#[test]
fn a_table_that_is_dropped_and_made_again_is_another_table() {
    let mut shard = Shard::founded();
    let MetaReply::Table { table: first } = shard.write(&create("t")) else {
        panic!("not created");
    };
    assert_eq!(first.id, FIRST_USER_TABLE_ID);
    assert!(is_refused(&shard.write(&create("t")), &MetaRefusal::TableExists));
    let begin = MetaWrite::BeginDrop { name: "t".to_owned() };
    assert_eq!(shard.write(&begin), MetaReply::Table { table: first.clone() });
    assert!(is_refused(&shard.write(&begin), &MetaRefusal::UnknownTable));
    assert_eq!(shard.state().dropping, std::slice::from_ref(&first));
    let MetaReply::Table { table: second } = shard.write(&create("t")) else {
        panic!("not created");
    };
    assert_ne!(second.id, first.id);
    assert_eq!(shard.write(&MetaWrite::FinishDrop { table: first.id }), MetaReply::Done);
    let state = shard.state();
    assert!(state.dropping.is_empty());
    assert_eq!(state.tables.keys().collect::<Vec<_>>(), ["redis", "t"]);
}

#[test]
fn the_systems_table_stays_and_the_number_of_tables_is_bounded() {
    let mut shard = Shard::founded();
    let reply = shard.write(&MetaWrite::BeginDrop { name: "redis".to_owned() });
    assert!(is_refused(&reply, &MetaRefusal::TableProtected), "{reply:?}");
    for n in 1..TABLES_MAX {
        let reply = shard.write(&create(&format!("t{n}")));
        assert!(matches!(reply, MetaReply::Table { .. }), "{reply:?}");
    }
    assert!(is_refused(&shard.write(&create("one_more")), &MetaRefusal::TooManyTables));
    shard.write(&MetaWrite::BeginDrop { name: "t1".to_owned() });
    assert!(matches!(shard.write(&create("one_more")), MetaReply::Table { .. }));
}

#[test]
fn columns_and_settings_are_remembered() {
    let mut shard = Shard::founded();
    shard.write(&create("t"));
    let describe = MetaWrite::DescribeColumns {
        name: "t".to_owned(),
        columns: Vec::new(),
        key_template: Some("{a}".to_owned()),
    };
    assert!(matches!(shard.write(&describe), MetaReply::Table { .. }));
    let settings = Settings { replicas: 5 };
    assert_eq!(shard.write(&MetaWrite::Configure { settings }), MetaReply::Done);
    let state = shard.state();
    assert_eq!(state.tables["t"].options.key_template.as_deref(), Some("{a}"));
    assert_eq!((state.settings, state.id), (settings, ClusterId::new([7; 16])));
}

#[test]
fn the_bytes_of_version_one_stay_what_they_are() {
    let drop = MetaWrite::BeginDrop { name: "t".to_owned() };
    assert_eq!(&encode_write(&drop)[..], b"\x01{\"op\":\"begin_drop\",\"name\":\"t\"}");
    let register = MetaWrite::Register { member: member(2, 5) };
    let written = br#"{"op":"register","member":{"node":2,"incarnation":5,"peer":"n2:7401","http":"n2:7400","resp":"n2:7379","zone":"","status":"active"}}"#;
    assert_eq!(&encode_write(&register)[1..], written);
    let refused = b"\x01{\"reply\":\"refused\",\"refusal\":{\"why\":\"stale_epoch\",\"epoch\":7}}";
    let refusal = MetaRefusal::StaleEpoch { epoch: 7 };
    assert_eq!(decode_reply(refused), Ok(MetaReply::Refused { refusal }));
    assert!(decode_reply(b"\x02{}").is_err() && decode_reply(b"").is_err());
}
