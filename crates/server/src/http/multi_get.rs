//! Reads many rows for one answer that is bounded in bytes.

use breccia_node::Node;
use breccia_types::kv::Row;
use breccia_types::{RequestError, Table};
use bytes::Bytes;

use super::limits::MULTI_GET_BYTES_MAX;

/// The rows with these keys, in their order.
///
/// # Errors
/// [`RequestError::InvalidArgument`] if they have more than [`MULTI_GET_BYTES_MAX`] bytes
/// together, or as `Node::multi_get`.
pub(crate) async fn multi_get(
    node: &Node,
    table: &Table,
    keys: &[Bytes],
) -> Result<Vec<Option<Row>>, RequestError> {
    let mut found = Vec::with_capacity(keys.len());
    let mut bytes = 0usize;
    while let Some(rest) = keys.get(found.len()..)
        && !rest.is_empty()
    {
        let rows = node.multi_get(table, rest).await?;
        let present = rows.iter().flatten();
        bytes += present.map(|row| row.key.len() + row.value.len()).sum::<usize>();
        if bytes > MULTI_GET_BYTES_MAX {
            return Err(RequestError::InvalidArgument {
                argument: "keys",
                reason: format!(
                    "the first {} rows have {bytes} bytes together, and an answer holds at most \
                     {MULTI_GET_BYTES_MAX}; ask for fewer at once",
                    found.len() + rows.len(),
                ),
            });
        }
        found.extend(rows);
    }
    Ok(found)
}
