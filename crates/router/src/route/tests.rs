use breccia_types::ReplicaId;

use super::*;

/// The node that decides.
const ME: u64 = 1;

fn n(id: u64) -> NodeId {
    NodeId::new(id)
}

/// Voters on nodes 2 to 4, a learner on node 5, epoch 10.
fn placed() -> Vec<ReplicaPlace> {
    let place = |id, role| ReplicaPlace { replica: ReplicaId::new(id), node: n(id), role };
    let voters = [2, 3, 4].map(|id| place(id, Role::Voter));
    voters.into_iter().chain([place(5, Role::Learner)]).collect()
}

fn view(replicas: &[ReplicaPlace]) -> View<'_> {
    View {
        node: n(ME),
        role: LocalRole::Absent,
        epoch: Epoch::new(10),
        replicas,
        hint: None,
        suspects: &[],
        tried: &[],
        draw: 0,
    }
}

fn hint(leader: u64, epoch: u64) -> Option<Hint> {
    Some(Hint { leader: n(leader), epoch: Epoch::new(epoch) })
}

const fn led_by(leader: Option<NodeId>) -> LocalRole {
    LocalRole::Follower { leader }
}

fn forward(to: u64) -> Route {
    Route::Forward { to: n(to), hops_left: 0 }
}

fn relay(to: u64, hops_left: u8) -> Route {
    Route::Forward { to: n(to), hops_left }
}

const STALE: Consistency = Consistency::Stale { max: Duration::from_secs(5) };
const EXHAUSTED: Route = Route::Refuse(Reason::Exhausted);
const NOT_HERE: Route = Route::Refuse(Reason::NotHere);

/// Checks each row: what is decided, and of what.
fn check(journey: &Journey, wanted: Consistency, rows: &[(Route, View<'_>)]) {
    for (at, (expected, view)) in rows.iter().enumerate() {
        assert_eq!(route(view, journey, wanted), *expected, "row {at}: {view:?}");
    }
}

#[test]
fn a_node_answers_itself_what_its_role_allows() {
    for (role, wanted, answers) in [
        (LocalRole::Leader, Consistency::Linearizable, true),
        (LocalRole::Leader, Consistency::Strict, true),
        (LocalRole::Leader, STALE, true),
        (led_by(None), Consistency::Linearizable, false),
        (led_by(Some(n(2))), Consistency::Strict, false),
        (led_by(None), STALE, true),
        (LocalRole::Absent, Consistency::Linearizable, false),
        (LocalRole::Absent, STALE, false),
    ] {
        assert_eq!(serves(role, wanted), answers, "{role:?} {wanted:?}");
        let view = View { role, ..view(&[]) };
        let here = route(&view, &Journey::Starts, wanted) == Route::Here;
        assert_eq!(here, answers, "{role:?} {wanted:?}");
    }
}

#[test]
fn who_wants_the_leader_asks_whom_it_believes_to_lead_then_the_other_voters() {
    let placed = placed();
    let v = view(&placed);
    let two = led_by(Some(n(2)));
    let own = View { role: LocalRole::Leader, tried: &[n(ME)], ..v };
    check(
        &Journey::Starts,
        Consistency::Linearizable,
        &[
            // Nothing is known: any voter, by the draw, never the learner.
            (forward(2), v),
            (forward(4), View { draw: 5, ..v }),
            // The own replica knows best; what others said is second; then the other voters.
            (forward(3), View { hint: hint(3, 10), ..v }),
            (forward(2), View { role: two, hint: hint(3, 10), ..v }),
            (forward(3), View { role: two, hint: hint(3, 10), tried: &[n(2)], ..v }),
            (forward(4), View { role: two, hint: hint(3, 10), tried: &[n(2), n(3)], ..v }),
            (EXHAUSTED, View { role: two, tried: &[n(2), n(3), n(4)], ..v }),
            // An older view is believed only about nodes that hold the shard; a newer one always.
            (forward(9), View { hint: hint(9, 11), ..v }),
            (forward(2), View { hint: hint(9, 9), ..v }),
            (forward(4), View { hint: hint(4, 9), ..v }),
            // Who names this node, which does not lead, is of no help.
            (forward(2), View { role: led_by(None), hint: hint(ME, 10), ..v }),
            // A leader that cannot answer for now looks for another, and does not ask itself.
            (forward(2), own),
        ],
    );
}

#[test]
fn a_leader_that_cannot_be_reached_is_asked_through_others_with_hops_left() {
    let placed = placed();
    let v = View { hint: hint(3, 10), suspects: &[n(3)], ..view(&placed) };
    let hops = FORWARD_HOPS_MAX - 1;
    let all = [n(2), n(3), n(4)];
    check(
        &Journey::Starts,
        Consistency::Linearizable,
        &[
            (relay(2, hops), v),
            (relay(4, hops), View { tried: &[n(2)], ..v }),
            (EXHAUSTED, View { tried: &[n(2), n(4)], ..v }),
            // A suspect of whom nothing is known but that is passed over, without hops.
            (forward(2), View { hint: None, ..v }),
            (forward(4), View { hint: None, tried: &[n(2)], ..v }),
            // If all are suspects, one is tried all the same, and only one.
            (forward(3), View { suspects: &all, ..v }),
            (forward(2), View { suspects: &all, hint: None, ..v }),
            (EXHAUSTED, View { suspects: &all, tried: &[n(3)], ..v }),
            // That this node itself could not help does not count as having asked.
            (forward(3), View { suspects: &all, tried: &[n(ME)], role: led_by(None), ..v }),
        ],
    );
}

#[test]
fn a_shard_that_no_node_is_known_to_hold_is_refused() {
    let v = view(&[]);
    for wanted in [Consistency::Linearizable, Consistency::Strict, STALE] {
        assert_eq!(route(&v, &Journey::Starts, wanted), Route::Refuse(Reason::Unplaced));
    }
    // Unless somebody who knows more named one.
    let told = View { hint: hint(7, 11), ..v };
    assert_eq!(route(&told, &Journey::Starts, Consistency::Strict), forward(7));
}

#[test]
fn a_forwarded_request_is_passed_on_to_the_leader_or_not_at_all() {
    let placed = placed();
    let v = View { role: led_by(Some(n(2))), ..view(&placed) };
    let came = |hops_left, visited: &[u64]| Journey::Forwarded {
        hops_left,
        visited: visited.iter().copied().map(n).collect(),
    };
    let strict = Consistency::Strict;
    check(&came(0, &[4]), strict, &[(NOT_HERE, v)]);
    check(&came(3, &[4]), strict, &[(relay(2, 2), v)]);
    check(&came(1, &[4]), strict, &[(relay(2, 0), v)]);
    check(&came(0, &[4]), strict, &[(Route::Here, View { role: LocalRole::Leader, ..v })]);
    // Never back to where it came from, even if two nodes point at each other.
    check(&came(3, &[2]), strict, &[(NOT_HERE, v)]);
    check(&came(3, &[2, 4]), strict, &[(NOT_HERE, v)]);
    check(&came(3, &[2]), strict, &[(relay(3, 2), View { hint: hint(3, 10), ..v })]);
    // No search: the sender searches.
    check(&came(3, &[4]), strict, &[(NOT_HERE, View { role: led_by(None), ..v })]);
    check(&came(3, &[4]), strict, &[(NOT_HERE, View { suspects: &[n(2)], ..v })]);
    check(&came(3, &[4]), strict, &[(NOT_HERE, View { tried: &[n(2)], ..v })]);
    // Stale reads are answered or handed back.
    check(&came(3, &[4]), STALE, &[(Route::Here, v)]);
    check(&came(3, &[4]), STALE, &[(NOT_HERE, View { role: LocalRole::Absent, ..v })]);
}

#[test]
fn a_stale_read_goes_to_any_replica_voters_first() {
    let placed = placed();
    let v = view(&placed);
    let follower = View { role: led_by(Some(n(3))), ..v };
    check(
        &Journey::Starts,
        STALE,
        &[
            (Route::Here, follower),
            (forward(2), v),
            (forward(3), View { draw: 1, ..v }),
            (forward(4), View { suspects: &[n(2)], tried: &[n(3)], ..v }),
            (forward(5), View { suspects: &[n(2), n(4)], tried: &[n(3)], ..v }),
            (EXHAUSTED, View { tried: &[n(2), n(3), n(4), n(5)], ..v }),
            // The own replica is too far behind.
            (forward(2), View { tried: &[n(ME)], ..follower }),
        ],
    );
}

#[test]
fn a_client_is_sent_only_where_a_leader_was_heard_and_can_be_reached() {
    let follower = |leader: u64| LocalRole::Follower { leader: Some(n(leader)) };
    let suspects = [n(4)];
    let rows = [
        // This node leads.
        (Some(ME), LocalRole::Leader, Some(2), true),
        // Its replica hears the leader, hears it no more, or knows of none.
        (Some(2), follower(2), None, true),
        (None, follower(2), None, false),
        (Some(3), follower(2), Some(3), false),
        (None, led_by(None), None, true),
        // It has no replica, and the leader has shown itself or not.
        (Some(3), LocalRole::Absent, Some(3), false),
        (None, LocalRole::Absent, None, true),
        // Who cannot be reached is no help, nor is this node.
        (None, follower(4), None, true),
        (Some(3), follower(4), Some(3), true),
        (None, LocalRole::Absent, Some(4), true),
        (None, LocalRole::Absent, Some(ME), true),
    ];
    for (at, (expected, role, shown, hears_leader)) in rows.into_iter().enumerate() {
        // What others said does not count.
        let view = View { role, suspects: &suspects, hint: hint(5, 20), ..view(&[]) };
        let certain = view.certain_leader(shown.map(n), hears_leader);
        assert_eq!(certain, expected.map(n), "row {at}");
    }
}
