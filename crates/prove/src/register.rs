//! What a key should do: the sequential object that histories are compared with.

use crate::history::{Answer, Call, Value};

/// A key's value; `None` is an absent row.
pub type State = Option<Value>;

/// The state after a call and its answer, or `None` if the call would be refused.
#[must_use]
pub fn apply(state: &State, call: &Call) -> Option<(State, Answer)> {
    let after = match call {
        Call::Read => (state.clone(), Answer::Found(state.clone())),
        Call::Write(value) => (Some(value.clone()), Answer::Done),
        Call::Exchange(value) => (Some(value.clone()), Answer::Found(state.clone())),
        Call::CompareAndSet { expected, new } => match state == expected {
            true => (new.clone(), Answer::Swapped { swapped: true, instead: None }),
            false => {
                let instead = Some(state.clone());
                (state.clone(), Answer::Swapped { swapped: false, instead })
            }
        },
        Call::Increment(by) => {
            let number: i64 = state.as_deref().unwrap_or("0").parse().ok()?;
            let number = number.checked_add(*by)?;
            (Some(number.to_string().into()), Answer::Number(number))
        }
        Call::Append(text) => {
            let whole = format!("{}{text}", state.as_deref().unwrap_or_default());
            let length = u64::try_from(whole.len()).ok()?;
            (Some(whole.into()), Answer::Length(length))
        }
        Call::Delete => (None, Answer::Existed(state.is_some())),
    };
    Some(after)
}

/// Whether a client may have been told `told` where `right` is the answer. Some protocols
/// tell less.
#[must_use]
pub fn agrees(told: &Answer, right: &Answer) -> bool {
    match (told, right) {
        (
            Answer::Swapped { swapped, instead: None },
            Answer::Swapped { swapped: right_swapped, .. },
        ) => swapped == right_swapped,
        _ => told == right,
    }
}
