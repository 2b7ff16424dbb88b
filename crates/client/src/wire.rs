//! Conversions between the messages of `breccia.v1` and the types of this crate.

use std::time::Duration;

use breccia_api::v1;
use breccia_types::kv::Expiry;
use breccia_types::{Column, ColumnType, Retention, TableId, TableOptions, Timestamp};

use crate::error::Error;
use crate::tables::TableDescription;

pub(crate) fn instant(micros: Option<i64>) -> Option<Timestamp> {
    micros.map(Timestamp::from_micros)
}

pub(crate) fn expiry_message(expiry: Expiry) -> v1::Expiry {
    use v1::expiry::When;
    let when = match expiry {
        Expiry::After(duration) => When::TtlMs(millis(duration)),
        Expiry::At(instant) => When::AtMicros(instant.as_micros()),
        Expiry::Never => When::Never(true),
    };
    v1::Expiry { when: Some(when) }
}

pub(crate) fn table(table: v1::Table) -> Result<TableDescription, Error> {
    let options = table.options.ok_or(Error::Unreadable { what: "a table without options" })?;
    let columns: Result<_, _> = options.columns.into_iter().map(column).collect();
    let options = TableOptions {
        kind: options.kind.parse().map_err(|_| Error::Unreadable { what: "a table's kind" })?,
        partition: options
            .partition
            .parse()
            .map_err(|_| Error::Unreadable { what: "a table's partition rule" })?,
        ttl: options.ttl_ms.map(Duration::from_millis),
        retention: Retention {
            keep_versions: options.keep_versions,
            keep_for: options.keep_for_ms.map(Duration::from_millis),
        },
        columns: columns?,
        key_template: options.key_template,
    };
    Ok(TableDescription { id: TableId::new(table.id), name: table.name, options })
}

pub(crate) fn options_message(options: &TableOptions) -> v1::TableOptions {
    v1::TableOptions {
        kind: options.kind.to_string(),
        partition: options.partition.to_string(),
        ttl_ms: options.ttl.map(millis),
        keep_versions: options.retention.keep_versions,
        keep_for_ms: options.retention.keep_for.map(millis),
        columns: options.columns.iter().map(column_message).collect(),
        key_template: options.key_template.clone(),
    }
}

pub(crate) fn column_message(column: &Column) -> v1::Column {
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

fn column(column: v1::Column) -> Result<Column, Error> {
    let column_type = match column.r#type() {
        v1::ColumnType::Unspecified => return Err(Error::Unreadable { what: "a column's type" }),
        v1::ColumnType::Boolean => ColumnType::Boolean,
        v1::ColumnType::Integer => ColumnType::Integer,
        v1::ColumnType::Float => ColumnType::Float,
        v1::ColumnType::Timestamp => ColumnType::Timestamp,
        v1::ColumnType::Text => ColumnType::Text,
        v1::ColumnType::Json => ColumnType::Json,
    };
    Ok(Column { name: column.name, column_type, nullable: column.nullable })
}

/// Rounded up: what is to live for less than a millisecond is not refused as nothing.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_options_come_back_as_they_were_sent() {
        let options = TableOptions {
            kind: "versioned".parse().expect("a kind"),
            partition: "before:/".parse().expect("a rule"),
            ttl: Some(Duration::from_secs(60)),
            retention: Retention { keep_versions: Some(3), keep_for: None },
            columns: vec![Column {
                name: "price".into(),
                column_type: ColumnType::Float,
                nullable: true,
            }],
            key_template: Some("{product}/{store}".into()),
        };
        let message =
            v1::Table { id: 16, name: "prices".into(), options: Some(options_message(&options)) };
        assert_eq!(table(message).expect("a table").options, options);
    }

    #[test]
    fn what_a_later_version_may_say_is_an_error_and_not_a_guess() {
        let options = v1::TableOptions { kind: "graph".into(), ..Default::default() };
        let later = v1::Table { id: 16, name: "t".into(), options: Some(options) };
        assert!(matches!(table(later), Err(Error::Unreadable { .. })));
    }

    #[test]
    fn a_short_time_to_live_is_not_rounded_to_none() {
        let short = expiry_message(Expiry::After(Duration::from_micros(1)));
        assert_eq!(short.when, Some(v1::expiry::When::TtlMs(1)));
    }
}
