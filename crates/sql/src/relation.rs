//! A table as a relation: its columns, and the scan that reads them.
//!
//! Every table has `_key`, its key as text, and `_value`: the value as text, in a monoid table
//! what people see of it. A versioned table has `_version`, the instant of its latest version.
//! Between them are the columns of its JSON values, as its description names them.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use breccia_types::reduce::KeyRange;
use breccia_types::{Column, ColumnType, Table, TableKind};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};

use crate::keys;
use crate::leaf::{Leaf, Origin};
use crate::session::PARTITIONS;
use crate::view::View;

/// The column of keys.
pub(crate) const KEY: &str = "_key";
/// The column of versions.
pub(crate) const VERSION: &str = "_version";
/// The column of values.
pub(crate) const VALUE: &str = "_value";
/// The column of states, where they are asked for.
const STATE: &str = "_state";

/// A table as a relation.
#[derive(Debug)]
pub(crate) struct Relation {
    pub(crate) table: Arc<Table>,
    view: View,
    schema: SchemaRef,
    sources: Vec<Source>,
}

/// Where a column's values come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The key.
    Key,
    /// The instant of the version.
    Version,
    /// The value.
    Value,
    /// The value of a monoid table as it is stored.
    State,
    /// A member of the JSON value.
    Member(Column),
}

impl Relation {
    /// The present rows.
    pub(crate) fn new(table: Arc<Table>) -> Self {
        Self::seen(table, View::Present)
    }

    /// Other rows, or more of them.
    pub(crate) fn seen(table: Arc<Table>, view: View) -> Self {
        let options = &table.options;
        let mut sources = vec![Source::Key];
        if options.kind == TableKind::Versioned {
            sources.push(Source::Version);
        }
        let is_free = |column: &&Column| ![KEY, VERSION, VALUE].contains(&column.name.as_str());
        sources.extend(options.columns.iter().filter(is_free).cloned().map(Source::Member));
        sources.push(Source::Value);
        if view == View::States {
            sources.push(Source::State);
        }
        let fields: Vec<_> = sources.iter().map(Source::field).collect();
        Self { table, view, schema: Arc::new(Schema::new(fields)), sources }
    }
}

impl Source {
    fn name(&self) -> &str {
        match self {
            Self::Key => KEY,
            Self::Version => VERSION,
            Self::Value => VALUE,
            Self::State => STATE,
            Self::Member(column) => &column.name,
        }
    }

    fn field(&self) -> Field {
        let instant = DataType::Timestamp(TimeUnit::Microsecond, None);
        match self {
            Self::Key => Field::new(KEY, DataType::Utf8, false),
            Self::Version => Field::new(VERSION, instant, false),
            Self::Value => Field::new(VALUE, DataType::Utf8, false),
            Self::State => Field::new(STATE, DataType::Binary, false),
            Self::Member(column) => {
                let data_type = match column.column_type {
                    ColumnType::Boolean => DataType::Boolean,
                    ColumnType::Integer => DataType::Int64,
                    ColumnType::Float => DataType::Float64,
                    ColumnType::Timestamp => instant,
                    ColumnType::Text | ColumnType::Json => DataType::Utf8,
                };
                // Rows written later may lack what those of an import all had.
                Field::new(&column.name, data_type, true)
            }
        }
    }
}

#[async_trait]
impl TableProvider for Relation {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let pushed = |filter: &&Expr| match keys::bounds_keys(filter) {
            // The bounds may be wider than the filter.
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(pushed).collect())
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all = || (0..self.sources.len()).collect();
        let projection = projection.cloned().unwrap_or_else(all);
        let schema = Arc::new(self.schema.project(&projection)?);
        let sources = projection.iter().filter_map(|at| self.sources.get(*at).cloned()).collect();
        let table = Arc::clone(&self.table);
        let (view, keys) = (self.view, keys::range_of(filters));
        let scan = Scan { table, view, sources, keys, limit };
        Ok(Leaf::of(scan, schema, PARTITIONS))
    }
}

/// Reads the rows of a table: the leaf of every stage, in whose place there are the rows of a
/// shard when the stage runs.
#[derive(Debug, Clone)]
pub(crate) struct Scan {
    pub(crate) table: Arc<Table>,
    pub(crate) view: View,
    /// Where each column comes from.
    pub(crate) sources: Vec<Source>,
    /// The keys that can matter.
    pub(crate) keys: KeyRange,
    /// So many rows of a shard are enough.
    pub(crate) limit: Option<usize>,
}

impl fmt::Display for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.sources.iter().map(Source::name).collect();
        write!(f, "table={}, columns=[{}]{}", self.table.name, names.join(", "), self.view)?;
        keys::describe(&self.keys, f)?;
        match self.limit {
            Some(limit) => write!(f, ", limit={limit}"),
            None => Ok(()),
        }
    }
}

impl Origin for Scan {
    const NAME: &'static str = "Scan";

    fn rows(
        &self,
        _: &SchemaRef,
        _: usize,
        _: &Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        internal_err!("the scan of {} is part of no stage", self.table.name)
    }
}
