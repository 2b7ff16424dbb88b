//! A node's shard, and the log that all its replicas share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use breccia_router::{LocalError, LocalRole, LocalShards, ShardRead};
use breccia_types::{Command, NodeId, Outcome, RequestId, ShardId};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use tokio::time::sleep;

/// What was applied, and the replies by request id.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) applied: Vec<Bytes>,
    replies: BTreeMap<RequestId, Outcome>,
}

impl Log {
    /// Applies a command, unless its request id is known. The reply names its position.
    fn apply(&mut self, command: &Command) -> Outcome {
        if let Some(reply) = command.request_id.and_then(|id| self.replies.get(&id)) {
            return reply.clone();
        }
        self.applied.push(command.payload.clone());
        let reply = Ok(Bytes::from(format!("reply {}", self.applied.len())));
        if let Some(id) = command.request_id {
            self.replies.insert(id, reply.clone());
        }
        reply
    }
}

pub(crate) struct FakeShards {
    pub(crate) node: NodeId,
    pub(crate) log: Arc<Mutex<Log>>,
    pub(crate) role: Mutex<LocalRole>,
    /// What it answers instead.
    pub(crate) failing: Mutex<Option<LocalError>>,
    /// How long it takes to answer, after the commands were applied.
    pub(crate) slow: Mutex<Duration>,
}

impl FakeShards {
    fn refusal(&self) -> Option<LocalError> {
        let failing = self.failing.lock().clone();
        failing.or_else(|| match *self.role.lock() {
            LocalRole::Leader => None,
            LocalRole::Follower { leader } => Some(LocalError::NotLeader { leader }),
            LocalRole::Absent => Some(LocalError::NotLeader { leader: None }),
        })
    }

    fn answer<T: Send + 'static>(
        &self,
        result: Result<T, LocalError>,
    ) -> BoxFuture<'static, Result<T, LocalError>> {
        let slow = *self.slow.lock();
        async move {
            if !slow.is_zero() {
                sleep(slow).await;
            }
            result
        }
        .boxed()
    }
}

impl LocalShards for FakeShards {
    fn role(&self, _: ShardId) -> LocalRole {
        *self.role.lock()
    }

    fn hears_leader(&self, _: ShardId) -> bool {
        true
    }

    fn write(
        &self,
        _: ShardId,
        commands: Vec<Command>,
    ) -> BoxFuture<'static, Result<Vec<Outcome>, LocalError>> {
        let result = match self.refusal() {
            Some(error) => Err(error),
            None => {
                let mut log = self.log.lock();
                Ok(commands.iter().map(|command| log.apply(command)).collect())
            }
        };
        self.answer(result)
    }

    fn read(&self, _: ShardId, read: ShardRead) -> BoxFuture<'static, Result<Bytes, LocalError>> {
        let is_stale = matches!(read.consistency, breccia_router::Consistency::Stale { .. });
        let is_here = is_stale && matches!(self.role(ShardId::new(0)), LocalRole::Follower { .. });
        let refusal = match is_here {
            true => self.failing.lock().clone(),
            false => self.refusal(),
        };
        let answer = format!("{} by {}", String::from_utf8_lossy(&read.request), self.node);
        self.answer(refusal.map_or(Ok(answer.into()), Err))
    }
}
