//! Where a stage was in the plan: runs it at the shards, and gives what it came to.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use breccia_node::Node;
use breccia_types::ShardId;
use breccia_types::reduce::{Coverage, Meter, Scope};
use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use parking_lot::Mutex;

use crate::leaf::Origin;
use crate::limits::SHARDS_PAGED_AT_ONCE;
use crate::query::StageReport;
use crate::stage::{Page, Stage, from_ipc};

/// What all stages of a query share.
pub(crate) struct Gatherer {
    pub(crate) node: Node,
    /// How the tables are read; the keys are those of each stage.
    pub(crate) scope: Scope,
    pub(crate) meter: Arc<Meter>,
    pub(crate) reports: Mutex<BTreeMap<usize, StageReport>>,
    pub(crate) began: Instant,
}

/// What a stage came to, all of it in the first partition.
pub(crate) struct Gather {
    pub(crate) stage: Stage,
    pub(crate) gatherer: Arc<Gatherer>,
}

impl Gatherer {
    /// What a stage comes to over all shards, combined on the way.
    async fn gather(&self, stage: &Stage) -> Result<Vec<RecordBatch>> {
        let (partial, coverage) = self.reduce(stage, None, None).await?;
        let bytes = partial.as_ref().map_or(0, Bytes::len);
        let batches = partial.map(from_ipc).transpose()?.unwrap_or_default();
        self.report(stage, coverage, (&batches, bytes))?;
        Ok(batches)
    }

    /// The rows of a stage, from a few shards at a time and a page after the other.
    fn pages(self: Arc<Self>, stage: Stage) -> BoxStream<'static, Result<Vec<RecordBatch>>> {
        let scan = stage.plan().map(|plan| plan.scan.clone());
        let shards = scan.map(|scan| self.node.shards_of(&scan.table, &scan.keys));
        let shards = match shards {
            Ok(shards) => shards,
            Err(error) => return stream::iter([Err(error)]).boxed(),
        };
        let of_shard = move |shard| {
            let (gatherer, stage) = (Arc::clone(&self), stage.clone());
            stream::try_unfold(Some(None), move |position: Option<Option<Bytes>>| {
                let (gatherer, stage) = (Arc::clone(&gatherer), stage.clone());
                async move {
                    let Some(after) = position else { return Ok(None) };
                    let is_first = after.is_none();
                    let (partial, mut coverage) =
                        gatherer.reduce(&stage, Some(shard), after).await?;
                    if !is_first {
                        // The shard was counted with its first page.
                        coverage.shards_asked = coverage.missing.len();
                    }
                    let bytes = partial.as_ref().map_or(0, Bytes::len);
                    let page = partial.map(Page::decode).transpose();
                    let page = page.map_err(|error| DataFusionError::External(Box::new(error)))?;
                    let (part, next) = match page {
                        Some(Page { part, after }) => (from_ipc(part)?, after.map(Some)),
                        None => (Vec::new(), None),
                    };
                    gatherer.report(&stage, coverage, (&part, bytes))?;
                    Ok(Some((part, next)))
                }
            })
            .boxed()
        };
        let shards = stream::iter(shards.into_iter().map(of_shard));
        shards.flatten_unordered(SHARDS_PAGED_AT_ONCE).boxed()
    }

    async fn reduce(
        &self,
        stage: &Stage,
        shard: Option<ShardId>,
        after: Option<Bytes>,
    ) -> Result<(Option<Bytes>, Coverage)> {
        let scan = &stage.plan()?.scan;
        let mut keys = scan.keys.clone();
        if let Some(last) = after {
            keys.from = Some([&last[..], &[0]].concat().into());
        }
        let scope = Scope { keys, shard, ..self.scope.clone() };
        let reduced = self.node.reduce_with(&scan.table, stage, &scope, &self.meter).await;
        reduced.map_err(|error| DataFusionError::External(Box::new(error)))
    }

    fn report(
        &self,
        stage: &Stage,
        coverage: Coverage,
        (batches, bytes): (&[RecordBatch], usize),
    ) -> Result<()> {
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let mut reports = self.reports.lock();
        let report = reports.entry(stage.number()).or_default();
        report.stage = stage.number();
        report.table.clone_from(&stage.plan()?.scan.table.name);
        report.coverage.shards_asked += coverage.shards_asked;
        report.coverage.missing.extend(coverage.missing);
        report.coverage.read = report.coverage.read.and(coverage.read);
        report.rows_gathered += rows;
        report.bytes_gathered += bytes;
        report.took = self.began.elapsed();
        Ok(())
    }
}

impl fmt::Debug for Gather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gather({})", self.stage.number())
    }
}

impl fmt::Display for Gather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stage={}", self.stage.number())
    }
}

impl Origin for Gather {
    const NAME: &'static str = "Gather";

    fn rows(
        &self,
        schema: &SchemaRef,
        partition: usize,
        context: &Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let schema = Arc::clone(schema);
        if partition > 0 {
            return Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream::empty())));
        }
        let (stage, gatherer) = (self.stage.clone(), Arc::clone(&self.gatherer));
        if stage.is_paged() {
            let pages = gatherer.pages(stage).map_ok(|page| stream::iter(page.into_iter().map(Ok)));
            return Ok(Box::pin(RecordBatchStreamAdapter::new(schema, pages.try_flatten())));
        }
        let memory = MemoryConsumer::new(self.to_string()).register(context.memory_pool());
        let gathering = async move {
            let batches = gatherer.gather(&stage).await?;
            memory.try_grow(batches.iter().map(RecordBatch::get_array_memory_size).sum())?;
            // The memory is given back after the last batch.
            let batches = stream::iter(batches).map(move |batch| {
                let _held = &memory;
                Ok(batch)
            });
            Ok::<_, DataFusionError>(batches)
        };
        let batches = stream::once(gathering).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}
