//! A request that is being put together.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use breccia_types::{RequestId, Slot};
use bytes::Bytes;
use futures::future::BoxFuture;
use tonic::{Response, Status};

use crate::call::{Call, send_until_answered};
use crate::cluster::Cluster;
use crate::consistency::Consistency;
use crate::error::Error;
use crate::node::Node;
use crate::retry::Repetition;
use crate::topology::Target;

/// A request that is being put together: it takes options, and is sent when it is awaited.
///
/// Dropping the future of a request that was sent ends its tries; it withdraws nothing, so a
/// write may be applied all the same.
#[derive(Debug, Clone)]
#[must_use = "nothing is sent until the request is awaited"]
pub struct Request<O> {
    pub(crate) caller: Caller,
    pub(crate) operation: O,
}

/// What a [`Request`] asks. Only this crate has operations.
pub trait Operation: Send + 'static {
    /// What it answers.
    type Answer: Send + 'static;

    #[doc(hidden)]
    fn run(self, caller: Caller) -> impl Future<Output = Result<Self::Answer, Error>> + Send;
}

/// An operation that reads rows.
pub trait ReadOperation {}

/// An operation that writes rows, and carries a request id.
pub trait WriteOperation {}

impl<O> Request<O> {
    pub(crate) const fn new(cluster: Arc<Cluster>, operation: O) -> Self {
        Self { caller: Caller::new(cluster), operation }
    }

    /// How long the request may take, all its tries together; that of the
    /// [`ClientBuilder`](crate::ClientBuilder::deadline) by default. For a scan it counts from
    /// page to page. Writes are given up after five minutes, reads after a day.
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.caller.deadline = Some(deadline);
        self
    }
}

impl<O: ReadOperation> Request<O> {
    /// What the read must have seen; everything acknowledged before by default.
    pub const fn consistency(mut self, consistency: Consistency) -> Self {
        self.caller.consistency = consistency;
        self
    }
}

impl<O: WriteOperation> Request<O> {
    /// Names the write; a random name by default. All writes to a shard within 15 minutes that
    /// have the same name are one: it is applied once, and each gets the first one's reply. So
    /// a program can send a write again whose outcome it does not know, even after it was
    /// started anew.
    pub const fn request_id(mut self, id: RequestId) -> Self {
        self.caller.request_id = Some(id);
        self
    }
}

impl<O: Operation> IntoFuture for Request<O> {
    type Output = Result<O::Answer, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.operation.run(self.caller))
    }
}

/// What sends an operation's messages.
#[derive(Debug, Clone)]
pub struct Caller {
    pub(crate) cluster: Arc<Cluster>,
    deadline: Option<Duration>,
    consistency: Consistency,
    request_id: Option<RequestId>,
}

impl Caller {
    const fn new(cluster: Arc<Cluster>) -> Self {
        let consistency = Consistency::Linearizable;
        Self { cluster, deadline: None, consistency, request_id: None }
    }

    /// How rows are read: those of a slot, or of all.
    pub(crate) fn reading(&self, slot: Option<Slot>) -> Call {
        let target = match (slot, self.consistency) {
            (None, _) => Target::Anyone,
            (Some(slot), Consistency::Stale { .. }) => Target::Replica(slot),
            (Some(slot), _) => Target::Leader(slot),
        };
        let consistency = self.consistency.metadata();
        Call { consistency, ..self.call(target, Repetition::Harmless) }
    }

    /// Sends what reads rows of a slot, or of all.
    pub(crate) async fn read<M, T, F>(
        &self,
        slot: Option<Slot>,
        message: M,
        send: impl Fn(Node, tonic::Request<M>) -> F,
    ) -> Result<T, Error>
    where
        M: Clone,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        send_until_answered(&self.cluster, &self.reading(slot), message, send).await
    }

    /// Sends what writes rows of a slot. `message` makes it of the bytes of its request id.
    pub(crate) async fn write<M, T, F>(
        &self,
        slot: Option<Slot>,
        message: impl FnOnce(Bytes) -> M,
        send: impl Fn(Node, tonic::Request<M>) -> F,
    ) -> Result<T, Error>
    where
        M: Clone,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let id = self.request_id.unwrap_or_else(|| RequestId::new(rand::random()));
        let message = message(Bytes::copy_from_slice(id.as_bytes()));
        let target = slot.map_or(Target::Anyone, Target::Leader);
        let call = self.call(target, Repetition::Recognised { request_id: Some(id) });
        send_until_answered(&self.cluster, &call, message, send).await
    }

    /// Sends what reads or changes the list of tables.
    pub(crate) async fn tables<M, T, F>(
        &self,
        repetition: Repetition,
        message: M,
        send: impl Fn(Node, tonic::Request<M>) -> F,
    ) -> Result<T, Error>
    where
        M: Clone,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let call = self.call(Target::Anyone, repetition);
        send_until_answered(&self.cluster, &call, message, send).await
    }

    fn call(&self, target: Target, repetition: Repetition) -> Call {
        let deadline = self.deadline.unwrap_or(self.cluster.config.deadline);
        Call { target, repetition, deadline, consistency: None }
    }
}
