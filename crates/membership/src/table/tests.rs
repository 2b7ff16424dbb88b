use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;

const DEAD_AFTER: Duration = Duration::from_secs(5);
const FORGET_AFTER: Duration = Duration::from_secs(60);

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn table() -> Table {
    let patience = Patience { dead_after: DEAD_AFTER, forget_after: Some(FORGET_AFTER) };
    let mut table = Table::new(NodeId::new(1), patience);
    table.set_local(Incarnation::new(1), NodeInfo::at(addr(1)));
    table
}

fn sighting(node: u64, incarnation: u64, presence: Presence) -> Sighting {
    let info = NodeInfo::at(addr(u16::try_from(incarnation).expect("small")));
    let incarnation = Incarnation::new(incarnation);
    Sighting { node: NodeId::new(node), incarnation, info, presence }
}

fn state(table: &Table, node: u64) -> Option<MemberState> {
    table.view().members.get(&NodeId::new(node)).map(|member| member.state)
}

fn incarnation(table: &Table, node: u64) -> u64 {
    table.view().members[&NodeId::new(node)].incarnation.get()
}

#[test]
fn a_silent_node_is_suspected_then_dead_then_forgotten_and_alive_again_once_it_is_heard() {
    let mut table = table();
    let start = Instant::now();
    let live = || vec![sighting(2, 1, Presence::Live)];
    let silent = || vec![sighting(2, 1, Presence::Silent)];
    table.observe(start, silent());
    assert_eq!(state(&table, 2), None, "never heard of");
    table.observe(start, live());
    assert_eq!(state(&table, 2), Some(MemberState::Alive));
    table.observe(start, silent());
    assert_eq!(state(&table, 2), Some(MemberState::Suspect { since: start }));
    table.observe(start + DEAD_AFTER / 2, live());
    assert_eq!(state(&table, 2), Some(MemberState::Alive));
    table.observe(start, silent());
    table.observe(start + DEAD_AFTER, vec![]);
    assert_eq!(state(&table, 2), Some(MemberState::Dead { since: start }));
    table.observe(start + DEAD_AFTER, live());
    assert_eq!(state(&table, 2), Some(MemberState::Alive));
    table.observe(start, silent());
    table.observe(start + DEAD_AFTER, silent());
    table.observe(start + FORGET_AFTER, silent());
    assert_eq!(state(&table, 2), None);
    assert_eq!(state(&table, 1), Some(MemberState::Alive), "oneself");
}

#[test]
fn a_later_run_replaces_the_earlier_and_the_earlier_never_comes_back() {
    let mut table = table();
    let now = Instant::now();
    let [old, new] = [3, 4].map(|run| sighting(2, run, Presence::Live));
    table.observe(now, vec![old.clone()]);
    let not_yet_heard = sighting(2, 4, Presence::Silent);
    table.observe(now, vec![old.clone(), not_yet_heard]);
    assert_eq!((incarnation(&table, 2), state(&table, 2)), (3, Some(MemberState::Alive)));
    table.observe(now, vec![new, old.clone()]);
    assert_eq!(incarnation(&table, 2), 4);
    table.observe(now, vec![old]);
    assert_eq!(incarnation(&table, 2), 4);
    assert_eq!(state(&table, 2), Some(MemberState::Suspect { since: now }));
}

#[test]
fn a_node_that_leaves_is_dead_at_once_until_its_next_run() {
    let mut table = table();
    let now = Instant::now();
    let later = now + Duration::from_secs(1);
    table.observe(now, vec![sighting(3, 1, Presence::Left)]);
    assert_eq!(state(&table, 3), None, "it left before we came");
    table.observe(now, vec![sighting(2, 1, Presence::Live)]);
    table.observe(now, vec![sighting(2, 1, Presence::Left)]);
    table.observe(later, vec![sighting(2, 1, Presence::Left)]);
    assert_eq!(state(&table, 2), Some(MemberState::Dead { since: now }));
    let next = sighting(2, 2, Presence::Live);
    table.observe(later, vec![sighting(2, 1, Presence::Left), next]);
    assert_eq!(state(&table, 2), Some(MemberState::Alive));
}

#[test]
fn when_the_table_is_full_the_longest_dead_make_room_and_else_nobody_does() {
    let mut table = table();
    let now = Instant::now();
    let count = u64::try_from(MEMBERS_MAX).expect("small");
    let all: Vec<_> = (2..=count).map(|node| sighting(node, 1, Presence::Live)).collect();
    table.observe(now, all.clone());
    assert_eq!(table.view().members.len(), MEMBERS_MAX);
    let with = |node| [all.clone(), vec![sighting(node, 1, Presence::Live)]].concat();
    table.observe(now, with(count + 1));
    assert_eq!(state(&table, count + 1), None);
    let without_2 = |at| {
        let seen = with(count + 1).into_iter().filter(|seen| seen.node != NodeId::new(2));
        (at, seen.collect::<Vec<_>>())
    };
    for (at, seen) in [without_2(now), without_2(now + DEAD_AFTER), without_2(now + DEAD_AFTER)] {
        table.observe(at, seen);
    }
    assert_eq!(state(&table, 2), None);
    assert_eq!(state(&table, count + 1), Some(MemberState::Alive));
    assert_eq!(table.view().members.len(), MEMBERS_MAX);
}

proptest! {
    #[test]
    fn runs_never_go_back_and_oneself_is_always_alive(
        seen in prop::collection::vec(
            prop::collection::vec((1..4u64, 0..4u64, 0..3u8), 0..5), 0..30
        ),
    ) {
        let mut table = table();
        let mut now = Instant::now();
        for moment in seen {
            let before = table.view().clone();
            let sightings = moment.into_iter().map(|(node, run, presence)| {
                let all = [Presence::Live, Presence::Silent, Presence::Left];
                sighting(node, run, all[usize::from(presence)])
            });
            now += Duration::from_secs(2);
            table.observe(now, sightings.collect());
            prop_assert_eq!(state(&table, 1), Some(MemberState::Alive));
            prop_assert_eq!(incarnation(&table, 1), 1);
            for (node, member) in &table.view().members {
                if let Some(known) = before.members.get(node) {
                    prop_assert!(known.incarnation <= member.incarnation);
                }
            }
        }
    }
}
