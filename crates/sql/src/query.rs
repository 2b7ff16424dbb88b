//! Queries, and their answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use breccia_functions::{FunctionVersion, Functions};
use breccia_node::Node;
use breccia_types::limits::REQUEST_DEADLINE_DEFAULT;
use breccia_types::reduce::{Coverage, Gaps, Meter, Misfits, Scope};
use breccia_types::{RequestError, Table};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::sql::parser::Statement;
use futures::stream::{BoxStream, StreamExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::error::SqlError;
use crate::explain::{self, Explain};
use crate::function::aggregate;
use crate::gather::{Gather, Gatherer};
use crate::leaf::Leaf;
use crate::limits::{Limits, QUERY_BYTES_MAX};
use crate::nesting;
use crate::relation::Relation;
use crate::session::{self, PARTITIONS};
use crate::stage::{Query, Stage};
use crate::view::{self, Used};

/// Answers queries over the tables of a cluster, of which this node is a member. Every node
/// must have been opened with the reductions of [`with_stages`](crate::with_stages).
#[derive(Clone)]
pub struct Sql {
    node: Node,
    functions: Functions,
    limits: Limits,
    /// One permit per query that may run at a time.
    turns: Arc<Semaphore>,
}

/// How a query is to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What becomes of rows that are not as their table declares them.
    pub misfits: Misfits,
    /// What becomes of shards that do not answer.
    pub gaps: Gaps,
    /// How long reading a table may take.
    pub within: Duration,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            misfits: Misfits::default(),
            gaps: Gaps::default(),
            within: REQUEST_DEADLINE_DEFAULT,
        }
    }
}

/// The answer to a query, as it comes.
pub struct Answer {
    /// The columns.
    pub schema: SchemaRef,
    /// The rows. Dropping it ends the work on all nodes.
    pub batches: BoxStream<'static, Result<RecordBatch, SqlError>>,
    /// What was read for it: complete when the rows have come to their end.
    pub report: Report,
}

/// What the stages of a query have read and given so far.
#[derive(Clone)]
pub struct Report(Arc<Gatherer>);

/// What a stage has read and given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StageReport {
    /// Which, from 0.
    pub stage: usize,
    /// The table.
    pub table: String,
    /// What it covers, and what was read.
    pub coverage: Coverage,
    /// Rows that came back.
    pub rows_gathered: usize,
    /// Bytes that came back.
    pub bytes_gathered: usize,
    /// From the beginning of the query until it last gave something.
    pub took: Duration,
}

impl Report {
    /// The stages that have given something, in order.
    #[must_use]
    pub fn stages(&self) -> Vec<StageReport> {
        self.0.reports.lock().values().cloned().collect()
    }

    /// All stages together: the shards and rows of a table that is read twice count twice.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        let mut all = Coverage::default();
        for StageReport { coverage, .. } in self.stages() {
            all.shards_asked += coverage.shards_asked;
            all.missing.extend(coverage.missing);
            all.read = all.read.and(coverage.read);
        }
        all
    }

    /// Bytes that all stages gave back.
    #[must_use]
    pub fn bytes_gathered(&self) -> usize {
        self.stages().iter().map(|stage| stage.bytes_gathered).sum()
    }
}

/// A query that was planned.
pub(crate) struct Planned {
    pub(crate) rest: Arc<dyn ExecutionPlan>,
    pub(crate) stages: Vec<Stage>,
    pub(crate) gatherer: Arc<Gatherer>,
    state: Arc<SessionState>,
}

impl Sql {
    /// Answers queries at this node.
    #[must_use]
    pub fn new(node: Node, functions: Functions, limits: Limits) -> Self {
        let turns = limits.queries_at_once.clamp(1, Semaphore::MAX_PERMITS);
        Self { node, functions, limits, turns: Arc::new(Semaphore::new(turns)) }
    }

    /// The same, with the reads of this handle of the node.
    #[must_use]
    pub fn at(&self, node: Node) -> Self {
        Self { node, ..self.clone() }
    }

    /// Plans a query and begins to answer it, when it is its turn. The meter tells how far its stages have come.
    ///
    /// # Errors
    /// [`SqlError::Invalid`] or [`SqlError::TooLong`], before anything has run. The answer
    /// itself may end with any other.
    pub async fn query(
        &self,
        sql: &str,
        asked: &Asked,
        meter: &Arc<Meter>,
    ) -> Result<Answer, SqlError> {
        if sql.len() > QUERY_BYTES_MAX {
            return Err(SqlError::TooLong { bytes: sql.len() });
        }
        let turn = timeout(asked.within, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(RequestError::DeadlineExceeded.into()) };
        let tables = self.node.tables().await?;
        let planning = {
            let (this, sql, asked, meter) =
                (self.clone(), sql.to_owned(), asked.clone(), Arc::clone(meter));
            tokio::task::spawn_blocking(move || this.plan(&sql, &tables, &asked, &meter))
        };
        let planning =
            planning.await.map_err(|error| SqlError::Failed { reason: error.to_string() });
        let (planned, explain) = planning??;
        let mut answer = match explain {
            None => planned.answer()?,
            Some(how) => explain::answer(planned, how).await?,
        };
        let batches = answer.batches.map(move |batch| {
            let _held = &turn;
            batch
        });
        answer.batches = batches.boxed();
        Ok(answer)
    }

    /// The plan of a query, and whether it is only to be explained. Takes milliseconds.
    fn plan(
        &self,
        sql: &str,
        tables: &[Arc<Table>],
        asked: &Asked,
        meter: &Arc<Meter>,
    ) -> Result<(Planned, Option<Explain>), SqlError> {
        nesting::check(sql)?;
        let planned = nesting::on_large_stack(|| self.plan_deeply(sql, tables, asked, meter));
        planned.map_err(|error| SqlError::of_planning(&error))
    }

    fn plan_deeply(
        &self,
        sql: &str,
        tables: &[Arc<Table>],
        asked: &Asked,
        meter: &Arc<Meter>,
    ) -> Result<(Planned, Option<Explain>), DataFusionError> {
        let at = self.node.clock().now();
        let relations = tables.iter().map(|table| Arc::new(Relation::new(Arc::clone(table))));
        let functions = self.functions.reduce_functions();
        let aggregates = functions.iter().map(|f| aggregate(f, self.functions.modules())).collect();
        let by_name = tables.iter().map(|table| (table.name.clone(), Arc::clone(table)));
        let used = Used::default();
        let views = view::functions(&Arc::new(by_name.collect()), &used);
        let memory_bytes = self.limits.memory_bytes;
        let state = Arc::new(session::open(relations, (aggregates, views), at, memory_bytes)?);
        let (sql, statement, explain) = match session::parse(&state, sql)? {
            Statement::Explain(explain) => {
                let how = if explain.options.analyze { Explain::Analyze } else { Explain::Plan };
                let sql = explain.statement.to_string();
                let statement = session::parse(&state, &sql)?;
                (sql, statement, Some(how))
            }
            statement => (sql.to_owned(), statement, None),
        };
        let named = state.resolve_table_references(&statement)?;
        let plan = session::plan(&state, statement)?;
        // Others do no harm; one too few would be missed where the query is planned again.
        let words = sql.to_lowercase();
        let is_used = |function: &FunctionVersion| words.contains(function.name());
        let functions = functions.into_iter().filter(is_used).collect();
        let viewed = used.lock();
        let is_named = |table: &&Arc<Table>| {
            named.iter().any(|name| name.table() == table.name) || viewed.contains_key(&table.name)
        };
        let named = tables.iter().filter(is_named).map(|table| table.as_ref().clone()).collect();
        let query = Query::new(sql, at, named, functions);
        let gatherer = Arc::new(Gatherer {
            node: self.node.clone(),
            scope: Scope {
                misfits: asked.misfits,
                gaps: asked.gaps,
                within: asked.within,
                ..Scope::default()
            },
            meter: Arc::clone(meter),
            reports: parking_lot::Mutex::default(),
            began: Instant::now(),
        });
        let mut stages = Vec::new();
        let modules = self.functions.modules();
        let rest = Stage::cut(&query, &plan, (&state, modules), &mut |stage, schema| {
            stages.push(stage.clone());
            Leaf::of(Gather { stage, gatherer: Arc::clone(&gatherer) }, schema, PARTITIONS)
        });
        Ok((Planned { rest: rest?, stages, gatherer, state }, explain))
    }
}

impl Planned {
    pub(crate) fn answer(self) -> Result<Answer, SqlError> {
        let (schema, report) = (self.rest.schema(), self.report());
        let batches = execute_stream(self.rest, self.state.task_ctx());
        let batches = batches.map_err(|error| SqlError::of_running(&error))?;
        let batches = batches.map(|batch| batch.map_err(|error| SqlError::of_running(&error)));
        Ok(Answer { schema, batches: batches.boxed(), report })
    }

    /// What its stages read and give, once they do.
    pub(crate) fn report(&self) -> Report {
        Report(Arc::clone(&self.gatherer))
    }
}
