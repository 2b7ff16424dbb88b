//! A stage of a query as a reduction.

use std::collections::VecDeque;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use breccia_functions::{FunctionVersion, Modules};
use breccia_service::reduce::{Reduce, ReduceError, Reductions, Rows, unversioned};
use breccia_types::wire::{DecodeError, Reader, Writer};
use breccia_types::{ReductionId, Table, Timestamp};
use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::common::{Result, exec_err, internal_err};
use datafusion::error::DataFusionError;
use datafusion::execution::{SessionState, TaskContext};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::{ExecutionPlan, displayable};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::cut::{Kind, StagePlan, cut};
use crate::decode::Decoder;
use crate::error::words;
use crate::function::aggregate;
use crate::leaf::Leaf;
use crate::limits::{PAGE_BYTES, PLANS_KEPT, STAGE_MEMORY_BYTES};
use crate::nesting::on_large_stack;
use crate::pump::{Feed, Pump};
use crate::relation::Relation;
use crate::session;
use crate::view::{self, Used, View};

/// A part of a query that runs over the rows of one table, at the shards.
#[derive(Clone)]
pub struct Stage {
    request: Request,
    /// Where the functions that it names are found.
    modules: Arc<Modules>,
    prepared: OnceLock<Arc<Prepared>>,
}

/// What travels: enough to plan the query again.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Request {
    query: Query,
    /// Which stage of the plan, from 0.
    stage: usize,
    /// Of the stage as the node that was asked has planned it.
    digest: u32,
    /// Whether a shard gives a [`Page`] of its rows and not all of them.
    is_paged: bool,
}

/// A query, and what its plan depends on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Query {
    pub(crate) sql: String,
    /// What `now()` is.
    at_micros: i64,
    /// The tables that it names.
    tables: Vec<Table>,
    /// The functions that it names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    functions: Vec<FunctionVersion>,
}

impl Query {
    pub(crate) fn new(
        sql: String,
        at: Timestamp,
        tables: Vec<Table>,
        functions: Vec<FunctionVersion>,
    ) -> Self {
        Self { sql, at_micros: at.as_micros(), tables, functions }
    }
}

/// A stage, ready to run.
#[derive(Debug)]
struct Prepared {
    stage: StagePlan,
    /// How it was planned.
    state: Arc<SessionState>,
}

/// These reductions and the stages of queries, with the modules of functions that the node
/// keeps compiled.
#[must_use]
pub fn with_stages(reductions: Reductions, modules: Arc<Modules>) -> Reductions {
    reductions.with_decoder(Stage::ID, move |request| {
        let request = unversioned(Stage::VERSION, request)?;
        Ok(Box::new(Stage::of(&request, Arc::clone(&modules))?))
    })
}

impl Stage {
    fn of(request: &[u8], modules: Arc<Modules>) -> Result<Self, DecodeError> {
        let request = serde_json::from_slice(request);
        let request = request.map_err(|_| DecodeError::OutOfRange { at: 0 })?;
        Ok(Self { request, modules, prepared: OnceLock::new() })
    }

    /// The stages of a query's plan, and the rest of it, where `instead` stands for each.
    pub(crate) fn cut(
        query: &Query,
        plan: &Arc<dyn ExecutionPlan>,
        (state, modules): (&Arc<SessionState>, &Arc<Modules>),
        instead: &mut dyn FnMut(Self, SchemaRef) -> Arc<dyn ExecutionPlan>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut count = 0;
        cut(plan, &mut |stage| {
            let request = Request {
                query: query.clone(),
                stage: count,
                digest: stage.digest(),
                is_paged: stage.may_be_many_rows(),
            };
            count += 1;
            let schema = stage.plan.schema();
            let prepared = Arc::new(Prepared { stage, state: Arc::clone(state) });
            let modules = Arc::clone(modules);
            instead(Self { request, modules, prepared: OnceLock::from(prepared) }, schema)
        })
    }

    pub(crate) const fn number(&self) -> usize {
        self.request.stage
    }

    /// Whether its rows are gathered from one shard after the other, a [`Page`] at a time.
    pub(crate) const fn is_paged(&self) -> bool {
        self.request.is_paged
    }

    pub(crate) fn plan(&self) -> Result<&StagePlan> {
        Ok(&self.prepared()?.stage)
    }

    fn prepared(&self) -> Result<&Arc<Prepared>> {
        if let Some(prepared) = self.prepared.get() {
            return Ok(prepared);
        }
        let prepared = prepare(&self.request, &self.modules)?;
        Ok(self.prepared.get_or_init(|| prepared))
    }
}

/// The stage that a request means. Its query is planned again, unless that was done of late.
fn prepare(request: &Request, modules: &Arc<Modules>) -> Result<Arc<Prepared>> {
    static KEPT: Mutex<VecDeque<(Bytes, Arc<QueryPlan>)>> = Mutex::new(VecDeque::new());
    let name = Bytes::from(encode(&request.query));
    let find = || {
        let kept = KEPT.lock();
        kept.iter().find(|(known, _)| *known == name).map(|(_, plan)| Arc::clone(plan))
    };
    let plan = match find() {
        Some(plan) => plan,
        None => {
            let plan = Arc::new(on_large_stack(|| QueryPlan::new(&request.query, modules))?);
            let mut kept = KEPT.lock();
            kept.truncate(PLANS_KEPT - 1);
            kept.push_front((name, Arc::clone(&plan)));
            plan
        }
    };
    let stage = plan.stages.get(request.stage);
    let Some(stage) = stage.filter(|stage| stage.digest() == request.digest) else {
        return exec_err!(
            "this node plans the query in another way than the node that was asked: they are of \
             different versions"
        );
    };
    Ok(Arc::new(Prepared { stage: stage.clone(), state: Arc::clone(&plan.state) }))
}

/// A query as this node has planned it.
struct QueryPlan {
    stages: Vec<StagePlan>,
    state: Arc<SessionState>,
}

impl QueryPlan {
    fn new(query: &Query, modules: &Arc<Modules>) -> Result<Self> {
        let Query { sql, at_micros, tables, functions } = query;
        let relations = tables.iter().map(|table| Arc::new(Relation::new(Arc::new(table.clone()))));
        let at = Timestamp::from_micros(*at_micros);
        let functions = functions.iter().map(|function| aggregate(function, modules)).collect();
        let by_name = tables.iter().map(|table| (table.name.clone(), Arc::new(table.clone())));
        let views = view::functions(&Arc::new(by_name.collect()), &Used::default());
        let state = session::open(relations, (functions, views), at, STAGE_MEMORY_BYTES)?;
        let plan = session::plan(&state, session::parse(&state, sql)?)?;
        let mut stages = Vec::new();
        cut(&plan, &mut |stage| {
            let plan = Arc::clone(&stage.plan);
            stages.push(stage);
            plan
        })?;
        Ok(Self { stages, state: Arc::new(state) })
    }
}

impl Prepared {
    /// The operators over `leaf`, with memory of their own.
    fn start(&self, plan: &Arc<dyn ExecutionPlan>, feed: Feed) -> Result<Pump> {
        let runtime = session::runtime(STAGE_MEMORY_BYTES)?;
        let context = TaskContext::from(self.state.as_ref()).with_runtime(runtime);
        Ok(Pump::new(feed, plan.execute(0, Arc::new(context))?))
    }

    /// What the rows of a shard come to: all of them, or about so many bytes, and then the key
    /// after which it goes on.
    fn partial(
        &self,
        rows: &mut Rows<'_>,
        bytes_wanted: usize,
    ) -> Result<(Vec<RecordBatch>, Option<Bytes>), ReduceError> {
        let scan = &self.stage.scan;
        let feed = Feed::default();
        let leaf = Leaf::of(feed.clone(), self.stage.scanned(), 1);
        let plan = self.stage.over(&leaf).map_err(refused)?;
        let mut pump = self.start(&plan, feed).map_err(refused)?;
        let mut decoder = Decoder::new(scan, self.stage.scanned());
        let (mut failed, mut taken, mut is_over, mut after) = (None, 0, false, None);
        let mut flush = |decoder: &mut Decoder| {
            let flow = decoder.finish().and_then(|batch| match batch {
                Some(batch) => pump.push(batch),
                None => Ok(ControlFlow::Continue(())),
            });
            let flow = flow.unwrap_or_else(|error| {
                failed = Some(error);
                ControlFlow::Break(())
            });
            (flow.is_break(), pump.bytes() >= bytes_wanted)
        };
        rows.see(scan.view.sight());
        // The versions of a row are not torn apart.
        let mut page_of: Option<Bytes> = None;
        rows.visit_while(|row| {
            if let Some(key) = page_of.as_ref().filter(|key| key.as_ref() != row.key) {
                after = Some(key.clone());
                is_over = true;
                return Ok(ControlFlow::Break(()));
            }
            decoder.push(row)?;
            taken += 1;
            let has_enough = scan.limit.is_some_and(|limit| taken >= limit);
            if !decoder.is_full() && !has_enough {
                return Ok(ControlFlow::Continue(()));
            }
            let (is_done, is_page) = flush(&mut decoder);
            is_over = is_done || has_enough;
            if is_page && !is_over {
                let key = Bytes::copy_from_slice(row.key);
                if scan.view == View::Versions {
                    page_of = Some(key);
                } else {
                    after = Some(key);
                    is_over = true;
                }
            }
            Ok(if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        if !is_over {
            let _ = flush(&mut decoder);
        }
        match failed {
            Some(error) => Err(refused(error)),
            None => Ok((pump.finish().map_err(refused)?, after)),
        }
    }

    fn combine(
        &self,
        mut left: Vec<RecordBatch>,
        right: Vec<RecordBatch>,
    ) -> Result<Vec<RecordBatch>> {
        left.extend(right);
        let feed = Feed::default();
        let leaf = Leaf::of(feed.clone(), self.stage.plan.schema(), 1);
        let plan: Arc<dyn ExecutionPlan> = match self.stage.kind {
            Kind::Rows { fetch } => return Ok(cut_to(left, fetch)),
            Kind::Best => self.stage.top_over(leaf)?,
            Kind::Aggregate => {
                let Some(half) = self.stage.plan.downcast_ref::<AggregateExec>() else {
                    return internal_err!("an aggregation is none");
                };
                Arc::new(AggregateExec::try_new(
                    AggregateMode::PartialReduce,
                    half.group_expr().as_final(),
                    half.aggr_expr().to_vec(),
                    vec![None; half.aggr_expr().len()],
                    leaf,
                    half.input_schema(),
                )?)
            }
        };
        let mut pump = self.start(&plan, feed)?;
        for batch in left {
            if pump.push(batch)?.is_break() {
                break;
            }
        }
        pump.finish()
    }
}

/// The first so many rows.
fn cut_to(batches: Vec<RecordBatch>, fetch: Option<usize>) -> Vec<RecordBatch> {
    let Some(mut left) = fetch else { return batches };
    let mut kept = Vec::new();
    for batch in batches {
        let rows = batch.num_rows().min(left);
        left -= rows;
        if rows > 0 {
            kept.push(batch.slice(0, rows));
        }
    }
    kept
}

impl Reduce for Stage {
    const ID: ReductionId = ReductionId::new(4);
    const NAME: &'static str = "sql";
    /// An Arrow IPC stream, or a page of rows.
    type Partial = Bytes;

    fn encode(&self) -> Vec<u8> {
        encode(&self.request)
    }

    /// Without the functions of users; see [`with_stages`].
    fn decode(request: Bytes) -> Result<Self, DecodeError> {
        Self::of(&request, Arc::default())
    }

    fn combines_at_once(&self) -> bool {
        self.request.query.functions.is_empty()
    }

    fn partial(&self, rows: &mut Rows<'_>) -> Result<Bytes, ReduceError> {
        let prepared = self.prepared().map_err(refused)?;
        let bytes_wanted = if self.is_paged() { PAGE_BYTES } else { usize::MAX };
        let (batches, after) = prepared.partial(rows, bytes_wanted)?;
        let schema = prepared.stage.plan.schema();
        let part = to_ipc(&schema, &batches).map_err(refused)?;
        Ok(if self.is_paged() { Page { part, after }.encode() } else { part })
    }

    fn combine(&self, left: Bytes, right: Bytes) -> Result<Bytes, ReduceError> {
        let combine = || {
            let prepared = self.prepared()?;
            let combined = prepared.combine(from_ipc(left)?, from_ipc(right)?)?;
            to_ipc(&prepared.stage.plan.schema(), &combined)
        };
        combine().map_err(refused)
    }

    fn encode_partial(&self, partial: &Bytes) -> Vec<u8> {
        partial.to_vec()
    }

    fn decode_partial(&self, partial: Bytes) -> Result<Bytes, ReduceError> {
        Ok(partial)
    }
}

/// Some of the rows of a shard.
///
/// ```text
/// 0 | Arrow IPC stream                  the last ones
/// 1 | key with its length | the same    those up to this key
/// ```
pub(crate) struct Page {
    /// An Arrow IPC stream.
    pub(crate) part: Bytes,
    /// The key after which the next page begins.
    pub(crate) after: Option<Bytes>,
}

impl Page {
    fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.part.len() + 16);
        let mut to = Writer::new(&mut out);
        match &self.after {
            None => to.put_u8(0),
            Some(key) => {
                to.put_u8(1);
                to.put_bytes(key);
            }
        }
        out.extend_from_slice(&self.part);
        out.into()
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes.clone());
        let after = match from.take_u8()? {
            0 => None,
            1 => Some(from.take_bytes()?),
            tag => return Err(from.unknown("page", tag)),
        };
        let part = bytes.slice(from.position()..);
        Ok(Self { part, after })
    }
}

fn encode(of: &impl Serialize) -> Vec<u8> {
    // It has no map with other keys than text, and nothing else can fail.
    serde_json::to_vec(of).unwrap_or_default()
}

fn to_ipc(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Bytes> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
    for batch in batches {
        writer.write(batch)?;
    }
    Ok(writer.into_inner()?.into())
}

/// The batches of an Arrow IPC stream.
pub(crate) fn from_ipc(bytes: Bytes) -> Result<Vec<RecordBatch>> {
    let reader = StreamReader::try_new(Cursor::new(bytes), None)?;
    Ok(reader.collect::<Result<_, _>>()?)
}

fn refused(error: DataFusionError) -> ReduceError {
    ReduceError::Refused { reason: words(&error) }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.prepared.get() {
            Some(prepared) => displayable(prepared.stage.plan.as_ref()).indent(false).fmt(f),
            None => write!(f, "stage {}", self.request.stage),
        }
    }
}
