//! Carries one request to a node, and to others until one answers or `retry` says stop.

use std::sync::Arc;
use std::time::Duration;

use breccia_api::CONSISTENCY_METADATA;
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::metadata::AsciiMetadataValue;
use tonic::{Request, Response, Status};

use crate::cluster::Cluster;
use crate::error::Error;
use crate::failure::Failure;
use crate::node::Node;
use crate::retry::{Repetition, Tries};
use crate::topology::{Address, Target};

/// How a request is sent.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) target: Target,
    pub(crate) repetition: Repetition,
    /// How long it may take, all its tries together.
    pub(crate) deadline: Duration,
    /// What a read must have seen, if it says so.
    pub(crate) consistency: Option<AsciiMetadataValue>,
}

impl Call {
    pub(crate) fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        if let Some(asked) = &self.consistency {
            request.metadata_mut().insert(CONSISTENCY_METADATA, asked.clone());
        }
        request
    }
}

/// Sends a request until it is answered.
pub(crate) async fn send_until_answered<M, T, F>(
    cluster: &Arc<Cluster>,
    call: &Call,
    message: M,
    send: impl Fn(Node, Request<M>) -> F,
) -> Result<T, Error>
where
    M: Clone,
    F: Future<Output = Result<Response<T>, Status>>,
{
    let mut attempts = Attempts::new(cluster, call);
    loop {
        let node = attempts.node()?;
        let mut request = call.request(message.clone());
        request.set_timeout(attempts.left());
        match attempts.within(&node, send(node.clone(), request)).await {
            Ok(response) => return Ok(response.into_inner()),
            Err(failure) => attempts.failed(&node, failure).await?,
        }
    }
}

/// The tries at one request: where the next goes, and when.
pub(crate) struct Attempts<'a> {
    cluster: &'a Arc<Cluster>,
    target: Target,
    tries: Tries,
    deadline: Instant,
    avoid: Option<Address>,
}

impl<'a> Attempts<'a> {
    pub(crate) fn new(cluster: &'a Arc<Cluster>, call: &Call) -> Self {
        let tries = Tries::new(call.repetition, call.deadline, cluster.config.tries_max);
        let deadline = Instant::now() + tries.deadline();
        Self { cluster, target: call.target, tries, deadline, avoid: None }
    }

    /// The node to ask next.
    pub(crate) fn node(&self) -> Result<Node, Error> {
        self.cluster.node_for(self.target, self.avoid.as_ref())
    }

    /// The time that is left.
    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Waits for a node's answer, but not beyond the deadline.
    pub(crate) async fn within<T>(
        &self,
        node: &Node,
        answer: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Failure> {
        match timeout_at(self.deadline, answer).await {
            Ok(Ok(answered)) => {
                self.cluster.trust(node);
                Ok(answered)
            }
            Ok(Err(status)) => Err(Failure::of(status)),
            Err(_) => Err(Failure::TimedOut),
        }
    }

    /// Notes that a node did not answer, and waits until it is time for the next try.
    ///
    /// # Errors
    /// The request's error, if there is none.
    pub(crate) async fn failed(&mut self, node: &Node, failure: Failure) -> Result<(), Error> {
        self.cluster.note(node, &failure);
        self.avoid = Some(Arc::clone(&node.address)).filter(|_| !failure.is_busy());
        let wait = self.tries.after(failure, rand::random())?;
        let next = Instant::now() + wait;
        if next >= self.deadline {
            return Err(self.tries.out_of_time());
        }
        sleep_until(next).await;
        Ok(())
    }
}
