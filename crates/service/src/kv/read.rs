//! What a read of the key-value service finds in one shard.

use breccia_ring::slot_of;
use breccia_store::{Reader, ScanRange, StoreError, TableReader};
use breccia_types::kv::{Cursor, Direction, History, Page, Scan, page_rows};
use breccia_types::limits::PAGE_BYTES_MAX;
use breccia_types::read::{KvRead, KvReadReply, ReadOperation};
use breccia_types::{Partition, Slot, Timestamp};
use bytes::Bytes;

/// Among how many neighbouring rows a random key is picked, so that keys close together all
/// have a chance.
const PICK_ROWS: usize = 32;

/// Answers a read from one state of a shard; `now` decides what has expired.
///
/// # Errors
/// What reading the shard reports.
pub fn read(shard: &dyn Reader, now: Timestamp, read: &KvRead) -> Result<KvReadReply, StoreError> {
    let table = TableReader::new(shard, read.table, now);
    Ok(match &read.operation {
        ReadOperation::Get { key, as_of: None } => KvReadReply::Row(table.get(key)?),
        ReadOperation::Get { key, as_of: Some(as_of) } => {
            KvReadReply::Row(table.get_as_of(key, *as_of)?)
        }
        ReadOperation::MultiGet { keys } => {
            KvReadReply::Rows(table.multi_get(keys, PAGE_BYTES_MAX)?)
        }
        ReadOperation::History(History { key, from, to, limit }) => {
            KvReadReply::Versions(table.history(key, *from, *to, page_rows(*limit))?)
        }
        ReadOperation::Scan { scan, bytes_max } => {
            KvReadReply::Page(page(&table, scan, *bytes_max)?)
        }
        ReadOperation::Count => KvReadReply::Count(table.count()?),
        ReadOperation::CountSlot { partition, slot } => {
            KvReadReply::Count(count_slot(&table, *partition, *slot)?)
        }
        ReadOperation::RandomKey { seed } => KvReadReply::Key(random_key(&table, *seed)?),
    })
}

/// The keys that a scan visits.
#[must_use]
pub fn scan_range(scan: &Scan) -> ScanRange {
    ScanRange {
        prefix: scan.prefix.clone(),
        from: scan.from.clone(),
        to: scan.to.clone(),
        after: scan.cursor.as_ref().map(|cursor| cursor.after.clone()),
        direction: scan.direction,
        as_of: scan.as_of,
    }
}

fn page(table: &TableReader<'_>, scan: &Scan, bytes_max: u32) -> Result<Page, StoreError> {
    let limit = page_rows(scan.limit);
    let bytes_max =
        usize::try_from(bytes_max).map_or(PAGE_BYTES_MAX, |max| max.min(PAGE_BYTES_MAX));
    let mut page = Page::default();
    let mut bytes = 0;
    let mut rows = table.rows(&scan_range(scan));
    while page.rows.len() < limit && (bytes < bytes_max || page.rows.is_empty()) {
        let Some(row) = rows.next().transpose()? else {
            return Ok(page);
        };
        bytes += row.key.len() + row.value.len();
        page.rows.push(row);
    }
    page.cursor = page.rows.last().map(|row| Cursor { after: row.key.clone() });
    Ok(page)
}

fn count_slot(
    table: &TableReader<'_>,
    partition: Partition,
    slot: Slot,
) -> Result<u64, StoreError> {
    let mut count = 0;
    for row in table.rows(&ScanRange::default()) {
        count += u64::from(slot_of(partition, &row?.key) == slot);
    }
    Ok(count)
}

/// Some key, if there are any. Every key can come, not all equally often.
fn random_key(table: &TableReader<'_>, seed: u64) -> Result<Option<Bytes>, StoreError> {
    let keys = |range: &ScanRange, most: usize| {
        let rows = table.rows(range).take(most);
        rows.map(|row| row.map(|row| row.key)).collect::<Result<Vec<_>, _>>()
    };
    let mut near = keys(&ScanRange::default(), PICK_ROWS)?;
    if near.len() == PICK_ROWS {
        let backward = ScanRange { direction: Direction::Reverse, ..ScanRange::default() };
        if let (Some(first), Some(last)) = (near.first(), keys(&backward, 1)?.first()) {
            let from = Some(position_between(first, last, seed));
            let beyond = keys(&ScanRange { from, ..ScanRange::default() }, PICK_ROWS)?;
            near = if beyond.is_empty() { near } else { beyond };
        }
    }
    let count = u64::try_from(near.len()).unwrap_or(1).max(1);
    // The high bits chose the position, the low ones choose the neighbour.
    let pick = usize::try_from(seed % count).unwrap_or(0);
    Ok(near.into_iter().nth(pick))
}

/// Some position in key order between two keys, from the first on.
fn position_between(first: &Bytes, last: &Bytes, seed: u64) -> Bytes {
    let shared = first.iter().zip(last.iter()).take_while(|(a, b)| a == b).count();
    let number = |key: &Bytes| {
        let mut eight = [0; 8];
        for (to, from) in eight.iter_mut().zip(key.iter().skip(shared)) {
            *to = *from;
        }
        u64::from_be_bytes(eight)
    };
    let (low, high) = (number(first), number(last));
    let share = (u128::from(high.saturating_sub(low)) * u128::from(seed)) >> 64;
    let step = u64::try_from(share).unwrap_or(0);
    if step == 0 {
        return first.clone();
    }
    let mut position = first.slice(..shared).to_vec();
    position.extend_from_slice(&low.saturating_add(step).to_be_bytes());
    position.into()
}

#[cfg(test)]
mod tests {
    use breccia_store::{Durability, Engine, MemoryEngine, ShardBatch, ShardEngine, key, row};
    use breccia_types::table::{REDIS_TABLE_ID, RowKind};
    use breccia_types::{Retention, ShardId, TableView};

    use super::*;
    use crate::Service;
    use crate::kv::{KvService, codec};

    const VIEW: TableView = TableView {
        id: REDIS_TABLE_ID,
        kind: RowKind::Plain,
        retention: Retention { keep_versions: None, keep_for: None },
    };

    fn shard_of(rows: u8) -> std::sync::Arc<dyn ShardEngine> {
        let engine = MemoryEngine::default();
        let shard = engine.open_shard(ShardId::new(0)).expect("opens");
        let mut batch = ShardBatch::default();
        for name in 0..rows {
            batch.put(key::row(VIEW.id, &[name]), row::encode(b"value", None));
        }
        engine.write(&[(ShardId::new(0), batch)], Durability::Synced).expect("writes");
        shard
    }

    fn ask(shard: &dyn Reader, operation: ReadOperation) -> KvReadReply {
        let read = KvRead { table: VIEW, operation };
        let request = codec::encode_read(&read);
        let reply = KvService.read(shard, Timestamp::MIN, request).expect("answers");
        codec::decode_read_reply(reply).expect("decodes")
    }

    #[test]
    fn an_encoded_read_finds_rows_and_pages_end_with_a_cursor_until_the_last() {
        let shard = shard_of(5);
        let keys = vec![Bytes::from_static(&[4]), Bytes::from_static(&[9])];
        let KvReadReply::Rows(rows) = ask(shard.as_ref(), ReadOperation::MultiGet { keys }) else {
            panic!("not rows");
        };
        assert_eq!(rows.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
        let mut seen = Vec::new();
        let mut scan = Scan { limit: 2, ..Scan::default() };
        loop {
            let asked = ReadOperation::Scan { scan: scan.clone(), bytes_max: u32::MAX };
            let KvReadReply::Page(page) = ask(shard.as_ref(), asked) else {
                panic!("not a page");
            };
            seen.extend(page.rows.into_iter().map(|row| row.key));
            match page.cursor {
                None => break,
                cursor => scan.cursor = cursor,
            }
        }
        assert_eq!(seen, [[0], [1], [2], [3], [4]].map(|key| Bytes::copy_from_slice(&key)));
    }

    #[test]
    fn every_key_can_be_the_random_one() {
        let shard = shard_of(200);
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..20_000_u64 {
            let seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            match ask(shard.as_ref(), ReadOperation::RandomKey { seed }) {
                KvReadReply::Key(Some(key)) => seen.insert(key),
                other => panic!("{other:?}"),
            };
        }
        assert_eq!(seen.len(), 200);
        let empty = shard_of(0);
        let none = ask(empty.as_ref(), ReadOperation::RandomKey { seed: 7 });
        assert_eq!(none, KvReadReply::Key(None));
    }
}
