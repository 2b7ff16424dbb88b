//! Reductions of all rows of a table.

use std::sync::Arc;

use axum::Json;
use axum::http::Extensions;
use breccia_node::Reduction;
use breccia_types::RequestError;
use breccia_types::reduce::{Coverage, Gaps, Input, KeyRange, Meter, Misfits, Scope};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::extract::{JsonBody, PathParts, Reading, invalid};
use super::octets::Octets;
use super::problem::Problem;
use crate::http::deadline::Deadline;
use crate::http::reduction::{self, Asked};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReduceBody {
    reduction: String,
    field: Option<String>,
    #[serde(default)]
    argument: Octets,
    input: Option<WholeInput>,
    #[serde(default)]
    prefix: Octets,
    from: Option<Octets>,
    to: Option<Octets>,
    #[serde(default)]
    strict: bool,
    #[serde(default)]
    allow_partial: bool,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WholeInput {
    Key,
    Value,
}

#[derive(Debug, Serialize)]
pub(super) struct ReducedBody {
    result: Value,
    coverage: CoverageBody,
}

/// What was read for an answer.
#[derive(Debug, Serialize)]
pub(super) struct CoverageBody {
    shards_asked: usize,
    shards_answered: usize,
    missing: Vec<MissingBody>,
    rows: u64,
    bytes: u64,
    skipped: u64,
}

#[derive(Debug, Serialize)]
struct MissingBody {
    shard: u32,
    reason: String,
}

pub(super) async fn reduce(
    Reading(app): Reading,
    PathParts(table): PathParts<String>,
    extensions: Extensions,
    JsonBody(body): JsonBody<ReduceBody>,
) -> Result<Json<ReducedBody>, Problem> {
    let asked = body.into_asked(table, Deadline::of(&extensions))?;
    let permit = app.admission.open_scan()?;
    let meter = Arc::new(Meter::default());
    let reduced = reduction::reduce(app, asked, meter, permit).await?;
    Ok(Json(ReducedBody::new(reduced)?))
}

impl ReduceBody {
    fn into_asked(self, table: String, deadline: Deadline) -> Result<Asked, RequestError> {
        let input = match (self.field, self.input) {
            (Some(_), Some(_)) => {
                return Err(invalid("input", "give a field or an input, not both".to_owned()));
            }
            (Some(path), None) => Some(reduction::field(&path)?),
            (None, Some(WholeInput::Key)) => Some(Input::Key),
            (None, Some(WholeInput::Value)) => Some(Input::Value),
            (None, None) => None,
        };
        let bytes = |octets: Option<Octets>| octets.map(|octets| octets.0);
        let keys = KeyRange { prefix: self.prefix.0, from: bytes(self.from), to: bytes(self.to) };
        let scope = Scope {
            keys,
            misfits: if self.strict { Misfits::Refuse } else { Misfits::Count },
            gaps: if self.allow_partial { Gaps::Allow } else { Gaps::Refuse },
            within: reduction::within(deadline),
            ..Scope::default()
        };
        let by = reduction::by(&self.reduction, input, self.argument.0)?;
        Ok(Asked { table, by, scope })
    }
}

impl ReducedBody {
    fn new(reduced: Reduction) -> Result<Self, RequestError> {
        let result = serde_json::from_str(&reduced.presented)
            .map_err(|error| RequestError::Internal { reason: error.to_string() })?;
        Ok(Self { result, coverage: CoverageBody::new(&reduced.coverage) })
    }
}

impl CoverageBody {
    pub(super) fn new(coverage: &Coverage) -> Self {
        let Coverage { shards_asked, missing, read } = coverage;
        let missing = missing.iter().map(|missing| MissingBody {
            shard: missing.shard.get(),
            reason: missing.reason.clone(),
        });
        Self {
            shards_asked: *shards_asked,
            shards_answered: coverage.shards_answered(),
            missing: missing.collect(),
            rows: read.rows,
            bytes: read.bytes,
            skipped: read.skipped,
        }
    }
}
