//! Where a stage was in the plan: runs it at the shards, and gives what it came to.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use breccia_node::Node;
use breccia_types::reduce::{Coverage, Meter, Scope};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream::{self, StreamExt, TryStreamExt};
use parking_lot::Mutex;

use crate::leaf::Origin;
use crate::query::StageReport;
use crate::stage::{Stage, from_ipc};

/// What all stages of a query share.
pub(crate) struct Gatherer {
    pub(crate) node: Node,
    /// How the tables are read; the keys are those of each stage.
    pub(crate) scope: Scope,
    pub(crate) meter: Arc<Meter>,
    pub(crate) reports: Mutex<Vec<StageReport>>,
}

/// What a stage came to, all of it in the first partition.
pub(crate) struct Gather {
    pub(crate) stage: Stage,
    pub(crate) gatherer: Arc<Gatherer>,
}

impl Gatherer {
    async fn gather(&self, stage: &Stage) -> Result<Vec<RecordBatch>> {
        let scan = &stage.plan()?.scan;
        let scope = Scope { keys: scan.keys.clone(), ..self.scope.clone() };
        let began = Instant::now();
        let reduced = self.node.reduce_with(&scan.table, stage, &scope, &self.meter).await;
        let (partial, coverage): (_, Coverage) =
            reduced.map_err(|error| DataFusionError::External(Box::new(error)))?;
        let bytes_gathered = partial.as_ref().map_or(0, |partial| partial.len());
        let batches = partial.map(from_ipc).transpose()?.unwrap_or_default();
        self.reports.lock().push(StageReport {
            stage: stage.number(),
            table: scan.table.name.clone(),
            coverage,
            rows_gathered: batches.iter().map(RecordBatch::num_rows).sum(),
            bytes_gathered,
            took: began.elapsed(),
        });
        Ok(batches)
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
