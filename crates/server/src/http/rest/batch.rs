//! Several commands in one request.

use axum::Json;
use axum::extract::State;
use breccia_node::Named;
use breccia_types::kv::{KvReply, KvWrite};
use breccia_types::limits::MULTI_GET_KEYS_MAX;
use breccia_types::{RequestError, Table, Timestamp};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::extract::{Idempotency, JsonBody, PathParts, Reading};
use super::octets::Octets;
use super::problem::Problem;
use super::rows::{RowBody, content, expiry};
use crate::http::app::App;
use crate::http::command::{self, RowCommand};
use crate::http::multi_get;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchBody {
    commands: Vec<CommandBody>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum CommandBody {
    Put(PutBody),
    Delete(DeleteBody),
    Cas(SwapBody),
    Merge(MergeBody),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PutBody {
    key: Octets,
    value: Option<Octets>,
    encoded_state: Option<Octets>,
    ttl_ms: Option<u64>,
    expires_at_micros: Option<i64>,
    version_micros: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteBody {
    key: Octets,
    version_micros: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SwapBody {
    key: Octets,
    expected: Option<Octets>,
    new: Option<Octets>,
    ttl_ms: Option<u64>,
    expires_at_micros: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MergeBody {
    key: Octets,
    operand: Option<Octets>,
    encoded_state: Option<Octets>,
}

impl CommandBody {
    fn into_command(self) -> Result<RowCommand, RequestError> {
        match self {
            Self::Put(put) => Ok(RowCommand::Put {
                key: put.key.0,
                content: content("value", put.value, put.encoded_state)?,
                expiry: expiry(put.ttl_ms, put.expires_at_micros)?,
                version: put.version_micros.map(Timestamp::from_micros),
            }),
            Self::Delete(delete) => Ok(RowCommand::Delete {
                key: delete.key.0,
                version: delete.version_micros.map(Timestamp::from_micros),
            }),
            Self::Cas(swap) => Ok(RowCommand::CompareAndSet {
                key: swap.key.0,
                expected: swap.expected.map(|octets| octets.0),
                new: swap.new.map(|octets| octets.0),
                expiry: expiry(swap.ttl_ms, swap.expires_at_micros)?,
            }),
            Self::Merge(merge) => Ok(RowCommand::Merge {
                key: merge.key.0,
                content: content("operand", merge.operand, merge.encoded_state)?,
            }),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct RepliesBody {
    replies: Vec<ReplyBody>,
}

/// The reply to one command; which members it has depends on the command.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ReplyBody {
    Written { version_micros: i64 },
    Deleted { existed: bool },
    Swapped { swapped: bool },
}

impl ReplyBody {
    fn new(reply: KvReply, table: &Table) -> Result<Self, RequestError> {
        match reply {
            KvReply::Deleted { existed } => Ok(Self::Deleted { existed }),
            KvReply::Swapped { swapped, .. } => Ok(Self::Swapped { swapped }),
            other => Ok(Self::Written { version_micros: command::done(other, table)?.as_micros() }),
        }
    }
}

pub(super) async fn batch(
    State(app): State<App>,
    PathParts(table): PathParts<String>,
    Idempotency(request_id): Idempotency,
    JsonBody(body): JsonBody<BatchBody>,
) -> Result<Json<RepliesBody>, Problem> {
    let commands = body.commands.into_iter().map(CommandBody::into_command);
    let (node, commands) = (&app.node, &commands.collect::<Result<Vec<_>, _>>()?);
    let replies = node.on_table(&table, async |on: Named| {
        let writes = commands.iter().map(|command| command.clone().into_write(&on.table));
        let writes = KvWrite::Batch(writes.collect::<Result<_, _>>()?);
        let reply = node.write(&on.table, writes, on.request_id(request_id)).await?;
        let replies = command::batch(reply, &on.table, commands.len())?.into_iter();
        replies.map(|reply| ReplyBody::new(reply, &on.table)).collect()
    });
    Ok(Json(RepliesBody { replies: replies.await? }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeysBody {
    keys: Vec<Octets>,
}

#[derive(Debug, Serialize)]
pub(super) struct FoundBody {
    rows: Vec<Option<RowBody>>,
}

pub(super) async fn multi_get(
    Reading(app): Reading,
    PathParts(table): PathParts<String>,
    JsonBody(body): JsonBody<KeysBody>,
) -> Result<Json<FoundBody>, Problem> {
    if body.keys.len() > MULTI_GET_KEYS_MAX {
        return Err(RequestError::TooManyKeys { keys: body.keys.len() }.into());
    }
    let keys: Vec<Bytes> = body.keys.into_iter().map(|key| key.0).collect();
    let (node, keys) = (&app.node, &keys);
    let rows = node.on_table(&table, async |on: Named| {
        let found = multi_get::multi_get(node, &on.table, keys).await?.into_iter();
        found.map(|row| row.map(|row| RowBody::new(&on.table, row)).transpose()).collect()
    });
    Ok(Json(FoundBody { rows: rows.await? }))
}
