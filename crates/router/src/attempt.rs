//! What may be done about an attempt that brought no answer. Pure.
//!
//! The one question is whether something may have been done. If not, another try is safe.
//! If so, it is safe only for what may be done twice; and from then on no refusal says any
//! more that nothing was done.

use breccia_transport::TransportError;
use breccia_types::{NodeId, Outcome, RequestError, ShardId};
use bytes::Bytes;
use thiserror::Error;

use crate::wire::Repetition;

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// To a write.
    Outcomes(Vec<Outcome>),
    /// To a read.
    Bytes(Bytes),
}

/// How one attempt ended, or all attempts of a round.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum End {
    /// With the answer.
    Answered {
        /// The node that ran it.
        by: NodeId,
        /// What came of it.
        answer: Answer,
    },
    /// With the client's error.
    Failed(RequestError),
    /// Nothing was done.
    NotDone(Obstacle),
    /// It may or may not have been done.
    Unknown,
}

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Obstacle {
    #[error("no node is known to hold it")]
    Unplaced,
    #[error("no leader of it is known")]
    Leaderless,
    #[error("the contact to the node that was asked was lost")]
    Lost,
    #[error("{node} does not lead it")]
    NotLeader { node: NodeId },
    #[error("{node}: {reason}")]
    NotNow { node: NodeId, reason: String },
    #[error(transparent)]
    Transport(#[from] TransportError),
}

impl Obstacle {
    /// What the client is told if there is no time left for another try.
    pub(crate) fn into_error(self, shard: ShardId) -> RequestError {
        match self {
            Self::Transport(TransportError::Busy { .. }) => RequestError::Busy { shard },
            obstacle => {
                let reason = format!("{obstacle}; nothing was done, so another try is safe");
                RequestError::ShardUnavailable { shard, reason }
            }
        }
    }
}

/// What the attempts at a request have come to so far.
#[derive(Debug)]
pub(crate) struct Progress {
    shard: ShardId,
    repetition: Repetition,
    /// Whether an attempt may have written.
    is_uncertain: bool,
    obstacle: Obstacle,
}

impl Progress {
    pub(crate) const fn new(shard: ShardId, repetition: Repetition) -> Self {
        Self { shard, repetition, is_uncertain: false, obstacle: Obstacle::Unplaced }
    }

    /// The result, or `None` if another try is allowed.
    pub(crate) fn after(&mut self, end: End) -> Option<Result<Answer, RequestError>> {
        match end {
            End::Answered { answer, .. } => Some(Ok(answer)),
            End::Failed(error) => Some(Err(self.without_false_certainty(error))),
            End::NotDone(obstacle) => {
                self.obstacle = obstacle;
                None
            }
            End::Unknown => match self.repetition {
                Repetition::Harmless => {
                    self.obstacle = Obstacle::Lost;
                    None
                }
                Repetition::Recognised => {
                    self.is_uncertain = true;
                    None
                }
                Repetition::Harmful => {
                    Some(Err(RequestError::OutcomeUnknown { shard: self.shard }))
                }
            },
        }
    }

    /// The result if no other try is made, though one were allowed.
    pub(crate) fn give_up(self) -> RequestError {
        let error = self.obstacle.clone().into_error(self.shard);
        self.without_false_certainty(error)
    }

    /// An error of a later attempt must not read as if the first had done nothing.
    fn without_false_certainty(&self, error: RequestError) -> RequestError {
        match error {
            RequestError::DeadlineExceeded => error,
            _ if self.is_uncertain => RequestError::OutcomeUnknown { shard: self.shard },
            error => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: ShardId = ShardId::new(3);
    const NODE: NodeId = NodeId::new(2);

    fn not_done() -> End {
        End::NotDone(Obstacle::NotLeader { node: NODE })
    }

    fn unknown() -> Option<Result<Answer, RequestError>> {
        Some(Err(RequestError::OutcomeUnknown { shard: SHARD }))
    }

    #[test]
    fn what_was_not_done_may_be_tried_again_and_the_last_obstacle_is_told() {
        for repetition in [Repetition::Harmless, Repetition::Recognised, Repetition::Harmful] {
            let mut progress = Progress::new(SHARD, repetition);
            assert_eq!(progress.after(not_done()), None);
            let RequestError::ShardUnavailable { shard, reason } = progress.give_up() else {
                panic!("another error");
            };
            assert_eq!(shard, SHARD);
            assert_eq!(reason, "n2 does not lead it; nothing was done, so another try is safe");
        }
        let mut progress = Progress::new(SHARD, Repetition::Harmful);
        let busy = Obstacle::from(TransportError::Busy { node: NODE });
        assert_eq!(progress.after(End::NotDone(busy)), None);
        assert_eq!(progress.give_up(), RequestError::Busy { shard: SHARD });
    }

    #[test]
    fn an_unknown_outcome_ends_what_must_not_be_done_twice() {
        let after = |repetition| Progress::new(SHARD, repetition).after(End::Unknown);
        assert_eq!(after(Repetition::Harmful), unknown());
        assert_eq!(after(Repetition::Recognised), None);
        assert_eq!(after(Repetition::Harmless), None);
    }

    #[test]
    fn a_read_never_ends_with_an_unknown_outcome() {
        let mut progress = Progress::new(SHARD, Repetition::Harmless);
        assert_eq!(progress.after(End::Unknown), None);
        assert!(matches!(progress.give_up(), RequestError::ShardUnavailable { .. }));
    }

    #[test]
    fn after_an_unknown_outcome_no_error_claims_that_nothing_was_done() {
        let uncertain = || {
            let mut progress = Progress::new(SHARD, Repetition::Recognised);
            assert_eq!(progress.after(End::Unknown), None);
            progress
        };
        let busy = RequestError::Busy { shard: SHARD };
        assert_eq!(uncertain().after(End::Failed(busy.clone())), unknown());
        let late = RequestError::DeadlineExceeded;
        assert_eq!(uncertain().after(End::Failed(late.clone())), Some(Err(late)));
        let mut progress = uncertain();
        assert_eq!(progress.after(not_done()), None);
        assert_eq!(progress.give_up(), RequestError::OutcomeUnknown { shard: SHARD });
        let mut certain = Progress::new(SHARD, Repetition::Recognised);
        assert_eq!(certain.after(End::Failed(busy.clone())), Some(Err(busy)));
    }
}
