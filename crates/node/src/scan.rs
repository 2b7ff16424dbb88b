//! Reads that visit every shard: scans merged in key order, and counts.

use breccia_router::{MergeLimits, PageSource, Scatter, merged_page};
use breccia_types::kv::{Page, Scan};
use breccia_types::limits::REQUEST_DEADLINE_DEFAULT;
use breccia_types::read::{KvRead, KvReadReply, ReadOperation};
use breccia_types::table::RowKind;
use breccia_types::{RequestError, ShardId, Slot, Table, TableView};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use rand::seq::SliceRandom;
use tokio::time::Instant;

use crate::check::{check_key, needs};
use crate::node::Node;
use crate::read::unexpected;

/// How many shards are asked at once.
const SHARDS_AT_ONCE: usize = 16;

impl Node {
    /// A page of rows in key order over all shards. The page sees each shard at some moment,
    /// but not all shards at the same one.
    ///
    /// # Errors
    /// [`RequestError::WrongKind`] for `as_of` unless the table is versioned;
    /// [`RequestError::ShardUnavailable`] if one shard cannot be read: a page is never
    /// silently incomplete.
    pub async fn scan(&self, table: &Table, scan: Scan) -> Result<Page, RequestError> {
        if scan.as_of.is_some() {
            needs(table, RowKind::Versioned, "a scan as of an instant")?;
        }
        check_key(&scan.prefix)?;
        let source = Pages { node: self.clone(), table: table.view() };
        merged_page(&source, &self.all_shards(), scan, MergeLimits::new(scatter())).await
    }

    /// How many rows a table has. Visits every row, where it is.
    ///
    /// # Errors
    /// [`RequestError::ShardUnavailable`] if one shard cannot be read.
    pub async fn count(&self, table: &Table) -> Result<u64, RequestError> {
        let shards = self.all_shards().into_iter();
        let counts: Vec<_> =
            shards.map(|shard| self.clone().count_shard(table.view(), shard)).collect();
        scatter().fold(counts, 0, |whole: u64, part: u64| whole.saturating_add(part)).await
    }

    async fn count_shard(self, table: TableView, shard: ShardId) -> Result<u64, RequestError> {
        let read = KvRead { table, operation: ReadOperation::Count };
        match self.read_shard(shard, read).await? {
            KvReadReply::Count(count) => Ok(count),
            other => Err(unexpected(&other)),
        }
    }

    /// How many rows of a table lie in a slot. Visits every row of the slot's shard.
    ///
    /// # Errors
    /// As [`Node::get`].
    pub async fn count_slot(&self, table: &Table, slot: Slot) -> Result<u64, RequestError> {
        let partition = table.options.partition;
        match self.read(table, slot, ReadOperation::CountSlot { partition, slot }).await? {
            KvReadReply::Count(count) => Ok(count),
            other => Err(unexpected(&other)),
        }
    }

    /// Some key of a table, if it has any. Every key can come, not all equally often.
    ///
    /// # Errors
    /// As [`Node::get`].
    pub async fn random_key(&self, table: &Table) -> Result<Option<Bytes>, RequestError> {
        let mut shards = self.all_shards();
        shards.shuffle(&mut rand::rng());
        for shard in shards {
            let operation = ReadOperation::RandomKey { seed: rand::random() };
            let read = KvRead { table: table.view(), operation };
            match self.read_shard(shard, read).await? {
                KvReadReply::Key(None) => {}
                KvReadReply::Key(found) => return Ok(found),
                other => return Err(unexpected(&other)),
            }
        }
        Ok(None)
    }
}

fn scatter() -> Scatter {
    let deadline = Instant::now() + REQUEST_DEADLINE_DEFAULT;
    Scatter { concurrency: SHARDS_AT_ONCE, deadline }
}

/// The rows of one table, shard by shard.
struct Pages {
    node: Node,
    table: TableView,
}

impl PageSource for Pages {
    fn page(
        &self,
        shard: ShardId,
        scan: Scan,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Page, RequestError>> {
        let bytes_max = u32::try_from(bytes_max).unwrap_or(u32::MAX);
        let operation = ReadOperation::Scan { scan, bytes_max };
        let read = KvRead { table: self.table, operation };
        let node = self.node.clone();
        async move {
            match node.read_shard(shard, read).await? {
                KvReadReply::Page(page) => Ok(page),
                other => Err(unexpected(&other)),
            }
        }
        .boxed()
    }
}
