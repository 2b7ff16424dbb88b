//! Reads that visit every shard: scans merged in key order, and reductions.

use std::sync::Arc;

use breccia_service::kv::read::scan_range;
use breccia_service::{Count, Reduce};
use breccia_store::{RowIter, ScanRange, ShardEngine, TableReader};
use breccia_types::kv::{Cursor, Direction, Page, Row, Scan, page_rows};
use breccia_types::limits::PAGE_BYTES_MAX;
use breccia_types::read::{KvRead, KvReadReply, ReadOperation};
use breccia_types::table::RowKind;
use breccia_types::{RequestError, Slot, Table, TableView, Timestamp};
use bytes::Bytes;
use rand::seq::SliceRandom;

use crate::check::{check_key, needs};
use crate::node::{Inner, Node, Shard};
use crate::read::unexpected;

impl Node {
    /// A page of rows in key order over all shards. The page sees each shard at one moment,
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
        self.barriers().await?;
        let table = table.clone();
        self.blocking(move |inner| scan_page(inner, &table, scan)).await
    }

    /// How many rows a table has. Visits every row.
    ///
    /// # Errors
    /// [`RequestError::ShardUnavailable`] if one shard cannot be read.
    pub async fn count(&self, table: &Table) -> Result<u64, RequestError> {
        self.barriers().await?;
        let table = table.clone();
        self.blocking(move |inner| reduce(inner, &table, &Count)).await
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
        self.barriers().await?;
        let table = table.clone();
        self.blocking(move |inner| random_key(inner, &table)).await
    }
}

impl Node {
    /// Waits until reads of all shards see everything acknowledged before.
    async fn barriers(&self) -> Result<(), RequestError> {
        let shards = self.shards();
        let barriers: Vec<_> = shards.iter().map(Shard::barrier).collect();
        for passed in futures::future::join_all(barriers).await {
            passed?;
        }
        Ok(())
    }
}

fn scan_page(inner: &Inner, table: &Table, scan: Scan) -> Result<Page, RequestError> {
    let limit = page_rows(scan.limit);
    let range = scan_range(&scan);
    let now = inner.clock.now();
    let shards = inner.open_shards();
    let mut merged = Merge::open(&shards, table.view(), &range, now)?;
    let mut page = Page::default();
    let mut bytes = 0;
    while let Some(row) = merged.next()? {
        bytes += row.key.len() + row.value.len();
        page.rows.push(row);
        if page.rows.len() >= limit || bytes >= PAGE_BYTES_MAX {
            page.cursor = match merged.is_done() {
                true => None,
                false => page.rows.last().map(|row| Cursor { after: row.key.clone() }),
            };
            break;
        }
    }
    Ok(page)
}

/// The rows of all shards in key order. Each shard's next row is held at the ready.
struct Merge<'a> {
    heads: Vec<Head<'a>>,
    direction: Direction,
}

struct Head<'a> {
    next: Row,
    rest: RowIter<'a>,
    shard: &'a Shard,
}

/// A shard, and the generation of its data that is read.
struct OpenShard {
    shard: Shard,
    engine: Arc<dyn ShardEngine>,
}

impl Inner {
    fn open_shards(&self) -> Vec<OpenShard> {
        let shards = self.data_shards().into_iter();
        shards.map(|shard| OpenShard { engine: shard.data.engine(), shard }).collect()
    }
}

impl<'a> Merge<'a> {
    fn open(
        shards: &'a [OpenShard],
        table: TableView,
        range: &ScanRange,
        now: Timestamp,
    ) -> Result<Self, RequestError> {
        let mut heads = Vec::with_capacity(shards.len());
        for OpenShard { shard, engine } in shards {
            shard.data.health.check(shard.id())?;
            let mut rest = TableReader::new(engine.as_ref(), table, now).rows(range);
            if let Some(next) = take(&mut rest, shard)? {
                heads.push(Head { next, rest, shard });
            }
        }
        Ok(Self { heads, direction: range.direction })
    }

    fn next(&mut self) -> Result<Option<Row>, RequestError> {
        let direction = self.direction;
        let first = self.heads.iter().enumerate().min_by(|(_, left), (_, right)| {
            let order = left.next.key.cmp(&right.next.key);
            if direction == Direction::Reverse { order.reverse() } else { order }
        });
        let Some((at, _)) = first else {
            return Ok(None);
        };
        let Some(head) = self.heads.get_mut(at) else {
            return Ok(None);
        };
        match take(&mut head.rest, head.shard)? {
            Some(next) => Ok(Some(std::mem::replace(&mut head.next, next))),
            None => Ok(Some(self.heads.swap_remove(at).next)),
        }
    }

    const fn is_done(&self) -> bool {
        self.heads.is_empty()
    }
}

fn take(rows: &mut RowIter<'_>, shard: &Shard) -> Result<Option<Row>, RequestError> {
    rows.next().transpose().map_err(|error| shard.on_read_error(&error))
}

/// Reduces every shard, one thread each, and combines what comes of them. Each row counts
/// once; a shard that cannot be read fails the whole reduction.
fn reduce<R: Reduce>(inner: &Inner, table: &Table, reduce: &R) -> Result<R::Partial, RequestError>
where
    R::Partial: Default,
{
    let now = inner.clock.now();
    let shards = inner.open_shards();
    let partial = |OpenShard { shard, engine }: &OpenShard| {
        shard.data.health.check(shard.id())?;
        let reader = TableReader::new(engine.as_ref(), table.view(), now);
        reduce.partial(&reader).map_err(|error| shard.on_read_error(&error))
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let chunk = shards.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let running: Vec<_> = shards
            .chunks(chunk)
            .map(|shards| {
                scope.spawn(move || {
                    let mut whole = R::Partial::default();
                    for shard in shards {
                        whole = reduce.combine(whole, partial(shard)?);
                    }
                    Ok(whole)
                })
            })
            .collect();
        let mut whole = R::Partial::default();
        for thread in running {
            let part: Result<_, RequestError> = thread.join().unwrap_or_else(|_| {
                Err(RequestError::Internal { reason: "a reduction panicked".into() })
            });
            whole = reduce.combine(whole, part?);
        }
        Ok(whole)
    })
}

fn random_key(inner: &Inner, table: &Table) -> Result<Option<Bytes>, RequestError> {
    let now = inner.clock.now();
    let mut shards = inner.data_shards();
    shards.shuffle(&mut rand::rng());
    for shard in shards {
        shard.data.health.check(shard.id())?;
        let operation = ReadOperation::RandomKey { seed: rand::random() };
        let reply = shard.read(&KvRead { table: table.view(), operation }, now)?;
        match reply {
            KvReadReply::Key(None) => {}
            KvReadReply::Key(found) => return Ok(found),
            other => return Err(unexpected(&other)),
        }
    }
    Ok(None)
}
