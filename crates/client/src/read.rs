//! Reads of one row or version, and of how many rows there are.

use breccia_api::v1;
use breccia_types::{Slot, Timestamp};

use crate::error::Error;
use crate::request::{Caller, Operation, ReadOperation, Request};
use crate::row::{Row, VersionPage};

/// Reads one row.
#[derive(Debug, Clone)]
pub struct Get {
    pub(crate) slot: Slot,
    pub(crate) message: v1::GetRequest,
}

impl ReadOperation for Get {}

impl Operation for Get {
    type Answer = Option<Row>;

    async fn run(self, caller: Caller) -> Result<Option<Row>, Error> {
        let response = caller.read(Some(self.slot), self.message, |node, request| async move {
            node.key_value().get(request).await
        });
        Ok(response.await?.row.map(Row::from))
    }
}

impl Request<Get> {
    /// The row as it was at this instant; versioned tables only.
    pub const fn as_of(mut self, instant: Timestamp) -> Self {
        self.operation.message.as_of_micros = Some(instant.as_micros());
        self
    }
}

/// Reads the versions of one row of a versioned table, newest first.
#[derive(Debug, Clone)]
pub struct History {
    pub(crate) slot: Slot,
    pub(crate) message: v1::HistoryRequest,
}

impl ReadOperation for History {}

impl Operation for History {
    type Answer = VersionPage;

    async fn run(self, caller: Caller) -> Result<VersionPage, Error> {
        let response = caller.read(Some(self.slot), self.message, |node, request| async move {
            node.key_value().history(request).await
        });
        response.await.map(VersionPage::from)
    }
}

impl Request<History> {
    /// The oldest instant, included; no bound by default.
    pub const fn from(mut self, instant: Timestamp) -> Self {
        self.operation.message.from_micros = Some(instant.as_micros());
        self
    }

    /// The newest instant, included; no bound by default.
    pub const fn to(mut self, instant: Timestamp) -> Self {
        self.operation.message.to_micros = Some(instant.as_micros());
        self
    }

    /// The most versions of the answer; 1,000 by default or if 0, at most 100,000.
    pub const fn limit(mut self, versions: u32) -> Self {
        self.operation.message.limit = versions;
        self
    }
}

/// Counts a table's rows exactly, by reading their keys.
#[derive(Debug, Clone)]
pub struct Count {
    pub(crate) message: v1::CountRequest,
}

impl ReadOperation for Count {}

impl Operation for Count {
    type Answer = u64;

    async fn run(self, caller: Caller) -> Result<u64, Error> {
        let response = caller.read(None, self.message, |node, request| async move {
            node.key_value().count(request).await
        });
        response.await.map(|response| response.rows)
    }
}
