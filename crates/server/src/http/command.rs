//! A write command as gRPC and REST bring it, before it is one of the request vocabulary.

use breccia_node::Node;
use breccia_types::kv::{Expiry, KvReply, KvWrite};
use breccia_types::{RequestError, RequestId, Table, TableKind, Timestamp};
use bytes::Bytes;

/// What is to be written to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// The value; in a monoid table an operand as text.
    Value(Bytes),
    /// An encoded state of the table's monoid.
    EncodedState(Bytes),
}

/// A write command on one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RowCommand {
    Put {
        key: Bytes,
        content: Content,
        expiry: Option<Expiry>,
        version: Option<Timestamp>,
    },
    Delete {
        key: Bytes,
        version: Option<Timestamp>,
    },
    CompareAndSet {
        key: Bytes,
        expected: Option<Bytes>,
        new: Option<Bytes>,
        expiry: Option<Expiry>,
    },
    Merge {
        key: Bytes,
        content: Content,
    },
}

impl RowCommand {
    /// The command as this table takes it: operands are parsed by its monoid, and what the
    /// command leaves open is as the table says.
    pub(crate) fn into_write(self, table: &Table) -> Result<KvWrite, RequestError> {
        match self {
            Self::Put { key, content, expiry, version } => {
                let put = table.put(key, content.encode(table)?);
                let put = match expiry {
                    Some(expiry) => put.expiring(expiry),
                    None => put,
                };
                Ok(match version {
                    Some(version) => put.at_version(version),
                    None => put,
                })
            }
            Self::Delete { key, version } => {
                let delete = table.delete(key);
                Ok(match version {
                    Some(version) => delete.at_version(version),
                    None => delete,
                })
            }
            Self::CompareAndSet { key, expected, new, expiry } => {
                let swap = table.compare_and_set(key, expected, new);
                Ok(match expiry {
                    Some(expiry) => swap.expiring(expiry),
                    None => swap,
                })
            }
            Self::Merge { key, content } => {
                if !matches!(table.options.kind, TableKind::Monoid(_)) {
                    return Err(needs_monoid(table, "merge"));
                }
                Ok(table.merge(key, content.encode(table)?))
            }
        }
    }
}

impl Content {
    /// The bytes that go to the row.
    fn encode(self, table: &Table) -> Result<Bytes, RequestError> {
        match (self, &table.options.kind) {
            (Self::Value(text), TableKind::Monoid(monoid)) => monoid
                .parse_operand(&text)
                .map(Bytes::from)
                .map_err(|error| RequestError::InvalidOperand { reason: error.to_string() }),
            (Self::EncodedState(state), TableKind::Monoid(_)) => Ok(state),
            (Self::Value(value), _) => Ok(value),
            (Self::EncodedState(_), _) => Err(needs_monoid(table, "an encoded state")),
        }
    }
}

/// The outcome of a compare-and-set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Swap {
    pub(crate) swapped: bool,
    pub(crate) actual: Option<Bytes>,
}

/// Reads the reply that a put, merge or range deletion gets: when it was applied.
pub(crate) fn done(reply: KvReply, table: &Table) -> Result<Timestamp, RequestError> {
    match reply {
        KvReply::Done { version } => Ok(version),
        other => Err(unexpected(&other, table)),
    }
}

/// Reads the reply that a deletion gets: whether there was a row.
pub(crate) fn deleted(reply: KvReply, table: &Table) -> Result<bool, RequestError> {
    match reply {
        KvReply::Deleted { existed } => Ok(existed),
        other => Err(unexpected(&other, table)),
    }
}

/// Reads the reply that a compare-and-set gets.
pub(crate) fn swapped(reply: KvReply, table: &Table) -> Result<Swap, RequestError> {
    match reply {
        KvReply::Swapped { swapped, actual } => Ok(Swap { swapped, actual }),
        other => Err(unexpected(&other, table)),
    }
}

/// Reads the replies of a batch of so many commands.
pub(crate) fn batch(
    reply: KvReply,
    table: &Table,
    commands: usize,
) -> Result<Vec<KvReply>, RequestError> {
    match reply {
        KvReply::Batch(replies) if replies.len() == commands => Ok(replies),
        other => Err(unexpected(&other, table)),
    }
}

/// Removes the rows with `from <= key < to` from every shard.
pub(crate) async fn delete_range(
    node: &Node,
    table: &Table,
    (from, to): (Bytes, Option<Bytes>),
    request_id: Option<RequestId>,
) -> Result<(), RequestError> {
    let write = KvWrite::DeleteRange { table: table.to_ref(), from, to };
    match node.write(table, write, request_id).await? {
        KvReply::Done { .. } | KvReply::Deleted { .. } => Ok(()),
        other => Err(unexpected(&other, table)),
    }
}

fn unexpected(reply: &KvReply, table: &Table) -> RequestError {
    match reply {
        KvReply::TableDropped => RequestError::TableDropped { id: table.id },
        KvReply::GuardFailed { index } => {
            RequestError::GuardFailed { index: usize::try_from(*index).unwrap_or(usize::MAX) }
        }
        _ => RequestError::InvalidArgument {
            argument: "request id",
            reason: "it was used before, for a request of another kind; draw a new one for each \
                     request"
                .to_owned(),
        },
    }
}

fn needs_monoid(table: &Table, operation: &'static str) -> RequestError {
    RequestError::WrongKind {
        table: table.name.clone(),
        kind: table.options.kind.name(),
        operation,
        needed: "monoid",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use breccia_types::{TableId, TableOptions};

    use super::*;

    fn table(kind: &str) -> Table {
        let options = TableOptions {
            kind: kind.parse().expect("a kind"),
            ttl: Some(Duration::from_secs(60)),
            ..TableOptions::default()
        };
        Table { id: TableId::new(16), name: "t".into(), options }
    }

    fn put(content: Content, expiry: Option<Expiry>) -> RowCommand {
        RowCommand::Put { key: Bytes::from_static(b"k"), content, expiry, version: None }
    }

    #[test]
    fn a_put_expires_as_its_table_says_unless_it_says_so_itself() {
        let value = || Content::Value(Bytes::from_static(b"v"));
        for (asked, expected) in
            [(None, Expiry::After(Duration::from_secs(60))), (Some(Expiry::Never), Expiry::Never)]
        {
            let write = put(value(), asked).into_write(&table("plain")).expect("a write");
            assert!(matches!(write, KvWrite::Put { expiry, .. } if expiry == expected));
        }
    }

    #[test]
    fn operands_are_parsed_in_monoid_tables_and_states_are_refused_elsewhere() {
        let sum = table("monoid:sum:i64");
        let operand = Content::Value(Bytes::from_static(b"12"));
        assert!(put(operand, None).into_write(&sum).is_ok());
        let wrong = put(Content::Value(Bytes::from_static(b"x")), None).into_write(&sum);
        assert!(matches!(wrong, Err(RequestError::InvalidOperand { .. })));
        let state = put(Content::EncodedState(Bytes::new()), None).into_write(&table("plain"));
        assert!(matches!(state, Err(RequestError::WrongKind { .. })));
    }

    #[test]
    fn a_reply_of_another_kind_means_that_the_request_id_was_used_before() {
        let reply = KvReply::Deleted { existed: true };
        let error = done(reply, &table("plain")).expect_err("another kind");
        assert_eq!(error.code(), "invalid-argument");
    }
}
