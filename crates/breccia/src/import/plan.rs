//! What an import will do, decided from the file's survey and the table before anything is
//! written.

use breccia_api::v1;
use breccia_types::{Column, ColumnType};

use super::format::Format;
use super::inference::{Origin, merge_columns};
use super::key_template::KeyTemplate;
use super::rows::{Layout, written_columns};
use super::survey::Survey;
use crate::exit::Failure;

/// What the caller asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish<'a> {
    /// The table's name.
    pub(crate) table: &'a str,
    /// The file's format.
    pub(crate) format: Format,
    /// How keys are made.
    pub(crate) key: Option<&'a str>,
    /// The column of the version's instant.
    pub(crate) version: Option<&'a str>,
}

/// What will be done.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The options of the table to create; `None` if it is there.
    pub(crate) create: Option<v1::TableOptions>,
    /// How rows are made; `None` if the file holds rows as an export writes them.
    pub(crate) layout: Option<Layout>,
    /// What the table's description says afterwards; `None` to leave it alone.
    pub(crate) columns: Option<Vec<Column>>,
}

/// Decides.
///
/// # Errors
/// [`Failure`] if the key cannot be made, or the table is of another kind.
pub(crate) fn decide(
    wish: Wish<'_>,
    survey: &Survey,
    table: Option<&v1::Table>,
) -> Result<Plan, Failure> {
    match wish.key {
        Some(key) => with_key(wish, key, survey, table),
        None if wish.format == Format::Ndjson && survey.is_export() => restore(wish, survey, table),
        None => Err(Failure::usage(format!(
            "say how keys are made: --key with columns in braces, such as --key '{{{}}}'; the \
             file's columns are {}",
            survey.columns.first().map_or("id", |column| column.name.as_str()),
            survey.names().join(", ")
        ))),
    }
}

fn with_key(
    wish: Wish<'_>,
    key: &str,
    survey: &Survey,
    table: Option<&v1::Table>,
) -> Result<Plan, Failure> {
    let names = survey.names();
    let template = KeyTemplate::parse(key)?.bind(&names)?;
    let version = match wish.version {
        None => None,
        Some(wanted) => Some(names.iter().position(|name| name == wanted).ok_or_else(|| {
            Failure::fix(format!(
                "--version names the column {wanted:?}, and the file has none of that name; \
                 its columns are {}; nothing was written",
                names.join(", ")
            ))
        })?),
    };
    let options = table.and_then(|table| table.options.clone());
    if let Some(options) = &options {
        check_kind(wish.table, &options.kind, version.is_some(), false)?;
    }
    let described = options.as_ref().map(known_columns).unwrap_or_default();
    let origin = match wish.format {
        Format::Csv | Format::Tsv => Origin::Fields,
        Format::Ndjson => Origin::Members,
    };
    let merged = match described.is_empty() {
        true => survey.columns.clone(),
        false => merge_columns(&described, &survey.columns, origin),
    };
    Ok(Plan {
        create: options.is_none().then(|| new_table(version.is_some())),
        layout: Some(Layout {
            columns: written_columns(&survey.columns, &merged),
            key: template,
            version,
        }),
        columns: Some(merged),
    })
}

/// A file that an export wrote goes back as it is.
fn restore(wish: Wish<'_>, survey: &Survey, table: Option<&v1::Table>) -> Result<Plan, Failure> {
    if wish.version.is_some() {
        return Err(Failure::usage(
            "--version needs --key: the rows of an export carry their versions themselves",
        ));
    }
    let create = match table.and_then(|table| table.options.as_ref()) {
        Some(options) => {
            check_kind(wish.table, &options.kind, survey.versions, survey.states)?;
            None
        }
        None if survey.states => {
            return Err(Failure::fix(format!(
                "the file holds states of a monoid table: create it first, with `breccia table \
                 create {} --monoid M`",
                wish.table
            )));
        }
        None => Some(new_table(survey.versions)),
    };
    Ok(Plan { create, layout: None, columns: None })
}

fn new_table(versioned: bool) -> v1::TableOptions {
    let kind = if versioned { "versioned" } else { "plain" };
    v1::TableOptions { kind: kind.to_owned(), ..v1::TableOptions::default() }
}

fn check_kind(table: &str, kind: &str, versions: bool, states: bool) -> Result<(), Failure> {
    let monoid = kind.starts_with("monoid");
    if versions && kind != "versioned" {
        return Err(Failure::fix(format!(
            "the rows have versions, and table {table:?} is {kind}: import them into a \
             versioned table",
        )));
    }
    if monoid != states {
        return Err(Failure::fix(if monoid {
            format!(
                "table {table:?} is {kind}, and the file holds documents: import an export of a \
                 monoid table, or merge rows with `breccia merge`",
            )
        } else {
            format!("the file holds states of a monoid table, and table {table:?} is {kind}")
        }));
    }
    Ok(())
}

/// The columns of a table's description.
fn known_columns(options: &v1::TableOptions) -> Vec<Column> {
    let known = options.columns.iter().map(|column| Column {
        name: column.name.clone(),
        column_type: match column.r#type() {
            v1::ColumnType::Boolean => ColumnType::Boolean,
            v1::ColumnType::Integer => ColumnType::Integer,
            v1::ColumnType::Float => ColumnType::Float,
            v1::ColumnType::Timestamp => ColumnType::Timestamp,
            v1::ColumnType::Text => ColumnType::Text,
            v1::ColumnType::Json | v1::ColumnType::Unspecified => ColumnType::Json,
        },
        nullable: column.nullable,
    });
    known.collect()
}

/// Columns as the interface carries them.
pub(crate) fn to_wire(columns: &[Column]) -> Vec<v1::Column> {
    let wire = columns.iter().map(|column| {
        let column_type = match column.column_type {
            ColumnType::Boolean => v1::ColumnType::Boolean,
            ColumnType::Integer => v1::ColumnType::Integer,
            ColumnType::Float => v1::ColumnType::Float,
            ColumnType::Timestamp => v1::ColumnType::Timestamp,
            ColumnType::Text => v1::ColumnType::Text,
            ColumnType::Json => v1::ColumnType::Json,
        };
        v1::Column {
            name: column.name.clone(),
            r#type: column_type.into(),
            nullable: column.nullable,
        }
    });
    wire.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey(names: &[&str]) -> Survey {
        let columns = names.iter().map(|name| Column {
            name: (*name).to_owned(),
            column_type: ColumnType::Integer,
            nullable: false,
        });
        Survey { columns: columns.collect(), rows: 2, ..Survey::default() }
    }

    fn wish<'a>(key: Option<&'a str>, version: Option<&'a str>) -> Wish<'a> {
        Wish { table: "t", format: Format::Ndjson, key, version }
    }

    fn table(kind: &str) -> v1::Table {
        let options = v1::TableOptions { kind: kind.to_owned(), ..v1::TableOptions::default() };
        v1::Table { id: 16, name: "t".to_owned(), options: Some(options) }
    }

    #[test]
    fn an_absent_table_is_created_as_the_rows_need_it() {
        let plan = decide(wish(Some("{a}"), None), &survey(&["a"]), None).expect("plain");
        assert_eq!(plan.create.expect("created").kind, "plain");
        let plan = decide(wish(Some("{a}"), Some("b")), &survey(&["a", "b"]), None);
        assert_eq!(plan.expect("versioned").create.expect("created").kind, "versioned");
    }

    #[test]
    fn a_key_is_needed_unless_the_file_is_an_export() {
        let message = decide(wish(None, None), &survey(&["a", "b"]), None).expect_err("no key");
        assert!(message.to_string().contains("a, b"), "{message}");
        let export = Survey { exported: 2, ..survey(&["key", "value"]) };
        let plan = decide(wish(None, None), &export, None).expect("an export");
        assert!(plan.layout.is_none() && plan.columns.is_none());
        assert_eq!(plan.create.expect("created").kind, "plain");
    }

    #[test]
    fn rows_that_do_not_fit_the_kind_of_the_table_are_refused() {
        let columns = survey(&["a", "b"]);
        assert!(decide(wish(Some("{a}"), Some("b")), &columns, Some(&table("plain"))).is_err());
        assert!(decide(wish(Some("{a}"), None), &columns, Some(&table("monoid:sum"))).is_err());
        assert!(decide(wish(Some("{a}"), None), &columns, Some(&table("versioned"))).is_ok());
        let states = Survey { exported: 2, states: true, ..survey(&["key"]) };
        assert!(decide(wish(None, None), &states, Some(&table("plain"))).is_err());
        assert!(decide(wish(None, None), &states, None).is_err());
        assert!(decide(wish(None, None), &states, Some(&table("monoid:sum"))).is_ok());
    }

    #[test]
    fn columns_go_to_the_wire_and_back() {
        let columns = survey(&["a", "b"]).columns;
        let options =
            v1::TableOptions { columns: to_wire(&columns), ..v1::TableOptions::default() };
        assert_eq!(known_columns(&options), columns);
    }
}
