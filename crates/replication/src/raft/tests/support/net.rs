//! A network in memory, with links that can be cut or held up and replies that can be lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use breccia_transport::Duplex;
use breccia_transport::{Call, Handler, Lane, Open, Peer, Transport, TransportError, duplex};
use breccia_types::NodeId;
use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

const WINDOW: usize = 16;

#[derive(Default)]
struct State {
    handlers: BTreeMap<NodeId, (Arc<dyn Handler>, u64)>,
    cut: BTreeSet<(NodeId, NodeId)>,
    /// Ways, from the first to the second, on which messages wait.
    held: BTreeSet<(NodeId, NodeId)>,
}

pub(crate) struct Net {
    state: Mutex<State>,
    /// Counts changes of the above, so that streams look whether they still stand.
    changed: watch::Sender<u64>,
    /// How many replies are yet to be lost.
    pub(crate) losing: AtomicUsize,
    /// Attempts to reach a node that cannot be reached.
    pub(crate) failures: AtomicUsize,
    /// Bytes that went through bulk streams, and how many more go before each breaks.
    pub(crate) bulk_bytes: AtomicUsize,
    pub(crate) bulk_breaks_after: Mutex<Option<usize>>,
    /// How many bytes each lane from one node to another carries per second, if not any number.
    pub(crate) bytes_per_second: Mutex<Option<usize>>,
    wires: Mutex<BTreeMap<(NodeId, NodeId, IsBulk), Wire>>,
}

type IsBulk = bool;
type Wire = Arc<tokio::sync::Mutex<()>>;

#[derive(Clone)]
pub(crate) struct NodeTransport {
    net: Arc<Net>,
    me: NodeId,
}

impl Net {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            changed: watch::Sender::new(0),
            losing: AtomicUsize::new(0),
            failures: AtomicUsize::new(0),
            bulk_bytes: AtomicUsize::new(0),
            bulk_breaks_after: Mutex::new(None),
            bytes_per_second: Mutex::new(None),
            wires: Mutex::default(),
        })
    }

    pub(crate) fn transport(self: &Arc<Self>, me: NodeId) -> NodeTransport {
        NodeTransport { net: Arc::clone(self), me }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.changed.send_modify(|count| *count += 1);
    }

    pub(crate) fn attach(&self, node: NodeId, handler: Arc<dyn Handler>) {
        let incarnation = *self.changed.borrow();
        self.change(|state| {
            state.handlers.insert(node, (handler, incarnation));
        });
    }

    pub(crate) fn detach(&self, node: NodeId) {
        self.change(|state| {
            state.handlers.remove(&node);
        });
    }

    /// Cuts all links between the two sides.
    pub(crate) fn cut(&self, one: &[NodeId], other: &[NodeId]) {
        self.change(|state| {
            for (a, b) in one.iter().flat_map(|a| other.iter().map(move |b| (*a, *b))) {
                state.cut.extend([(a, b), (b, a)]);
            }
        });
    }

    pub(crate) fn heal(&self) {
        self.change(|state| state.cut.clear());
    }

    /// Has messages from one node to another wait, in order, until they are let through.
    pub(crate) fn hold(&self, from: NodeId, to: NodeId) {
        self.change(|state| {
            state.held.insert((from, to));
        });
    }

    pub(crate) fn let_through(&self, from: NodeId, to: NodeId) {
        self.change(|state| {
            state.held.remove(&(from, to));
        });
    }

    /// Waits while messages on the way are held up, and while this one, and those before it on
    /// the lane, take their time.
    async fn passes(&self, from: NodeId, to: NodeId, lane: Lane, bytes: usize) {
        let per_second = *self.bytes_per_second.lock();
        if let Some(per_second) = per_second {
            let wire = (from, to, lane == Lane::Bulk);
            let wire = Arc::clone(self.wires.lock().entry(wire).or_default());
            let _alone = wire.lock().await;
            let seconds = bytes as f64 / per_second as f64;
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        }
        let mut changes = self.changed.subscribe();
        while self.state.lock().held.contains(&(from, to)) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn incarnation(&self, node: NodeId) -> Option<u64> {
        self.state.lock().handlers.get(&node).map(|(_, incarnation)| *incarnation)
    }

    fn find(&self, from: NodeId, to: NodeId) -> Result<Arc<dyn Handler>, TransportError> {
        let state = self.state.lock();
        let found = state.handlers.get(&to).map(|(handler, _)| Arc::clone(handler));
        let is_cut = state.cut.contains(&(from, to));
        found.filter(|_| !is_cut).ok_or_else(|| {
            self.failures.fetch_add(1, Ordering::Relaxed);
            TransportError::Unreachable { node: to, reason: "cut".to_owned() }
        })
    }

    fn loses_reply(&self) -> bool {
        let fewer = |left: usize| left.checked_sub(1);
        self.losing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).is_ok()
    }

    /// Waits until the link is cut or one of its nodes is another run.
    async fn broken(&self, from: NodeId, to: NodeId) {
        let ends = (self.incarnation(from), self.incarnation(to));
        let mut changes = self.changed.subscribe();
        loop {
            let is_cut = self.state.lock().cut.contains(&(from, to));
            if is_cut || (self.incarnation(from), self.incarnation(to)) != ends {
                return;
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    async fn forward(
        &self,
        mut messages: mpsc::Receiver<Bytes>,
        to: mpsc::Sender<Result<Bytes, TransportError>>,
        lane: Lane,
        way: (NodeId, NodeId),
    ) {
        let breaks_after = *self.bulk_breaks_after.lock();
        let mut sent = 0;
        while let Some(message) = messages.recv().await {
            sent += message.len();
            if lane == Lane::Bulk {
                self.bulk_bytes.fetch_add(message.len(), Ordering::Relaxed);
                if breaks_after.is_some_and(|limit| sent > limit) {
                    return;
                }
            }
            self.passes(way.0, way.1, lane, message.len()).await;
            if to.send(Ok(message)).await.is_err() {
                return;
            }
        }
    }
}

impl Transport for NodeTransport {
    fn call(&self, to: NodeId, call: Call) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let (net, me) = (Arc::clone(&self.net), self.me);
        Box::pin(async move {
            let handler = net.find(me, to)?;
            let peer = Peer { node: me, incarnation: 1 };
            let (there, timeout) = (Arc::clone(&net), call.timeout);
            // A call that timed out still arrives.
            let answering = tokio::spawn(async move {
                there.passes(me, to, Lane::Control, call.body.len()).await;
                let answered = handler.on_call(peer, call.method, call.body).await;
                there.passes(to, me, Lane::Control, 0).await;
                answered
            });
            let answered = tokio::select! {
                () = tokio::time::sleep(timeout) => {
                    return Err(TransportError::TimedOut { node: to });
                }
                () = net.broken(me, to) => return Err(TransportError::Lost { node: to }),
                answered = answering => answered,
            };
            if net.loses_reply() {
                tokio::time::sleep(timeout).await;
                return Err(TransportError::TimedOut { node: to });
            }
            let answered = answered.map_err(|_| TransportError::Lost { node: to })?;
            answered.map_err(|refusal| TransportError::Refused { node: to, refusal })
        })
    }

    fn open(&self, to: NodeId, open: Open) -> BoxFuture<'static, Result<Duplex, TransportError>> {
        let (net, me) = (Arc::clone(&self.net), self.me);
        Box::pin(async move {
            let handler = net.find(me, to)?;
            let (mine, from_me, to_me) = duplex(WINDOW);
            let (theirs, from_them, to_them) = duplex(WINDOW);
            let peer = Peer { node: me, incarnation: 1 };
            let serving = handler.on_open(peer, open.method, open.header, theirs);
            let lane = open.lane;
            tokio::spawn(async move {
                let (here, there_too) = (to_me.downgrade(), to_them.downgrade());
                let there = net.forward(from_me, to_them, lane, (me, to));
                let back = net.forward(from_them, to_me, lane, (to, me));
                let both = async {
                    tokio::join!(serving, back, there);
                };
                tokio::select! {
                    () = both => {}
                    () = net.broken(me, to) => {
                        let lost = |node| Err(TransportError::Lost { node });
                        here.upgrade().map(|here| here.try_send(lost(to)));
                        there_too.upgrade().map(|there| there.try_send(lost(me)));
                    }
                }
            });
            Ok(mine)
        })
    }
}
