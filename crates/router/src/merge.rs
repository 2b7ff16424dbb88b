//! Pages of rows of many shards, merged in key order into one.
//!
//! Every shard that may have more holds its next row at the ready; the first of these in key
//! order is the page's next row. A shard that runs out is asked for more before the merge
//! goes on, because its next row may be the first of all. The cursor is the last key
//! returned and nothing else, so every shard goes on after that key, whatever it had sent
//! beyond it.

use std::collections::{BTreeMap, VecDeque};

use breccia_types::kv::{Cursor, Direction, Page, Row, Scan, page_rows};
use breccia_types::limits::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use breccia_types::{RequestError, ShardId};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};

use crate::scatter::Scatter;

/// Bytes that a shard may always send at once, however many others are asked.
const CHUNK_BYTES_MIN: usize = 64 << 10;

/// Where the rows of a shard come from.
pub trait PageSource: Send + Sync {
    /// The next rows of a shard: in the scan's order, after its cursor, at most `scan.limit`.
    /// A page ends after about `bytes_max` bytes of keys and values, with at least one row if
    /// there is any. A page without a cursor is the last; one with a cursor may be, too.
    fn page(
        &self,
        shard: ShardId,
        scan: Scan,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Page, RequestError>>;
}

/// What bounds a merged page, beside the scan's own limit of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MergeLimits {
    /// Bytes of keys and values after which the page ends.
    pub bytes_max: usize,
    /// How many shards are asked at once, and until when.
    pub scatter: Scatter,
}

impl MergeLimits {
    /// A page as long as pages may be.
    #[must_use]
    pub const fn new(scatter: Scatter) -> Self {
        Self { bytes_max: PAGE_BYTES_MAX, scatter }
    }
}

/// A page of the rows of all `shards` in key order. It has a cursor exactly if there are more
/// rows. Each page of each shard is of one moment; they are not all of the same one.
///
/// # Errors
/// The first error of any shard: a page is never silently incomplete.
/// [`RequestError::Internal`] if a source sends rows out of order or twice.
pub async fn merged_page(
    source: &dyn PageSource,
    shards: &[ShardId],
    scan: Scan,
    limits: MergeLimits,
) -> Result<Page, RequestError> {
    let limit = page_rows(scan.limit);
    let mut merge = Merge {
        source,
        limits,
        heads: shards.iter().map(|shard| Head::new(*shard, scan.cursor.clone())).collect(),
        next: BTreeMap::new(),
        scan,
    };
    let mut page = Page::default();
    let mut bytes = 0;
    while page.rows.len() < limit && bytes < limits.bytes_max {
        // One more than is missing: so the last answer also says whether there is more.
        let room = Room { rows: limit - page.rows.len() + 1, bytes: limits.bytes_max - bytes };
        merge.refill(room).await?;
        let Some(row) = merge.take_next()? else {
            return Ok(page);
        };
        bytes += row.key.len() + row.value.len();
        page.rows.push(row);
    }
    if merge.has_more().await? {
        page.cursor = page.rows.last().map(|row| Cursor { after: row.key.clone() });
    }
    Ok(page)
}

/// What the page still has room for.
#[derive(Debug, Clone, Copy)]
struct Room {
    rows: usize,
    bytes: usize,
}

struct Merge<'s> {
    source: &'s dyn PageSource,
    limits: MergeLimits,
    scan: Scan,
    heads: Vec<Head>,
    /// The next key of every shard that holds rows, and the position of its head.
    next: BTreeMap<Bytes, usize>,
}

/// One shard: the rows that it has sent and that are not returned yet.
struct Head {
    shard: ShardId,
    rows: VecDeque<Row>,
    rest: Rest,
}

/// What a shard has beyond the rows that it has sent.
enum Rest {
    /// Perhaps more, after this.
    After(Option<Cursor>),
    /// Nothing.
    Nothing,
}

impl Head {
    const fn new(shard: ShardId, cursor: Option<Cursor>) -> Self {
        Self { shard, rows: VecDeque::new(), rest: Rest::After(cursor) }
    }
}

impl Merge<'_> {
    /// Asks the shards that have run out for more, together, until each holds a row or is at
    /// its end.
    async fn refill(&mut self, room: Room) -> Result<(), RequestError> {
        loop {
            let share = self.share_of(room);
            let run_out = self.heads.iter().enumerate().filter_map(|(at, head)| {
                let Rest::After(cursor) = &head.rest else { return None };
                head.rows.is_empty().then(|| (at, head.shard, cursor.clone()))
            });
            let run_out: Vec<_> = run_out.collect();
            if run_out.is_empty() {
                return Ok(());
            }
            let pages = self.ask(&run_out, share).await?;
            for ((at, ..), page) in run_out.into_iter().zip(pages) {
                self.receive(at, page)?;
            }
        }
    }

    /// Asks shards for their next rows, together.
    fn ask(
        &self,
        run_out: &[(usize, ShardId, Option<Cursor>)],
        share: Room,
    ) -> BoxFuture<'_, Result<Vec<Page>, RequestError>> {
        let calls = run_out.iter().map(|(_, shard, cursor)| {
            let scan = Scan { limit: share.rows, cursor: cursor.clone(), ..self.scan.clone() };
            self.source.page(*shard, scan, share.bytes)
        });
        let calls: Vec<_> = calls.collect();
        self.limits.scatter.all(calls).boxed()
    }

    /// What one shard is asked for: its even share and a little more, because the even share
    /// would leave every other shard one row short.
    fn share_of(&self, room: Room) -> Room {
        let is_open = |head: &&Head| !(head.rows.is_empty() && matches!(head.rest, Rest::Nothing));
        let shards = self.heads.iter().filter(is_open).count().max(1);
        let even = room.rows.div_ceil(shards);
        let rows = (even + 2 * even.isqrt() + 1).min(room.rows).min(PAGE_ROWS_MAX);
        let bytes = (2 * room.bytes.div_ceil(shards)).min(room.bytes).max(CHUNK_BYTES_MIN);
        Room { rows, bytes }
    }

    fn receive(&mut self, at: usize, page: Page) -> Result<(), RequestError> {
        let direction = self.scan.direction;
        let Some(head) = self.heads.get_mut(at) else {
            return Ok(());
        };
        let mut last = match &head.rest {
            Rest::After(cursor) => cursor.as_ref().map(|cursor| &cursor.after),
            Rest::Nothing => None,
        };
        for row in &page.rows {
            if last.is_some_and(|last| !is_ahead(direction, &row.key, last)) {
                return Err(out_of_order(head.shard));
            }
            last = Some(&row.key);
        }
        // A page without rows must at least have come further.
        if let (true, Some(cursor), Some(last)) = (page.rows.is_empty(), &page.cursor, last)
            && !is_ahead(direction, &cursor.after, last)
        {
            return Err(out_of_order(head.shard));
        }
        head.rest = page.cursor.map_or(Rest::Nothing, |cursor| Rest::After(Some(cursor)));
        head.rows = page.rows.into();
        self.put_in_line(at)
    }

    fn put_in_line(&mut self, at: usize) -> Result<(), RequestError> {
        let Some(head) = self.heads.get(at) else {
            return Ok(());
        };
        match head.rows.front() {
            // A key lies in one shard only.
            Some(row) if self.next.insert(row.key.clone(), at).is_some() => {
                Err(out_of_order(head.shard))
            }
            _ => Ok(()),
        }
    }

    fn take_next(&mut self) -> Result<Option<Row>, RequestError> {
        let first = match self.scan.direction {
            Direction::Forward => self.next.pop_first(),
            Direction::Reverse => self.next.pop_last(),
        };
        let Some((_, at)) = first else {
            return Ok(None);
        };
        let row = self.heads.get_mut(at).and_then(|head| head.rows.pop_front());
        self.put_in_line(at)?;
        Ok(row)
    }

    /// Whether there is a row that is not returned yet.
    async fn has_more(&mut self) -> Result<bool, RequestError> {
        if self.next.is_empty() {
            self.refill(Room { rows: 1, bytes: 1 }).await?;
        }
        Ok(!self.next.is_empty())
    }
}

fn is_ahead(direction: Direction, key: &Bytes, than: &Bytes) -> bool {
    match direction {
        Direction::Forward => key > than,
        Direction::Reverse => key < than,
    }
}

fn out_of_order(shard: ShardId) -> RequestError {
    RequestError::Internal { reason: format!("{shard} sent rows out of order or twice") }
}

#[cfg(test)]
mod tests;
