//! Drops expired rows and versions that retention hides while RocksDB compacts.

use std::ffi::CStr;
use std::sync::Arc;

use breccia_types::{TableId, Timestamp};
use rocksdb::CompactionDecision;
use rocksdb::compaction_filter::CompactionFilter;
use rocksdb::compaction_filter_factory::{CompactionFilterContext, CompactionFilterFactory};

use crate::key;
use crate::retention::{Horizon, RetentionRules};
use crate::row;
use crate::table::{Step, Versions};

/// Makes a filter for each compaction of one shard.
pub(crate) struct ExpiryFilterFactory {
    rules: Arc<RetentionRules>,
    horizon: Arc<Horizon>,
}

/// Judges the rows of one compaction, which come in key order.
///
/// Time is the shard's horizon, the latest stamp it has applied: what has expired by then is
/// expired for every entry to come. Versions are counted among those that this compaction
/// happens to see; it may see too few of them and keep what it could drop, never the reverse.
pub(crate) struct ExpiryFilter {
    rules: Arc<RetentionRules>,
    now: Timestamp,
    row: Option<CurrentRow>,
}

struct CurrentRow {
    shared: Vec<u8>,
    last: Vec<u8>,
    versions: Versions,
    hidden: bool,
}

impl ExpiryFilterFactory {
    pub(crate) const fn new(rules: Arc<RetentionRules>, horizon: Arc<Horizon>) -> Self {
        Self { rules, horizon }
    }
}

impl CompactionFilterFactory for ExpiryFilterFactory {
    type Filter = ExpiryFilter;

    fn create(&mut self, _context: CompactionFilterContext) -> ExpiryFilter {
        ExpiryFilter { rules: Arc::clone(&self.rules), now: self.horizon.get(), row: None }
    }

    fn name(&self) -> &CStr {
        c"breccia.expiry.v1"
    }
}

impl CompactionFilter for ExpiryFilter {
    fn filter(&mut self, _level: u32, raw: &[u8], stored: &[u8]) -> CompactionDecision {
        // What cannot be read is kept: reads will report it.
        let Some(table) = key::table_of(raw) else {
            return CompactionDecision::Keep;
        };
        if table == TableId::default() {
            return CompactionDecision::Keep;
        }
        let Ok(head) = row::decode_head(stored) else {
            return CompactionDecision::Keep;
        };
        if head.is_expired(self.now) || self.is_hidden(table, raw, stored) {
            CompactionDecision::Remove
        } else {
            CompactionDecision::Keep
        }
    }

    fn name(&self) -> &CStr {
        c"breccia.expiry.v1"
    }
}

impl ExpiryFilter {
    fn is_hidden(&mut self, table: TableId, raw: &[u8], stored: &[u8]) -> bool {
        let Some(rule) = self.rules.get(table) else {
            return false;
        };
        let Some((shared, _)) = key::split_version(raw) else {
            return false;
        };
        if self.row.as_ref().is_none_or(|row| row.shared != shared) {
            self.row = Some(CurrentRow {
                shared: shared.to_vec(),
                last: Vec::new(),
                versions: Versions::new(rule.retention, self.now),
                hidden: false,
            });
        }
        let Some(row) = &mut self.row else {
            return false;
        };
        // Under a snapshot an overwritten version comes twice; it counts once.
        if row.last != raw {
            row.last.clear();
            row.last.extend_from_slice(raw);
            row.hidden = row.hidden || matches!(row.versions.next(raw, stored), Ok(Step::Hidden));
        }
        row.hidden
    }
}
