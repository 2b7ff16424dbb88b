//! Asking another node, and learning from what it says.

use breccia_transport::{Call, TransportError};
use breccia_types::{NodeId, RequestError, ShardId};
use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use crate::attempt::{Answer, End, Obstacle};
use crate::metrics::count;
use crate::receive::METHOD;
use crate::route::{Consistency, Hint, Journey};
use crate::router::{Asked, Inner};
use crate::wire::{ForwardedReply, ForwardedRequest, Repetition};

impl Inner {
    pub(crate) async fn forward(
        &self,
        to: NodeId,
        hops_left: u8,
        asked: &Asked,
        journey: &Journey,
    ) -> End {
        let time_left = asked.deadline.saturating_duration_since(Instant::now());
        if time_left.is_zero() {
            return End::Failed(RequestError::DeadlineExceeded);
        }
        count(&self.counters.forwards);
        let mut visited = match journey {
            Journey::Starts => Vec::with_capacity(1),
            Journey::Forwarded { visited, .. } => {
                count(&self.counters.hops);
                visited.clone()
            }
        };
        visited.push(self.node);
        let request = ForwardedRequest {
            epoch: self.placements.borrow().epoch(asked.shard),
            shard: asked.shard,
            hops_left,
            visited,
            time_left,
            body: asked.body.clone(),
        };
        let call = Call { method: METHOD, body: request.encode(), timeout: time_left };
        let replied = timeout_at(asked.deadline, self.transport.call(to, call)).await;
        let end = match replied {
            Err(_) => End::Failed(RequestError::DeadlineExceeded),
            Ok(Ok(reply)) => self.on_reply(to, asked, reply),
            Ok(Err(error)) => self.on_transport_error(to, asked, error),
        };
        if let End::Answered { by, .. } = end
            && !is_stale(asked)
        {
            self.leaders.show(asked.shard, Hint { leader: by, epoch: request.epoch });
        }
        end
    }

    fn on_reply(&self, from: NodeId, asked: &Asked, reply: Bytes) -> End {
        self.suspects.clear(from);
        match ForwardedReply::decode(reply) {
            Ok(ForwardedReply::Outcomes { by, outcomes }) => {
                End::Answered { by, answer: Answer::Outcomes(outcomes) }
            }
            Ok(ForwardedReply::Bytes { by, bytes }) => {
                End::Answered { by, answer: Answer::Bytes(bytes) }
            }
            Ok(ForwardedReply::WrongOwner { leader, epoch }) => {
                count(&self.counters.wrong_owners);
                let hint = leader.map(|leader| Hint { leader, epoch });
                self.on_wrong_owner(from, asked.shard, hint);
                End::NotDone(Obstacle::NotLeader { node: from })
            }
            Ok(ForwardedReply::NotNow { reason }) => {
                End::NotDone(Obstacle::NotNow { node: from, reason })
            }
            Ok(ForwardedReply::Unknown) => End::Unknown,
            Ok(ForwardedReply::Failed(error)) => End::Failed(error),
            // It was done, perhaps, and another try would be answered the same.
            Err(error) => End::Failed(RequestError::Internal {
                reason: format!("the reply of {from} cannot be read: {error}"),
            }),
        }
    }

    /// `from` does not lead the shard, and says who does.
    pub(crate) fn on_wrong_owner(&self, from: NodeId, shard: ShardId, hint: Option<Hint>) {
        match hint.filter(|hint| hint.leader != from && hint.leader != self.node) {
            Some(hint) => self.leaders.learn(shard, hint),
            None => self.leaders.forget(shard, from),
        }
    }

    fn on_transport_error(&self, to: NodeId, asked: &Asked, error: TransportError) -> End {
        match error {
            TransportError::Unreachable { .. } => {
                count(&self.counters.unreachable);
                self.suspects.add(to);
                End::NotDone(error.into())
            }
            TransportError::Busy { .. }
            | TransportError::NotServed { .. }
            | TransportError::NotAMember { .. } => End::NotDone(error.into()),
            // The message or the reply: another try would end the same.
            TransportError::TooLarge { .. } => End::Failed(match asked.body.repetition() {
                Repetition::Harmless => RequestError::InvalidArgument {
                    argument: "request",
                    reason: format!("{error}; ask for less at once"),
                },
                Repetition::Recognised | Repetition::Harmful => {
                    RequestError::OutcomeUnknown { shard: asked.shard }
                }
            }),
            TransportError::Refused { node, refusal } => {
                let reason = String::from_utf8_lossy(&refusal.0).into_owned();
                End::NotDone(Obstacle::NotNow { node, reason })
            }
            TransportError::TimedOut { .. } if Instant::now() >= asked.deadline => {
                End::Failed(RequestError::DeadlineExceeded)
            }
            // An error that is not known here may have come after the message was sent.
            _ => End::Unknown,
        }
    }
}

fn is_stale(asked: &Asked) -> bool {
    matches!(asked.body.consistency(), Consistency::Stale { .. })
}
