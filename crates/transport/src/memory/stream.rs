//! Streams within a process.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use breccia_types::NodeId;
use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::stream::{Carrier, Duplex, Ends, windowed};
use crate::transport::{Access, Open, TransportError};

use super::network::{MemoryTransport, Path};

/// What a receiver's end tells the one direction that leads to it.
struct Receiver {
    /// Room of the sender; known once both ends are made.
    window: OnceLock<Arc<Semaphore>>,
    left: CancellationToken,
}

impl Receiver {
    fn new() -> Arc<Self> {
        Arc::new(Self { window: OnceLock::new(), left: CancellationToken::new() })
    }
}

impl Carrier for Receiver {
    fn on_taken(&self, charge: u32) {
        if let Some(window) = self.window.get() {
            window.add_permits(usize::try_from(charge).unwrap_or_default());
        }
    }

    fn on_dropped(&self) {
        self.left.cancel();
    }
}

/// One direction of a stream.
struct Direction {
    path: Path,
    outgoing: mpsc::Receiver<Bytes>,
    incoming: mpsc::Sender<Result<Bytes, TransportError>>,
    window: Arc<Semaphore>,
    left: CancellationToken,
    /// Why the stream is lost, once it is.
    lost: Lost,
    /// What is on its way, and when it arrives. `None` is the end.
    travelling: VecDeque<(Instant, Option<Bytes>)>,
    /// Nothing arrives before this.
    arrives_after: Instant,
}

/// Tells both directions of a stream that it is lost.
#[derive(Clone)]
struct Lost {
    token: CancellationToken,
    /// A refusal that the opening side is told.
    refusal: Arc<OnceLock<TransportError>>,
}

impl MemoryTransport {
    pub(super) async fn open_stream(
        self,
        to: NodeId,
        open: Open,
    ) -> Result<Duplex, TransportError> {
        let path = self.path(to)?;
        if path.back().faults().is_cut {
            let reason = "it is cut off".to_owned();
            return Err(TransportError::Unreachable { node: to, reason });
        }
        let (at_opener, at_server) = (Receiver::new(), Receiver::new());
        let (ours, our_ends) = windowed(Arc::clone(&at_opener) as Arc<dyn Carrier>);
        let (theirs, their_ends) = windowed(Arc::clone(&at_server) as Arc<dyn Carrier>);
        // Each receiver gives room back to the other side's sender.
        let _ = at_server.window.set(Arc::clone(&our_ends.window));
        let _ = at_opener.window.set(Arc::clone(&their_ends.window));
        let lost = Lost { token: CancellationToken::new(), refusal: Arc::new(OnceLock::new()) };
        let opened_at = Instant::now() + path.draw_delay();
        let Ends { outgoing, incoming, window } = our_ends;
        let there = Direction {
            path: path.clone(),
            outgoing,
            incoming: their_ends.incoming,
            window,
            left: at_server.left.clone(),
            lost: lost.clone(),
            travelling: VecDeque::new(),
            arrives_after: opened_at,
        };
        let back = Direction {
            path: path.back(),
            outgoing: their_ends.outgoing,
            incoming,
            window: their_ends.window,
            left: at_opener.left.clone(),
            lost: lost.clone(),
            travelling: VecDeque::new(),
            arrives_after: opened_at,
        };
        tokio::spawn(there.carry());
        tokio::spawn(back.carry());
        tokio::spawn(path.serve(open, theirs, lost, opened_at));
        Ok(ours)
    }
}

impl Path {
    async fn serve(self, open: Open, duplex: Duplex, lost: Lost, opened_at: Instant) {
        let serving = async {
            tokio::time::sleep_until(opened_at).await;
            self.released().await;
            let (node, method) = (self.to.peer.node, open.method);
            if self.to.handler.access(method) == Access::Nobody {
                let _ = lost.refusal.set(TransportError::NotServed { node, method });
                lost.token.cancel();
                return;
            }
            self.to.handler.on_open(self.from.peer, method, open.header, duplex).await;
        };
        tokio::select! {
            biased;
            () = self.severed() => {}
            () = serving => {}
        }
    }
}

impl Direction {
    async fn carry(mut self) {
        let mut is_open = true;
        let path = self.path.clone();
        let severed = path.severed();
        tokio::pin!(severed);
        loop {
            let arrives = self.travelling.front().map(|(at, _)| *at);
            tokio::select! {
                biased;
                () = &mut severed => {
                    self.lost.token.cancel();
                    return self.lose();
                }
                () = self.lost.token.cancelled() => return self.lose(),
                () = self.left.cancelled() => return self.window.close(),
                () = arrival(&path, arrives) => match self.travelling.pop_front() {
                    Some((_, Some(message))) => {
                        // The window leaves room for it.
                        let _ = self.incoming.try_send(Ok(message));
                    }
                    _ => return,
                },
                message = self.outgoing.recv(), if is_open => {
                    is_open = message.is_some();
                    let at = self.arrives_after.max(Instant::now() + path.draw_delay());
                    self.arrives_after = at;
                    self.travelling.push_back((at, message));
                }
            }
        }
    }

    fn lose(self) {
        self.window.close();
        let node = self.path.from.peer.node;
        let error = self.lost.refusal.get().cloned();
        let _ = self.incoming.try_send(Err(error.unwrap_or(TransportError::Lost { node })));
    }
}

async fn arrival(path: &Path, at: Option<Instant>) {
    match at {
        Some(at) => {
            tokio::time::sleep_until(at).await;
            path.released().await;
        }
        None => std::future::pending().await,
    }
}
