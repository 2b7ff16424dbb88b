use std::collections::BTreeMap;
use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::time::Instant;

use super::*;

/// Shards in memory. A page with a cursor may be the last, as the contract allows.
#[derive(Default)]
struct Shards {
    rows: BTreeMap<ShardId, BTreeMap<Vec<u8>, usize>>,
    /// Every page ends after so many rows at the latest.
    page_rows_max: usize,
    failing: Option<ShardId>,
    /// How many rows were asked for, by shard, in order.
    asked: Mutex<Vec<(ShardId, usize)>>,
    sent: Mutex<usize>,
}

fn row(key: &[u8], value_bytes: usize) -> Row {
    let value = vec![b'v'; value_bytes].into();
    Row { key: Bytes::copy_from_slice(key), value, expires_at: None, version: None }
}

fn bytes_of(row: &Row) -> usize {
    row.key.len() + row.value.len()
}

/// The rows of a scan by sorting everything, its cursor included, its limits not.
fn naive<'r>(rows: impl Iterator<Item = (&'r Vec<u8>, &'r usize)>, scan: &Scan) -> Vec<Row> {
    let mut found: Vec<Row> = rows
        .filter(|(key, _)| key.starts_with(&scan.prefix))
        .filter(|(key, _)| scan.from.as_ref().is_none_or(|from| key.as_slice() >= &from[..]))
        .filter(|(key, _)| scan.to.as_ref().is_none_or(|to| key.as_slice() < &to[..]))
        .map(|(key, value_bytes)| row(key, *value_bytes))
        .collect();
    found.sort_by(|left, right| left.key.cmp(&right.key));
    if scan.direction == Direction::Reverse {
        found.reverse();
    }
    if let Some(cursor) = &scan.cursor {
        found.retain(|row| is_ahead(scan.direction, &row.key, &cursor.after));
    }
    found
}

impl PageSource for Shards {
    fn page(
        &self,
        shard: ShardId,
        scan: Scan,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Page, RequestError>> {
        self.asked.lock().push((shard, scan.limit));
        if self.failing == Some(shard) {
            return futures::future::ready(Err(RequestError::Busy { shard })).boxed();
        }
        let mut page = Page::default();
        let mut bytes = 0;
        let most = scan.limit.min(self.page_rows_max);
        for row in naive(self.rows[&shard].iter(), &scan) {
            bytes += bytes_of(&row);
            page.cursor = Some(Cursor { after: row.key.clone() });
            page.rows.push(row);
            if page.rows.len() >= most || bytes >= bytes_max {
                break;
            }
        }
        if page.rows.len() < most && bytes < bytes_max {
            page.cursor = None;
        }
        *self.sent.lock() += page.rows.len();
        futures::future::ready(Ok(page)).boxed()
    }
}

impl Shards {
    /// The rows `(shard, key, bytes of the value)`; a key lies in its first shard only.
    fn of(rows: Vec<(u32, Vec<u8>, usize)>, count: u32) -> Self {
        let mut shards = Self { page_rows_max: usize::MAX, ..Self::default() };
        for shard in 0..count {
            shards.rows.insert(ShardId::new(shard), BTreeMap::new());
        }
        for (shard, key, value_bytes) in rows {
            if shards.rows.values().all(|rows| !rows.contains_key(&key)) {
                let rows = shards.rows.get_mut(&ShardId::new(shard % count)).expect("a shard");
                rows.insert(key, value_bytes);
            }
        }
        shards
    }

    /// Rows of four digits, spread over the shards like hashes.
    fn numbered(rows: usize, count: u32) -> Self {
        let row = |at: usize| {
            let mixed = at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            (u32::try_from(mixed).expect("24 bits"), format!("{at:04}").into_bytes(), 10)
        };
        Self::of((0..rows).map(row).collect(), count)
    }

    fn all(&self, scan: &Scan) -> Vec<Row> {
        naive(self.rows.values().flatten(), scan)
    }

    async fn page_of(&self, scan: Scan, bytes_max: usize) -> Result<Page, RequestError> {
        let deadline = Instant::now() + Duration::from_secs(1);
        let limits = MergeLimits { bytes_max, scatter: Scatter { concurrency: 4, deadline } };
        let shards: Vec<ShardId> = self.rows.keys().copied().collect();
        merged_page(self, &shards, scan, limits).await
    }

    /// Pages until there is no cursor; checks that each is as long as it should be.
    async fn pages(&self, mut scan: Scan, bytes_max: usize) -> Vec<Row> {
        let mut rows = Vec::new();
        loop {
            let page = self.page_of(scan.clone(), bytes_max).await.expect("no shard fails");
            let ahead = self.all(&scan);
            let mut bytes = 0;
            let by_bytes = ahead.iter().take_while(|row| {
                let has_room = bytes < bytes_max;
                bytes += bytes_of(row);
                has_room
            });
            let expected = by_bytes.count().min(page_rows(scan.limit));
            assert_eq!(page.rows, ahead[..expected]);
            assert_eq!(page.cursor.is_some(), expected < ahead.len(), "ends exactly at the end");
            rows.extend(page.rows);
            match page.cursor {
                None => return rows,
                cursor => scan.cursor = cursor,
            }
        }
    }
}

fn scans() -> impl Strategy<Value = Scan> {
    let key = || prop::collection::vec(0..3u8, 0..4).prop_map(Bytes::from);
    let bound = || prop::option::of(key());
    let prefix = prop_oneof![Just(Bytes::new()), key()];
    let direction = prop_oneof![Just(Direction::Forward), Just(Direction::Reverse)];
    let cursor = prop::option::of(key().prop_map(|after| Cursor { after }));
    (prefix, bound(), bound(), direction, 1..12usize, cursor).prop_map(
        |(prefix, from, to, direction, limit, cursor)| Scan {
            prefix,
            from,
            to,
            direction,
            as_of: None,
            limit,
            cursor,
        },
    )
}

proptest! {
    #[test]
    fn pages_of_many_shards_are_what_sorting_everything_gives(
        rows in prop::collection::vec(
            (any::<u32>(), prop::collection::vec(0..3u8, 0..5), 0..40usize),
            0..60,
        ),
        count in 1..6u32,
        scan in scans(),
        bytes_max in 1..300usize,
        page_rows_max in 1..9usize,
    ) {
        let mut shards = Shards::of(rows, count);
        shards.page_rows_max = page_rows_max;
        let expected = shards.all(&scan);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let merged = runtime.expect("a runtime").block_on(shards.pages(scan, bytes_max));
        prop_assert_eq!(merged, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn shards_that_hold_alike_send_little_more_than_the_page() {
    let shards = Shards::numbered(8_000, 8);
    let scan = Scan { limit: 1_000, ..Scan::default() };
    let page = shards.page_of(scan, PAGE_BYTES_MAX).await.expect("a page");
    assert_eq!(page.rows.len(), 1_000);
    let (sent, asked) = (*shards.sent.lock(), shards.asked.lock().len());
    assert!(sent <= 1_300, "{sent} rows were sent for a page of 1000");
    assert!(asked <= 10, "{asked} pages were asked for");
}

#[tokio::test(start_paused = true)]
async fn one_shard_is_asked_once_for_one_row_more_than_the_page() {
    let shards = Shards::numbered(100, 1);
    let scan = Scan { limit: 10, ..Scan::default() };
    let page = shards.page_of(scan, PAGE_BYTES_MAX).await.expect("a page");
    assert_eq!(page.cursor, Some(Cursor { after: Bytes::from_static(b"0009") }));
    assert_eq!(*shards.asked.lock(), [(ShardId::new(0), 11)]);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_ends_where_the_shards_end_has_no_cursor() {
    let shards = Shards::numbered(100, 3);
    for limit in [99, 100, 101, 0] {
        let scan = Scan { limit, ..Scan::default() };
        let page = shards.page_of(scan, PAGE_BYTES_MAX).await.expect("a page");
        assert_eq!(page.cursor.is_some(), limit == 99, "limit {limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_fails_fails_the_page() {
    let mut shards = Shards::numbered(100, 4);
    let bad = ShardId::new(2);
    shards.failing = Some(bad);
    let page = shards.page_of(Scan::default(), PAGE_BYTES_MAX).await;
    assert_eq!(page, Err(RequestError::Busy { shard: bad }));
}

/// Sends the same page whatever it is asked.
struct Stuck(Page);

impl PageSource for Stuck {
    fn page(&self, _: ShardId, _: Scan, _: usize) -> BoxFuture<'_, Result<Page, RequestError>> {
        futures::future::ready(Ok(self.0.clone())).boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_breaks_its_contract_is_an_error_and_no_endless_page() {
    let at = |key: &[u8]| Some(Cursor { after: Bytes::copy_from_slice(key) });
    let deadline = Instant::now() + Duration::from_secs(1);
    let limits = MergeLimits::new(Scatter { concurrency: 4, deadline });
    let scan = || Scan { cursor: at(b"c"), ..Scan::default() };
    for (page, shards) in [
        (Page { rows: vec![row(b"e", 0), row(b"d", 0)], cursor: None }, 1),
        (Page { rows: vec![row(b"d", 0), row(b"d", 0)], cursor: None }, 1),
        (Page { rows: vec![row(b"c", 0)], cursor: None }, 1),
        (Page { rows: vec![row(b"d", 0)], cursor: None }, 2),
        (Page { rows: vec![row(b"d", 0)], cursor: at(b"d") }, 1),
        (Page { rows: Vec::new(), cursor: at(b"c") }, 1),
    ] {
        let shards: Vec<_> = (0..shards).map(ShardId::new).collect();
        let merged = merged_page(&Stuck(page.clone()), &shards, scan(), limits).await;
        assert!(matches!(merged, Err(RequestError::Internal { .. })), "{page:?}: {merged:?}");
    }
}
