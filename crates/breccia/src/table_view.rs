//! Tables for people.

use std::fmt;

use comfy_table::{ContentArrangement, Table, presets};

/// A table with a header line and no frame: easy to read, and to cut with `awk`.
pub(crate) struct TableView {
    table: Table,
}

impl TableView {
    /// A table with these headings.
    pub(crate) fn new(headings: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(headings.to_vec());
        Self { table }
    }

    /// Adds a row.
    pub(crate) fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.table.add_row(cells.into_iter().map(Into::into).collect::<Vec<String>>());
    }
}

impl fmt::Display for TableView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.table.trim_fmt())
    }
}
