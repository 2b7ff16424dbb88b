//! Point reads: from memory on the spot if possible, else on a blocking thread.

use breccia_ring::slot_of;
use breccia_store::{Lookup, StoreError, StoredRow, TableReader, key, row};
use breccia_types::kv::{History, Row, Version};
use breccia_types::limits::{MULTI_GET_KEYS_MAX, PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX};
use breccia_types::table::RowKind;
use breccia_types::{RequestError, Slot, Table, Timestamp};
use bytes::Bytes;

use crate::check::{check_key, needs};
use crate::node::{Node, Shard};

impl Node {
    /// The row with this key, in a versioned table its newest version.
    ///
    /// # Errors
    /// [`RequestError::KeyTooLong`], or what reading the shard reports.
    pub async fn get(&self, table: &Table, key: &[u8]) -> Result<Option<Row>, RequestError> {
        check_key(key)?;
        let slot = slot_of(table.options.partition, key);
        if table.options.kind.row_kind() == RowKind::Versioned {
            return self.read_row(table, slot, key, None).await;
        }
        let shard = self.shard(slot)?;
        let raw = key::row(table.id, key);
        match shard.engine.get_cached(&raw).map_err(|error| shard.on_read_error(&error))? {
            Lookup::Absent => Ok(None),
            Lookup::Found(stored) => {
                let row = row::decode(stored, self.0.clock.now());
                let row = row.map_err(|error| shard.on_read_error(&error))?;
                Ok(row.map(|StoredRow { value, expires_at }| Row {
                    key: Bytes::copy_from_slice(key),
                    value,
                    expires_at,
                    version: None,
                }))
            }
            Lookup::NotCached => self.read_row(table, slot, key, None).await,
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
        let key = Bytes::copy_from_slice(key);
        self.on_shard(table, slot, move |reader| match as_of {
            None => reader.get(&key),
            Some(as_of) => reader.get_as_of(&key, as_of),
        })
        .await
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
        let limit = page_rows(history.limit);
        self.on_shard(table, slot, move |reader| {
            reader.history(&history.key, history.from, history.to, limit)
        })
        .await
    }

    /// The rows with these keys, in their order; `None` where there is no row.
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
        let mut rows = Vec::with_capacity(keys.len());
        for key in keys {
            rows.push(self.get(table, key).await?);
        }
        Ok(rows)
    }

    /// Reads one shard on a blocking thread.
    pub(crate) async fn on_shard<T: Send + 'static>(
        &self,
        table: &Table,
        slot: Slot,
        read: impl FnOnce(&TableReader<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, RequestError> {
        let shard = self.shard(slot)?.clone();
        let table = table.clone();
        self.blocking(move |inner| {
            let reader = TableReader::new(shard.engine.as_ref(), &table, inner.clock.now());
            read(&reader).map_err(|error| Shard::on_read_error(&shard, &error))
        })
        .await
    }
}

/// How many rows a page may have if the client asks for `limit`; 0 is "did not say".
pub(crate) fn page_rows(limit: usize) -> usize {
    if limit == 0 { PAGE_ROWS_DEFAULT } else { limit.min(PAGE_ROWS_MAX) }
}
