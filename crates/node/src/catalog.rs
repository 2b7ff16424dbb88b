//! The tables of the node, kept as one record of the node's database.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use breccia_store::{Engine, RetentionRules, StoreError};
use breccia_types::limits::{SHARDS_DEFAULT, TABLES_MAX};
use breccia_types::table::{FIRST_USER_TABLE_ID, REDIS_TABLE, REDIS_TABLE_ID, check_name};
use breccia_types::{Column, Partition, RequestError, Table, TableId, TableKind, TableOptions};
use serde::{Deserialize, Serialize};

const RECORD: &str = "catalog";
const FORMAT: u32 = 1;

/// What the record holds: JSON, because it is small, rarely written, and read by people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Record {
    format: u32,
    shards: u32,
    next_table: TableId,
    tables: Vec<Table>,
    /// Tables that are dropped but whose rows may still be in some shards.
    dropping: Vec<Table>,
}

/// The tables, readable at any time; changes are made one at a time by [`Catalog::change`].
pub(crate) struct Catalog {
    tables: ArcSwap<BTreeMap<String, Arc<Table>>>,
    redis: Arc<Table>,
    record: parking_lot::Mutex<Record>,
    rules: Arc<RetentionRules>,
    engine: Arc<dyn Engine>,
}

impl Catalog {
    /// Reads the catalog, or makes the first one of a new data directory.
    pub(crate) fn open(
        engine: Arc<dyn Engine>,
        rules: Arc<RetentionRules>,
        shards: Option<u32>,
    ) -> Result<Self, CatalogError> {
        let record = match engine.get_node_record(RECORD)? {
            Some(stored) => read_record(&stored)?,
            None if !engine.shards().is_empty() => {
                let reason = "it is gone, and there are shards".to_owned();
                return Err(CatalogError::Damaged { reason });
            }
            None => {
                let record = first_record(shards.unwrap_or(SHARDS_DEFAULT));
                write_record(engine.as_ref(), &record)?;
                record
            }
        };
        if let Some(asked) = shards
            && asked != record.shards
        {
            return Err(CatalogError::ShardCount { asked, present: record.shards });
        }
        let catalog = Self {
            tables: ArcSwap::default(),
            redis: Arc::new(redis_table()),
            record: parking_lot::Mutex::new(record),
            rules,
            engine,
        };
        catalog.publish(&catalog.record.lock());
        Ok(catalog)
    }

    pub(crate) fn shard_count(&self) -> u32 {
        self.record.lock().shards
    }

    pub(crate) const fn redis(&self) -> &Arc<Table> {
        &self.redis
    }

    pub(crate) fn get(&self, name: &str) -> Result<Arc<Table>, RequestError> {
        let tables = self.tables.load();
        tables
            .get(name)
            .cloned()
            .ok_or_else(|| RequestError::UnknownTable { name: name.to_owned() })
    }

    pub(crate) fn list(&self) -> Vec<Arc<Table>> {
        self.tables.load().values().cloned().collect()
    }

    pub(crate) fn dropping(&self) -> Vec<Table> {
        self.record.lock().dropping.clone()
    }

    /// Creates a table. Blocks on the disk.
    pub(crate) fn create(
        &self,
        name: &str,
        options: TableOptions,
    ) -> Result<Arc<Table>, RequestError> {
        check_name(name)?;
        options.check()?;
        self.change(|record| {
            if record.tables.iter().any(|table| table.name == name) {
                return Err(RequestError::TableExists { name: name.to_owned() });
            }
            if record.tables.len() >= TABLES_MAX {
                return Err(RequestError::TooManyTables { max: TABLES_MAX });
            }
            let id = record.next_table;
            record.next_table = TableId::new(id.get().saturating_add(1));
            record.tables.push(Table { id, name: name.to_owned(), options });
            Ok(())
        })?;
        self.get(name)
    }

    /// Takes a table out of the catalog; its rows are still to be removed. Blocks on the disk.
    pub(crate) fn begin_drop(&self, name: &str) -> Result<Table, RequestError> {
        let mut dropped = None;
        self.change(|record| {
            let at = record.tables.iter().position(|table| table.name == name);
            let at = at.ok_or_else(|| RequestError::UnknownTable { name: name.to_owned() })?;
            let table = record.tables.remove(at);
            if table.id == REDIS_TABLE_ID {
                return Err(RequestError::TableProtected { name: name.to_owned() });
            }
            record.dropping.push(table.clone());
            dropped = Some(table);
            Ok(())
        })?;
        dropped.ok_or_else(|| RequestError::Internal { reason: "no table was dropped".into() })
    }

    /// Forgets a dropped table, once no shard holds rows of it. Blocks on the disk.
    pub(crate) fn finish_drop(&self, table: TableId) -> Result<(), RequestError> {
        self.change(|record| {
            record.dropping.retain(|dropping| dropping.id != table);
            Ok(())
        })
    }

    /// Replaces what is known of a table's columns. Blocks on the disk.
    pub(crate) fn describe_columns(
        &self,
        name: &str,
        columns: Vec<Column>,
        key_template: Option<String>,
    ) -> Result<Arc<Table>, RequestError> {
        self.change(|record| {
            let table = record.tables.iter_mut().find(|table| table.name == name);
            let table =
                table.ok_or_else(|| RequestError::UnknownTable { name: name.to_owned() })?;
            table.options.columns = columns;
            table.options.key_template = key_template;
            Ok(())
        })?;
        self.get(name)
    }

    /// Changes the record: on disk first, then for readers.
    fn change(
        &self,
        edit: impl FnOnce(&mut Record) -> Result<(), RequestError>,
    ) -> Result<(), RequestError> {
        let mut record = self.record.lock();
        let mut changed = record.clone();
        edit(&mut changed)?;
        write_record(self.engine.as_ref(), &changed).map_err(|error| {
            let reason = error.to_string();
            match error {
                StoreError::DiskFull { .. } => RequestError::ReadOnly { reason },
                _ => RequestError::Storage { reason },
            }
        })?;
        *record = changed;
        self.publish(&record);
        Ok(())
    }

    fn publish(&self, record: &Record) {
        let versioned = record.tables.iter().filter(|table| {
            table.options.kind == TableKind::Versioned && !table.options.retention.keeps_all()
        });
        self.rules.replace(versioned.map(|table| (table.id, table.options.retention)));
        let tables =
            record.tables.iter().map(|table| (table.name.clone(), Arc::new(table.clone())));
        self.tables.store(Arc::new(tables.collect()));
    }
}

/// Why the catalog cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The data directory has another number of shards.
    #[error(
        "the data directory has {present} shards, and --shards asks for {asked}; the number of shards is fixed when a data directory is made"
    )]
    ShardCount {
        /// What was asked for.
        asked: u32,
        /// What there is.
        present: u32,
    },
    /// The record cannot be read.
    #[error("the catalog cannot be read: {reason}")]
    Damaged {
        /// What is wrong.
        reason: String,
    },
    /// The record is of another version.
    #[error("the catalog has format {found}, and this version of breccia reads format {FORMAT}")]
    Format {
        /// The format found.
        found: u32,
    },
}

fn first_record(shards: u32) -> Record {
    Record {
        format: FORMAT,
        shards,
        next_table: FIRST_USER_TABLE_ID,
        tables: vec![redis_table()],
        dropping: Vec::new(),
    }
}

fn redis_table() -> Table {
    let options = TableOptions { partition: Partition::HashTag, ..TableOptions::default() };
    Table { id: REDIS_TABLE_ID, name: REDIS_TABLE.to_owned(), options }
}

fn read_record(stored: &[u8]) -> Result<Record, CatalogError> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let damaged = |error: serde_json::Error| CatalogError::Damaged { reason: error.to_string() };
    let Format { format } = serde_json::from_slice(stored).map_err(damaged)?;
    if format != FORMAT {
        return Err(CatalogError::Format { found: format });
    }
    serde_json::from_slice(stored).map_err(damaged)
}

fn write_record(engine: &dyn Engine, record: &Record) -> Result<(), StoreError> {
    let bytes = serde_json::to_vec(record)
        .map_err(|error| StoreError::Io { operation: "encode", detail: error.to_string() })?;
    engine.put_node_record(RECORD, &bytes)
}
