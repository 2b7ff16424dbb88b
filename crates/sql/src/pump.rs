//! Runs a stage's plan over rows that are pushed into it, on the thread that reads them.
//!
//! DataFusion's operators pull, and the rows of a shard are shown by a scan that must not be
//! held up. So the plan's stream is polled by hand whenever a batch is full: it takes the
//! batch, computes, and says that it waits for more. That works because no operator of a
//! stage hands work to another task.

use std::collections::VecDeque;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{Result, internal_err, resources_err};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream;
use parking_lot::Mutex;

use crate::leaf::Origin;
use crate::limits::STAGE_MEMORY_BYTES;

/// Batches on their way into a plan.
#[derive(Debug, Clone, Default)]
pub(crate) struct Feed(Arc<Mutex<Fed>>);

#[derive(Debug, Default)]
struct Fed {
    batches: VecDeque<RecordBatch>,
    is_over: bool,
}

impl fmt::Display for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("of one shard")
    }
}

impl Origin for Feed {
    const NAME: &'static str = "Rows";

    /// What is pushed. Whoever pushes must poll, too: the stream wakes nobody.
    fn rows(
        &self,
        schema: &SchemaRef,
        _: usize,
        _: &Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let feed = self.clone();
        let batches = stream::poll_fn(move |_| {
            let mut fed = feed.0.lock();
            match fed.batches.pop_front() {
                Some(batch) => Poll::Ready(Some(Ok(batch))),
                None if fed.is_over => Poll::Ready(None),
                None => Poll::Pending,
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(schema), batches)))
    }
}

/// A plan that is being run.
pub(crate) struct Pump {
    feed: Feed,
    plan: SendableRecordBatchStream,
    results: Vec<RecordBatch>,
    bytes: usize,
}

impl Pump {
    /// Runs `plan`, whose leaf reads `feed`.
    pub(crate) fn new(feed: Feed, plan: SendableRecordBatchStream) -> Self {
        Self { feed, plan, results: Vec::new(), bytes: 0 }
    }

    /// Bytes of what it has come to so far.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Computes with some more rows. Breaks if the plan needs no more.
    pub(crate) fn push(&mut self, batch: RecordBatch) -> Result<ControlFlow<()>> {
        self.feed.0.lock().batches.push_back(batch);
        self.poll()
    }

    /// What the plan comes to, now that there are no more rows.
    pub(crate) fn finish(mut self) -> Result<Vec<RecordBatch>> {
        self.feed.0.lock().is_over = true;
        match self.poll()? {
            ControlFlow::Break(()) => Ok(self.results),
            ControlFlow::Continue(()) => {
                internal_err!("a stage waits for something else than rows")
            }
        }
    }

    fn poll(&mut self) -> Result<ControlFlow<()>> {
        let mut context = Context::from_waker(Waker::noop());
        loop {
            match self.plan.as_mut().poll_next(&mut context) {
                Poll::Pending => return Ok(ControlFlow::Continue(())),
                Poll::Ready(None) => return Ok(ControlFlow::Break(())),
                Poll::Ready(Some(batch)) => {
                    let batch = batch?;
                    self.bytes += batch.get_array_memory_size();
                    if self.bytes > STAGE_MEMORY_BYTES {
                        return resources_err!(
                            "the part of one shard comes to more than {STAGE_MEMORY_BYTES} bytes"
                        );
                    }
                    self.results.push(batch);
                }
            }
        }
    }
}
