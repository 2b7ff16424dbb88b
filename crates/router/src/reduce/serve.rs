//! This node's part in the reductions of other nodes.

use std::sync::Arc;
use std::time::Duration;

use breccia_transport::{Duplex, Handler, Method, Peer, Refusal};
use breccia_types::RequestError;
use breccia_types::limits::{REDUCE_PROGRESS_INTERVAL, REQUEST_DEADLINE_DEFAULT};
use breccia_types::reduce::Meter;
use breccia_types::wire::DecodeError;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, ready};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::wire::{Message, Request};
use super::{Reducer, Work};

impl Handler for Reducer {
    fn on_call(
        &self,
        _: Peer,
        method: Method,
        _: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, Refusal>> {
        ready(Err(Refusal(format!("{method} is a stream").into()))).boxed()
    }

    fn on_open(
        &self,
        _: Peer,
        _: Method,
        header: Bytes,
        mut duplex: Duplex,
    ) -> BoxFuture<'static, ()> {
        let reducer = self.clone();
        async move {
            let end = match Request::decode(header) {
                Ok(request) => reducer.work_for(request, &mut duplex).await,
                Err(error) => Some(Message::Failed(unread(&error))),
            };
            if let Some(end) = end {
                // Whoever asked may be gone.
                let _ = duplex.sender.send(end.encode()).await;
            }
        }
        .boxed()
    }
}

impl Reducer {
    /// The answer to another node; `None` if it is not waited for any more.
    async fn work_for(&self, request: Request, duplex: &mut Duplex) -> Option<Message> {
        let Request { time_left, consistency, order, own, others } = request;
        let meter = Arc::new(Meter::default());
        let deadline = Instant::now() + time_left.min(REQUEST_DEADLINE_MAX);
        let order = Arc::new(order);
        let work = Work { order, consistency, deadline, meter: Arc::clone(&meter) };
        let mut working = std::pin::pin!(self.0.carry_out(own, others, &work));
        let mut ticks = interval(REDUCE_PROGRESS_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let progress = || Message::Progress(meter.progress()).encode();
        loop {
            tokio::select! {
                end = &mut working => {
                    duplex.sender.send(progress()).await.ok()?;
                    return Some(end.map_or_else(Message::Failed, Message::Gathered));
                }
                _ = ticks.tick() => duplex.sender.send(progress()).await.ok()?,
                // Nothing is sent to this side: this is the end of the stream.
                _ = duplex.receiver.receive() => return None,
            }
        }
    }
}

/// However much time a message claims to leave.
const REQUEST_DEADLINE_MAX: Duration = REQUEST_DEADLINE_DEFAULT.saturating_mul(2_880);

fn unread(error: &DecodeError) -> RequestError {
    let reason = format!("the request of another node cannot be read: {error}");
    RequestError::InvalidArgument { argument: "reduction", reason }
}
