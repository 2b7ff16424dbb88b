//! Reads of rows by their keys.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use breccia_node::Node;
use breccia_service::strings::sketch;
use breccia_types::RequestError;
use breccia_types::kv::Row;
use breccia_types::limits::REQUEST_DEADLINE_DEFAULT;
use bytes::Bytes;
use futures::poll;
use tokio::time::timeout;

use super::super::command::Read;
use super::super::encoder::Encoder;
use super::super::error::ReplyError;
use super::super::front::Front;
use super::super::limits::SKETCHES_TOGETHER_MAX;
use super::lcs::Lcs;
use super::view;

/// Answers a read but that of many values, whose replies may take more than fits in memory.
///
/// # Errors
/// What the node reports. Nothing is encoded then.
pub(crate) async fn answer(
    front: &Front,
    node: &Node,
    read: &Read,
    encoder: &mut Encoder,
) -> Result<(), ReplyError> {
    match read {
        Read::One { key, view } => {
            let row = get(front, node, key).await?;
            view::encode(encoder, *view, row.as_ref(), front.node.clock())
        }
        Read::Existing { keys } => {
            let mut count = 0;
            for key in keys {
                count += usize::from(get(front, node, key).await?.is_some());
            }
            encoder.count(count);
            Ok(())
        }
        Read::Distinct { keys } => {
            let count = distinct(front, node, keys).await?;
            encoder.integer(i64::try_from(count).unwrap_or(i64::MAX));
            Ok(())
        }
        Read::CommonSubsequence { first, second, shown } => {
            let found = common_subsequence(front, node, first, second).await?;
            found.encode(encoder, *shown);
            Ok(())
        }
        Read::Values { .. } => Ok(()),
    }
}

/// One row. Rows in memory come without a wait.
///
/// # Errors
/// What the node reports, or [`RequestError::DeadlineExceeded`].
pub(crate) async fn get(
    front: &Front,
    node: &Node,
    key: &[u8],
) -> Result<Option<Row>, RequestError> {
    in_time(node.get(&front.table, key)).await
}

/// The first of many rows, see [`Node::multi_get`].
///
/// # Errors
/// What the node reports, or [`RequestError::DeadlineExceeded`].
pub(crate) async fn multi_get(
    front: &Front,
    node: &Node,
    keys: &[Bytes],
) -> Result<Vec<Option<Row>>, RequestError> {
    in_time(node.multi_get(&front.table, keys)).await
}

/// Gives a request its deadline, unless it is answered on the spot.
pub(crate) async fn in_time<T>(
    request: impl Future<Output = Result<T, RequestError>>,
) -> Result<T, RequestError> {
    let mut request = pin!(request);
    match poll!(&mut request) {
        Poll::Ready(result) => result,
        Poll::Pending => timeout(REQUEST_DEADLINE_DEFAULT, request)
            .await
            .unwrap_or(Err(RequestError::DeadlineExceeded)),
    }
}

/// The distinct elements in the union of some sketches. Of many sketches no more than a few
/// are in memory at a time.
async fn distinct(front: &Front, node: &Node, keys: &[Bytes]) -> Result<u64, ReplyError> {
    let mut union: Option<Vec<u8>> = None;
    for some in keys.chunks(SKETCHES_TOGETHER_MAX) {
        let mut values = Vec::with_capacity(some.len());
        for key in some {
            values.extend(get(front, node, key).await?.map(|row| row.value));
        }
        let values: Vec<&[u8]> = values.iter().map(AsRef::as_ref).collect();
        if keys.len() <= SKETCHES_TOGETHER_MAX {
            return Ok(sketch::count(&values)?);
        }
        union = Some(sketch::merge(union.as_deref(), &values)?);
    }
    Ok(sketch::count(union.as_deref().as_slice())?)
}

async fn common_subsequence(
    front: &Front,
    node: &Node,
    first: &[u8],
    second: &[u8],
) -> Result<Lcs, ReplyError> {
    let value = |row: Option<Row>| row.map(|row| row.value).unwrap_or_default();
    let first = value(get(front, node, first).await?);
    let second = value(get(front, node, second).await?);
    let shut_down = |_| ReplyError::from(RequestError::ShuttingDown);
    let _permit = front.lcs.acquire().await.map_err(shut_down)?;
    let found = tokio::task::spawn_blocking(move || Lcs::find(&first, &second)).await;
    found.unwrap_or_else(|error| Err(RequestError::Internal { reason: error.to_string() }.into()))
}
