//! Point reads: from memory on the spot if possible, else on a blocking thread, or on the
//! node that leads the shard.

use std::collections::BTreeMap;

use breccia_router::{LocalError, ShardRead};
use breccia_service::kv;
use breccia_types::kv::{History, Row, Version};
use breccia_types::limits::{MULTI_GET_KEYS_MAX, REQUEST_DEADLINE_DEFAULT};
use breccia_types::read::{KvRead, KvReadReply, ReadOperation};
use breccia_types::table::RowKind;
use breccia_types::{RequestError, ShardId, Slot, Table, Timestamp};
use bytes::Bytes;
use tokio::time::Instant;

use crate::check::{check_key, needs};
use crate::node::{Node, Shard};

impl Node {
    /// The row with this key, in a versioned table its newest version.
    ///
    /// # Errors
    /// [`RequestError::KeyTooLong`], or what reading the shard reports.
    pub async fn get(&self, table: &Table, key: &[u8]) -> Result<Option<Row>, RequestError> {
        check_key(key)?;
        self.read_row(table, self.slot(table, key), key, None).await
    }

    /// The row as it was at an instant.
    ///
    /// # Errors
    /// [`RequestError::WrongKind`] unless the table is versioned, or as [`Node::get`].
    pub async fn get_as_of(
        &self,
        table: &Table,
        key: &[u8],
        as_of: Timestamp,
    ) -> Result<Option<Row>, RequestError> {
        needs(table, RowKind::Versioned, "a read as of an instant")?;
        check_key(key)?;
        let slot = self.slot(table, key);
        self.read_row(table, slot, key, Some(as_of)).await
    }

    async fn read_row(
        &self,
        table: &Table,
        slot: Slot,
        key: &[u8],
        as_of: Option<Timestamp>,
    ) -> Result<Option<Row>, RequestError> {
        let operation = ReadOperation::Get { key: Bytes::copy_from_slice(key), as_of };
        match self.read(table, slot, operation).await? {
            KvReadReply::Row(row) => Ok(row),
            other => Err(unexpected(&other)),
        }
    }

    /// The versions of a row, newest first.
    ///
    /// # Errors
    /// [`RequestError::WrongKind`] unless the table is versioned, or as [`Node::get`].
    pub async fn history(
        &self,
        table: &Table,
        history: History,
    ) -> Result<Vec<Version>, RequestError> {
        needs(table, RowKind::Versioned, "history")?;
        check_key(&history.key)?;
        let slot = self.slot(table, &history.key);
        match self.read(table, slot, ReadOperation::History(history)).await? {
            KvReadReply::Versions(versions) => Ok(versions),
            other => Err(unexpected(&other)),
        }
    }

    /// The rows with the first of these keys, in their order; `None` where there is no row.
    /// All of them, unless the rows of a shard have more than 4 MiB together: then
    /// fewer, but at least one, and the rest may be asked for next. Rows of
    /// one shard are seen at one moment, so never half of an atomic batch.
    ///
    /// # Errors
    /// [`RequestError::TooManyKeys`], or as [`Node::get`].
    pub async fn multi_get(
        &self,
        table: &Table,
        keys: &[Bytes],
    ) -> Result<Vec<Option<Row>>, RequestError> {
        if keys.len() > MULTI_GET_KEYS_MAX {
            return Err(RequestError::TooManyKeys { keys: keys.len() });
        }
        let mut by_shard: BTreeMap<ShardId, (Slot, Vec<usize>)> = BTreeMap::new();
        for (at, key) in keys.iter().enumerate() {
            check_key(key)?;
            let slot = self.slot(table, key);
            let shard = self.shard_of(slot);
            by_shard.entry(shard).or_insert_with(|| (slot, Vec::new())).1.push(at);
        }
        let reads = by_shard.into_values().map(|(slot, positions)| async move {
            let keys: Vec<_> = positions.iter().filter_map(|at| keys.get(*at).cloned()).collect();
            let rows = self.read_rows(table, slot, keys).await?;
            Ok::<_, RequestError>(positions.into_iter().zip(rows))
        });
        let mut found = vec![None; keys.len()];
        for rows in futures::future::try_join_all(reads).await? {
            for (at, row) in rows {
                if let Some(place) = found.get_mut(at) {
                    *place = Some(row);
                }
            }
        }
        Ok(found.into_iter().map_while(|row| row).collect())
    }

    /// The first of some rows of one shard, as they were at one moment.
    async fn read_rows(
        &self,
        table: &Table,
        slot: Slot,
        keys: Vec<Bytes>,
    ) -> Result<Vec<Option<Row>>, RequestError> {
        if let [key] = keys.as_slice() {
            return Ok(vec![self.get(table, key).await?]);
        }
        match self.read(table, slot, ReadOperation::MultiGet { keys }).await? {
            KvReadReply::Rows(rows) => Ok(rows),
            other => Err(unexpected(&other)),
        }
    }

    /// Reads the shard of a slot.
    pub(crate) async fn read(
        &self,
        table: &Table,
        slot: Slot,
        operation: ReadOperation,
    ) -> Result<KvReadReply, RequestError> {
        self.read_shard(self.shard_of(slot), KvRead { table: table.view(), operation }).await
    }

    /// Reads a shard: here if this node may answer, else on a node that may.
    pub(crate) async fn read_shard(
        &self,
        shard: ShardId,
        read: KvRead,
    ) -> Result<KvReadReply, RequestError> {
        let deadline = Instant::now() + REQUEST_DEADLINE_DEFAULT;
        if self.0.router.serves(shard, self.1) {
            let here = self.0.local.read_rows(shard, &read, self.1);
            match tokio::time::timeout_at(deadline, here).await {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(LocalError::Failed(error))) => return Err(error),
                Ok(Err(_)) => {}
                Err(_) => return Err(RequestError::DeadlineExceeded),
            }
        }
        self.check_in_service(shard)?;
        let request = kv::codec::encode_read(&read);
        let read = ShardRead { service: kv::SERVICE_ID, request, consistency: self.1 };
        let answer = self.0.router.read(shard, read, deadline).await?;
        kv::codec::decode_read_reply(answer)
            .map_err(|error| RequestError::Internal { reason: error.to_string() })
    }
}

impl Shard {
    /// Reads this shard on the spot. May wait for the disk.
    pub(crate) fn read(&self, read: &KvRead, now: Timestamp) -> Result<KvReadReply, RequestError> {
        let engine = self.data.engine();
        let found = match read.operation {
            ReadOperation::Get { as_of: None, .. } => kv::read(engine.as_ref(), now, read),
            _ => kv::read(engine.snapshot().as_ref(), now, read),
        };
        found.map_err(|error| self.on_read_error(&error))
    }
}

/// A read was answered by something that does not answer it.
pub(crate) fn unexpected(reply: &KvReadReply) -> RequestError {
    let kind = match reply {
        KvReadReply::Row(_) => "a row",
        KvReadReply::Rows(_) => "rows",
        KvReadReply::Versions(_) => "versions",
        KvReadReply::Page(_) => "a page",
        KvReadReply::Count(_) => "a count",
        KvReadReply::Key(_) => "a key",
    };
    RequestError::Internal { reason: format!("a read was answered with {kind}") }
}
