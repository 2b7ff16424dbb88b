//! A page of a row's history.

use breccia_node::Node;
use breccia_types::kv::{History, Version};
use breccia_types::limits::{PAGE_BYTES_MAX, PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX};
use breccia_types::{RequestError, Table, Timestamp};

/// Some versions of a row, newest first.
pub(crate) struct VersionPage {
    pub(crate) versions: Vec<Version>,
    /// The newest instant of the next page, if there may be one.
    pub(crate) next_to: Option<Timestamp>,
}

/// Reads one page, and tells where the next one starts.
///
/// # Errors
/// As `Node::history`.
pub(crate) async fn version_page(
    node: &Node,
    table: &Table,
    history: History,
) -> Result<VersionPage, RequestError> {
    let from = history.from;
    let limit = match history.limit {
        0 => PAGE_ROWS_DEFAULT,
        limit => limit.min(PAGE_ROWS_MAX),
    };
    let versions = node.history(table, history).await?;
    let bytes: usize = versions.iter().filter_map(|v| v.value.as_ref().map(|v| v.len())).sum();
    let is_full = versions.len() >= limit || bytes >= PAGE_BYTES_MAX;
    let next_to = match versions.last() {
        Some(last) if is_full && last.version > from => {
            last.version.as_micros().checked_sub(1).map(Timestamp::from_micros)
        }
        _ => None,
    };
    Ok(VersionPage { versions, next_to })
}
