//! Which part of a plan runs at the shards.
//!
//! From the leaves up, everything that looks at one row at a time, and on top of it one
//! operator whose results over parts of the rows can be combined: the first half of an
//! aggregation, or the best rows of a sort with a limit. DataFusion itself plans these halves
//! for scans with several partitions; the exchange that it puts above them is where the plan
//! is cut.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::displayable;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::limit::LocalLimitExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ChildrenPropertiesMode, ExecutionPlan, ReplaceChildrenOptions};

use crate::leaf::Leaf;
use crate::limits::ROWS_AT_ONCE_MAX;
use crate::relation::Scan;

/// A part of a plan that runs at the shards.
#[derive(Debug, Clone)]
pub(crate) struct StagePlan {
    /// The operators, with a [`Scan`] as their only leaf.
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    pub(crate) scan: Scan,
    /// The columns that the scan reads.
    scanned: SchemaRef,
    pub(crate) kind: Kind,
}

/// How what the parts of the rows come to is combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Rows: put together, no more of them than this.
    Rows {
        /// If only so many are wanted.
        fetch: Option<usize>,
    },
    /// States of an aggregation: merged by group.
    Aggregate,
    /// The best rows of a sort: sorted again, and cut.
    Best,
}

impl StagePlan {
    /// Whether it gives rows, and perhaps many of them.
    pub(crate) fn may_be_many_rows(&self) -> bool {
        match self.kind {
            Kind::Rows { fetch } => fetch.is_none_or(|fetch| fetch > ROWS_AT_ONCE_MAX),
            Kind::Aggregate | Kind::Best => false,
        }
    }

    /// What tells this stage from that of another plan.
    pub(crate) fn digest(&self) -> u32 {
        crc32c::crc32c(displayable(self.plan.as_ref()).indent(true).to_string().as_bytes())
    }

    /// The columns that the scan reads.
    pub(crate) fn scanned(&self) -> SchemaRef {
        Arc::clone(&self.scanned)
    }

    /// The same operators over another leaf.
    pub(crate) fn over(&self, leaf: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        with_leaf(&self.plan, leaf)
    }

    /// The topmost operator over another leaf.
    pub(crate) fn top_over(&self, leaf: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        with_children(&self.plan, vec![leaf])?.reset_state()
    }
}

/// Takes the stages out of a plan, from left to right; each is replaced by what `on_stage`
/// gives for it.
pub(crate) fn cut(
    plan: &Arc<dyn ExecutionPlan>,
    on_stage: &mut dyn FnMut(StagePlan) -> Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    if let Some(stage) = stage_of(plan) {
        return Ok(on_stage(stage));
    }
    let children = plan.children();
    if children.is_empty() {
        return Ok(Arc::clone(plan));
    }
    let children =
        children.into_iter().map(|child| cut(child, on_stage)).collect::<Result<Vec<_>>>()?;
    with_children(plan, children)
}

fn stage_of(plan: &Arc<dyn ExecutionPlan>) -> Option<StagePlan> {
    let (kind, rows) = if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        (*aggregate.mode() == AggregateMode::Partial)
            .then_some((Kind::Aggregate, aggregate.input()))?
    } else if let Some(sort) = plan.downcast_ref::<SortExec>() {
        let is_half = sort.preserve_partitioning() && sort.fetch().is_some();
        is_half.then_some((Kind::Best, sort.input()))?
    } else if let Some(limit) = plan.downcast_ref::<LocalLimitExec>() {
        (Kind::Rows { fetch: Some(limit.fetch()) }, limit.input())
    } else {
        (Kind::Rows { fetch: plan.fetch() }, plan)
    };
    let leaf = scan_below(rows)?;
    let (scan, scanned) = (leaf.origin.clone(), leaf.schema());
    Some(StagePlan { plan: Arc::clone(plan), scan, scanned, kind })
}

/// The scan below operators that look at one row at a time.
fn scan_below(plan: &Arc<dyn ExecutionPlan>) -> Option<&Leaf<Scan>> {
    if let Some(scan) = plan.downcast_ref() {
        return Some(scan);
    }
    let looks_at_rows =
        plan.is::<FilterExec>() || plan.is::<ProjectionExec>() || plan.is::<CooperativeExec>();
    match plan.children().as_slice() {
        [child] if looks_at_rows => scan_below(child),
        _ => None,
    }
}

fn with_leaf(
    plan: &Arc<dyn ExecutionPlan>,
    leaf: &Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    match plan.children().as_slice() {
        // A sort keeps what it has found out about the best rows, and would leave out those of
        // another shard.
        [child] => with_children(plan, vec![with_leaf(child, leaf)?])?.reset_state(),
        _ => Ok(Arc::clone(leaf)),
    }
}

fn with_children(
    plan: &Arc<dyn ExecutionPlan>,
    children: Vec<Arc<dyn ExecutionPlan>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let recompute = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    Arc::clone(plan).replace_children(children, recompute)
}
