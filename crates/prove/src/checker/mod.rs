//! Whether a key's history is linearizable: whether there is one order of its operations, each
//! somewhere between its question and its answer, that explains all the answers.

mod counterexample;
mod search;
#[cfg(test)]
mod tests;

pub use self::counterexample::Counterexample;
use self::search::{Item, Search};
use crate::history::{Call, Moment, Operation, Outcome};

/// How many configurations a search looks at before it gives up.
pub const CONFIGURATIONS_MAX: usize = 2_000_000;

/// What was found out about a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order that explains all the answers.
    Linearizable,
    /// There is none.
    Violation(Box<Counterexample>),
    /// The search was given up.
    Undecided,
}

/// Judges the operations of one key, which was absent before them. They may come in any order.
#[must_use]
pub fn check(operations: &[Operation]) -> Verdict {
    match search(operations, Moment::NEVER) {
        Search::Explained => Verdict::Linearizable,
        Search::GaveUp => Verdict::Undecided,
        Search::Impossible { .. } => Verdict::Violation(Box::new(shortest(operations))),
    }
}

/// The search over what had happened until then. Later answers are not known yet.
fn search(operations: &[Operation], until: Moment) -> Search {
    let items = operations.iter().enumerate().filter_map(|(position, operation)| {
        let answer = match &operation.outcome {
            Outcome::Refused(_) => return None,
            Outcome::Answered(answer) if operation.ended <= until => Some(answer),
            Outcome::Answered(_) | Outcome::Unknown(_) => None,
        };
        let is_idle = answer.is_none() && operation.call == Call::Read;
        (operation.invoked <= until && !is_idle).then(|| Item {
            position,
            invoked: operation.invoked,
            ended: if answer.is_some() { operation.ended } else { Moment::NEVER },
            call: &operation.call,
            answer,
        })
    });
    search::search(items.collect(), CONFIGURATIONS_MAX)
}

/// The earliest answer that no order explains, given what had happened until then. Beginnings
/// of linearizable histories are linearizable, so that it can be found by halving.
fn shortest(operations: &[Operation]) -> Counterexample {
    let mut answers: Vec<Moment> = operations
        .iter()
        .filter(|operation| matches!(operation.outcome, Outcome::Answered(_)))
        .map(|operation| operation.ended)
        .collect();
    answers.sort_unstable();
    let good = answers
        .partition_point(|until| !matches!(search(operations, *until), Search::Impossible { .. }));
    let until = answers.get(good).copied().unwrap_or(Moment::NEVER);
    let order = match search(operations, until) {
        Search::Impossible { longest } => longest,
        _ => Vec::new(),
    };
    Counterexample::new(operations, until, &order)
}
