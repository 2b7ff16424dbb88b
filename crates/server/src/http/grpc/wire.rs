//! Conversions between the messages of `breccia.v1` and the request vocabulary.

use std::time::Duration;

use breccia_api::v1;
use breccia_node::Reduction;
use breccia_types::kv::{self, Direction, Expiry, History, KvReply, Scan};
use breccia_types::reduce::{Gaps, Input, KeyRange, Misfits, MissingShard, Progress, Scope};
use breccia_types::{
    Column, ColumnType, RequestError, RequestId, Retention, Table, TableOptions, Timestamp,
};
use bytes::Bytes;

use crate::http::command::{Content, RowCommand, Swap, deleted, done, swapped};
use crate::http::limits::SCAN_MESSAGE_BYTES;
use crate::http::presented::presented;
use crate::http::reduction::{Asked, Event, by, field};

/// Generates the conversion of one `oneof content` with a value and a state.
macro_rules! content {
    ($name:ident, $type:ty, $value:ident, $state:ident) => {
        pub(super) fn $name(content: Option<$type>) -> Result<Content, RequestError> {
            type Wire = $type;
            match content {
                Some(Wire::$value(value)) => Ok(Content::Value(value)),
                Some(Wire::$state(state)) => Ok(Content::EncodedState(state)),
                None => Err(missing("content")),
            }
        }
    };
}

content!(put_content, v1::put_request::Content, Value, EncodedState);
content!(merge_content, v1::merge_request::Content, Operand, EncodedOperand);
content!(batch_put_content, v1::command::put::Content, Value, EncodedState);
content!(batch_merge_content, v1::command::merge::Content, Operand, EncodedOperand);
content!(import_content, v1::import_row::Content, Value, EncodedState);

/// An argument that must be there.
pub(super) fn missing(argument: &'static str) -> RequestError {
    invalid(argument, "it is missing")
}

/// An argument that cannot be as it is.
pub(super) fn invalid(argument: &'static str, reason: &str) -> RequestError {
    RequestError::InvalidArgument { argument, reason: reason.to_owned() }
}

pub(super) fn request_id(bytes: &[u8]) -> Result<Option<RequestId>, RequestError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    match <[u8; 16]>::try_from(bytes) {
        Ok(bytes) => Ok(Some(RequestId::new(bytes))),
        Err(_) => Err(invalid("request_id", "it must have 16 bytes, or none")),
    }
}

pub(super) fn expiry(expiry: Option<v1::Expiry>) -> Result<Option<Expiry>, RequestError> {
    use v1::expiry::When;
    let Some(expiry) = expiry else {
        return Ok(None);
    };
    match expiry.when {
        Some(When::TtlMs(0)) => Err(invalid("ttl_ms", "it must be greater than 0")),
        Some(When::TtlMs(millis)) => Ok(Some(Expiry::After(Duration::from_millis(millis)))),
        Some(When::AtMicros(micros)) => Ok(Some(Expiry::At(Timestamp::from_micros(micros)))),
        Some(When::Never(true)) => Ok(Some(Expiry::Never)),
        Some(When::Never(false)) => Err(invalid("never", "it must be true, or absent")),
        None => Err(missing("when")),
    }
}

/// A command of a batch.
pub(super) fn command(command: v1::Command) -> Result<RowCommand, RequestError> {
    use v1::command::Command as Wire;
    match command.command {
        Some(Wire::Put(put)) => Ok(RowCommand::Put {
            key: put.key,
            content: batch_put_content(put.content)?,
            expiry: expiry(put.expiry)?,
            version: put.version_micros.map(Timestamp::from_micros),
        }),
        Some(Wire::Delete(delete)) => Ok(RowCommand::Delete {
            key: delete.key,
            version: delete.version_micros.map(Timestamp::from_micros),
        }),
        Some(Wire::CompareAndSet(swap)) => Ok(RowCommand::CompareAndSet {
            key: swap.key,
            expected: swap.expected,
            new: swap.new,
            expiry: expiry(swap.expiry)?,
        }),
        Some(Wire::Merge(merge)) => {
            Ok(RowCommand::Merge { key: merge.key, content: batch_merge_content(merge.content)? })
        }
        None => Err(missing("command")),
    }
}

/// The reply to a command of a batch, by what the command was.
pub(super) fn command_reply(
    command: &v1::Command,
    reply: KvReply,
    table: &Table,
) -> Result<v1::CommandReply, RequestError> {
    use v1::command::Command as Wire;
    use v1::command_reply::Reply;
    let reply = match command.command {
        Some(Wire::Put(_)) => Reply::Put(put_response(done(reply, table)?)),
        Some(Wire::Delete(_)) => {
            Reply::Delete(v1::DeleteResponse { existed: deleted(reply, table)? })
        }
        Some(Wire::CompareAndSet(_)) => Reply::CompareAndSet(swap_response(swapped(reply, table)?)),
        Some(Wire::Merge(_)) => Reply::Merge(merge_response(done(reply, table)?)),
        None => return Err(missing("command")),
    };
    Ok(v1::CommandReply { reply: Some(reply) })
}

pub(super) const fn put_response(version: Timestamp) -> v1::PutResponse {
    v1::PutResponse { version_micros: version.as_micros() }
}

pub(super) const fn merge_response(version: Timestamp) -> v1::MergeResponse {
    v1::MergeResponse { version_micros: version.as_micros() }
}

pub(super) fn swap_response(swap: Swap) -> v1::CompareAndSetResponse {
    v1::CompareAndSetResponse { swapped: swap.swapped, actual: swap.actual }
}

pub(super) fn row(table: &Table, row: kv::Row) -> Result<v1::Row, RequestError> {
    let presented = presented(table, &row)?.map(|value| value.to_string());
    Ok(v1::Row {
        key: row.key,
        value: row.value,
        version_micros: row.version.map(Timestamp::as_micros),
        expires_at_micros: row.expires_at.map(Timestamp::as_micros),
        presented,
    })
}

/// A page as messages that clients with default limits (4 MiB) can take.
pub(super) fn scan_pages(table: &Table, page: kv::Page) -> Result<Vec<v1::ScanPage>, RequestError> {
    let mut pages = Vec::new();
    let mut rows: Vec<v1::Row> = Vec::new();
    let mut bytes = 0;
    for found in page.rows {
        let next = row(table, found)?;
        let next_bytes = row_bytes(&next);
        if bytes + next_bytes > SCAN_MESSAGE_BYTES
            && let Some(last) = rows.last()
        {
            let cursor = kv::Cursor { after: last.key.clone() };
            let rows = std::mem::take(&mut rows);
            let cursor = cursor.encode().into();
            pages.push(v1::ScanPage { rows, cursor });
            bytes = 0;
        }
        bytes += next_bytes;
        rows.push(next);
    }
    let cursor = page.cursor.map_or_else(Bytes::new, |cursor| cursor.encode().into());
    pages.push(v1::ScanPage { rows, cursor });
    Ok(pages)
}

fn row_bytes(row: &v1::Row) -> usize {
    row.key.len() + row.value.len() + row.presented.as_ref().map_or(0, String::len)
}

/// The scan whose pages are asked for; its total limit is no part of it.
pub(super) fn scan(request: v1::ScanRequest) -> Result<Scan, RequestError> {
    let direction = match request.direction() {
        v1::Direction::Unspecified | v1::Direction::Forward => Direction::Forward,
        v1::Direction::Reverse => Direction::Reverse,
    };
    let cursor = match request.cursor.is_empty() {
        true => None,
        false => Some(kv::Cursor::decode(&request.cursor)?),
    };
    Ok(Scan {
        prefix: request.prefix,
        from: request.from,
        to: request.to,
        direction,
        as_of: request.as_of_micros.map(Timestamp::from_micros),
        limit: usize::try_from(request.page_rows).unwrap_or(usize::MAX),
        cursor,
    })
}

pub(super) fn history(request: v1::HistoryRequest) -> History {
    let instant = |micros: Option<i64>, open| micros.map_or(open, Timestamp::from_micros);
    History {
        key: request.key,
        from: instant(request.from_micros, Timestamp::MIN),
        to: instant(request.to_micros, Timestamp::MAX),
        limit: usize::try_from(request.limit).unwrap_or(usize::MAX),
    }
}

pub(super) fn version(version: kv::Version) -> v1::Version {
    v1::Version { version_micros: version.version.as_micros(), value: version.value }
}

pub(super) fn table(table: &Table) -> v1::Table {
    let options = &table.options;
    let wire = v1::TableOptions {
        kind: options.kind.to_string(),
        partition: options.partition.to_string(),
        ttl_ms: options.ttl.map(millis),
        keep_versions: options.retention.keep_versions,
        keep_for_ms: options.retention.keep_for.map(millis),
        columns: options.columns.iter().map(column).collect(),
        key_template: options.key_template.clone(),
    };
    v1::Table { id: table.id.get(), name: table.name.clone(), options: Some(wire) }
}

/// A reduction that may take so long.
pub(super) fn reduction(
    request: v1::ReduceRequest,
    within: Duration,
) -> Result<Asked, RequestError> {
    use v1::reduce_request::Input as Wire;
    let input = match request.input {
        None => None,
        Some(Wire::Key(true)) => Some(Input::Key),
        Some(Wire::Value(true)) => Some(Input::Value),
        Some(Wire::Key(false) | Wire::Value(false)) => {
            return Err(invalid("input", "key and value must be true, or absent"));
        }
        Some(Wire::Field(path)) => Some(field(&path)?),
    };
    let scope = Scope {
        keys: KeyRange { prefix: request.prefix, from: request.from, to: request.to },
        misfits: if request.strict { Misfits::Refuse } else { Misfits::Count },
        gaps: if request.allow_partial { Gaps::Allow } else { Gaps::Refuse },
        within,
        ..Scope::default()
    };
    let by = by(&request.reduction, input, request.argument)?;
    Ok(Asked { table: request.table, by, scope })
}

/// What a client hears of a reduction of so many shards.
pub(super) fn reduce_response(event: Event, shards: usize) -> v1::ReduceResponse {
    use v1::reduce_response::Event as Wire;
    let count = |shards: usize| u64::try_from(shards).unwrap_or(u64::MAX);
    let event = match event {
        Event::Progress(Progress { shards: shards_done, rows, bytes }) => {
            let shards = count(shards);
            Wire::Progress(v1::ReduceProgress { shards_done, shards, rows, bytes })
        }
        Event::End(Reduction { presented, coverage, .. }) => {
            let shards_answered = count(coverage.shards_answered());
            Wire::Result(v1::ReduceResult {
                presented,
                shards_asked: count(coverage.shards_asked),
                shards_answered,
                missing: missing_shards(coverage.missing),
                rows: coverage.read.rows,
                bytes: coverage.read.bytes,
                skipped: coverage.read.skipped,
            })
        }
    };
    v1::ReduceResponse { event: Some(event) }
}

/// The shards that an answer lacks.
pub(super) fn missing_shards(missing: Vec<MissingShard>) -> Vec<v1::MissingShard> {
    let missing = missing.into_iter();
    missing
        .map(|MissingShard { shard, reason }| v1::MissingShard { shard: shard.get(), reason })
        .collect()
}

pub(super) fn table_options(options: v1::TableOptions) -> Result<TableOptions, RequestError> {
    let columns: Result<_, _> = options.columns.into_iter().map(column_of).collect();
    Ok(TableOptions {
        kind: match options.kind.as_str() {
            "" => Default::default(),
            kind => kind.parse()?,
        },
        partition: match options.partition.as_str() {
            "" => Default::default(),
            partition => partition.parse()?,
        },
        ttl: options.ttl_ms.map(Duration::from_millis),
        retention: Retention {
            keep_versions: options.keep_versions,
            keep_for: options.keep_for_ms.map(Duration::from_millis),
        },
        columns: columns?,
        key_template: options.key_template,
    })
}

pub(super) fn column_of(column: v1::Column) -> Result<Column, RequestError> {
    let column_type = match column.r#type() {
        v1::ColumnType::Unspecified => {
            return Err(invalid("columns", &format!("column {:?} needs a type", column.name)));
        }
        v1::ColumnType::Boolean => ColumnType::Boolean,
        v1::ColumnType::Integer => ColumnType::Integer,
        v1::ColumnType::Float => ColumnType::Float,
        v1::ColumnType::Timestamp => ColumnType::Timestamp,
        v1::ColumnType::Text => ColumnType::Text,
        v1::ColumnType::Json => ColumnType::Json,
    };
    Ok(Column { name: column.name, column_type, nullable: column.nullable })
}

fn column(column: &Column) -> v1::Column {
    let column_type = match column.column_type {
        ColumnType::Boolean => v1::ColumnType::Boolean,
        ColumnType::Integer => v1::ColumnType::Integer,
        ColumnType::Float => v1::ColumnType::Float,
        ColumnType::Timestamp => v1::ColumnType::Timestamp,
        ColumnType::Text => v1::ColumnType::Text,
        ColumnType::Json => v1::ColumnType::Json,
    };
    let name = column.name.clone();
    v1::Column { name, r#type: column_type.into(), nullable: column.nullable }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_has_16_bytes_or_none() {
        assert_eq!(request_id(b""), Ok(None));
        assert!(matches!(request_id(b"0123456789abcdef"), Ok(Some(_))));
        assert!(request_id(b"0123").is_err());
    }

    #[test]
    fn table_options_come_back_as_they_were_sent() {
        let sent = v1::TableOptions {
            kind: "versioned".into(),
            partition: "before:/".into(),
            ttl_ms: Some(60_000),
            keep_versions: Some(3),
            keep_for_ms: None,
            columns: vec![v1::Column {
                name: "price".into(),
                r#type: v1::ColumnType::Float.into(),
                nullable: true,
            }],
            key_template: Some("{product}/{store}".into()),
        };
        let options = table_options(sent.clone()).expect("options");
        let stored = Table { id: Default::default(), name: "prices".into(), options };
        assert_eq!(table(&stored).options, Some(sent));
    }

    #[test]
    fn unknown_kinds_and_untyped_columns_are_refused() {
        let kind = v1::TableOptions { kind: "graph".into(), ..Default::default() };
        assert_eq!(table_options(kind).map_err(|error| error.code()), Err("invalid-table"));
        let columns = vec![v1::Column { name: "a".into(), ..Default::default() }];
        let untyped = v1::TableOptions { columns, ..Default::default() };
        assert_eq!(table_options(untyped).map_err(|error| error.code()), Err("invalid-argument"));
    }

    #[test]
    fn a_large_page_is_told_in_several_messages_that_each_have_a_cursor() {
        let options = TableOptions::default();
        let table = Table { id: Default::default(), name: "t".into(), options };
        let row = |key: &'static str, bytes| kv::Row {
            key: key.into(),
            value: vec![0; bytes].into(),
            expires_at: None,
            version: None,
        };
        let most = SCAN_MESSAGE_BYTES;
        let rows = vec![row("a", 1), row("b", 1), row("c", 2 * most), row("d", 1)];
        let cursor = Some(kv::Cursor { after: "d".into() });
        let pages = scan_pages(&table, kv::Page { rows, cursor }).expect("pages");
        let lengths: Vec<_> = pages.iter().map(|page| page.rows.len()).collect();
        assert_eq!(lengths, [2, 1, 1]);
        for page in &pages {
            let cursor = kv::Cursor::decode(&page.cursor).expect("a cursor");
            assert_eq!(Some(cursor.after), page.rows.last().map(|row| row.key.clone()));
        }
    }

    #[test]
    fn an_expiry_says_when() {
        use v1::expiry::When;
        let read = |when| expiry(Some(v1::Expiry { when }));
        assert_eq!(expiry(None), Ok(None));
        assert_eq!(read(Some(When::Never(true))), Ok(Some(Expiry::Never)));
        assert!(read(Some(When::TtlMs(0))).is_err());
        assert!(read(None).is_err());
    }
}
