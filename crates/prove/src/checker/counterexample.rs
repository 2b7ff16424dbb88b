//! A history that nothing explains, for people.

use std::fmt;

use crate::history::{Answer, Call, Moment, Operation, Outcome, Value};

/// How many of the operations before the impossible answer are shown.
const SHOWN_MAX: usize = 60;

/// The beginning of a history, up to the first answer that no order explains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counterexample {
    /// What had been asked by then, by the instant of asking.
    lines: Vec<Line>,
    /// When the answer came that nothing explains.
    until: Moment,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    operation: Operation,
    /// Its place in the order that explains the most, from 1.
    place: Option<usize>,
    /// Whether this is the answer that nothing explains.
    is_impossible: bool,
}

impl Counterexample {
    pub(super) fn new(operations: &[Operation], until: Moment, order: &[usize]) -> Self {
        let mut lines: Vec<Line> = operations
            .iter()
            .enumerate()
            .filter(|(_, operation)| operation.invoked <= until && can_explain(operation))
            .map(|(position, operation)| Line {
                operation: operation.clone(),
                place: order.iter().position(|placed| *placed == position).map(|place| place + 1),
                is_impossible: operation.ended == until
                    && matches!(operation.outcome, Outcome::Answered(_)),
            })
            .collect();
        lines.sort_by_key(|line| (line.operation.invoked, line.operation.ended));
        Self { lines, until }
    }

    /// The operation whose answer nothing explains.
    #[must_use]
    pub fn impossible(&self) -> Option<&Operation> {
        self.lines.iter().find(|line| line.is_impossible).map(|line| &line.operation)
    }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "No order of these operations explains the answer marked ==> (it came at {} s).\n\
             `order` is a longest order that explains the answers in it; `-` is not in it.\n\
             Unknown outcomes may have taken effect at any time after their question, or never. \
             Refused operations and reads without an answer are left out.\n",
            self.until
        )?;
        let hidden = self.lines.len().saturating_sub(SHOWN_MAX);
        if hidden > 0 {
            writeln!(f, "({hidden} earlier operations are not shown)")?;
        }
        writeln!(f, "    order        asked     answered  client protocol node  what")?;
        for line in self.lines.iter().skip(hidden) {
            let Line { operation, place, is_impossible } = line;
            let mark = if *is_impossible { "==>" } else { "" };
            let place = place.map_or_else(|| "-".to_owned(), |place| place.to_string());
            let late = operation.ended > self.until && operation.ended != Moment::NEVER;
            writeln!(
                f,
                "{mark:3} {place:>5} {:>12} {:>12}  c{:<5} {:<8} n{:<4} {} {}{}",
                operation.invoked,
                operation.ended,
                operation.client.0,
                operation.protocol,
                operation.node,
                Shown(&operation.call),
                Told(&operation.outcome),
                if late { " (later)" } else { "" },
            )?;
        }
        Ok(())
    }
}

/// Whether the operation can have changed the row, or tells something of it.
fn can_explain(operation: &Operation) -> bool {
    match operation.outcome {
        Outcome::Answered(_) => true,
        Outcome::Refused(_) => false,
        Outcome::Unknown(_) => operation.call != Call::Read,
    }
}

struct Shown<'a>(&'a Call);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Call::Read => f.write_str("read"),
            Call::Write(value) => write!(f, "write {value}"),
            Call::Exchange(value) => write!(f, "exchange for {value}"),
            Call::CompareAndSet { expected, new } => {
                write!(f, "if {} then {}", row(expected.as_ref()), row(new.as_ref()))
            }
            Call::Increment(by) => write!(f, "increment by {by}"),
            Call::Append(text) => write!(f, "append {text}"),
            Call::Delete => f.write_str("delete"),
        }
    }
}

struct Told<'a>(&'a Outcome);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answer = match self.0 {
            Outcome::Answered(answer) => answer,
            Outcome::Refused(why) => return write!(f, "-> refused: {why}"),
            Outcome::Unknown(why) => return write!(f, "-> unknown: {why}"),
        };
        match answer {
            Answer::Done => f.write_str("-> done"),
            Answer::Found(value) => write!(f, "-> found {}", row(value.as_ref())),
            Answer::Swapped { swapped: true, .. } => f.write_str("-> swapped"),
            Answer::Swapped { instead: None, .. } => f.write_str("-> not swapped"),
            Answer::Swapped { instead: Some(value), .. } => {
                write!(f, "-> not swapped, found {}", row(value.as_ref()))
            }
            Answer::Number(number) => write!(f, "-> {number}"),
            Answer::Length(bytes) => write!(f, "-> {bytes} bytes"),
            Answer::Existed(true) => f.write_str("-> removed"),
            Answer::Existed(false) => f.write_str("-> there was none"),
        }
    }
}

fn row(value: Option<&Value>) -> &str {
    value.map_or("(none)", |value| value)
}
