//! The versions of a row.

use axum::Json;
use breccia_node::Named;
use breccia_types::Timestamp;
use breccia_types::kv::{History, Version};
use serde::{Deserialize, Serialize};

use super::extract::{Params, PathParts, Reading};
use super::octets::{KeyEncoding, Octets};
use super::problem::Problem;
use crate::http::versions::version_page;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryParams {
    #[serde(default)]
    key_encoding: KeyEncoding,
    from_micros: Option<i64>,
    to_micros: Option<i64>,
    #[serde(default)]
    limit: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct HistoryBody {
    versions: Vec<VersionBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_to_micros: Option<i64>,
}

/// A version; without a value the row was deleted at that instant.
#[derive(Debug, Serialize)]
struct VersionBody {
    version_micros: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Octets>,
}

impl From<Version> for VersionBody {
    fn from(version: Version) -> Self {
        Self { version_micros: version.version.as_micros(), value: version.value.map(Octets) }
    }
}

pub(super) async fn history(
    Reading(app): Reading,
    PathParts((table, key)): PathParts<(String, String)>,
    Params(params): Params<HistoryParams>,
) -> Result<Json<HistoryBody>, Problem> {
    let history = History {
        key: params.key_encoding.decode(key)?,
        from: params.from_micros.map_or(Timestamp::MIN, Timestamp::from_micros),
        to: params.to_micros.map_or(Timestamp::MAX, Timestamp::from_micros),
        limit: params.limit,
    };
    let (node, history) = (&app.node, &history);
    let page = node
        .on_table(&table, async |on: Named| version_page(node, &on.table, history.clone()).await);
    let page = page.await?;
    Ok(Json(HistoryBody {
        versions: page.versions.into_iter().map(VersionBody::from).collect(),
        next_to_micros: page.next_to.map(Timestamp::as_micros),
    }))
}
