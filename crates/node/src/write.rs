//! Writes: checked here, ordered by the shard's log, applied by its services.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use breccia_replication::{ApplyError, Proposal, ProposeError, ShardConsensus};
use breccia_ring::slot_of;
use breccia_service::{kv, strings};
use breccia_types::kv::{Expiry, KvReply, KvWrite};
use breccia_types::limits::{
    BATCH_BYTES_MAX, BATCH_COMMANDS_MAX, REQUEST_DEADLINE_DEFAULT, VALUE_BYTES_MAX,
};
use breccia_types::strings::{StringReply, StringWrite};
use breccia_types::table::RowKind;
use breccia_types::{Command, Outcome, RequestError, RequestId, ShardId, Slot, Table, TableKind};
use bytes::Bytes;
use tokio::time::{Sleep, sleep};

use crate::node::{Node, Shard};
use crate::read::check_key;

impl Node {
    /// Applies one write command. A `request_id` that the shard knows gets the first reply.
    ///
    /// # Errors
    /// The limits of `breccia_types::limits`; [`RequestError::WrongKind`],
    /// [`RequestError::InvalidOperand`], [`RequestError::CrossSlot`] for a batch over
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
            return self.write_everywhere(&write, request_id).await;
        }
        let shard = self.route(table, &write)?;
        let proposal = shard.log.propose(vec![command(&write, request_id)]);
        let outcomes = wait(shard.id, proposal).await?;
        reply_of(outcomes.into_iter().next())
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
                    let (positions, commands) = by_shard.entry(shard.id).or_default();
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
                    Ok(outcomes) => reply_of(outcomes.next()),
                    Err(error) => Err(error.clone()),
                };
                set(&mut results, at, result);
            }
        }
        let unanswered = || {
            Err(RequestError::Internal {
                reason: "no reply".into(),
            })
        };
        results
            .into_iter()
            .map(|result| result.unwrap_or_else(unanswered))
            .collect()
    }

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

    /// Drops a table: no request finds it any more when this returns, and its rows are
    /// removed. Their space comes back in the background.
    ///
    /// # Errors
    /// [`RequestError::UnknownTable`], [`RequestError::TableProtected`], or what writing
    /// reports; the rows are then removed at the next start.
    pub async fn drop_table(&self, name: &str) -> Result<(), RequestError> {
        self.0.health.check_write(true)?;
        let name = name.to_owned();
        let table = self
            .blocking(move |inner| inner.catalog.begin_drop(&name))
            .await?;
        self.remove_rows(&table).await
    }

    /// Goes on with drops that the process did not live to finish.
    ///
    /// # Errors
    /// As [`Node::drop_table`].
    pub async fn finish_drops(&self) -> Result<(), RequestError> {
        for table in self.0.catalog.dropping() {
            self.remove_rows(&table).await?;
        }
        Ok(())
    }

    async fn remove_rows(&self, table: &Table) -> Result<(), RequestError> {
        let drop = KvWrite::DropTable {
            table: table.to_ref(),
        };
        self.write_everywhere(&drop, None).await?;
        let id = table.id;
        let range = breccia_store::key::bounds_of_prefix(id, table.to_ref().kind, &[]);
        let shards = self.0.shards.clone();
        // Detached on purpose: the space may come back after the reply.
        tokio::task::spawn_blocking(move || {
            for shard in shards {
                shard.engine.compact(Some(&range));
            }
        });
        self.blocking(move |inner| inner.catalog.finish_drop(id))
            .await
    }

    async fn write_everywhere(
        &self,
        write: &KvWrite,
        request_id: Option<RequestId>,
    ) -> Result<KvReply, RequestError> {
        self.0.health.check_write(frees_space(write))?;
        let mut proposals = Vec::with_capacity(self.0.shards.len());
        for shard in &self.0.shards {
            shard.health.check(shard.id)?;
            proposals.push((
                shard.id,
                shard.log.propose(vec![command(write, request_id)]),
            ));
        }
        let mut reply = Err(no_reply());
        for (shard, proposal) in proposals {
            let outcomes = wait(shard, proposal).await?;
            reply = Ok(reply_of(outcomes.into_iter().next())?);
        }
        reply
    }

    fn route(&self, table: &Table, write: &KvWrite) -> Result<&Shard, RequestError> {
        self.0.health.check_write(frees_space(write))?;
        self.shard(slot_of_write(table, write)?)
    }

    fn propose(&self, shard: ShardId, commands: Vec<Command>) -> Result<Proposal, RequestError> {
        let found = self.0.shards.iter().find(|candidate| candidate.id == shard);
        let missing = || RequestError::ShardUnavailable {
            shard,
            reason: "it is not here".to_owned(),
        };
        Ok(found.ok_or_else(missing)?.log.propose(commands))
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
        Self {
            node,
            by_shard: BTreeMap::new(),
            expected: Vec::with_capacity(count),
        }
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
        let command = Command {
            service: strings::SERVICE_ID,
            request_id: None,
            payload,
        };
        match write.first_key() {
            Some(key) => {
                let partition = self.node.redis_table().options.partition;
                let shard = self.node.shard(slot_of(partition, key))?.id;
                self.by_shard.entry(shard).or_default().push(command);
                Ok(Expected::From(shard))
            }
            None => {
                for shard in &self.node.0.shards {
                    shard.health.check(shard.id)?;
                }
                for shard in &self.node.0.shards {
                    self.by_shard
                        .entry(shard.id)
                        .or_default()
                        .push(command.clone());
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
        if is_waiting {
            Poll::Pending
        } else {
            Poll::Ready(self.collect())
        }
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
                    replies
                        .reduce(Result::and)
                        .unwrap_or_else(|| Err(no_reply()))
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
                strings::codec::decode_reply(encoded).map_err(|error| RequestError::Internal {
                    reason: error.to_string(),
                })
            }
        }
    }
}

async fn wait(shard: ShardId, proposal: Proposal) -> Result<Vec<Outcome>, RequestError> {
    match tokio::time::timeout(REQUEST_DEADLINE_DEFAULT, proposal).await {
        Ok(result) => result.map_err(|error| translate(shard, error)),
        Err(_) => Err(RequestError::DeadlineExceeded),
    }
}

fn translate(shard: ShardId, error: ProposeError) -> RequestError {
    match error {
        ProposeError::Busy => RequestError::Busy { shard },
        ProposeError::Closed => RequestError::ShuttingDown,
        ProposeError::Apply(ApplyError::ReadOnly { reason }) => RequestError::ReadOnly { reason },
        ProposeError::Apply(ApplyError::Quarantined { reason }) => {
            RequestError::ShardUnavailable { shard, reason }
        }
        ProposeError::Apply(error) => RequestError::Storage {
            reason: error.to_string(),
        },
        ProposeError::Unknown => RequestError::DeadlineExceeded,
        error => RequestError::Internal {
            reason: error.to_string(),
        },
    }
}

fn applied(outcome: Option<Outcome>) -> Result<Bytes, RequestError> {
    match outcome {
        Some(Ok(encoded)) => Ok(encoded),
        Some(Err(rejected)) => Err(RequestError::Internal {
            reason: rejected.to_string(),
        }),
        None => Err(no_reply()),
    }
}

fn reply_of(outcome: Option<Outcome>) -> Result<KvReply, RequestError> {
    let reply =
        kv::codec::decode_reply(applied(outcome)?).map_err(|error| RequestError::Internal {
            reason: error.to_string(),
        })?;
    match reply {
        KvReply::GuardFailed { index } => Err(RequestError::GuardFailed {
            index: usize::try_from(index).unwrap_or(usize::MAX),
        }),
        reply => Ok(reply),
    }
}

fn no_reply() -> RequestError {
    RequestError::Internal {
        reason: "a command has no reply".to_owned(),
    }
}

fn set<T>(results: &mut [Option<T>], at: usize, result: T) {
    if let Some(place) = results.get_mut(at) {
        *place = Some(result);
    }
}

fn command(write: &KvWrite, request_id: Option<RequestId>) -> Command {
    Command {
        service: kv::SERVICE_ID,
        request_id,
        payload: kv::codec::encode_write(write),
    }
}

/// Whether a write only removes, and so is let through while the disk is full.
fn frees_space(write: &KvWrite) -> bool {
    match write {
        KvWrite::DeleteRange { .. } | KvWrite::DropTable { .. } => true,
        KvWrite::Delete { table, .. } => table.kind != RowKind::Versioned,
        KvWrite::Batch(writes) => writes.iter().all(frees_space),
        KvWrite::Put { .. } | KvWrite::CompareAndSet { .. } | KvWrite::Merge { .. } => false,
    }
}

/// Refuses what needs a table of another kind.
pub(crate) fn needs(
    table: &Table,
    needed: RowKind,
    operation: &'static str,
) -> Result<(), RequestError> {
    if table.options.kind.row_kind() == needed {
        return Ok(());
    }
    let needed = match needed {
        RowKind::Plain => "plain",
        RowKind::Versioned => "versioned",
        RowKind::Monoid => "monoid",
    };
    let kind = table.options.kind.name();
    Err(RequestError::WrongKind {
        table: table.name.clone(),
        kind,
        operation,
        needed,
    })
}

/// The slot of a command; all commands of a batch must share it.
fn slot_of_write(table: &Table, write: &KvWrite) -> Result<Slot, RequestError> {
    let slot = |key: &[u8]| Ok(slot_of(table.options.partition, key));
    match write {
        KvWrite::Put { key, .. }
        | KvWrite::Delete { key, .. }
        | KvWrite::CompareAndSet { key, .. }
        | KvWrite::Merge { key, .. } => slot(key),
        KvWrite::Batch(writes) => {
            let mut slots = writes.iter().map(|write| slot_of_write(table, write));
            let first = slots.next().unwrap_or_else(|| slot(&[]))?;
            for slot in slots {
                if slot? != first {
                    return Err(RequestError::CrossSlot);
                }
            }
            Ok(first)
        }
        KvWrite::DeleteRange { .. } | KvWrite::DropTable { .. } => {
            Err(RequestError::InvalidArgument {
                argument: "command",
                reason: "a range cannot be part of a batch".to_owned(),
            })
        }
    }
}

fn check(table: &Table, write: &KvWrite) -> Result<(), RequestError> {
    if let KvWrite::Batch(writes) = write {
        if writes.len() > BATCH_COMMANDS_MAX || write.bytes() > BATCH_BYTES_MAX {
            let (commands, bytes) = (writes.len(), write.bytes());
            return Err(RequestError::BatchTooLarge { commands, bytes });
        }
        if writes
            .iter()
            .any(|write| matches!(write, KvWrite::Batch(_)))
        {
            let reason = "batches do not nest".to_owned();
            return Err(RequestError::InvalidArgument {
                argument: "batch",
                reason,
            });
        }
        return writes.iter().try_for_each(|write| check(table, write));
    }
    match write {
        KvWrite::Put {
            key,
            value,
            expiry,
            version,
            ..
        } => {
            check_key(key)?;
            check_value(value)?;
            check_expiry(table, *expiry)?;
            if version.is_some() {
                needs(table, RowKind::Versioned, "writing a version")?;
            }
            check_state(table, value)
        }
        KvWrite::Delete { key, version, .. } => {
            if version.is_some() {
                needs(table, RowKind::Versioned, "deleting at a version")?;
            }
            check_key(key)
        }
        KvWrite::CompareAndSet {
            key, new, expiry, ..
        } => {
            check_key(key)?;
            if table.options.kind.row_kind() == RowKind::Monoid {
                return needs(table, RowKind::Plain, "compare-and-set");
            }
            check_expiry(table, *expiry)?;
            new.as_ref().map_or(Ok(()), |new| check_value(new))
        }
        KvWrite::Merge {
            key,
            operand,
            expiry,
            ..
        } => {
            check_key(key)?;
            needs(table, RowKind::Monoid, "merge")?;
            check_expiry(table, *expiry)?;
            check_value(operand)?;
            check_state(table, operand)
        }
        KvWrite::DeleteRange { from, to, .. } => {
            check_key(from)?;
            to.as_ref().map_or(Ok(()), |to| check_key(to))
        }
        KvWrite::Batch(_) | KvWrite::DropTable { .. } => Ok(()),
    }
}

const fn check_value(value: &[u8]) -> Result<(), RequestError> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(RequestError::ValueTooLong { bytes: value.len() });
    }
    Ok(())
}

/// Versions and merged states expire by the table's time to live alone: with one of their
/// own, what is read would depend on how far compaction has come.
fn check_expiry(table: &Table, expiry: Expiry) -> Result<(), RequestError> {
    let is_plain = table.options.kind.row_kind() == RowKind::Plain;
    if is_plain || expiry == table.default_expiry() {
        return Ok(());
    }
    let kind = table.options.kind.name();
    let table = table.name.clone();
    Err(RequestError::WrongKind {
        table,
        kind,
        operation: "an expiry per row",
        needed: "plain",
    })
}

fn check_state(table: &Table, encoded: &[u8]) -> Result<(), RequestError> {
    let TableKind::Monoid(monoid) = &table.options.kind else {
        return Ok(());
    };
    monoid
        .check(encoded)
        .map_err(|error| RequestError::InvalidOperand {
            reason: error.to_string(),
        })
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
