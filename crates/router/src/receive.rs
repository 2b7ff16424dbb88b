//! Answering requests that other nodes send here.

use breccia_transport::{Duplex, Handler, Method, Peer, Refusal};
use breccia_types::RequestError;
use breccia_types::limits::REQUEST_DEADLINE_DEFAULT;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use tokio::time::Instant;

use crate::attempt::{Answer, End, Obstacle};
use crate::route::{Journey, serves};
use crate::router::{Asked, Inner, Router};
use crate::wire::{ForwardedReply, ForwardedRequest};

/// The transport's number for forwarded requests.
pub const METHOD: Method = Method(0x40);

impl Handler for Router {
    fn on_call(
        &self,
        from: Peer,
        method: Method,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, Refusal>> {
        let router = self.clone();
        async move {
            if method != METHOD {
                let text = format!("method {} is none of the router's", method.0);
                return Err(Refusal(text.into()));
            }
            let mut request = ForwardedRequest::decode(body)
                .map_err(|error| Refusal(error.to_string().into()))?;
            if !request.visited.contains(&from.node) {
                request.visited.push(from.node);
            }
            Ok(router.0.answer(request).await.encode())
        }
        .boxed()
    }

    fn on_open(&self, _: Peer, _: Method, _: Bytes, _: Duplex) -> BoxFuture<'static, ()> {
        // The router has no streams: what is dropped here is closed.
        futures::future::ready(()).boxed()
    }
}

impl Inner {
    async fn answer(&self, request: ForwardedRequest) -> ForwardedReply {
        let ForwardedRequest { shard, hops_left, visited, time_left, body, .. } = request;
        let now = Instant::now();
        let deadline = now.checked_add(time_left).unwrap_or(now + REQUEST_DEADLINE_DEFAULT);
        let asked = Asked { shard, body, deadline };
        // What this node does itself is bounded by the log's own queue.
        let waiting = match serves(self.local.role(shard), asked.body.consistency()) {
            true => None,
            false => match self.admit(&asked.body) {
                None => return ForwardedReply::Failed(RequestError::Busy { shard }),
                waiting => waiting,
            },
        };
        // One round: whoever took the request in tries again, not those on its way.
        let end = self.round(&asked, &Journey::Forwarded { hops_left, visited }).await;
        drop(waiting);
        match end {
            End::Answered { by, answer: Answer::Outcomes(outcomes) } => {
                ForwardedReply::Outcomes { by, outcomes }
            }
            End::Answered { by, answer: Answer::Bytes(bytes) } => {
                ForwardedReply::Bytes { by, bytes }
            }
            // It is this node that ends: for whoever sent this, others may do it.
            End::Failed(error @ RequestError::ShuttingDown) => {
                ForwardedReply::NotNow { reason: error.to_string() }
            }
            End::Failed(error) => ForwardedReply::Failed(error),
            End::Unknown => ForwardedReply::Unknown,
            End::NotDone(Obstacle::NotNow { node, reason }) if node == self.node => {
                ForwardedReply::NotNow { reason }
            }
            End::NotDone(obstacle @ Obstacle::NotNow { .. }) => {
                ForwardedReply::NotNow { reason: obstacle.to_string() }
            }
            End::NotDone(_) => self.view(shard, &[], |view| {
                let leader = view.believed_leaders().next();
                ForwardedReply::WrongOwner { leader, epoch: view.epoch }
            }),
        }
    }
}
