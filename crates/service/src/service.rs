//! What a service is, and the set of services of a node.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use breccia_store::{Reader, StoreError, Transaction};
use breccia_types::{RequestError, ServiceId, TableId, Timestamp};
use bytes::Bytes;
use thiserror::Error;

use breccia_types::wire::DecodeError;

/// Methods that run beside the data.
pub trait Service: Send + Sync + 'static {
    /// The id by which log entries name this service. Never changes.
    fn id(&self) -> ServiceId;

    /// Applies one write command and returns its reply, both as this service encodes them.
    ///
    /// Must be deterministic: what it writes and replies follows from the command and from
    /// what the transaction shows, its stamp included, and from nothing else.
    ///
    /// # Errors
    /// [`WriteError::Malformed`] and [`WriteError::Missing`] before anything is written;
    /// [`WriteError::Store`] stops the shard.
    fn write(
        &self,
        context: &mut ServiceContext<'_, '_>,
        command: Bytes,
    ) -> Result<Bytes, WriteError>;

    /// Answers a read request from one state of a shard, both as this service encodes them.
    /// `now` decides what has expired. A service without reads need not implement it.
    ///
    /// # Errors
    /// [`ReadError`].
    fn read(
        &self,
        _shard: &dyn Reader,
        _now: Timestamp,
        _request: Bytes,
    ) -> Result<Bytes, ReadError> {
        Err(ReadError::NotOffered { service: self.id() })
    }
}

/// What a write command has at hand.
pub struct ServiceContext<'c, 't> {
    /// The shard as this command sees it.
    pub transaction: &'c mut Transaction<'t>,
    /// The tables whose rows this shard no longer takes.
    pub dropped: &'c mut DroppedTables,
    /// Fuel that the commands of this entry have used so far. A command that computes for
    /// long adds what it used, the same on every replica.
    pub fuel_used: &'c mut u64,
}

/// Tables that were dropped, as one shard knows of them. Cheap to clone: copied when one more
/// is noted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DroppedTables(Arc<HashSet<TableId>>);

impl DroppedTables {
    /// Whether a table was dropped.
    #[must_use]
    pub fn contains(&self, table: TableId) -> bool {
        self.0.contains(&table)
    }

    /// Notes that a table was dropped.
    pub fn insert(&mut self, table: TableId) {
        if !self.contains(table) {
            Arc::make_mut(&mut self.0).insert(table);
        }
    }

    /// Whether these are the tables of `earlier`, or some were noted since.
    pub(crate) fn has_grown_since(&self, earlier: &Self) -> bool {
        self.0.len() > earlier.0.len()
    }
}

/// Why a write command was not applied.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The command cannot be read.
    #[error("the command cannot be read: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
    /// The shard lacks something that another command must bring first.
    #[error("something must be put into the shard first")]
    Missing,
    /// The shard cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<DecodeError> for WriteError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed { reason: error.to_string() }
    }
}

/// Why a read was not answered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The service has no reads.
    #[error("{service} has no reads")]
    NotOffered {
        /// The service.
        service: ServiceId,
    },
    /// The request cannot be read.
    #[error("the request cannot be read")]
    Malformed(#[from] DecodeError),
    /// What was asked cannot be had, for a reason that concerns whoever asked.
    #[error(transparent)]
    Refused(RequestError),
    /// The shard cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The services of a node, by id.
#[derive(Clone, Default)]
pub struct Services(Arc<BTreeMap<ServiceId, Arc<dyn Service>>>);

impl Services {
    /// A set of services. Of two with the same id the later one counts.
    #[must_use]
    pub fn new(services: impl IntoIterator<Item = Arc<dyn Service>>) -> Self {
        Self(Arc::new(services.into_iter().map(|service| (service.id(), service)).collect()))
    }

    /// These and some more. Of two with the same id the later one counts.
    #[must_use]
    pub fn with(self, more: impl IntoIterator<Item = Arc<dyn Service>>) -> Self {
        let mut services = self.0.as_ref().clone();
        services.extend(more.into_iter().map(|service| (service.id(), service)));
        Self(Arc::new(services))
    }

    /// The service with this id.
    #[must_use]
    pub fn get(&self, id: ServiceId) -> Option<&dyn Service> {
        self.0.get(&id).map(AsRef::as_ref)
    }
}
