//! One client: one question after the other.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::sleep;

use super::Shared;
use super::keys::Chosen;
use crate::clients::{Driver, RequestId};
use crate::history::{Answer, Call, ClientId, Outcome, Protocol, Value};

/// How often a request with an id is sent at most, and the pause that grows with each time.
const ATTEMPTS_MAX: u32 = 8;
const PAUSE: Duration = Duration::from_millis(100);
/// The pause after a question that was not answered.
const PAUSE_AFTER_TROUBLE: Duration = Duration::from_millis(30);
/// How often a call is drawn that the protocol might have.
const DRAWS_MAX: u32 = 20;
/// Of a hundred operations, how many are asked of another node than the last.
const MOVES_PERCENT: u32 = 5;

pub(super) struct Client {
    shared: Arc<Shared>,
    id: ClientId,
    driver: Box<dyn Driver>,
    protocol: Protocol,
    node: usize,
    random: StdRng,
}

impl Client {
    pub(super) fn new(shared: Arc<Shared>, protocol: Protocol) -> Self {
        let id = shared.next_client();
        let driver = shared.drivers.driver(protocol, shared.config.deadline);
        let random = StdRng::seed_from_u64(shared.config.seed.wrapping_add(u64::from(id.0) + 1));
        let node = usize::try_from(id.0).unwrap_or(0) % shared.drivers.nodes();
        Self { shared, id, driver, protocol, node, random }
    }

    pub(super) async fn run(mut self) {
        let clients = self.shared.config.clients_per_protocol * 3;
        let mean = Duration::from_secs(1) * clients / self.shared.config.rate.max(1);
        while !self.shared.is_stopping() {
            let Chosen { key, profile, seen } = self.shared.keys.choose();
            let call = match profile {
                Some(profile) => {
                    self.draw(|random, unique| profile.call(random, seen.clone(), unique))
                }
                None => Call::Read,
            };
            let shared = Arc::clone(&self.shared);
            let about = (self.id, self.protocol, self.node);
            let outcome = shared.noted(&key, about, &call, self.ask(key.as_str(), &call)).await;
            match &outcome {
                Outcome::Answered(answer) => {
                    if let Some(value) = value_after(&call, answer) {
                        shared.keys.saw(&key, value.as_ref());
                    }
                    if self.random.random_range(0..100) < MOVES_PERCENT {
                        self.move_on();
                    }
                }
                Outcome::Refused(_) | Outcome::Unknown(_) => {
                    self.move_on();
                    sleep(PAUSE_AFTER_TROUBLE).await;
                }
            }
            sleep(mean.mul_f64(self.random.random_range(0.0..2.0))).await;
        }
    }

    /// A call that the protocol has.
    fn draw(&mut self, mut draw: impl FnMut(&mut StdRng, u64) -> Call) -> Call {
        for _ in 0..DRAWS_MAX {
            let call = draw(&mut self.random, self.shared.next_value());
            if self.driver.has(&call) {
                return call;
            }
        }
        Call::Read
    }

    fn move_on(&mut self) {
        self.node = self.random.random_range(0..self.shared.drivers.nodes());
    }

    /// Asks until there is an answer, if it is safe to ask again; else once.
    async fn ask(&mut self, key: &str, call: &Call) -> (usize, Outcome) {
        let is_named =
            self.driver.takes_request_ids() && *call != Call::Read && self.random.random_bool(0.5);
        if !is_named {
            let outcome = self.driver.ask(self.node, key, call, None).await;
            return (self.node, outcome);
        }
        let id = RequestId(self.random.random());
        let mut unknown = None;
        for attempt in 1..=ATTEMPTS_MAX {
            match (self.driver.ask(self.node, key, call, Some(id)).await, &unknown) {
                (outcome @ Outcome::Answered(_), _) | (outcome @ Outcome::Refused(_), None) => {
                    return (self.node, outcome);
                }
                // This attempt was refused; what became of an earlier one is still unknown.
                (Outcome::Refused(_), Some(_)) => {}
                (Outcome::Unknown(why), _) => unknown = Some(why),
            }
            self.move_on();
            sleep(PAUSE * attempt).await;
        }
        let why = unknown.unwrap_or_default();
        (self.node, Outcome::Unknown(format!("after {ATTEMPTS_MAX} attempts with one id: {why}")))
    }
}

/// The key's value right after, if the answer tells.
fn value_after(call: &Call, answer: &Answer) -> Option<Option<Value>> {
    match (call, answer) {
        (Call::Read, Answer::Found(value)) => Some(value.clone()),
        (Call::Write(value) | Call::Exchange(value), _) => Some(Some(value.clone())),
        (Call::CompareAndSet { new, .. }, Answer::Swapped { swapped: true, .. }) => {
            Some(new.clone())
        }
        (Call::CompareAndSet { .. }, Answer::Swapped { instead, .. }) => instead.clone(),
        (Call::Increment(_), Answer::Number(number)) => Some(Some(number.to_string().into())),
        (Call::Delete, _) => Some(None),
        _ => None,
    }
}
