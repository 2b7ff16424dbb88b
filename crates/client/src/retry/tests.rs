use super::*;

use Repetition::{Harmful, Harmless};

const DEADLINE: Duration = Duration::from_secs(30);
const ID: RequestId = RequestId::new([7; 16]);
const RECOGNISED: Repetition = Repetition::Recognised { request_id: Some(ID) };
const ALL: [Repetition; 3] = [Harmless, RECOGNISED, Harmful];

fn tries(repetition: Repetition) -> Tries {
    Tries::new(repetition, DEADLINE, 10)
}

fn refused(code: Code, actor: Actor) -> Failure {
    Failure::Refused { code, actor, status: Status::unavailable("no") }
}

fn broken() -> Failure {
    Failure::Broken(Status::unknown("broken"))
}

fn not_sent() -> Failure {
    Failure::NotSent(Status::unavailable("refused"))
}

fn is_unknown(error: &Error) -> bool {
    matches!(error, Error::OutcomeUnknown { .. })
}

#[test]
fn what_surely_wrote_nothing_is_tried_again() {
    for repetition in ALL {
        assert!(tries(repetition).after(not_sent(), 0).is_ok(), "{repetition:?}");
    }
    for repetition in [Harmless, RECOGNISED] {
        let mut tries = tries(repetition);
        for failure in [
            not_sent(),
            refused(Code::Busy, Actor::Retry),
            refused(Code::ShardUnavailable, Actor::Operator),
        ] {
            assert!(tries.after(failure, 0).is_ok(), "{repetition:?}");
        }
        assert!(!is_unknown(&tries.out_of_time()));
    }
}

#[test]
fn what_may_have_written_is_tried_again_unless_that_does_harm() {
    for failure in [
        broken as fn() -> Failure,
        || refused(Code::OutcomeUnknown, Actor::Retry),
        || refused(Code::ShuttingDown, Actor::Retry),
        || refused(Code::DeadlineExceeded, Actor::Retry),
    ] {
        assert!(tries(Harmless).after(failure(), 0).is_ok());
        assert!(tries(RECOGNISED).after(failure(), 0).is_ok());
        let error = tries(Harmful).after(failure(), 0).expect_err("harm");
        assert!(is_unknown(&error), "{error}");
    }
}

#[test]
fn a_change_of_several_steps_that_a_node_cannot_finish_may_have_begun() {
    let leaderless = refused(Code::ShardUnavailable, Actor::Operator);
    let error = tries(Harmful).after(leaderless, 0).expect_err("it may have begun");
    assert!(matches!(error, Error::OutcomeUnknown { request_id: None, .. }), "{error}");
}

#[test]
fn what_the_caller_or_an_operator_must_mend_is_not_tried_again() {
    for (code, actor, may_be_written) in [
        (Code::UnknownTable, Actor::Fix, false),
        (Code::GuardFailed, Actor::Fix, false),
        (Code::ReadOnly, Actor::Operator, false),
        (Code::Storage, Actor::Operator, true),
        (Code::Internal, Actor::Operator, true),
        (Code::Other, Actor::Fix, false),
    ] {
        let error = tries(RECOGNISED).after(refused(code, actor), 0).expect_err("final");
        assert!(!error.is_retryable(), "{error}");
        assert_eq!(is_unknown(&error), may_be_written, "{error}");
        let error = tries(Harmless).after(refused(code, actor), 0).expect_err("final");
        assert_eq!(error.code(), Some(code), "a read writes nothing");
    }
}

#[test]
fn after_a_try_that_may_have_written_no_error_claims_that_nothing_was_written() {
    let uncertain = || {
        let mut tries = tries(RECOGNISED);
        assert!(tries.after(broken(), 0).is_ok());
        tries
    };
    let dropped = refused(Code::TableDropped, Actor::Fix);
    let error = uncertain().after(dropped, 0).expect_err("final");
    let Error::OutcomeUnknown { request_id, cause } = error else {
        panic!("{error}");
    };
    assert_eq!((request_id, cause.code()), (Some(ID), Some(Code::TableDropped)));
    let mut with_others = uncertain();
    assert!(with_others.after(not_sent(), 0).is_ok());
    assert!(is_unknown(&with_others.out_of_time()));
    // The shard's own answer to the first try.
    let guard = refused(Code::GuardFailed, Actor::Fix);
    assert!(!is_unknown(&uncertain().after(guard, 0).expect_err("final")));
}

#[test]
fn a_deadline_that_passes_under_way_leaves_writes_unknown_and_reads_not() {
    for repetition in ALL {
        let error = tries(repetition).after(Failure::TimedOut, 0).expect_err("late");
        assert_eq!(is_unknown(&error), repetition != Harmless, "{repetition:?}");
        assert_eq!(error.is_retryable(), repetition == Harmless, "{repetition:?}");
    }
}

#[test]
fn the_number_of_tries_is_bounded() {
    let mut tries = Tries::new(Harmless, DEADLINE, 3);
    assert!(tries.after(not_sent(), 0).is_ok());
    assert!(tries.after(not_sent(), 0).is_ok());
    let error = tries.after(not_sent(), 0).expect_err("the third");
    assert!(matches!(error, Error::Unreachable { tries: 3, .. }), "{error}");
}

#[test]
fn writes_stop_well_before_their_ids_are_forgotten() {
    let long = REQUEST_ID_REMEMBERED * 4;
    assert_eq!(Tries::new(Harmless, long, 1).deadline(), long);
    assert_eq!(Tries::new(Harmless, Duration::MAX, 1).deadline(), READ_DEADLINE_MAX);
    assert_eq!(Tries::new(RECOGNISED, long, 1).deadline(), WRITE_DEADLINE_MAX);
}

#[test]
fn the_wait_doubles_up_to_a_bound_and_lies_in_the_upper_half() {
    let ms = Duration::from_millis;
    for (tries, draw, expected) in [
        (1, 0, ms(5)),
        (1, u16::MAX, ms(10)),
        (2, u16::MAX, ms(20)),
        (7, 0, ms(320)),
        (u32::MAX, u16::MAX, ms(640)),
    ] {
        assert_eq!(wait(tries, draw), expected, "try {tries}, draw {draw}");
    }
}
