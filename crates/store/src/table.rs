//! Reads of one table in one state of one shard: rows, versions, scans.

use std::ops::ControlFlow;
use std::time::Duration;

use breccia_types::kv::{Direction, Row, Version};
use breccia_types::limits::PAGE_BYTES_MAX;
use breccia_types::table::RowKind;
use breccia_types::{Retention, TableId, TableView, Timestamp};
use bytes::Bytes;

use crate::engine::{Bounds, Cursor, Reader};
use crate::error::StoreError;
use crate::key;
use crate::row::{self, StoredRow};

/// How many rows of unknown size are read at once.
const READ_TOGETHER_FIRST: usize = 4;
/// How many times as many are read at once when those before were small.
const READ_TOGETHER_GROWTH: usize = 8;

/// Reads one table in one state of a shard, as of one instant of the node's clock.
///
/// The instant decides what has expired and which versions retention hides, so that what
/// is read never depends on how far compaction has come.
pub struct TableReader<'a> {
    reader: &'a dyn Reader,
    table: TableId,
    kind: RowKind,
    retention: Retention,
    now: Timestamp,
}

/// The keys that a scan visits, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScanRange {
    /// Only keys that start so.
    pub prefix: Bytes,
    /// The smallest key, included.
    pub from: Option<Bytes>,
    /// The end, excluded.
    pub to: Option<Bytes>,
    /// Only keys beyond this one in the scan's direction.
    pub after: Option<Bytes>,
    /// The order.
    pub direction: Direction,
    /// The rows as they were at this instant; versioned tables only.
    pub as_of: Option<Timestamp>,
}

/// A row as [`TableReader::visit`] shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowRef<'r> {
    /// Its key.
    pub key: &'r [u8],
    /// Its value; in a monoid table the encoded state.
    pub value: &'r [u8],
    /// The instant of its version; versioned tables only.
    pub version: Option<Timestamp>,
}

impl<'a> TableReader<'a> {
    /// A reader of `table` in `reader`'s state at the instant `now`.
    #[must_use]
    pub fn new(reader: &'a dyn Reader, table: TableView, now: Timestamp) -> Self {
        let TableView { id, kind, retention } = table;
        Self { reader, table: id, kind, retention, now }
    }

    /// The row with this key, in a versioned table its newest version.
    ///
    /// # Errors
    /// See [`Reader::get`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Row>, StoreError> {
        match self.kind {
            RowKind::Plain | RowKind::Monoid => {
                let stored = self.reader.get(&key::row(self.table, key))?;
                decode_row(Bytes::copy_from_slice(key), stored, self.now)
            }
            RowKind::Versioned => self.get_as_of(key, Timestamp::MAX),
        }
    }

    /// The rows with the first of these keys, in their order; `None` where there is no row.
    /// Ends early when they have `bytes_max` bytes, but not before the first. Of a snapshot
    /// all are seen at one moment.
    ///
    /// # Errors
    /// See [`Reader::get`].
    pub fn multi_get(
        &self,
        keys: &[Bytes],
        bytes_max: usize,
    ) -> Result<Vec<Option<Row>>, StoreError> {
        let mut rows = Vec::with_capacity(keys.len());
        let mut bytes = 0;
        // Those before tell how many may be read at once.
        let mut together = READ_TOGETHER_FIRST;
        while bytes < bytes_max
            && let Some(rest) = keys.get(rows.len()..)
            && !rest.is_empty()
        {
            let some = rest.get(..together).unwrap_or(rest);
            for row in self.get_together(some)? {
                bytes += row.as_ref().map_or(0, |row| row.key.len() + row.value.len());
                rows.push(row);
            }
            let on_average = bytes.div_ceil(rows.len()).max(1);
            let expected = bytes_max.saturating_sub(bytes) / on_average;
            together = expected.clamp(1, together * READ_TOGETHER_GROWTH);
        }
        Ok(rows)
    }

    fn get_together(&self, keys: &[Bytes]) -> Result<Vec<Option<Row>>, StoreError> {
        if self.kind == RowKind::Versioned {
            return keys.iter().map(|key| self.get(key)).collect();
        }
        let raw: Vec<_> = keys.iter().map(|key| key::row(self.table, key)).collect();
        let stored = self.reader.multi_get(&raw)?;
        let rows = keys.iter().zip(stored);
        rows.map(|(key, stored)| decode_row(key.clone(), stored, self.now)).collect()
    }

    /// The row as it was at an instant: its newest version that is not later.
    ///
    /// # Errors
    /// See [`Reader::get`].
    pub fn get_as_of(&self, key: &[u8], as_of: Timestamp) -> Result<Option<Row>, StoreError> {
        let bounds = key::bounds_of_versions(self.table, key);
        let mut cursor = self.reader.cursor(bounds.clone());
        let mut versions = Versions::new(self.retention, self.now);
        if self.retention.keeps_all() {
            cursor.seek(&key::version(self.table, key, as_of));
        } else {
            cursor.seek(&bounds.lower);
        }
        while let Some((raw, stored)) = cursor.item() {
            match versions.next(raw, stored)? {
                Step::Hidden => return Ok(None),
                Step::Shown(instant) if instant <= as_of => {
                    let key = Bytes::copy_from_slice(key);
                    let stored = Some(Bytes::copy_from_slice(stored));
                    return Ok(decode_row(key, stored, self.now)?
                        .map(|row| Row { version: Some(instant), ..row }));
                }
                Step::Shown(_) | Step::Malformed => cursor.next(),
            }
        }
        cursor.status()?;
        Ok(None)
    }

    /// The versions of a row with `from <= instant <= to`, newest first: at most `limit`, and
    /// none after those that reach [`PAGE_BYTES_MAX`].
    ///
    /// # Errors
    /// See [`Reader::get`].
    pub fn history(
        &self,
        key: &[u8],
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<Version>, StoreError> {
        let bounds = key::bounds_of_versions(self.table, key);
        let mut cursor = self.reader.cursor(bounds.clone());
        let mut versions = Versions::new(self.retention, self.now);
        if self.retention.keeps_all() {
            cursor.seek(&key::version(self.table, key, to));
        } else {
            cursor.seek(&bounds.lower);
        }
        let mut found = Vec::new();
        let mut bytes = 0;
        while let Some((raw, stored)) = cursor.item() {
            if found.len() >= limit || bytes >= PAGE_BYTES_MAX {
                return Ok(found);
            }
            match versions.next(raw, stored)? {
                Step::Hidden => return Ok(found),
                Step::Shown(instant) if instant < from => return Ok(found),
                Step::Shown(instant) if instant <= to => {
                    let head = row::decode_head(stored)?;
                    let value = stored.get(head.bytes..).unwrap_or_default();
                    bytes += value.len();
                    let value = (!head.deleted).then(|| Bytes::copy_from_slice(value));
                    found.push(Version { version: instant, value });
                }
                Step::Shown(_) | Step::Malformed => {}
            }
            cursor.next();
        }
        cursor.status()?;
        Ok(found)
    }

    /// The rows of a range in key order, found one by one as they are asked for.
    #[must_use]
    pub fn rows(&self, range: &ScanRange) -> RowIter<'a> {
        let bounds = self.scan_bounds(range);
        let mut cursor = self.reader.cursor(bounds.clone());
        match range.direction {
            Direction::Forward => cursor.seek_to_first(),
            Direction::Reverse => cursor.seek_to_last(),
        }
        RowIter {
            cursor,
            table: self.table,
            kind: self.kind,
            retention: self.retention,
            now: self.now,
            direction: range.direction,
            as_of: range.as_of.unwrap_or(Timestamp::MAX),
        }
    }

    /// Shows the rows of a range one after the other, in key order, without copying those of
    /// plain and monoid tables, until `on_row` breaks off with something. Always forward.
    ///
    /// # Errors
    /// See [`Reader::get`].
    pub fn visit<B>(
        &self,
        range: &ScanRange,
        mut on_row: impl FnMut(RowRef<'_>) -> ControlFlow<B>,
    ) -> Result<Option<B>, StoreError> {
        if self.kind == RowKind::Versioned {
            return self.visit_copied(range, on_row);
        }
        let mut cursor = self.reader.cursor(self.scan_bounds(range));
        cursor.seek_to_first();
        while let Some((raw, stored)) = cursor.item() {
            let head = row::decode_head(stored)?;
            if !head.is_expired(self.now) {
                let key = key::key_of_row(raw).unwrap_or_default();
                let value = stored.get(head.bytes..).unwrap_or_default();
                if let ControlFlow::Break(end) = on_row(RowRef { key, value, version: None }) {
                    return Ok(Some(end));
                }
            }
            cursor.next();
        }
        cursor.status()?;
        Ok(None)
    }

    fn visit_copied<B>(
        &self,
        range: &ScanRange,
        mut on_row: impl FnMut(RowRef<'_>) -> ControlFlow<B>,
    ) -> Result<Option<B>, StoreError> {
        for row in self.rows(range) {
            let Row { key, value, version, .. } = row?;
            let row = RowRef { key: &key, value: &value, version };
            if let ControlFlow::Break(end) = on_row(row) {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    /// Shows the versions of the rows of a range, in key order and those of a key newest
    /// first, until `on_row` breaks off with something. Deletions are not shown. The table must
    /// be versioned.
    ///
    /// # Errors
    /// See [`Reader::get`].
    pub fn visit_versions<B>(
        &self,
        range: &ScanRange,
        mut on_row: impl FnMut(RowRef<'_>) -> ControlFlow<B>,
    ) -> Result<Option<B>, StoreError> {
        let mut cursor = self.reader.cursor(self.scan_bounds(range));
        cursor.seek_to_first();
        let (mut shared_by, mut row_key) = (Vec::new(), None);
        let mut versions = Versions::new(self.retention, self.now);
        let mut is_hidden = false;
        while let Some((raw, stored)) = cursor.item() {
            if let Some((shared, _)) = key::split_version(raw).filter(|(s, _)| *s != shared_by) {
                row_key = key::key_of_versions(shared);
                shared_by = shared.to_vec();
                versions = Versions::new(self.retention, self.now);
                is_hidden = false;
            }
            if let (false, Some(key)) = (is_hidden, &row_key) {
                match versions.next(raw, stored)? {
                    Step::Hidden => is_hidden = true,
                    Step::Malformed => {}
                    Step::Shown(instant) => {
                        let head = row::decode_head(stored)?;
                        let value = stored.get(head.bytes..).unwrap_or_default();
                        let row = RowRef { key, value, version: Some(instant) };
                        if !head.deleted
                            && let ControlFlow::Break(end) = on_row(row)
                        {
                            return Ok(Some(end));
                        }
                    }
                }
            }
            cursor.next();
        }
        cursor.status()?;
        Ok(None)
    }

    /// How many rows the table has in this shard. Visits each.
    ///
    /// # Errors
    /// See [`Reader::get`].
    pub fn count(&self) -> Result<u64, StoreError> {
        let mut count = 0;
        for row in self.rows(&ScanRange::default()) {
            row?;
            count += 1;
        }
        Ok(count)
    }

    fn scan_bounds(&self, range: &ScanRange) -> Bounds {
        let mut bounds = key::bounds_of_prefix(self.table, self.kind, &range.prefix);
        let position = |key: &Bytes| key::position(self.table, self.kind, key);
        let after = |key: &Bytes| key::after(self.table, self.kind, key);
        let mut lower = range.from.as_ref().map(position);
        let mut upper = range.to.as_ref().map(position);
        if let Some(last) = &range.after {
            match range.direction {
                Direction::Forward => lower = lower.max(Some(after(last))),
                Direction::Reverse => {
                    let end = position(last);
                    upper = Some(upper.map_or(end.clone(), |upper| upper.min(end)));
                }
            }
        }
        if let Some(lower) = lower {
            bounds.lower = bounds.lower.max(lower);
        }
        if let Some(upper) = upper {
            bounds.upper = bounds.upper.min(upper);
        }
        bounds.lower = bounds.lower.min(bounds.upper.clone());
        bounds
    }
}

/// The rows of a range of one table, in key order. Ends after an error.
pub struct RowIter<'a> {
    cursor: Box<dyn Cursor + 'a>,
    table: TableId,
    kind: RowKind,
    retention: Retention,
    now: Timestamp,
    direction: Direction,
    as_of: Timestamp,
}

impl Iterator for RowIter<'_> {
    type Item = Result<Row, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = match self.kind {
            RowKind::Plain | RowKind::Monoid => self.next_row(),
            RowKind::Versioned => self.next_versioned(),
        };
        step.transpose()
    }
}

impl RowIter<'_> {
    fn advance(&mut self) {
        match self.direction {
            Direction::Forward => self.cursor.next(),
            Direction::Reverse => self.cursor.prev(),
        }
    }

    fn next_row(&mut self) -> Result<Option<Row>, StoreError> {
        while let Some((raw, stored)) = self.cursor.item() {
            let head = row::decode_head(stored)?;
            if head.is_expired(self.now) {
                self.advance();
                continue;
            }
            let row = Row {
                key: Bytes::copy_from_slice(key::key_of_row(raw).unwrap_or_default()),
                value: Bytes::copy_from_slice(stored.get(head.bytes..).unwrap_or_default()),
                expires_at: head.expires_at,
                version: None,
            };
            self.advance();
            return Ok(Some(row));
        }
        self.cursor.status()?;
        Ok(None)
    }

    fn next_versioned(&mut self) -> Result<Option<Row>, StoreError> {
        while let Some((raw, _)) = self.cursor.item() {
            let Some(shared) = key::split_version(raw).map(|(shared, _)| shared.to_vec()) else {
                self.advance();
                continue;
            };
            let row = self.visible_version(&shared)?;
            self.leave(&shared);
            if row.is_some() {
                return Ok(row);
            }
        }
        self.cursor.status()?;
        Ok(None)
    }

    /// Finds the version of one row that this scan shows. The cursor stands on one of them.
    fn visible_version(&mut self, shared: &[u8]) -> Result<Option<Row>, StoreError> {
        if self.direction == Direction::Reverse {
            self.cursor.seek(shared);
        }
        let mut versions = Versions::new(self.retention, self.now);
        while let Some((raw, stored)) = self.cursor.item() {
            if !raw.starts_with(shared) {
                return Ok(None);
            }
            match versions.next(raw, stored)? {
                Step::Hidden => return Ok(None),
                Step::Shown(instant) if instant <= self.as_of => {
                    let Some(key) = key::key_of_versions(shared) else {
                        return Ok(None);
                    };
                    let stored = Some(Bytes::copy_from_slice(stored));
                    return Ok(decode_row(key.into(), stored, self.now)?
                        .map(|row| Row { version: Some(instant), ..row }));
                }
                Step::Shown(_) | Step::Malformed => self.cursor.next(),
            }
        }
        self.cursor.status()?;
        Ok(None)
    }

    /// Moves the cursor off the row whose versions share `shared`.
    fn leave(&mut self, shared: &[u8]) {
        const STEPS_BEFORE_SEEK: usize = 8;
        if self.direction == Direction::Reverse {
            // Raw keys end in an instant, so no raw key equals the shared part.
            self.cursor.seek_for_prev(shared);
            return;
        }
        for _ in 0..STEPS_BEFORE_SEEK {
            match self.cursor.item() {
                Some((raw, _)) if raw.starts_with(shared) => self.cursor.next(),
                _ => return,
            }
        }
        if let Some(key) = key::key_of_versions(shared) {
            self.cursor.seek(&key::after(self.table, RowKind::Versioned, &key));
        }
    }
}

/// Walks the versions of one row, newest first, and tells which of them are kept.
///
/// In versioned tables a version expires a fixed time after its instant, so once one
/// version has expired all older ones have, too; and retention hides a version only if it
/// hides all older ones. Both make the first hidden version the end of the row.
pub(crate) struct Versions {
    retention: Retention,
    now: Timestamp,
    seen: u32,
    newer: Option<Timestamp>,
}

/// What becomes of one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is there.
    Shown(Timestamp),
    /// It and all older versions are gone.
    Hidden,
    /// The raw key is not one of a version.
    Malformed,
}

impl Versions {
    pub(crate) const fn new(retention: Retention, now: Timestamp) -> Self {
        Self { retention, now, seen: 0, newer: None }
    }

    pub(crate) fn next(&mut self, raw: &[u8], stored: &[u8]) -> Result<Step, StoreError> {
        let Some((_, instant)) = key::split_version(raw) else {
            return Ok(Step::Malformed);
        };
        let expired = row::decode_head(stored)?.is_expired(self.now);
        let crowded_out = self.retention.keep_versions.is_some_and(|keep| self.seen >= keep);
        let outlived = match (self.retention.keep_for, self.newer) {
            (Some(keep_for), Some(newer)) => is_outlived(newer, keep_for, self.now),
            _ => false,
        };
        self.seen = self.seen.saturating_add(1);
        self.newer = Some(instant);
        Ok(if expired || crowded_out || outlived { Step::Hidden } else { Step::Shown(instant) })
    }
}

fn is_outlived(replaced_at: Timestamp, keep_for: Duration, now: Timestamp) -> bool {
    replaced_at.saturating_add(keep_for) <= now
}

fn decode_row(
    key: Bytes,
    stored: Option<Bytes>,
    now: Timestamp,
) -> Result<Option<Row>, StoreError> {
    let Some(stored) = stored else {
        return Ok(None);
    };
    Ok(row::decode(stored, now)?.map(|StoredRow { value, expires_at }| Row {
        key,
        value,
        expires_at,
        version: None,
    }))
}
