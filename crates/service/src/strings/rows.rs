//! The rows of the table `redis` as string commands see them.

use breccia_store::{StoreError, StoredRow, Transaction};
use breccia_types::Timestamp;
use breccia_types::strings::{StringRefusal, StringReply};
use breccia_types::table::{REDIS_TABLE_ID, RowKind, TableRef};
use bytes::Bytes;
use thiserror::Error;

const TABLE: TableRef = TableRef { id: REDIS_TABLE_ID, kind: RowKind::Plain };

/// Why a command ended before its reply.
#[derive(Debug, Error)]
pub(super) enum Stop {
    /// The client is told; nothing was written.
    #[error("refused: {0:?}")]
    Refused(StringRefusal),
    /// The shard cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<StringRefusal> for Stop {
    fn from(refusal: StringRefusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What a command came to.
pub(super) type Outcome = Result<StringReply, Stop>;

/// One command's view of the table.
pub(super) struct Rows<'c, 't> {
    transaction: &'c mut Transaction<'t>,
}

impl<'c, 't> Rows<'c, 't> {
    pub(super) const fn new(transaction: &'c mut Transaction<'t>) -> Self {
        Self { transaction }
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<StoredRow>, StoreError> {
        self.transaction.get(TABLE, key)
    }

    pub(super) fn exists(&self, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.get(key)?.is_some())
    }

    /// The value and the expiry of a row; of no row an empty value that never expires.
    pub(super) fn get_or_empty(
        &self,
        key: &[u8],
    ) -> Result<(Bytes, Option<Timestamp>), StoreError> {
        Ok(self.get(key)?.map_or_else(Default::default, |row| (row.value, row.expires_at)))
    }

    /// Writes a row; an expiry that is not in the future removes it.
    pub(super) fn put(
        &mut self,
        key: &[u8],
        value: &[u8],
        expires_at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        self.transaction.put(TABLE, key, value, expires_at)
    }

    pub(super) fn delete(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        self.transaction.delete(TABLE, key)
    }

    pub(super) fn delete_all(&mut self) -> Result<(), StoreError> {
        self.transaction.delete_range(TABLE, &[], None)
    }
}
