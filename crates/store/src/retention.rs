//! What compaction may drop, as the catalog and the logs allow it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use breccia_types::{Retention, TableId, Timestamp};

/// The retention of every versioned table, shared by all shards of a node.
///
/// A table that is not named here is no versioned table, or keeps everything.
#[derive(Debug, Default)]
pub struct RetentionRules(ArcSwap<HashMap<TableId, Rule>>);

/// How compaction treats one table's versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// What is kept.
    pub retention: Retention,
}

impl RetentionRules {
    /// Replaces all rules.
    pub fn replace(&self, rules: impl IntoIterator<Item = (TableId, Retention)>) {
        let rules = rules.into_iter().map(|(table, retention)| (table, Rule { retention }));
        self.0.store(Arc::new(rules.collect()));
    }

    /// The rule of a versioned table.
    #[must_use]
    pub fn get(&self, table: TableId) -> Option<Rule> {
        self.0.load().get(&table).copied()
    }
}

/// The latest stamp that a shard has durably applied: whatever expired before it is
/// expired for every entry to come, on every replica.
#[derive(Debug)]
pub struct Horizon(AtomicI64);

impl Default for Horizon {
    fn default() -> Self {
        Self(AtomicI64::new(Timestamp::MIN.as_micros()))
    }
}

impl Horizon {
    /// Moves the horizon on; never back.
    pub fn advance(&self, to: Timestamp) {
        self.0.fetch_max(to.as_micros(), Ordering::Relaxed);
    }

    /// Where it stands.
    #[must_use]
    pub fn get(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed))
    }
}
