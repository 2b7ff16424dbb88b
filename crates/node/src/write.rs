//! Writes: checked here, ordered by the shard's log, applied by its services.

use std::collections::BTreeMap;

use breccia_replication::{ApplyError, Proposal, ProposeError, ShardConsensus};
use breccia_service::kv;
use breccia_types::kv::{KvReply, KvWrite};
use breccia_types::limits::REQUEST_DEADLINE_DEFAULT;
use breccia_types::{Command, Outcome, RequestError, RequestId, ShardId, Table, TableId};
use bytes::Bytes;

use crate::check::{check, frees_space, slot_of_write};
use crate::node::{Node, Shard};

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
        let shard = self.route(table, &write)?;
        let proposal = shard.group.propose(vec![command(&write, request_id)]);
        let outcomes = wait(shard.id(), proposal).await?;
        reply_of(table.id, outcomes.into_iter().next())
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
            match check(table, write).and_then(|()| self.route(table, write)) {
                Ok(shard) => {
                    let (positions, commands) = by_shard.entry(shard.id()).or_default();
                    positions.push(at);
                    commands.push(command(write, None));
                }
                Err(error) => set(&mut results, at, Err(error)),
            }
        }
        let mut proposals = Vec::with_capacity(by_shard.len());
        for (shard, (positions, commands)) in by_shard {
            proposals.push((shard, positions, self.propose(shard, commands)));
        }
        for (shard, positions, proposal) in proposals {
            let mut outcomes = match proposal {
                Ok(proposal) => wait(shard, proposal).await.map(Vec::into_iter),
                Err(error) => Err(error),
            };
            for at in positions {
                let result = match &mut outcomes {
                    Ok(outcomes) => reply_of(table.id, outcomes.next()),
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
        self.0.health.check_write(frees_space(write))?;
        let shards = self.shards();
        let mut proposals = Vec::with_capacity(shards.len());
        let mut unavailable = Ok(());
        for shard in &shards {
            match shard.data.health.check(shard.id()) {
                Ok(()) => {
                    let proposal = shard.group.propose(vec![command(write, request_id)]);
                    proposals.push((shard.id(), proposal));
                }
                error => unavailable = error,
            }
        }
        // A shard that cannot take part does not keep the others from it.
        let mut reply = Err(no_reply());
        for (shard, proposal) in proposals {
            let outcomes = wait(shard, proposal).await?;
            let outcome = outcomes.into_iter().next();
            reply = match write {
                // Dropped twice is dropped.
                KvWrite::DropTable { .. } => applied(outcome).map(|_| KvReply::TableDropped),
                _ => Ok(reply_of(table.id, outcome)?),
            };
        }
        unavailable.and(reply)
    }

    fn route(&self, table: &Table, write: &KvWrite) -> Result<Shard, RequestError> {
        self.0.health.check_write(frees_space(write))?;
        self.shard(slot_of_write(table, write)?)
    }

    pub(crate) fn propose(
        &self,
        shard: ShardId,
        commands: Vec<Command>,
    ) -> Result<Proposal, RequestError> {
        Ok(self.local(shard)?.group.propose(commands))
    }
}

pub(crate) async fn wait(shard: ShardId, proposal: Proposal) -> Result<Vec<Outcome>, RequestError> {
    match tokio::time::timeout(REQUEST_DEADLINE_DEFAULT, proposal).await {
        Ok(result) => result.map_err(|error| translate(shard, error)),
        Err(_) => Err(RequestError::DeadlineExceeded),
    }
}

pub(crate) fn translate(shard: ShardId, error: ProposeError) -> RequestError {
    match error {
        ProposeError::Busy => RequestError::Busy { shard },
        ProposeError::Closed => RequestError::ShuttingDown,
        ProposeError::Apply(ApplyError::ReadOnly { reason }) => RequestError::ReadOnly { reason },
        ProposeError::Apply(ApplyError::Quarantined { reason }) => {
            RequestError::ShardUnavailable { shard, reason }
        }
        ProposeError::Apply(error) => RequestError::Storage { reason: error.to_string() },
        ProposeError::Unknown => RequestError::DeadlineExceeded,
        error @ (ProposeError::NotLeader { .. }
        | ProposeError::NoQuorum
        | ProposeError::Failed { .. }) => {
            RequestError::ShardUnavailable { shard, reason: error.to_string() }
        }
        error => RequestError::Internal { reason: error.to_string() },
    }
}

pub(crate) fn applied(outcome: Option<Outcome>) -> Result<Bytes, RequestError> {
    match outcome {
        Some(Ok(encoded)) => Ok(encoded),
        Some(Err(rejected)) => Err(RequestError::Internal { reason: rejected.to_string() }),
        None => Err(no_reply()),
    }
}

fn reply_of(table: TableId, outcome: Option<Outcome>) -> Result<KvReply, RequestError> {
    let reply = kv::codec::decode_reply(applied(outcome)?)
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
