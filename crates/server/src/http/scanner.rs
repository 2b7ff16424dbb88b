//! A scan that goes on from page to page until its limit or its end.

use std::sync::Arc;

use breccia_node::Node;
use breccia_types::kv::{Page, Scan};
use breccia_types::{RequestError, Table};

use super::admission::ScanPermit;
use super::deadline::Deadline;

/// Reads one page at a time; holds no more than one.
pub(crate) struct Scanner {
    node: Node,
    table: Arc<Table>,
    next: Option<Scan>,
    has_begun: bool,
    bounds: ScanBounds,
}

/// What bounds a scan as a whole.
pub(crate) struct ScanBounds {
    /// The most rows, if not all.
    pub(crate) rows_max: Option<u64>,
    /// Until when it must be at its end.
    pub(crate) deadline: Deadline,
    /// The right to run.
    #[expect(dead_code, reason = "held, not read")]
    pub(crate) permit: ScanPermit,
}

impl Scanner {
    /// A scan of pages of `scan.limit` rows.
    pub(crate) const fn new(node: Node, table: Arc<Table>, scan: Scan, bounds: ScanBounds) -> Self {
        Self { node, table, next: Some(scan), has_begun: false, bounds }
    }

    /// The table that is read.
    pub(crate) const fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// The next page; `None` when there are no more. The last page has a cursor if the
    /// limit ended the scan. After an error there are no more pages.
    pub(crate) async fn next_page(&mut self) -> Result<Option<Page>, RequestError> {
        let Some(mut scan) = self.next.take() else {
            return Ok(None);
        };
        if let Some(left) = self.bounds.rows_max {
            let left = usize::try_from(left).unwrap_or(usize::MAX);
            scan.limit = if scan.limit == 0 { left } else { scan.limit.min(left) };
        }
        let page = self.bounds.deadline.limit(self.page(scan.clone())).await??;
        self.has_begun = true;
        if let Some(left) = &mut self.bounds.rows_max {
            let rows = u64::try_from(page.rows.len()).unwrap_or(u64::MAX);
            *left = left.saturating_sub(rows);
        }
        if self.bounds.rows_max != Some(0)
            && let Some(cursor) = &page.cursor
        {
            self.next = Some(Scan { cursor: Some(cursor.clone()), ..scan });
        }
        Ok((!page.rows.is_empty()).then_some(page))
    }

    /// A page. Before the first there is time to learn that the table was dropped and another
    /// has its name; after that no page must be of another table than those before.
    async fn page(&mut self, scan: Scan) -> Result<Page, RequestError> {
        match self.node.scan(&self.table, scan.clone()).await {
            Err(RequestError::TableDropped { .. }) if !self.has_begun => {
                self.table = self.node.table_now(&self.table.name).await?;
                self.node.scan(&self.table, scan).await
            }
            page => page,
        }
    }
}
