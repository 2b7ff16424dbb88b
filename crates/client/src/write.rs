//! Writes of one row.

use std::time::Duration;

use breccia_api::v1;
use breccia_types::kv::Expiry;
use breccia_types::{Slot, Timestamp};

use crate::error::Error;
use crate::request::{Caller, Operation, Request, WriteOperation};
use crate::row::Swap;
use crate::wire::expiry_message;

/// Writes a row, or a version of it. Answers the instant at which it was written, which is
/// the version in a versioned table.
#[derive(Debug, Clone)]
pub struct Put {
    pub(crate) slot: Slot,
    pub(crate) message: v1::PutRequest,
}

impl WriteOperation for Put {}

impl Operation for Put {
    type Answer = Timestamp;

    async fn run(self, caller: Caller) -> Result<Timestamp, Error> {
        let message = |request_id| v1::PutRequest { request_id, ..self.message };
        let response = caller.write(Some(self.slot), message, |node, request| async move {
            node.key_value().put(request).await
        });
        response.await.map(|response| Timestamp::from_micros(response.version_micros))
    }
}

impl Request<Put> {
    /// How long the row lives, in whole milliseconds, rounded up; by default as long as the
    /// table says. Plain tables only.
    pub fn ttl(self, ttl: Duration) -> Self {
        self.expiry(Expiry::After(ttl))
    }

    /// When the row expires; by default as the table says. Plain tables only.
    pub fn expiry(mut self, expiry: Expiry) -> Self {
        self.operation.message.expiry = Some(expiry_message(expiry));
        self
    }

    /// The version's instant, in a versioned table; now by default. A second write at the same
    /// instant replaces the first.
    pub const fn version(mut self, instant: Timestamp) -> Self {
        self.operation.message.version_micros = Some(instant.as_micros());
        self
    }
}

/// Removes a row. Answers whether there was one.
#[derive(Debug, Clone)]
pub struct Delete {
    pub(crate) slot: Slot,
    pub(crate) message: v1::DeleteRequest,
}

impl WriteOperation for Delete {}

impl Operation for Delete {
    type Answer = bool;

    async fn run(self, caller: Caller) -> Result<bool, Error> {
        let message = |request_id| v1::DeleteRequest { request_id, ..self.message };
        let response = caller.write(Some(self.slot), message, |node, request| async move {
            node.key_value().delete(request).await
        });
        response.await.map(|response| response.existed)
    }
}

impl Request<Delete> {
    /// From which instant on the row is absent, in a versioned table; now by default.
    pub const fn version(mut self, instant: Timestamp) -> Self {
        self.operation.message.version_micros = Some(instant.as_micros());
        self
    }
}

/// Writes a row if it is as expected. Answers what was found.
#[derive(Debug, Clone)]
pub struct CompareAndSet {
    pub(crate) slot: Slot,
    pub(crate) message: v1::CompareAndSetRequest,
}

impl WriteOperation for CompareAndSet {}

impl Operation for CompareAndSet {
    type Answer = Swap;

    async fn run(self, caller: Caller) -> Result<Swap, Error> {
        let message = |request_id| v1::CompareAndSetRequest { request_id, ..self.message };
        let response = caller.write(Some(self.slot), message, |node, request| async move {
            node.key_value().compare_and_set(request).await
        });
        response.await.map(Swap::from)
    }
}

impl Request<CompareAndSet> {
    /// As that of a put.
    pub fn ttl(self, ttl: Duration) -> Self {
        self.expiry(Expiry::After(ttl))
    }

    /// As that of a put.
    pub fn expiry(mut self, expiry: Expiry) -> Self {
        self.operation.message.expiry = Some(expiry_message(expiry));
        self
    }
}

/// Merges an operand into a row of a monoid table. Answers the instant at which it was merged.
#[derive(Debug, Clone)]
pub struct Merge {
    pub(crate) slot: Slot,
    pub(crate) message: v1::MergeRequest,
}

impl WriteOperation for Merge {}

impl Operation for Merge {
    type Answer = Timestamp;

    async fn run(self, caller: Caller) -> Result<Timestamp, Error> {
        let message = |request_id| v1::MergeRequest { request_id, ..self.message };
        let response = caller.write(Some(self.slot), message, |node, request| async move {
            node.key_value().merge(request).await
        });
        response.await.map(|response| Timestamp::from_micros(response.version_micros))
    }
}
