//! String commands: routed together, replied to in order.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use breccia_replication::{Proposal, ShardConsensus};
use breccia_ring::slot_of;
use breccia_router::{Consistency, LocalError};
use breccia_service::strings;
use breccia_types::limits::{
    BATCH_BYTES_MAX, KEY_BYTES_MAX, REQUEST_DEADLINE_DEFAULT, VALUE_BYTES_MAX,
};
use breccia_types::strings::{StringReply, StringWrite};
use breccia_types::{Command, Outcome, RequestError, ShardId, join_parts};
use futures::future::{BoxFuture, FutureExt};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::check::check_key;
use crate::local::not_proposed;
use crate::node::Node;
use crate::write::{applied, no_reply};

impl Node {
    /// Queues write commands on strings, in this order, and returns the wait for their
    /// replies, in this order. All keys of one command must lie in one slot. A later call's
    /// commands on a key are applied after this one's, whether this one is awaited or not.
    pub fn write_strings(&self, writes: Vec<StringWrite>) -> StringsInFlight {
        let mut gathering = Gathering::new(self, writes.len());
        for write in &writes {
            gathering.add(write);
        }
        gathering.propose()
    }
}

/// Collects string commands by shard, and remembers which reply is whose.
struct Gathering<'n> {
    node: &'n Node,
    by_shard: BTreeMap<ShardId, Vec<Command>>,
    expected: Vec<Expected>,
}

/// Where the reply to one string command comes from.
#[derive(Debug)]
enum Expected {
    /// The next reply of this shard.
    From(ShardId),
    /// The next reply of every shard.
    FromAll,
    /// Nowhere: it was refused.
    Refused(RequestError),
}

impl<'n> Gathering<'n> {
    fn new(node: &'n Node, count: usize) -> Self {
        Self { node, by_shard: BTreeMap::new(), expected: Vec::with_capacity(count) }
    }

    fn add(&mut self, write: &StringWrite) {
        let expected = self.try_add(write).unwrap_or_else(Expected::Refused);
        self.expected.push(expected);
    }

    fn try_add(&mut self, write: &StringWrite) -> Result<Expected, RequestError> {
        check_strings(write)?;
        let payload = strings::codec::encode_write(write);
        let command = Command { service: strings::SERVICE_ID, request_id: None, payload };
        match write.first_key() {
            Some(key) => {
                let partition = self.node.redis_table().options.partition;
                let slot = slot_of(partition, key);
                if write.keys().any(|key| slot_of(partition, key) != slot) {
                    return Err(RequestError::CrossSlot);
                }
                let shard = self.node.shard_of(slot);
                self.by_shard.entry(shard).or_default().push(command);
                Ok(Expected::From(shard))
            }
            None => {
                let shards = self.node.all_shards();
                for shard in &shards {
                    self.node.check_in_service(*shard)?;
                }
                for shard in shards {
                    self.by_shard.entry(shard).or_default().push(command.clone());
                }
                Ok(Expected::FromAll)
            }
        }
    }

    fn propose(self) -> StringsInFlight {
        let deadline = Instant::now() + REQUEST_DEADLINE_DEFAULT;
        let shards = self
            .by_shard
            .into_iter()
            .map(|(shard, commands)| InFlight::start(self.node, shard, commands, deadline))
            .collect();
        StringsInFlight {
            node: self.node.clone(),
            shards,
            expected: self.expected,
            deadline,
            late: Box::pin(sleep_until(deadline)),
            is_followed: false,
        }
    }
}

/// String commands on their way. The replies come by awaiting it.
#[must_use = "the replies come by awaiting"]
pub struct StringsInFlight {
    node: Node,
    shards: Vec<InFlight>,
    expected: Vec<Expected>,
    deadline: Instant,
    late: Pin<Box<Sleep>>,
    /// Whether later commands of the same client are on their way.
    is_followed: bool,
}

/// The commands of one shard.
struct InFlight {
    shard: ShardId,
    answers: Answers,
}

/// The replies of one shard.
enum Answers {
    /// They entered the log of this node's replica; what was sent is kept for another try.
    Queued(Proposal, Vec<Command>),
    /// They are on their way to the node that leads the shard.
    Forwarded(BoxFuture<'static, Result<Vec<Outcome>, RequestError>>),
    Here(std::vec::IntoIter<Outcome>),
    Failed(RequestError),
}

impl InFlight {
    fn start(node: &Node, shard: ShardId, commands: Vec<Command>, deadline: Instant) -> Self {
        let inner = &node.0;
        let answers = if inner.health.is_closing() {
            Answers::Failed(RequestError::ShuttingDown)
        } else if inner.router.serves(shard, Consistency::Linearizable) {
            match inner.local.writable(shard, &commands) {
                Ok(held) => {
                    let kept = commands.clone();
                    Answers::Queued(held.group.propose(commands), kept)
                }
                Err(LocalError::Failed(error)) => Answers::Failed(error),
                Err(_) => Answers::forward(node, shard, commands, deadline),
            }
        } else {
            Answers::forward(node, shard, commands, deadline)
        };
        Self { shard, answers }
    }
}

impl Answers {
    fn forward(node: &Node, shard: ShardId, commands: Vec<Command>, deadline: Instant) -> Self {
        match node.check_in_service(shard) {
            Ok(()) => Self::Forwarded(node.0.router.write(shard, commands, deadline).boxed()),
            Err(error) => Self::Failed(error),
        }
    }

    /// What becomes of commands that entered the log here and have no outcomes.
    fn after(
        error: LocalError,
        shard: ShardId,
        commands: Vec<Command>,
        of: &StringsInFlight,
    ) -> Self {
        match error {
            LocalError::Failed(error) => Self::Failed(error),
            LocalError::Unknown => Self::Failed(RequestError::OutcomeUnknown { shard }),
            // Another try would let them take effect after the ones that followed.
            LocalError::NotLeader { .. } | LocalError::NotNow { .. } if of.is_followed => {
                let reason = "its leader has changed; nothing was done, so another try is safe";
                Self::Failed(RequestError::ShardUnavailable { shard, reason: reason.to_owned() })
            }
            LocalError::NotLeader { .. } | LocalError::NotNow { .. } => {
                Self::forward(&of.node, shard, commands, of.deadline)
            }
        }
    }
}

impl Future for StringsInFlight {
    type Output = Vec<Result<StringReply, RequestError>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let late = self.late.as_mut().poll(context).is_ready();
        let mut shards = std::mem::take(&mut self.shards);
        let mut is_waiting = false;
        for InFlight { shard, answers } in &mut shards {
            if let Answers::Queued(proposal, commands) = answers {
                match Pin::new(proposal).poll(context) {
                    Poll::Ready(Ok(outcomes)) => *answers = Answers::Here(outcomes.into_iter()),
                    Poll::Ready(Err(error)) => {
                        let is_closing = self.node.0.health.is_closing();
                        let error = not_proposed(*shard, error, is_closing);
                        let commands = std::mem::take(commands);
                        *answers = Answers::after(error, *shard, commands, &self);
                    }
                    Poll::Pending => {}
                }
            }
            if let Answers::Forwarded(running) = answers
                && let Poll::Ready(ended) = running.as_mut().poll(context)
            {
                *answers = match ended {
                    Ok(outcomes) => Answers::Here(outcomes.into_iter()),
                    Err(error) => Answers::Failed(error),
                };
            }
            if matches!(answers, Answers::Queued(..) | Answers::Forwarded(_)) {
                if late {
                    *answers = Answers::Failed(RequestError::DeadlineExceeded);
                } else {
                    is_waiting = true;
                }
            }
        }
        self.shards = shards;
        if is_waiting { Poll::Pending } else { Poll::Ready(self.collect()) }
    }
}

impl StringsInFlight {
    /// Whether all of it entered the logs of this node's own replicas, so that what is queued
    /// after it takes effect after it. If not, it must be awaited before anything follows.
    #[must_use]
    pub fn is_queued(&self) -> bool {
        self.shards.iter().all(|of| !matches!(of.answers, Answers::Forwarded(_)))
    }

    /// To be called before later commands of the same client are queued: from now on, none of
    /// these takes effect later than it would have by itself.
    pub fn on_followed(&mut self) {
        self.is_followed = true;
    }

    fn collect(&mut self) -> Vec<Result<StringReply, RequestError>> {
        let expected = std::mem::take(&mut self.expected);
        expected
            .into_iter()
            .map(|expected| match expected {
                Expected::Refused(error) => Err(error),
                Expected::From(shard) => self
                    .shards
                    .iter_mut()
                    .find(|of| of.shard == shard)
                    .map_or_else(|| Err(no_reply()), |of| of.answers.next(of.shard)),
                Expected::FromAll => {
                    let replies =
                        self.shards.iter_mut().map(|of| (of.shard, of.answers.next(of.shard)));
                    join_parts(replies, |_, last| last).unwrap_or_else(|| Err(no_reply()))
                }
            })
            .collect()
    }
}

impl Answers {
    fn next(&mut self, shard: ShardId) -> Result<StringReply, RequestError> {
        match self {
            Self::Queued(..) | Self::Forwarded(_) => Err(no_reply()),
            Self::Failed(error) => Err(error.clone()),
            Self::Here(outcomes) => {
                let encoded = applied(shard, outcomes.next())?;
                strings::codec::decode_reply(encoded)
                    .map_err(|error| RequestError::Internal { reason: error.to_string() })
            }
        }
    }
}

fn check_strings(write: &StringWrite) -> Result<(), RequestError> {
    for key in write.keys() {
        check_key(key)?;
    }
    let bytes = write.value_bytes();
    let most = match write {
        StringWrite::SetMany { .. } | StringWrite::SketchAdd { .. } => BATCH_BYTES_MAX,
        _ => VALUE_BYTES_MAX,
    };
    if bytes > most {
        return Err(RequestError::ValueTooLong { bytes });
    }
    match write.bytes() {
        bytes if bytes > BATCH_BYTES_MAX + KEY_BYTES_MAX => {
            Err(RequestError::BatchTooLarge { commands: 1, bytes })
        }
        _ => Ok(()),
    }
}
