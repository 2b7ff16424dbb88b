//! What the router asks of this node: the shards that are here.

use std::sync::Arc;
use std::time::Duration;

use breccia_replication::raft::{Leadership, ReadMode};
use breccia_replication::{ApplyError, ProposeError, ReadError, ShardConsensus};
use breccia_router::{Consistency, LocalError, LocalRole, LocalShards, ShardRead};
use breccia_service::ReadError as ServiceError;
use breccia_service::{Services, kv, meta, strings};
use breccia_store::{Lookup, StoredRow, key, row};
use breccia_types::kv::Row;
use breccia_types::read::{KvRead, KvReadReply, ReadOperation};
use breccia_types::strings::StringWrite;
use breccia_types::table::RowKind;
use breccia_types::{Command, NodeClock, Outcome, RequestError, ShardId, TableView};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, ready};

use crate::check::frees_space;
use crate::health::NodeHealth;
use crate::node::Shard;
use crate::replicas::ShardMap;

/// How recently a replica must have heard its leader for clients to be sent to that: four
/// heartbeats.
const LEADER_HEARD_WITHIN: Duration = Duration::from_secs(1);

/// The shards on this node, as the router asks them.
#[derive(Clone)]
pub(crate) struct Local {
    pub(crate) shards: ShardMap,
    pub(crate) health: Arc<NodeHealth>,
    pub(crate) clock: Arc<NodeClock>,
    pub(crate) services: Services,
}

impl LocalShards for Local {
    fn role(&self, shard: ShardId) -> LocalRole {
        let shards = self.shards.load();
        match shards.get(&shard) {
            Some(found) if found.data.health.quarantined().is_none() => {
                match found.group.leadership() {
                    Leadership::Own => LocalRole::Leader,
                    Leadership::Other(leader) => {
                        LocalRole::Follower { leader: leader.map(|leader| leader.node) }
                    }
                    Leadership::Stopped => LocalRole::Absent,
                }
            }
            _ => LocalRole::Absent,
        }
    }

    fn hears_leader(&self, shard: ShardId) -> bool {
        let shards = self.shards.load();
        let heard = shards.get(&shard).and_then(|found| found.group.since_contact());
        heard.is_some_and(|since| since < LEADER_HEARD_WITHIN)
    }

    fn write(
        &self,
        shard: ShardId,
        commands: Vec<Command>,
    ) -> BoxFuture<'static, Result<Vec<Outcome>, LocalError>> {
        let found = match self.writable(shard, &commands) {
            Ok(found) => found,
            Err(error) => return ready(Err(error)).boxed(),
        };
        let proposal = found.group.propose(commands);
        let is_closing = self.health.is_closing();
        async move { proposal.await.map_err(|error| not_proposed(shard, error, is_closing)) }
            .boxed()
    }

    fn read(
        &self,
        shard: ShardId,
        read: ShardRead,
    ) -> BoxFuture<'static, Result<Bytes, LocalError>> {
        let local = self.clone();
        async move {
            match read.service {
                // Rows that are in memory are read without waiting for a thread.
                kv::SERVICE_ID => {
                    let request = kv::codec::decode_read(read.request).map_err(malformed)?;
                    let reply = local.read_rows(shard, &request, read.consistency).await?;
                    Ok(kv::codec::encode_read_reply(&reply))
                }
                _ => local.read_encoded(shard, read).await,
            }
        }
        .boxed()
    }
}

impl Local {
    /// A shard that is here and in service.
    pub(crate) fn get(&self, shard: ShardId) -> Result<Shard, LocalError> {
        let absent = LocalError::NotLeader { leader: None };
        let found = self.shards.load().get(&shard).cloned().ok_or(absent)?;
        found
            .data
            .health
            .check(shard)
            .map_err(|error| LocalError::NotNow { reason: error.to_string() })?;
        Ok(found)
    }

    /// A shard that takes these commands, as far as this node is concerned.
    pub(crate) fn writable(
        &self,
        shard: ShardId,
        commands: &[Command],
    ) -> Result<Shard, LocalError> {
        if self.health.read_only().is_some() {
            self.health.check_write(commands.iter().all(takes_no_space))?;
        }
        self.get(shard)
    }

    /// A shard that may be read at this moment with this consistency.
    pub(crate) async fn readable(
        &self,
        shard: ShardId,
        wanted: Consistency,
    ) -> Result<Shard, LocalError> {
        let found = self.get(shard)?;
        let mode = match wanted {
            Consistency::Linearizable => ReadMode::Lease,
            Consistency::Strict => ReadMode::Strict,
            Consistency::Stale { max } => {
                if found.group.staleness().is_some_and(|age| age <= max) {
                    return Ok(found);
                }
                if found.group.leadership() != Leadership::Own {
                    let reason = format!("this replica may lack what is older than {max:?}");
                    return Err(LocalError::NotNow { reason });
                }
                // What a leader reads after a barrier lacks nothing.
                ReadMode::Lease
            }
        };
        let passed = found.group.read_barrier_in(mode).await;
        let is_closing = self.health.is_closing();
        passed.map_err(|error| not_passed(shard, error, is_closing))?;
        Ok(found)
    }

    /// Reads rows of a shard that is here.
    pub(crate) async fn read_rows(
        &self,
        shard: ShardId,
        read: &KvRead,
        wanted: Consistency,
    ) -> Result<KvReadReply, LocalError> {
        let found = self.readable(shard, wanted).await?;
        let reply = self.read_from(&found, read).await?;
        found.data.check_table(read.table.id)?;
        Ok(reply)
    }

    async fn read_from(&self, found: &Shard, read: &KvRead) -> Result<KvReadReply, LocalError> {
        if let ReadOperation::Get { key, as_of: None } = &read.operation
            && let Some(row) = self.get_cached(found, read.table, key)?
        {
            return Ok(KvReadReply::Row(row));
        }
        let (found, read, now) = (found.clone(), read.clone(), self.clock.now());
        let reading = tokio::task::spawn_blocking(move || found.read(&read, now)).await;
        Ok(reading.map_err(malformed)??)
    }

    async fn read_encoded(&self, shard: ShardId, read: ShardRead) -> Result<Bytes, LocalError> {
        let found = self.readable(shard, read.consistency).await?;
        let (services, now) = (self.services.clone(), self.clock.now());
        let reading = tokio::task::spawn_blocking(move || {
            let service = services.get(read.service);
            let service = service.ok_or_else(|| malformed(format!("no {} here", read.service)))?;
            let engine = found.data.engine();
            service.read(engine.snapshot().as_ref(), now, read.request).map_err(|error| match error
            {
                ServiceError::Store(error) => LocalError::Failed(found.on_read_error(&error)),
                ServiceError::Refused(error) => LocalError::Failed(error),
                error => malformed(error),
            })
        });
        reading.await.map_err(malformed)?
    }

    /// Looks a row up without waiting for the disk; `None` if the disk must be asked.
    pub(crate) fn get_cached(
        &self,
        shard: &Shard,
        table: TableView,
        key: &Bytes,
    ) -> Result<Option<Option<Row>>, RequestError> {
        if table.kind == RowKind::Versioned {
            return Ok(None);
        }
        let raw = key::row(table.id, key);
        let found = shard.data.engine().get_cached(&raw);
        match found.map_err(|error| shard.on_read_error(&error))? {
            Lookup::Absent => Ok(Some(None)),
            Lookup::NotCached => Ok(None),
            Lookup::Found(stored) => {
                let row = row::decode(stored, self.clock.now());
                let row = row.map_err(|error| shard.on_read_error(&error))?;
                Ok(Some(row.map(|StoredRow { value, expires_at }| Row {
                    key: key.clone(),
                    value,
                    expires_at,
                    version: None,
                })))
            }
        }
    }
}

/// Whether a command may be carried out on a full disk. What cannot be read takes space.
fn takes_no_space(command: &Command) -> bool {
    let payload = command.payload.clone();
    match command.service {
        kv::SERVICE_ID => kv::codec::decode_write(payload).is_ok_and(|write| frees_space(&write)),
        strings::SERVICE_ID => {
            strings::codec::decode_write(payload).is_ok_and(|write| is_deletion(&write))
        }
        // What all nodes agree on must go on, and is small.
        meta::SERVICE_ID => true,
        _ => false,
    }
}

/// Whether a string command only takes rows away.
pub(crate) const fn is_deletion(write: &StringWrite) -> bool {
    matches!(write, StringWrite::Delete { .. } | StringWrite::GetDelete { .. } | StringWrite::Flush)
}

/// What the router may do after a proposal that has no outcomes.
pub(crate) fn not_proposed(shard: ShardId, error: ProposeError, is_closing: bool) -> LocalError {
    let failed = LocalError::Failed;
    match error {
        ProposeError::NotLeader { leader } => {
            LocalError::NotLeader { leader: leader.map(|leader| leader.node) }
        }
        ProposeError::Unknown => LocalError::Unknown,
        ProposeError::Busy => failed(RequestError::Busy { shard }),
        ProposeError::TooLarge { commands, bytes } => {
            failed(RequestError::BatchTooLarge { commands, bytes })
        }
        ProposeError::Closed if is_closing => failed(RequestError::ShuttingDown),
        ProposeError::Apply(ApplyError::ReadOnly { reason }) => {
            failed(RequestError::ReadOnly { reason })
        }
        ProposeError::Apply(ApplyError::Quarantined { reason }) => {
            failed(RequestError::ShardUnavailable { shard, reason })
        }
        ProposeError::Apply(error) => failed(RequestError::Storage { reason: error.to_string() }),
        error => LocalError::NotNow { reason: error.to_string() },
    }
}

fn not_passed(shard: ShardId, error: ReadError, is_closing: bool) -> LocalError {
    match error {
        ReadError::NotLeader { leader } => {
            LocalError::NotLeader { leader: leader.map(|leader| leader.node) }
        }
        ReadError::Busy => LocalError::Failed(RequestError::Busy { shard }),
        ReadError::Closed if is_closing => LocalError::Failed(RequestError::ShuttingDown),
        error => LocalError::NotNow { reason: error.to_string() },
    }
}

fn malformed(reason: impl ToString) -> LocalError {
    LocalError::Failed(RequestError::Internal { reason: reason.to_string() })
}
