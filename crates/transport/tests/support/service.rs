//! A handler whose methods behave in all the ways that callers must cope with.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use breccia_transport::{Access, Duplex, Handler, Method, Peer, Refusal};
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::Semaphore;

/// Replies with what it was sent.
pub(crate) const ECHO: Method = Method(1);
/// Refuses with what it was sent.
pub(crate) const REFUSE: Method = Method(2);
/// Replies after as many milliseconds as the first byte says.
pub(crate) const SLOW: Method = Method(3);
/// Never replies.
pub(crate) const NEVER: Method = Method(4);
/// Panics.
pub(crate) const PANIC: Method = Method(5);
/// Replies with the caller's node and incarnation.
pub(crate) const WHO: Method = Method(6);
/// Replies with so many MiB.
pub(crate) const LARGE: Method = Method(7);
/// A stream that sends back the header, then every message.
pub(crate) const ECHO_STREAM: Method = Method(20);
/// A stream that says how many messages it got once they end.
pub(crate) const COUNT_STREAM: Method = Method(21);
/// A stream that takes one message for each permit of [`Service::takes`].
pub(crate) const GATED_STREAM: Method = Method(22);
/// A stream that ends at once.
pub(crate) const SHORT_STREAM: Method = Method(23);
/// A stream that sends messages of 64 KiB for as long as they are taken.
pub(crate) const FLOOD_STREAM: Method = Method(24);
/// A stream that swallows messages.
pub(crate) const SINK_STREAM: Method = Method(25);
/// The one method that strangers may use: like [`ECHO`].
pub(crate) const HELLO: Method = Method(40);
/// What nobody serves.
pub(crate) const UNKNOWN: Method = Method(99);

#[derive(Clone)]
pub(crate) struct Service(Arc<Counts>);

pub(crate) struct Counts {
    /// Calls and streams that run now.
    pub(crate) running: AtomicUsize,
    /// Calls that were started.
    pub(crate) started: AtomicUsize,
    /// Messages that streams have taken.
    pub(crate) taken: AtomicUsize,
    /// What [`GATED_STREAM`] may take.
    pub(crate) takes: Semaphore,
    /// Streams that ended with an error.
    pub(crate) lost: AtomicUsize,
}

struct Running(Arc<Counts>);

impl Service {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Counts {
            running: AtomicUsize::new(0),
            started: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            takes: Semaphore::new(0),
            lost: AtomicUsize::new(0),
        }))
    }

    pub(crate) fn running(&self) -> usize {
        self.0.running.load(Ordering::SeqCst)
    }

    pub(crate) fn started(&self) -> usize {
        self.0.started.load(Ordering::SeqCst)
    }

    pub(crate) fn taken(&self) -> usize {
        self.0.taken.load(Ordering::SeqCst)
    }

    pub(crate) fn takes(&self) -> &Semaphore {
        &self.0.takes
    }

    pub(crate) fn lost(&self) -> usize {
        self.0.lost.load(Ordering::SeqCst)
    }

    pub(crate) fn handler(&self) -> Arc<dyn Handler> {
        Arc::new(self.clone())
    }

    fn start(&self) -> Running {
        self.0.started.fetch_add(1, Ordering::SeqCst);
        self.0.running.fetch_add(1, Ordering::SeqCst);
        Running(Arc::clone(&self.0))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Handler for Service {
    fn access(&self, method: Method) -> Access {
        match method {
            UNKNOWN => Access::Nobody,
            HELLO => Access::Anyone,
            _ => Access::Members,
        }
    }

    fn on_call(
        &self,
        from: Peer,
        method: Method,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, Refusal>> {
        let running = self.start();
        Box::pin(async move {
            let _running = running;
            match method {
                REFUSE => return Err(Refusal(body)),
                SLOW => {
                    tokio::time::sleep(Duration::from_millis(u64::from(body[0]))).await;
                }
                NEVER => std::future::pending().await,
                PANIC => panic!("as the test asked"),
                WHO => return Ok(format!("{} {}", from.node, from.incarnation).into()),
                LARGE => return Ok(vec![0; usize::from(body[0]) << 20].into()),
                _ => {}
            }
            Ok(body)
        })
    }

    fn on_open(
        &self,
        _: Peer,
        method: Method,
        header: Bytes,
        duplex: Duplex,
    ) -> BoxFuture<'static, ()> {
        let running = self.start();
        Box::pin(async move {
            let counts = Arc::clone(&running.0);
            match method {
                ECHO_STREAM => echo(header, duplex, &counts).await,
                COUNT_STREAM => count(duplex, &counts).await,
                GATED_STREAM => gated(duplex, &counts).await,
                FLOOD_STREAM => flood(duplex).await,
                SINK_STREAM => sink(duplex, &counts).await,
                _ => {}
            }
        })
    }
}

async fn echo(header: Bytes, mut duplex: Duplex, counts: &Counts) {
    let _ = duplex.sender.send(header).await;
    while let Some(message) = duplex.receiver.receive().await {
        let Ok(message) = message else {
            counts.lost.fetch_add(1, Ordering::SeqCst);
            return;
        };
        counts.taken.fetch_add(1, Ordering::SeqCst);
        if duplex.sender.send(message).await.is_err() {
            return;
        }
    }
}

async fn count(mut duplex: Duplex, counts: &Counts) {
    let mut taken = 0_u32;
    while let Some(Ok(_)) = duplex.receiver.receive().await {
        taken += 1;
        counts.taken.fetch_add(1, Ordering::SeqCst);
    }
    let _ = duplex.sender.send(taken.to_string().into()).await;
}

async fn gated(mut duplex: Duplex, counts: &Counts) {
    loop {
        counts.takes.acquire().await.unwrap().forget();
        match duplex.receiver.receive().await {
            Some(Ok(_)) => counts.taken.fetch_add(1, Ordering::SeqCst),
            _ => return,
        };
    }
}

async fn flood(duplex: Duplex) {
    let message = Bytes::from(vec![7; 64 << 10]);
    while duplex.sender.send(message.clone()).await.is_ok() {}
}

async fn sink(mut duplex: Duplex, counts: &Counts) {
    while let Some(Ok(_)) = duplex.receiver.receive().await {
        counts.taken.fetch_add(1, Ordering::SeqCst);
    }
}
