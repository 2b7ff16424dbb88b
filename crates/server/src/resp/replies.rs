//! Replies in the order of their commands, although some are known later than others.

use breccia_types::RequestError;
use breccia_types::strings::StringReply;

use super::answer::write;
use super::command::WriteReply;
use super::encoder::Encoder;
use super::metrics::Metrics;

/// The replies of one batch. Those after a write that is in flight are held back.
pub(crate) struct Replies {
    /// What can be sent.
    out: Encoder,
    /// Encoded replies that come after a reply that is not known yet.
    held: Encoder,
    /// What comes after `out`, in order; empty if no write is in flight.
    order: Vec<Part>,
    metrics: Metrics,
}

#[derive(Debug, Clone, Copy)]
enum Part {
    /// What is held back, up to this length.
    Held { end: usize },
    /// The reply to the next write.
    Write(WriteReply),
    /// The sum of the replies to so many writes.
    Sum(usize),
    /// Nothing, for so many writes.
    Silent(usize),
}

/// Up to this many bytes an encoder's memory is kept for the next batch.
const CAPACITY_KEPT_MAX: usize = 64 << 10;

impl Replies {
    pub(crate) fn new(metrics: Metrics) -> Self {
        let (out, held) = Default::default();
        Self { out, held, order: Vec::new(), metrics }
    }

    /// Encodes a reply where it belongs.
    pub(crate) fn encode(&mut self, encode: impl FnOnce(&mut Encoder)) {
        encode(self.place());
        self.placed();
    }

    /// Where the next reply belongs. [`Replies::placed`] must follow.
    pub(crate) fn place(&mut self) -> &mut Encoder {
        if self.order.is_empty() { &mut self.out } else { &mut self.held }
    }

    /// Notes that a reply was encoded where it belongs.
    pub(crate) fn placed(&mut self) {
        let end = self.held.len();
        match self.order.last_mut() {
            None => {}
            Some(Part::Held { end: last }) => *last = end,
            Some(_) => self.order.push(Part::Held { end }),
        }
    }

    pub(crate) fn error(&mut self, error: &dyn std::fmt::Display) {
        self.metrics.on_error();
        self.encode(|encoder| encoder.error(error));
    }

    /// Leaves room for the reply to the next write.
    pub(crate) fn expect(&mut self, shown: WriteReply) {
        self.order.push(Part::Write(shown));
    }

    /// Leaves room for the sum of the replies to so many writes.
    pub(crate) fn expect_sum(&mut self, writes: usize) {
        self.order.push(Part::Sum(writes));
    }

    /// Notes that so many writes are not replied to.
    pub(crate) fn expect_nothing(&mut self, writes: usize) {
        self.order.push(Part::Silent(writes));
    }

    /// Whether replies to writes are expected.
    pub(crate) fn is_expecting(&self) -> bool {
        !self.order.is_empty()
    }

    /// Puts the replies to the writes where they belong. Nothing is held back any more.
    pub(crate) fn settle(
        &mut self,
        outcomes: impl IntoIterator<Item = Result<StringReply, RequestError>>,
    ) {
        let mut outcomes = outcomes.into_iter();
        let mut start = 0;
        for part in std::mem::take(&mut self.order) {
            let result = match part {
                Part::Held { end } => {
                    let held = self.held.bytes().get(start..end);
                    self.out.raw(held.unwrap_or_default());
                    start = end;
                    Ok(())
                }
                Part::Write(shown) => {
                    let outcome = outcomes.next().unwrap_or_else(|| Err(no_outcome()));
                    write::encode(&mut self.out, outcome, shown)
                }
                Part::Sum(count) => write::encode_sum(&mut self.out, outcomes.by_ref().take(count)),
                Part::Silent(count) => {
                    outcomes.by_ref().take(count).for_each(drop);
                    Ok(())
                }
            };
            if let Err(error) = result {
                self.error(&error);
            }
        }
        self.held.clear(CAPACITY_KEPT_MAX);
    }

    /// Bytes that wait to be sent.
    pub(crate) fn len(&self) -> usize {
        self.out.len() + self.held.len()
    }

    /// What can be sent.
    pub(crate) const fn ready(&self) -> &Encoder {
        &self.out
    }

    /// Notes that what could be sent was sent.
    pub(crate) fn sent(&mut self) {
        self.metrics.on_sent(self.out.len());
        self.out.clear(CAPACITY_KEPT_MAX);
    }

    /// Lets what is held back speak the protocol that was chosen.
    pub(crate) const fn align_protocols(&mut self) {
        self.held.protocol = self.out.protocol;
    }
}

fn no_outcome() -> RequestError {
    RequestError::Internal { reason: "a write got no reply".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_after_a_write_wait_for_its_reply() {
        let mut replies = Replies::new(Metrics::default());
        replies.encode(|encoder| encoder.integer(1));
        replies.expect(WriteReply::Plain);
        replies.encode(|encoder| encoder.integer(2));
        replies.encode(|encoder| encoder.integer(3));
        replies.expect_sum(2);
        replies.expect_nothing(1);
        replies.encode(|encoder| encoder.integer(4));
        assert_eq!(replies.ready().bytes().as_ref(), b":1\r\n");
        let number = |number| Ok(StringReply::Integer(number));
        replies.settle([Ok(StringReply::Ok), number(20), number(3), number(9)]);
        let all = b":1\r\n+OK\r\n:2\r\n:3\r\n:23\r\n:4\r\n";
        assert_eq!(replies.ready().bytes().as_ref(), all);
        assert!(!replies.is_expecting());
    }

    #[test]
    fn a_sum_that_fails_takes_no_reply_from_the_writes_after_it() {
        let mut replies = Replies::new(Metrics::default());
        replies.expect_sum(3);
        replies.expect(WriteReply::Plain);
        let number = |number| Ok(StringReply::Integer(number));
        replies.settle([number(1), Err(RequestError::CrossSlot), number(1), number(7)]);
        let all = b"-CROSSSLOT Keys in request don't hash to the same slot\r\n:7\r\n";
        assert_eq!(replies.ready().bytes().as_ref(), all);
    }

    #[test]
    fn a_write_that_fails_is_an_error_in_its_place() {
        let mut replies = Replies::new(Metrics::default());
        replies.expect(WriteReply::OneOrZero);
        replies.expect(WriteReply::OneOrZero);
        replies.settle([Err(RequestError::CrossSlot), Ok(StringReply::Nil)]);
        let all = b"-CROSSSLOT Keys in request don't hash to the same slot\r\n:0\r\n";
        assert_eq!(replies.ready().bytes().as_ref(), all);
    }
}
