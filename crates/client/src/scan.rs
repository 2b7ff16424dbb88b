//! Scans: rows in key order over all shards, as a stream that outlives the nodes it is read
//! from.
//!
//! A node streams pages, and flow control keeps a bounded number of bytes on their way while
//! the caller works on the rows it has. Each page says where it ends. When the stream breaks,
//! another node is asked to go on behind the last page: nodes hold nothing of a scan.

use std::ops::ControlFlow;
use std::sync::Arc;

use breccia_api::v1;
use breccia_types::Timestamp;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt, try_unfold};
use tonic::Streaming;

use crate::call::{Attempts, Call};
use crate::cluster::Cluster;
use crate::error::Error;
use crate::failure::Failure;
use crate::node::Node;
use crate::request::{ReadOperation, Request};
use crate::row::{Cursor, Page, Row};

/// Reads rows in key order over all shards. No snapshot: rows written meanwhile appear if they
/// lie ahead.
#[derive(Debug, Clone)]
pub struct Scan {
    pub(crate) message: v1::ScanRequest,
    /// The most rows, if not all.
    pub(crate) rows_max: Option<u64>,
}

impl ReadOperation for Scan {}

impl Request<Scan> {
    /// Only keys that start so.
    pub fn prefix(mut self, prefix: impl AsRef<[u8]>) -> Self {
        self.operation.message.prefix = Bytes::copy_from_slice(prefix.as_ref());
        self
    }

    /// The smallest key, included; no bound by default.
    pub fn from(mut self, key: impl AsRef<[u8]>) -> Self {
        self.operation.message.from = Some(Bytes::copy_from_slice(key.as_ref()));
        self
    }

    /// The end, excluded; no bound by default.
    pub fn to(mut self, key: impl AsRef<[u8]>) -> Self {
        self.operation.message.to = Some(Bytes::copy_from_slice(key.as_ref()));
        self
    }

    /// Largest key first.
    pub fn reverse(mut self) -> Self {
        self.operation.message.set_direction(v1::Direction::Reverse);
        self
    }

    /// The rows as they were at this instant; versioned tables only.
    pub const fn as_of(mut self, instant: Timestamp) -> Self {
        self.operation.message.as_of_micros = Some(instant.as_micros());
        self
    }

    /// The most rows in all; every row by default.
    pub const fn limit(mut self, rows: u64) -> Self {
        self.operation.rows_max = Some(rows);
        self
    }

    /// The most rows of one page; 1,000 by default or if 0, at most 100,000. A page ends below
    /// it before it has more than 1 MiB, unless its only row has.
    pub const fn page_rows(mut self, rows: u32) -> Self {
        self.operation.message.page_rows = rows;
        self
    }

    /// Goes on where another scan ended, which must have had the same range and order.
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.operation.message.cursor = cursor.0;
        self
    }

    /// The rows one by one. After an error the stream is at its end.
    ///
    /// A stream that is not read to its end holds one of the 128 scans that a node serves at a
    /// time, until it is dropped.
    ///
    /// # Errors
    /// Those of [`Error`], [`Error::OutcomeUnknown`] excepted.
    pub fn rows(self) -> BoxStream<'static, Result<Row, Error>> {
        let pages = self.pages();
        pages.map_ok(|page| stream::iter(page.rows).map(Ok)).try_flatten().boxed()
    }

    /// The rows page by page, each with the cursor for a later scan to go on behind it. After
    /// an error the stream is at its end.
    ///
    /// # Errors
    /// As those of [`Request::rows`].
    pub fn pages(self) -> BoxStream<'static, Result<Page, Error>> {
        let Scan { message, rows_max } = self.operation;
        let call = self.caller.reading(None);
        let progress = Progress { message, rows_left: rows_max, is_at_end: false };
        let pages = Pages { cluster: self.caller.cluster, call, progress, open: None };
        try_unfold(pages, |mut pages| async move {
            let page = pages.next().await?;
            Ok(page.map(|page| (Page::from(page), pages)))
        })
        .boxed()
    }
}

/// A scan under way.
struct Pages {
    cluster: Arc<Cluster>,
    call: Call,
    progress: Progress,
    /// The stream that pages come from, and from which node.
    open: Option<(Node, Streaming<v1::ScanPage>)>,
}

impl Pages {
    async fn next(&mut self) -> Result<Option<v1::ScanPage>, Error> {
        let cluster = Arc::clone(&self.cluster);
        let mut attempts = Attempts::new(&cluster, &self.call);
        while let ControlFlow::Continue(message) = self.progress.next() {
            let (node, mut pages) = match self.open.take() {
                Some(open) => open,
                None => {
                    let node = attempts.node()?;
                    match self.open_at(&node, message, &attempts).await {
                        Ok(pages) => (node, pages),
                        Err(failure) => {
                            attempts.failed(&node, failure).await?;
                            continue;
                        }
                    }
                }
            };
            match attempts.within(&node, pages.message()).await {
                Ok(page) => {
                    self.progress.after(page.as_ref());
                    self.open = Some((node, pages));
                    return Ok(page);
                }
                Err(failure) => attempts.failed(&node, failure).await?,
            }
        }
        self.open = None;
        Ok(None)
    }

    /// No deadline goes with it: a node would take it for that of the whole scan.
    async fn open_at(
        &self,
        node: &Node,
        message: v1::ScanRequest,
        attempts: &Attempts<'_>,
    ) -> Result<Streaming<v1::ScanPage>, Failure> {
        let mut client = node.key_value();
        let opened = client.scan(self.call.request(message));
        attempts.within(node, opened).await.map(tonic::Response::into_inner)
    }
}

/// How far a scan has come.
struct Progress {
    message: v1::ScanRequest,
    rows_left: Option<u64>,
    is_at_end: bool,
}

impl Progress {
    /// What to ask for next, if anything.
    fn next(&self) -> ControlFlow<(), v1::ScanRequest> {
        if self.is_at_end || self.rows_left == Some(0) {
            return ControlFlow::Break(());
        }
        let limit = self.rows_left.unwrap_or(0);
        ControlFlow::Continue(v1::ScanRequest { limit, ..self.message.clone() })
    }

    /// Takes note of a page, or that there are no more.
    fn after(&mut self, page: Option<&v1::ScanPage>) {
        let Some(page) = page else {
            self.is_at_end = true;
            return;
        };
        self.is_at_end = page.cursor.is_empty();
        self.message.cursor = page.cursor.clone();
        let rows = u64::try_from(page.rows.len()).unwrap_or(u64::MAX);
        self.rows_left = self.rows_left.map(|left| left.saturating_sub(rows));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(rows: usize, cursor: &'static str) -> v1::ScanPage {
        v1::ScanPage { rows: vec![v1::Row::default(); rows], cursor: cursor.into() }
    }

    fn progress(rows_left: Option<u64>) -> Progress {
        let message = v1::ScanRequest { prefix: "p".into(), ..Default::default() };
        Progress { message, rows_left, is_at_end: false }
    }

    #[test]
    fn a_scan_goes_on_behind_its_last_page_for_the_rows_that_are_left() {
        let mut progress = progress(Some(5));
        progress.after(Some(&page(3, "c")));
        let ControlFlow::Continue(next) = progress.next() else { panic!("two rows are left") };
        assert_eq!((&next.prefix[..], &next.cursor[..], next.limit), (&b"p"[..], &b"c"[..], 2));
        progress.after(Some(&page(2, "e")));
        assert!(progress.next().is_break());
    }

    #[test]
    fn a_scan_without_a_limit_ends_with_the_range() {
        let mut endless = progress(None);
        endless.after(Some(&page(1_000, "m")));
        assert!(matches!(endless.next(), ControlFlow::Continue(next) if next.limit == 0));
        endless.after(Some(&page(1, "")));
        assert!(endless.next().is_break(), "the last page has no cursor");
        let mut empty = progress(None);
        empty.after(None);
        assert!(empty.next().is_break());
        assert!(progress(Some(0)).next().is_break());
    }
}
