//! Writes: checked here, ordered by the shard's log, applied by its services.

use std::collections::BTreeMap;
use std::future::Future;

use breccia_service::kv;
use breccia_types::kv::{KvReply, KvWrite};
use breccia_types::limits::REQUEST_DEADLINE_DEFAULT;
use breccia_types::{
    Command, Outcome, Rejected, RequestError, RequestId, ShardId, Table, TableId, join_parts,
};
use bytes::Bytes;
use futures::future::join_all;
use tokio::time::Instant;

use crate::check::{check, slot_of_write};
use crate::node::Node;

impl Node {
    /// Applies one write command. A `request_id` that the shard knows gets the first reply.
    ///
    /// # Errors
    /// The limits of `breccia_types::limits`; [`RequestError::WrongKind`],
    /// [`RequestError::InvalidOperand`], [`RequestError::TableDropped`], [`RequestError::CrossSlot`] for a batch over
    /// several slots, [`RequestError::GuardFailed`]; [`RequestError::Busy`],
    /// [`RequestError::ReadOnly`], [`RequestError::ShardUnavailable`].
    pub async fn write(
        &self,
        table: &Table,
        write: KvWrite,
        request_id: Option<RequestId>,
    ) -> Result<KvReply, RequestError> {
        check(table, &write)?;
        if let KvWrite::DeleteRange { .. } = write {
            return self.write_everywhere(table, &write, request_id).await;
        }
        let shard = self.shard_of(slot_of_write(table, &write)?);
        let outcomes = self.write_shard(shard, vec![command(&write, request_id)]).await?;
        reply_of(shard, table.id, outcomes.into_iter().next())
    }

    /// Applies many commands, each by itself: not atomic together, and in no order between
    /// shards. One result per command, in order.
    pub async fn write_many(
        &self,
        table: &Table,
        writes: Vec<KvWrite>,
    ) -> Vec<Result<KvReply, RequestError>> {
        let mut results: Vec<Option<Result<KvReply, RequestError>>> = Vec::new();
        results.resize_with(writes.len(), || None);
        let mut by_shard: BTreeMap<ShardId, (Vec<usize>, Vec<Command>)> = BTreeMap::new();
        for (at, write) in writes.iter().enumerate() {
            match check(table, write).and_then(|()| slot_of_write(table, write)) {
                Ok(slot) => {
                    let (positions, commands) = by_shard.entry(self.shard_of(slot)).or_default();
                    positions.push(at);
                    commands.push(command(write, None));
                }
                Err(error) => set(&mut results, at, Err(error)),
            }
        }
        let mut waiting = Vec::with_capacity(by_shard.len());
        for (shard, (positions, commands)) in by_shard {
            let writing = self.write_shard(shard, commands);
            waiting.push(async move { (shard, positions, writing.await) });
        }
        for (shard, positions, outcomes) in join_all(waiting).await {
            let mut outcomes = outcomes.map(Vec::into_iter);
            for at in positions {
                let result = match &mut outcomes {
                    Ok(outcomes) => reply_of(shard, table.id, outcomes.next()),
                    Err(error) => Err(error.clone()),
                };
                set(&mut results, at, result);
            }
        }
        let unanswered = || Err(RequestError::Internal { reason: "no reply".into() });
        results.into_iter().map(|result| result.unwrap_or_else(unanswered)).collect()
    }

    pub(crate) async fn write_everywhere(
        &self,
        table: &Table,
        write: &KvWrite,
        request_id: Option<RequestId>,
    ) -> Result<KvReply, RequestError> {
        let waiting: Vec<_> = self
            .all_shards()
            .into_iter()
            .map(|shard| {
                let writing = self.write_shard(shard, vec![command(write, request_id)]);
                async move { (shard, writing.await) }
            })
            .collect();
        // A shard that cannot take part does not keep the others from it.
        let replies = join_all(waiting).await.into_iter().map(|(shard, outcomes)| {
            let replied = outcomes.and_then(|outcomes| {
                let outcome = outcomes.into_iter().next();
                match write {
                    // Dropped twice is dropped.
                    KvWrite::DropTable { .. } => {
                        applied(shard, outcome).map(|_| KvReply::TableDropped)
                    }
                    _ => reply_of(shard, table.id, outcome),
                }
            });
            (shard, replied)
        });
        if matches!(write, KvWrite::DropTable { .. }) {
            // It is begun again until every shard has done it: what keeps one is to be known.
            return replies
                .map(|(_, replied)| replied)
                .reduce(Result::and)
                .unwrap_or_else(|| Err(no_reply()));
        }
        join_parts(replies, |_, last| last).unwrap_or_else(|| Err(no_reply()))
    }

    /// Puts commands into the log of a shard, wherever that is led. If it is led here they
    /// are queued when this returns.
    pub(crate) fn write_shard(
        &self,
        shard: ShardId,
        commands: Vec<Command>,
    ) -> impl Future<Output = Result<Vec<Outcome>, RequestError>> + Send + use<> {
        let refused = match self.0.health.is_closing() {
            true => Err(RequestError::ShuttingDown),
            false => self.check_in_service(shard),
        };
        let deadline = Instant::now() + REQUEST_DEADLINE_DEFAULT;
        let writing = refused.map(|()| self.0.router.write(shard, commands, deadline));
        async move { writing?.await }
    }
}

pub(crate) fn applied(shard: ShardId, outcome: Option<Outcome>) -> Result<Bytes, RequestError> {
    match outcome {
        Some(Ok(encoded)) => Ok(encoded),
        Some(Err(Rejected::TooMuch { .. })) => Err(RequestError::Busy { shard }),
        Some(Err(rejected)) => Err(RequestError::Internal { reason: rejected.to_string() }),
        None => Err(no_reply()),
    }
}

fn reply_of(
    shard: ShardId,
    table: TableId,
    outcome: Option<Outcome>,
) -> Result<KvReply, RequestError> {
    let reply = kv::codec::decode_reply(applied(shard, outcome)?)
        .map_err(|error| RequestError::Internal { reason: error.to_string() })?;
    match reply {
        KvReply::TableDropped => Err(RequestError::TableDropped { id: table }),
        KvReply::GuardFailed { index } => {
            Err(RequestError::GuardFailed { index: usize::try_from(index).unwrap_or(usize::MAX) })
        }
        reply => Ok(reply),
    }
}

pub(crate) fn no_reply() -> RequestError {
    RequestError::Internal { reason: "a command has no reply".to_owned() }
}

fn set<T>(results: &mut [Option<T>], at: usize, result: T) {
    if let Some(place) = results.get_mut(at) {
        *place = Some(result);
    }
}

fn command(write: &KvWrite, request_id: Option<RequestId>) -> Command {
    Command { service: kv::SERVICE_ID, request_id, payload: kv::codec::encode_write(write) }
}
