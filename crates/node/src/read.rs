//! Point reads: from memory on the spot if possible, else on a blocking thread.

use std::collections::BTreeMap;

use breccia_service::kv;
use breccia_store::{Lookup, StoredRow, key, row};
use breccia_types::kv::{History, Row, Version};
use breccia_types::limits::MULTI_GET_KEYS_MAX;
use breccia_types::read::{KvRead, KvReadReply, ReadOperation};
use breccia_types::table::RowKind;
use breccia_types::{RequestError, ShardId, Slot, Table, Timestamp};
use bytes::Bytes;

use crate::check::{check_key, needs};
use crate::node::{Node, Shard};

/// What a look into memory found.
enum Cached {
    /// The row, or that there is none.
    Known(Option<Row>),
    /// The disk must be asked.
    NotHere,
}

impl Node {
    /// The row with this key, in a versioned table its newest version.
    ///
    /// # Errors
    /// [`RequestError::KeyTooLong`], or what reading the shard reports.
    pub async fn get(&self, table: &Table, key: &[u8]) -> Result<Option<Row>, RequestError> {
        check_key(key)?;
        let slot = self.slot(table, key);
        let shard = self.shard(slot)?;
        shard.barrier().await?;
        match self.get_cached(table, &shard, key)? {
            Cached::Known(row) => Ok(row),
            Cached::NotHere => self.read_row(table, slot, key, None).await,
        }
    }

    /// Looks a row up without waiting for the disk.
    fn get_cached(&self, table: &Table, shard: &Shard, key: &[u8]) -> Result<Cached, RequestError> {
        if table.options.kind.row_kind() == RowKind::Versioned {
            return Ok(Cached::NotHere);
        }
        let raw = key::row(table.id, key);
        match shard.data.engine().get_cached(&raw).map_err(|error| shard.on_read_error(&error))? {
            Lookup::Absent => Ok(Cached::Known(None)),
            Lookup::NotCached => Ok(Cached::NotHere),
            Lookup::Found(stored) => {
                let row = row::decode(stored, self.0.clock.now());
                let row = row.map_err(|error| shard.on_read_error(&error))?;
                Ok(Cached::Known(row.map(|StoredRow { value, expires_at }| Row {
                    key: Bytes::copy_from_slice(key),
                    value,
                    expires_at,
                    version: None,
                })))
            }
        }
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

    /// The rows with these keys, in their order; `None` where there is no row. Rows of one
    /// shard are seen at one moment, so never half of an atomic batch.
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
            let shard = self.shard(slot)?.id();
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
                    *place = row;
                }
            }
        }
        Ok(found)
    }

    /// Rows of one shard, all as they were at one moment.
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

    /// Reads the shard of a slot, on a blocking thread.
    pub(crate) async fn read(
        &self,
        table: &Table,
        slot: Slot,
        operation: ReadOperation,
    ) -> Result<KvReadReply, RequestError> {
        let shard = self.shard(slot)?;
        shard.barrier().await?;
        let read = KvRead { table: table.view(), operation };
        self.blocking(move |inner| shard.read(&read, inner.clock.now())).await
    }
}

impl Shard {
    /// Reads this shard on the spot. May wait for the disk.
    pub(crate) fn read(&self, read: &KvRead, now: Timestamp) -> Result<KvReadReply, RequestError> {
        kv::read(self.data.engine().as_ref(), now, read).map_err(|error| self.on_read_error(&error))
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
