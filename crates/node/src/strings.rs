//! String commands: routed together, replied to in order.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use breccia_replication::Proposal;
use breccia_ring::slot_of;
use breccia_service::strings;
use breccia_types::limits::{BATCH_BYTES_MAX, REQUEST_DEADLINE_DEFAULT, VALUE_BYTES_MAX};
use breccia_types::strings::{StringReply, StringWrite};
use breccia_types::{Command, Outcome, RequestError, ShardId};
use tokio::time::{Sleep, sleep};

use crate::check::check_key;
use crate::node::Node;
use crate::write::{applied, no_reply, translate};

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
        let frees_space = matches!(
            write,
            StringWrite::Delete { .. } | StringWrite::GetDelete { .. } | StringWrite::Flush
        );
        self.node.0.health.check_write(frees_space)?;
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
                let shard = self.node.shard(slot)?.id();
                self.by_shard.entry(shard).or_default().push(command);
                Ok(Expected::From(shard))
            }
            None => {
                let shards = self.node.shards();
                for shard in &shards {
                    shard.data.health.check(shard.id())?;
                }
                for shard in &shards {
                    self.by_shard.entry(shard.id()).or_default().push(command.clone());
                }
                Ok(Expected::FromAll)
            }
        }
    }

    fn propose(self) -> StringsInFlight {
        let mut shards = Vec::with_capacity(self.by_shard.len());
        for (shard, commands) in self.by_shard {
            let answers = match self.node.propose(shard, commands) {
                Ok(proposal) => Answers::Waiting(proposal),
                Err(error) => Answers::Failed(error),
            };
            shards.push((shard, answers));
        }
        StringsInFlight {
            shards,
            expected: self.expected,
            deadline: Box::pin(sleep(REQUEST_DEADLINE_DEFAULT)),
        }
    }
}

/// String commands on their way through the log.
#[must_use = "the replies come by awaiting"]
pub struct StringsInFlight {
    shards: Vec<(ShardId, Answers)>,
    expected: Vec<Expected>,
    deadline: Pin<Box<Sleep>>,
}

enum Answers {
    Waiting(Proposal),
    Here(std::vec::IntoIter<Outcome>),
    Failed(RequestError),
}

impl Future for StringsInFlight {
    type Output = Vec<Result<StringReply, RequestError>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let late = self.deadline.as_mut().poll(context).is_ready();
        let mut is_waiting = false;
        for (shard, answers) in &mut self.shards {
            let Answers::Waiting(proposal) = answers else {
                continue;
            };
            match Pin::new(proposal).poll(context) {
                Poll::Ready(Ok(outcomes)) => *answers = Answers::Here(outcomes.into_iter()),
                Poll::Ready(Err(error)) => *answers = Answers::Failed(translate(*shard, error)),
                Poll::Pending if late => {
                    *answers = Answers::Failed(RequestError::DeadlineExceeded);
                }
                Poll::Pending => is_waiting = true,
            }
        }
        if is_waiting { Poll::Pending } else { Poll::Ready(self.collect()) }
    }
}

impl StringsInFlight {
    fn collect(&mut self) -> Vec<Result<StringReply, RequestError>> {
        let expected = std::mem::take(&mut self.expected);
        expected
            .into_iter()
            .map(|expected| match expected {
                Expected::Refused(error) => Err(error),
                Expected::From(shard) => self
                    .shards
                    .iter_mut()
                    .find(|(candidate, _)| *candidate == shard)
                    .map_or_else(|| Err(no_reply()), |(_, answers)| answers.next()),
                Expected::FromAll => {
                    let replies = self.shards.iter_mut().map(|(_, answers)| answers.next());
                    replies.reduce(Result::and).unwrap_or_else(|| Err(no_reply()))
                }
            })
            .collect()
    }
}

impl Answers {
    fn next(&mut self) -> Result<StringReply, RequestError> {
        match self {
            Self::Waiting(_) => Err(no_reply()),
            Self::Failed(error) => Err(error.clone()),
            Self::Here(outcomes) => {
                let encoded = applied(outcomes.next())?;
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
    Ok(())
}
