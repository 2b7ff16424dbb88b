//! Histories that must be accepted, and histories that must not.

use proptest::prelude::*;

use super::*;
use crate::history::{Answer, ClientId, Protocol, Value};
use crate::register::{self, State};

fn value(text: &str) -> Value {
    Value::from(text)
}

fn operation(invoked: u64, ended: u64, call: Call, outcome: Outcome) -> Operation {
    Operation {
        client: ClientId(u32::try_from(invoked % 7).expect("small")),
        protocol: Protocol::Resp,
        node: 0,
        call,
        invoked: Moment(invoked),
        ended: Moment(ended),
        outcome,
    }
}

fn told(invoked: u64, ended: u64, call: Call, answer: Answer) -> Operation {
    operation(invoked, ended, call, Outcome::Answered(answer))
}

fn write(invoked: u64, ended: u64, text: &str) -> Operation {
    told(invoked, ended, Call::Write(value(text)), Answer::Done)
}

fn read(invoked: u64, ended: u64, text: Option<&str>) -> Operation {
    told(invoked, ended, Call::Read, Answer::Found(text.map(value)))
}

fn increment(invoked: u64, ended: u64, number: i64) -> Operation {
    told(invoked, ended, Call::Increment(1), Answer::Number(number))
}

fn unknown(invoked: u64, call: Call) -> Operation {
    operation(invoked, invoked + 5, call, Outcome::Unknown("cut".to_owned()))
}

#[track_caller]
fn assert_good(operations: &[Operation]) {
    let verdict = check(operations);
    assert_eq!(verdict, Verdict::Linearizable);
}

/// The instant of asking of the operation that nothing explains.
#[track_caller]
fn assert_bad(operations: &[Operation]) -> u64 {
    match check(operations) {
        Verdict::Violation(counterexample) => {
            let text = counterexample.to_string();
            assert!(text.lines().any(|line| line.starts_with("==>")), "{text}");
            counterexample.impossible().expect("an impossible answer").invoked.0
        }
        verdict => panic!("{verdict:?}"),
    }
}

#[test]
fn a_read_during_a_write_may_see_it_or_not_but_not_go_back() {
    assert_good(&[write(10, 50, "a"), read(20, 30, None), read(31, 40, Some("a"))]);
    assert_eq!(assert_bad(&[write(10, 50, "a"), read(20, 30, Some("a")), read(31, 40, None)]), 31);
}

#[test]
fn a_stale_read_is_found() {
    let history = [write(1, 2, "a"), write(3, 4, "b"), read(5, 6, Some("a"))];
    assert_eq!(assert_bad(&history), 5);
}

#[test]
fn a_lost_write_is_found() {
    assert_eq!(assert_bad(&[write(1, 2, "a"), read(5, 6, None)]), 5);
    let deleted = told(3, 4, Call::Delete, Answer::Existed(true));
    assert_good(&[write(1, 2, "a"), deleted, read(5, 6, None)]);
}

#[test]
fn a_doubled_increment_is_found() {
    assert_good(&[increment(1, 2, 1), increment(3, 4, 2)]);
    assert_eq!(assert_bad(&[increment(1, 2, 1), increment(3, 4, 3)]), 3);
}

#[test]
fn an_increment_of_unknown_outcome_counts_once_or_not_at_all() {
    let cut = || unknown(3, Call::Increment(1));
    assert_good(&[increment(1, 2, 1), cut(), increment(20, 21, 2)]);
    assert_good(&[increment(1, 2, 1), cut(), increment(20, 21, 3)]);
    assert_eq!(assert_bad(&[increment(1, 2, 1), cut(), increment(20, 21, 4)]), 20);
}

#[test]
fn an_unknown_write_may_take_effect_late_but_not_vanish_again() {
    let cut = || unknown(3, Call::Write(value("b")));
    let seen =
        |last| [write(1, 2, "a"), cut(), read(20, 21, Some("a")), read(30, 31, Some("b")), last];
    assert_good(&seen(read(40, 41, Some("b"))));
    assert_eq!(assert_bad(&seen(read(40, 41, Some("a")))), 40);
}

#[test]
fn an_unknown_write_has_no_effect_before_it_was_asked_for() {
    let history = [write(1, 2, "a"), read(3, 4, Some("b")), unknown(5, Call::Write(value("b")))];
    assert_eq!(assert_bad(&history), 3);
}

#[test]
fn a_refused_write_must_not_be_seen() {
    let refused = operation(3, 4, Call::Write(value("b")), Outcome::Refused("busy".to_owned()));
    assert_good(&[write(1, 2, "a"), refused.clone(), read(5, 6, Some("a"))]);
    assert_eq!(assert_bad(&[write(1, 2, "a"), refused, read(5, 6, Some("b"))]), 5);
}

#[test]
fn a_swap_that_was_applied_twice_is_found() {
    let swap = |invoked, swapped, instead| {
        let call = Call::CompareAndSet { expected: Some(value("a")), new: Some(value("b")) };
        told(invoked, invoked + 1, call, Answer::Swapped { swapped, instead })
    };
    assert_good(&[write(1, 2, "a"), swap(3, true, None), read(5, 6, Some("b"))]);
    // The client was told the answer of the second time.
    let second = swap(3, false, Some(Some(value("b"))));
    assert_eq!(assert_bad(&[write(1, 2, "a"), second]), 3);
}

#[test]
fn many_unknown_writes_do_not_make_the_search_explode() {
    let mut history: Vec<Operation> =
        (0..40).map(|n| unknown(n, Call::Write(format!("lost{n}").into()))).collect();
    for n in 0..150 {
        let at = 100 + n * 4;
        let text = n.to_string();
        history.push(write(at, at + 1, &text));
        history.push(read(at + 2, at + 3, Some(&text)));
    }
    assert_good(&history);
    history.push(read(2_000, 2_001, Some("3")));
    assert_eq!(assert_bad(&history), 2_000);
}

/// Calls on few values, so that histories are full of coincidences.
fn calls() -> impl Strategy<Value = Call> {
    let text = || (0..4).prop_map(|n: i32| value(&n.to_string()));
    let row = move || prop::option::of(text());
    prop_oneof![
        3 => Just(Call::Read),
        2 => text().prop_map(Call::Write),
        1 => text().prop_map(Call::Exchange),
        2 => (row(), row()).prop_map(|(expected, new)| Call::CompareAndSet { expected, new }),
        2 => (1..3i64).prop_map(Call::Increment),
        1 => text().prop_map(Call::Append),
        1 => Just(Call::Delete),
    ]
}

/// When an operation is asked for, takes effect and is answered; and what its client knows:
/// 0 and 1: nothing, and it took effect or did not; else the answer.
fn timings(operations: usize) -> impl Strategy<Value = Vec<(Call, u64, u64, u64, u8)>> {
    let one = (calls(), 0..600u64, 0..30u64, 0..30u64, 0..20u8);
    prop::collection::vec(one, 1..operations)
}

/// What clients of an atomic register see.
fn atomic_history(mut timings: Vec<(Call, u64, u64, u64, u8)>) -> Vec<Operation> {
    timings.sort_by_key(|(_, invoked, before, ..)| invoked + before);
    let mut state: State = None;
    let mut history = Vec::new();
    for (call, invoked, before, after, knows) in timings {
        let ended = invoked + before + after;
        let Some((next, answer)) = register::apply(&state, &call) else {
            let refused = Outcome::Refused("no number".to_owned());
            history.push(operation(invoked, ended, call, refused));
            continue;
        };
        let outcome = match knows {
            0 | 1 => Outcome::Unknown("cut".to_owned()),
            _ => Outcome::Answered(answer),
        };
        if knows != 1 {
            state = next;
        }
        history.push(operation(invoked, ended, call, outcome));
    }
    history
}

/// Whether some order explains a history, by trying all orders of all choices.
fn naive(history: &[Operation], state: &State, left: &[usize]) -> bool {
    let needed = |at: &usize| matches!(history[*at].outcome, Outcome::Answered(_));
    if !left.iter().any(needed) {
        return true;
    }
    let first_answer =
        left.iter().filter(|at| needed(at)).map(|at| history[*at].ended).min().expect("one");
    left.iter().any(|at| {
        let Operation { invoked, call, outcome, .. } = &history[*at];
        let Some((next, right)) = register::apply(state, call) else { return false };
        let agrees = match outcome {
            Outcome::Answered(told) => register::agrees(told, &right),
            Outcome::Unknown(_) => true,
            Outcome::Refused(_) => false,
        };
        let rest: Vec<usize> = left.iter().copied().filter(|other| other != at).collect();
        agrees && *invoked <= first_answer && naive(history, &next, &rest)
    })
}

proptest! {
    #[test]
    fn what_an_atomic_register_does_is_accepted(timings in timings(60)) {
        prop_assert_eq!(check(&atomic_history(timings)), Verdict::Linearizable);
    }

    /// One answer of a good history is replaced, which may or may not make it impossible.
    #[test]
    fn the_verdict_is_that_of_trying_all_orders(
        timings in timings(7),
        which in any::<prop::sample::Index>(),
        other in prop::option::of((0..4).prop_map(|n: i32| value(&n.to_string()))),
    ) {
        let mut history = atomic_history(timings);
        let at = which.index(history.len());
        let replaced = match &history[at].outcome {
            Outcome::Answered(Answer::Found(_)) => Some(Answer::Found(other)),
            Outcome::Answered(Answer::Number(number)) => Some(Answer::Number(number + 1)),
            Outcome::Answered(Answer::Existed(existed)) => Some(Answer::Existed(!existed)),
            Outcome::Answered(Answer::Length(bytes)) => Some(Answer::Length(bytes + 1)),
            Outcome::Answered(Answer::Swapped { swapped, .. }) => {
                Some(Answer::Swapped { swapped: !swapped, instead: None })
            }
            _ => None,
        };
        if let Some(answer) = replaced {
            history[at].outcome = Outcome::Answered(answer);
        }
        let all: Vec<usize> = (0..history.len()).collect();
        let expected = naive(&history, &None, &all);
        prop_assert_eq!(check(&history) == Verdict::Linearizable, expected);
    }
}
