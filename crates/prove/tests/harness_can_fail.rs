//! The harness itself: clients of a store that lies must end in a violation, and clients of
//! one that does not must not.

#![allow(clippy::expect_used, clippy::panic, reason = "tests panic")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use breccia_prove::checker::{Verdict, check};
use breccia_prove::clients::{Driver, RequestId};
use breccia_prove::history::{Answer, Call, Outcome, Protocol};
use breccia_prove::register::{State, apply};
use breccia_prove::workload::{Drivers, Workload, WorkloadConfig};
use rand::RngExt;
use tokio::time::{Instant, sleep};

/// What the store does wrong, one time in so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    /// Nothing, but one time in fifty the client does not learn the outcome.
    None,
    /// A read tells the value before the last write.
    StaleRead,
    /// A write is acknowledged and not done.
    LostWrite,
    /// An increment counts twice.
    DoubleIncrement,
    /// A retry with the same request id is applied again.
    RepeatedRequest,
    /// A write is seen, and then it is as if it had not been.
    VanishingWrite,
    /// A write is refused, and done nevertheless.
    RefusedButDone,
}

const ONE_IN: u32 = 200;
const CUT_ONE_IN: u32 = 50;

#[derive(Default)]
struct Row {
    now: State,
    before: State,
    /// What the row becomes by itself at the next question.
    then: Option<State>,
}

#[derive(Default)]
struct Rows {
    rows: HashMap<String, Row>,
    replies: HashMap<[u8; 16], Answer>,
}

struct Store {
    lie: Lie,
    rows: tokio::sync::Mutex<Rows>,
}

#[derive(Clone)]
struct Lying(Arc<Store>);

impl Drivers for Lying {
    fn nodes(&self) -> usize {
        2
    }

    fn driver(&self, protocol: Protocol, _: Duration) -> Box<dyn Driver> {
        Box::new(LyingDriver { store: Arc::clone(&self.0), protocol })
    }
}

struct LyingDriver {
    store: Arc<Store>,
    protocol: Protocol,
}

#[async_trait]
impl Driver for LyingDriver {
    fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn has(&self, _: &Call) -> bool {
        true
    }

    async fn ask(&mut self, _: usize, key: &str, call: &Call, id: Option<RequestId>) -> Outcome {
        sleep(Duration::from_micros(rand::random_range(0..800))).await;
        let outcome = self.store.answer(key, call, id).await;
        sleep(Duration::from_micros(rand::random_range(0..800))).await;
        let is_cut = matches!(outcome, Outcome::Answered(_)) && one_in(CUT_ONE_IN);
        if is_cut { Outcome::Unknown("cut".to_owned()) } else { outcome }
    }
}

fn one_in(times: u32) -> bool {
    rand::rng().random_range(0..times) == 0
}

impl Store {
    async fn answer(&self, key: &str, call: &Call, id: Option<RequestId>) -> Outcome {
        let mut rows = self.rows.lock().await;
        let known = id.and_then(|id| rows.replies.get(&id.0).cloned());
        if let Some(answer) = known.filter(|_| self.lie != Lie::RepeatedRequest) {
            return Outcome::Answered(answer);
        }
        let lies = one_in(ONE_IN);
        let row = rows.rows.entry(key.to_owned()).or_default();
        if let Some(then) = row.then.take() {
            row.now = then;
        }
        if lies && self.lie == Lie::StaleRead && *call == Call::Read {
            return Outcome::Answered(Answer::Found(row.before.clone()));
        }
        let Some((mut next, answer)) = apply(&row.now, call) else {
            return Outcome::Refused("not a number".to_owned());
        };
        if *call == Call::Read {
            return Outcome::Answered(answer);
        }
        match (self.lie, call) {
            (Lie::LostWrite, _) if lies => next = row.now.clone(),
            (Lie::DoubleIncrement, Call::Increment(_)) if lies => {
                next = apply(&next, call).map_or(next, |(again, _)| again);
            }
            (Lie::VanishingWrite, _) if lies => row.then = Some(row.now.clone()),
            _ => {}
        }
        if next != row.now {
            row.before = std::mem::replace(&mut row.now, next);
        }
        if let Some(id) = id {
            rows.replies.insert(id.0, answer.clone());
        }
        match self.lie {
            Lie::RefusedButDone if lies => Outcome::Refused("busy".to_owned()),
            _ => Outcome::Answered(answer),
        }
    }
}

/// Has clients work with a store until one of its lies is found, at most so long. Returns
/// whether one was.
async fn is_found_out(lie: Lie, within: Duration) -> bool {
    let store = Store { lie, rows: tokio::sync::Mutex::default() };
    let mut config = WorkloadConfig::new(rand::random());
    config.rate = 4_000;
    let mut workload = Workload::start(Arc::new(Lying(Arc::new(store))), config);
    let start = Instant::now();
    let mut violation = None;
    while violation.is_none() && start.elapsed() < within {
        sleep(Duration::from_millis(20)).await;
        violation = workload.take_retired().into_iter().find_map(|key| {
            match check(&workload.histories().of(&key)) {
                Verdict::Linearizable => None,
                Verdict::Violation(counterexample) => Some(counterexample.to_string()),
                Verdict::Undecided => panic!("{key} is undecided"),
            }
        });
    }
    workload.stop().await;
    if let Some(text) = &violation {
        assert!(text.contains("==>"), "{text}");
    }
    violation.is_some()
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_keeps_its_promises_is_not_accused() {
    assert!(!is_found_out(Lie::None, Duration::from_secs(4)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_reads_are_found() {
    assert!(is_found_out(Lie::StaleRead, LONG).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_writes_are_found() {
    assert!(is_found_out(Lie::LostWrite, LONG).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn increments_that_count_twice_are_found() {
    assert!(is_found_out(Lie::DoubleIncrement, LONG).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_applied_again_are_found() {
    assert!(is_found_out(Lie::RepeatedRequest, LONG).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_vanish_are_found() {
    assert!(is_found_out(Lie::VanishingWrite, LONG).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_writes_that_were_done_are_found() {
    assert!(is_found_out(Lie::RefusedButDone, LONG).await);
}
