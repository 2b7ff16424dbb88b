//! How queries are planned: the same on every node.
//!
//! What is set here decides which plan comes out, and a stage is found by planning its query
//! again on another node. Whoever changes it, or DataFusion's version, makes nodes of both
//! versions refuse each other's stages for as long as they run side by side; they notice by
//! the stage's digest.

use std::sync::Arc;

use breccia_types::Timestamp;
use chrono::DateTime;
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider, TableFunction};
use datafusion::common::{Result, internal_err};
use datafusion::config::Dialect;
use datafusion::execution::SessionState;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::AggregateUDF;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::registry::FunctionRegistry;
use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement;
use futures::FutureExt;

use crate::json;
use crate::limits::BATCH_ROWS;
use crate::relation::Relation;
use crate::states;
use crate::sum::checked_sum;

/// How many partitions a scan says it has. With more than one, aggregations and sorts are
/// planned in two halves; how many shards there are does not matter to the plan.
pub(crate) const PARTITIONS: usize = 2;

const CATALOG: &str = "breccia";
const SCHEMA: &str = "public";

const SETTINGS: [(&str, &str); 14] = [
    // What a join or a sort finds out while it runs does not travel to the shards.
    ("datafusion.optimizer.enable_dynamic_filter_pushdown", "false"),
    ("datafusion.optimizer.enable_topk_aggregation", "false"),
    // A subquery's result would have to be known before its stage is sent.
    ("datafusion.optimizer.enable_physical_uncorrelated_scalar_subquery", "false"),
    // The first half of an aggregation is worth its while: its result travels.
    ("datafusion.execution.skip_partial_aggregation_probe_ratio_threshold", "2.0"),
    // The second halves run on one thread.
    ("datafusion.optimizer.enable_round_robin_repartition", "false"),
    ("datafusion.optimizer.repartition_aggregations", "false"),
    ("datafusion.optimizer.repartition_joins", "false"),
    ("datafusion.optimizer.repartition_windows", "false"),
    ("datafusion.sql_parser.collect_spans", "true"),
    ("datafusion.sql_parser.map_string_types_to_utf8view", "false"),
    ("datafusion.sql_parser.dialect", "generic"),
    ("datafusion.catalog.information_schema", "true"),
    ("datafusion.catalog.default_catalog", CATALOG),
    ("datafusion.catalog.default_schema", SCHEMA),
];

/// A session over these tables, with the functions of users and views, at an instant, which is what `now()` is.
pub(crate) fn open(
    relations: impl IntoIterator<Item = Arc<Relation>>,
    (functions, views): (Vec<AggregateUDF>, Vec<TableFunction>),
    at: Timestamp,
    memory_bytes: usize,
) -> Result<SessionState> {
    let mut config =
        SessionConfig::new().with_target_partitions(PARTITIONS).with_batch_size(BATCH_ROWS);
    for (name, value) in SETTINGS {
        config.options_mut().set(name, value)?;
    }
    let mut props = ExecutionProps::new();
    props.query_execution_start_time = DateTime::from_timestamp_micros(at.as_micros());
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_optimizer_rules(optimizer_rules())
        .with_runtime_env(runtime(memory_bytes)?)
        .with_execution_props(props)
        .with_default_features()
        .build();
    for function in json::functions() {
        state.register_udf(function)?;
    }
    for function in functions {
        // What is there already goes before what users call the same.
        if state.udaf(function.name()).is_err() {
            state.register_udaf(Arc::new(function))?;
        }
    }
    state.register_udaf(checked_sum())?;
    state.register_udaf(Arc::new(states::merge()))?;
    state.register_udf(Arc::new(states::present()))?;
    let schema = MemorySchemaProvider::new();
    for relation in relations {
        schema.register_table(relation.table.name.clone(), relation)?;
    }
    for function in views {
        state.register_udtf(function.name(), Arc::clone(function.function()));
    }
    if let Some(catalog) = state.catalog_list().catalog(CATALOG) {
        catalog.register_schema(SCHEMA, Arc::new(schema))?;
    }
    Ok(state)
}

/// DataFusion's rules but one, which takes a key for unique that a join has repeated, and then
/// leaves out what is to be sorted by after it (as of 55.2).
fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let rules = Optimizer::new().rules.into_iter();
    rules.filter(|rule| rule.name() != "eliminate_duplicated_expr").collect()
}

/// What a query's operators take their memory from. Nothing is written to the disk.
pub(crate) fn runtime(memory_bytes: usize) -> Result<Arc<RuntimeEnv>> {
    let no_disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(GreedyMemoryPool::new(memory_bytes)))
        .with_disk_manager_builder(no_disk)
        .build_arc()
}

/// The one statement of a text.
pub(crate) fn parse(state: &SessionState, sql: &str) -> Result<Statement> {
    state.sql_to_statement(sql, &Dialect::Generic)
}

/// The plan of a statement, which may only read. Recurses deeply; waits for nothing.
pub(crate) fn plan(state: &SessionState, statement: Statement) -> Result<Arc<dyn ExecutionPlan>> {
    let planning = async {
        let logical = state.statement_to_plan(statement).await?;
        let only_reads = SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false);
        only_reads.verify_plan(&logical)?;
        state.create_physical_plan(&logical).await
    };
    planning.now_or_never().unwrap_or_else(|| internal_err!("planning waits for something"))
}
