//! `explain` and `explain analyze`: which part of a query runs where.

use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use futures::stream::{self, StreamExt, TryStreamExt};

use crate::error::SqlError;
use crate::query::{Answer, Planned, Report, StageReport};

/// What is asked of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Explain {
    /// Its plan.
    Plan,
    /// The same, and what it takes: it runs, and its answer is thrown away.
    Analyze,
}

/// The plan as rows: where a part of it runs, and what that is.
pub(crate) async fn answer(planned: Planned, how: Explain) -> Result<Answer, SqlError> {
    let (rest, stages, report) =
        (Arc::clone(&planned.rest), planned.stages.clone(), planned.report());
    let rest = match how {
        Explain::Plan => DisplayableExecutionPlan::new(rest.as_ref()),
        Explain::Analyze => {
            let batches = planned.answer()?.batches;
            batches.try_for_each(|_| std::future::ready(Ok(()))).await?;
            DisplayableExecutionPlan::with_metrics(rest.as_ref())
        }
    };
    let mut parts = vec![("this node".to_owned(), rest.indent(false).to_string())];
    let reports = report.stages();
    for stage in stages {
        let mut text = stage.to_string();
        if let Some(report) = reports.iter().find(|report| report.stage == stage.number()) {
            text.push_str(&took(report));
        }
        parts.push((format!("stage {}, at the shards", stage.number()), text));
    }
    rows(&parts, report)
}

fn took(report: &StageReport) -> String {
    let StageReport { coverage, rows_gathered, bytes_gathered, took, .. } = report;
    format!(
        "read {} rows, {} bytes in {} shards; {} rows, {} bytes came back; {:.1} ms",
        coverage.read.rows,
        coverage.read.bytes,
        coverage.shards_answered(),
        rows_gathered,
        bytes_gathered,
        took.as_secs_f64() * 1e3,
    )
}

fn rows(parts: &[(String, String)], report: Report) -> Result<Answer, SqlError> {
    let text = |name| Field::new(name, DataType::Utf8, false);
    let schema = Arc::new(Schema::new(vec![text("runs"), text("plan")]));
    let wheres = parts.iter().map(|(runs, _)| runs.as_str());
    let plans = parts.iter().map(|(_, plan)| plan.trim_end());
    let columns: Vec<Arc<dyn datafusion::arrow::array::Array>> = vec![
        Arc::new(StringArray::from_iter_values(wheres)),
        Arc::new(StringArray::from_iter_values(plans)),
    ];
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns);
    let batch = batch.map_err(|error| SqlError::Failed { reason: error.to_string() })?;
    Ok(Answer { schema, batches: stream::iter([Ok(batch)]).boxed(), report })
}
