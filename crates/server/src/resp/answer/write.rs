//! Replies to writes.

use breccia_types::RequestError;
use breccia_types::strings::StringReply;

use super::super::command::{Fixed, WriteReply};
use super::super::encoder::Encoder;
use super::super::error::ReplyError;

/// What became of one write.
type Outcome = Result<StringReply, RequestError>;

/// Encodes the reply to a write.
///
/// # Errors
/// What the node reported, or why the write was refused.
pub(crate) fn encode(
    encoder: &mut Encoder,
    outcome: Outcome,
    shown: WriteReply,
) -> Result<(), ReplyError> {
    match (outcome?, shown) {
        (StringReply::Refused(refusal), _) => return Err(refusal.into()),
        (_, WriteReply::Ok) => encoder.ok(),
        (StringReply::Ok, WriteReply::OneOrZero) => encoder.integer(1),
        (StringReply::Nil, WriteReply::OneOrZero) => encoder.integer(0),
        (StringReply::Ok, WriteReply::Plain) => encoder.ok(),
        (StringReply::Nil, WriteReply::Plain) => encoder.null(),
        (StringReply::Integer(number), _) => encoder.integer(number),
        (StringReply::Bulk(value), _) => encoder.bulk(&value),
    }
    Ok(())
}

/// Encodes the sum of the replies to several writes, all of which are taken.
///
/// # Errors
/// The first error among them. The other writes were done all the same.
pub(crate) fn encode_sum(
    encoder: &mut Encoder,
    outcomes: impl Iterator<Item = Outcome>,
) -> Result<(), ReplyError> {
    let mut sum: Result<i64, ReplyError> = Ok(0);
    for outcome in outcomes {
        let summand = summand(outcome);
        sum = sum.and_then(|sum| Ok(sum.saturating_add(summand?)));
    }
    encoder.integer(sum?);
    Ok(())
}

fn summand(outcome: Outcome) -> Result<i64, ReplyError> {
    match outcome? {
        StringReply::Integer(number) => Ok(number),
        StringReply::Refused(refusal) => Err(refusal.into()),
        StringReply::Ok | StringReply::Nil | StringReply::Bulk(_) => Ok(0),
    }
}

/// Encodes an answer that depends on nothing.
pub(crate) fn encode_fixed(encoder: &mut Encoder, fixed: &Fixed) {
    match fixed {
        Fixed::Ok => encoder.ok(),
        Fixed::Pong => encoder.simple("PONG"),
        Fixed::Integer(number) => encoder.integer(*number),
        Fixed::Bulk(value) => encoder.bulk(value),
        Fixed::EmptyArray => encoder.array(0),
    }
}
