//! Calls of functions, and rows of other tables.

use breccia_node::{Named, Node};
use breccia_types::{RequestError, TableKind};
use bytes::Bytes;
#[cfg(feature = "functions")]
use {breccia_functions::Asked, breccia_types::FunctionKind, std::sync::Arc};

use super::super::command::Beyond;
use super::super::encoder::Encoder;
use super::super::error::ReplyError;
use super::super::front::Front;
use super::read::in_time;

/// Answers a command, as this node handle reads.
///
/// # Errors
/// What the node reports. Nothing is encoded then.
pub(crate) async fn answer(
    front: &Front,
    node: &Node,
    command: Beyond,
    encoder: &mut Encoder,
) -> Result<(), ReplyError> {
    match command {
        #[cfg(feature = "functions")]
        Beyond::Call { function, reads, keys, args } => {
            // A write function may do more than read, so only a read may be FCALL_RO.
            let kind = reads.then_some(FunctionKind::Read);
            let asked = Asked { function, kind, keys, args, request_id: None };
            let (functions, table) = (front.functions.at(node.clone()), Arc::clone(&front.table));
            let reply = in_time(functions.call(&table, asked)).await?;
            encoder.bulk(&reply);
        }
        Beyond::Merge { table, key, operand, request_id } => {
            let merging = node.on_table(&table, async |on: Named| {
                let TableKind::Monoid(monoid) = &on.table.options.kind else {
                    return Err(RequestError::WrongKind {
                        table: on.table.name.clone(),
                        kind: on.table.options.kind.name(),
                        operation: "merge",
                        needed: "monoid",
                    });
                };
                let operand = monoid
                    .parse_operand(&operand)
                    .map_err(|error| RequestError::InvalidOperand { reason: error.to_string() })?;
                let merge = on.table.merge(key.clone(), operand.into());
                node.write(&on.table, merge, on.request_id(request_id)).await
            });
            in_time(merging).await?;
            encoder.ok();
        }
        Beyond::Get { table, key } => {
            let reading = node.on_table(&table, async |on: Named| {
                let row = node.get(&on.table, &key).await?;
                row.map(|row| shown(&on.table.options.kind, row.value)).transpose()
            });
            match in_time(reading).await? {
                Some(value) => encoder.bulk(&value),
                None => encoder.null(),
            }
        }
    }
    #[cfg(not(feature = "functions"))]
    let _ = front;
    Ok(())
}

fn shown(kind: &TableKind, value: Bytes) -> Result<Bytes, RequestError> {
    match kind {
        TableKind::Monoid(monoid) => {
            let presented = monoid.present(&value).map_err(|error| RequestError::Storage {
                reason: format!("the state of a row cannot be read: {error}"),
            })?;
            Ok(presented.to_json().to_string().into())
        }
        _ => Ok(value),
    }
}
