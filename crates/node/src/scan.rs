//! Reads that visit every shard: scans merged in key order, and reductions.

use std::cmp::Ordering;

use breccia_service::{Count, Reduce};
use breccia_store::{RowIter, ScanRange, TableReader};
use breccia_types::kv::{Cursor, Direction, Page, Row, Scan};
use breccia_types::limits::PAGE_BYTES_MAX;
use breccia_types::table::RowKind;
use breccia_types::{RequestError, Slot, Table, Timestamp};
use bytes::Bytes;
use rand::seq::{IteratorRandom, SliceRandom};

use crate::check::{check_key, needs};
use crate::node::{Inner, Node, Shard};
use crate::read::page_rows;

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
        let table = table.clone();
        self.blocking(move |inner| scan_page(inner, &table, scan)).await
    }

    /// How many rows a table has. Visits every row.
    ///
    /// # Errors
    /// [`RequestError::ShardUnavailable`] if one shard cannot be read.
    pub async fn count(&self, table: &Table) -> Result<u64, RequestError> {
        let table = table.clone();
        self.blocking(move |inner| reduce(inner, &table, &Count)).await
    }

    /// How many rows of a table lie in a slot. Visits every row of the slot's shard.
    ///
    /// # Errors
    /// As [`Node::get`].
    pub async fn count_slot(&self, table: &Table, slot: Slot) -> Result<u64, RequestError> {
        let partition = table.options.partition;
        self.on_shard(table, slot, move |reader| {
            let mut count = 0;
            for row in reader.rows(&ScanRange::default()) {
                count += u64::from(breccia_ring::slot_of(partition, &row?.key) == slot);
            }
            Ok(count)
        })
        .await
    }

    /// Some key of a table, if it has any. Every key can come, not all equally often.
    ///
    /// # Errors
    /// As [`Node::get`].
    pub async fn random_key(&self, table: &Table) -> Result<Option<Bytes>, RequestError> {
        let table = table.clone();
        self.blocking(move |inner| random_key(inner, &table)).await
    }
}

fn scan_page(inner: &Inner, table: &Table, scan: Scan) -> Result<Page, RequestError> {
    let limit = page_rows(scan.limit);
    let direction = scan.direction;
    let range = ScanRange {
        prefix: scan.prefix,
        from: scan.from,
        to: scan.to,
        after: scan.cursor.map(|cursor| cursor.after),
        direction,
        as_of: scan.as_of,
    };
    let now = inner.clock.now();
    let mut merged = Merge::open(inner, table, &range, now)?;
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

impl<'a> Merge<'a> {
    fn open(
        inner: &'a Inner,
        table: &Table,
        range: &ScanRange,
        now: Timestamp,
    ) -> Result<Self, RequestError> {
        let mut heads = Vec::with_capacity(inner.shards.len());
        for shard in &inner.shards {
            shard.health.check(shard.id)?;
            let mut rest = TableReader::new(shard.engine.as_ref(), table, now).rows(range);
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
    let partial = |shard: &Shard| {
        shard.health.check(shard.id)?;
        let reader = TableReader::new(shard.engine.as_ref(), table, now);
        reduce.partial(&reader).map_err(|error| shard.on_read_error(&error))
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let chunk = inner.shards.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let running: Vec<_> = inner
            .shards
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

/// Among how many neighbouring rows a random key is picked, so that keys close together all
/// have a chance.
const PICK_ROWS: usize = 32;

fn random_key(inner: &Inner, table: &Table) -> Result<Option<Bytes>, RequestError> {
    let now = inner.clock.now();
    let mut shards: Vec<_> = inner.shards.iter().collect();
    shards.shuffle(&mut rand::rng());
    for shard in shards {
        shard.health.check(shard.id)?;
        let reader = TableReader::new(shard.engine.as_ref(), table, now);
        let keys = |range: &ScanRange, most: usize| {
            let rows = reader.rows(range).take(most);
            let keys = rows.map(|row| row.map(|row| row.key)).collect::<Result<Vec<_>, _>>();
            keys.map_err(|error| shard.on_read_error(&error))
        };
        let mut near = keys(&ScanRange::default(), PICK_ROWS)?;
        if near.len() == PICK_ROWS {
            let backward = ScanRange { direction: Direction::Reverse, ..ScanRange::default() };
            if let (Some(first), Some(last)) = (near.first(), keys(&backward, 1)?.first()) {
                let from = Some(position_between(first, last));
                let beyond = keys(&ScanRange { from, ..ScanRange::default() }, PICK_ROWS)?;
                near = if beyond.is_empty() { near } else { beyond };
            }
        }
        if !near.is_empty() {
            return Ok(near.into_iter().choose(&mut rand::rng()));
        }
    }
    Ok(None)
}

/// Some position in key order between two keys, from the first on.
fn position_between(first: &Bytes, last: &Bytes) -> Bytes {
    let shared = first.iter().zip(last.iter()).take_while(|(a, b)| a == b).count();
    let number = |key: &Bytes| {
        let mut eight = [0; 8];
        for (to, from) in eight.iter_mut().zip(key.iter().skip(shared)) {
            *to = *from;
        }
        u64::from_be_bytes(eight)
    };
    let (low, high) = (number(first), number(last));
    if low.cmp(&high) != Ordering::Less {
        return first.clone();
    }
    let picked = rand::random_range(low..=high);
    if picked == low {
        return first.clone();
    }
    let mut position = first.slice(..shared).to_vec();
    position.extend_from_slice(&picked.to_be_bytes());
    position.into()
}
