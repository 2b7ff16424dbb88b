//! Calls within a process.

use breccia_types::NodeId;
use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::transport::{Access, Call, Refusal, TransportError};

use super::network::{MemoryTransport, Path};

impl MemoryTransport {
    pub(super) async fn send_call(self, to: NodeId, call: Call) -> Result<Bytes, TransportError> {
        let path = self.path(to)?;
        let timeout = call.timeout;
        tokio::select! {
            biased;
            () = path.gone() => Err(TransportError::Lost { node: to }),
            reply = tokio::time::timeout(timeout, path.exchange(call)) => {
                reply.unwrap_or(Err(TransportError::TimedOut { node: to }))
            }
        }
    }
}

impl Path {
    async fn exchange(&self, call: Call) -> Result<Bytes, TransportError> {
        let node = self.to.peer.node;
        let faults = self.faults();
        let is_request_lost = self.network.decide(|chance| chance.happens(faults.lost_requests));
        let is_reply_lost = self.network.decide(|chance| chance.happens(faults.lost_replies));
        self.pass().await?;
        if is_request_lost {
            return std::future::pending().await;
        }
        let reply = self.served(call).await;
        if is_reply_lost {
            return std::future::pending().await;
        }
        self.back().pass().await.map_err(|_| TransportError::Lost { node })?;
        reply
    }

    async fn served(&self, call: Call) -> Result<Bytes, TransportError> {
        let Call { method, body, .. } = call;
        let node = self.to.peer.node;
        if self.to.handler.access(method) == Access::Nobody {
            return Err(TransportError::NotServed { node, method });
        }
        let (handler, from) = (self.to.handler.clone(), self.from.peer);
        let answering = async move { handler.on_call(from, method, body).await };
        let mut task = Served(tokio::spawn(answering));
        match (&mut task.0).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(refusal)) => Err(TransportError::Refused { node, refusal }),
            // The handler panicked.
            Err(_) => Err(TransportError::Lost { node }),
        }
    }

    /// One message's way. `Err`: it is cut.
    async fn pass(&self) -> Result<(), TransportError> {
        let delay = self.draw_delay();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        self.released().await;
        if self.faults().is_cut {
            return Err(TransportError::Lost { node: self.to.peer.node });
        }
        Ok(())
    }
}

/// A call that is answered; not any longer when its caller has given up.
struct Served(JoinHandle<Result<Bytes, Refusal>>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.abort();
    }
}
