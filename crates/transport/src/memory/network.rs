//! The nodes of a process and what lies between them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use breccia_types::NodeId;
use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::stream::Duplex;
use crate::transport::{Call, Handler, Open, Peer, Transport, TransportError};

use super::faults::{Chance, Faults};

/// Joins nodes of one process. Clones are the same network.
#[derive(Clone)]
pub struct MemoryNetwork {
    shared: Arc<Shared>,
}

/// What a node of a [`MemoryNetwork`] sends with.
#[derive(Clone)]
pub struct MemoryTransport {
    pub(super) network: MemoryNetwork,
    pub(super) own: Node,
}

struct Shared {
    state: Mutex<State>,
    /// Changes whenever a fault does.
    changes: watch::Sender<()>,
}

struct State {
    chance: Chance,
    nodes: BTreeMap<NodeId, Node>,
    faults: BTreeMap<(NodeId, NodeId), Faults>,
}

/// A run of a node.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) peer: Peer,
    pub(super) handler: Arc<dyn Handler>,
    /// Cancelled when it has left.
    pub(super) gone: CancellationToken,
}

/// Both nodes of a call or a stream, in these very runs.
#[derive(Clone)]
pub(super) struct Path {
    pub(super) network: MemoryNetwork,
    pub(super) from: Node,
    pub(super) to: Node,
}

impl MemoryNetwork {
    /// A network without nodes, whose delays and losses this seed decides.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state =
            State { chance: Chance::new(seed), nodes: BTreeMap::new(), faults: BTreeMap::new() };
        let shared = Shared { state: Mutex::new(state), changes: watch::channel(()).0 };
        Self { shared: Arc::new(shared) }
    }

    /// Adds a node. A node of the same id leaves first, as if it had been restarted.
    #[must_use]
    pub fn join(&self, peer: Peer, handler: Arc<dyn Handler>) -> MemoryTransport {
        let own = Node { peer, handler, gone: CancellationToken::new() };
        let old = self.shared.state.lock().nodes.insert(peer.node, own.clone());
        if let Some(old) = old {
            old.gone.cancel();
        }
        MemoryTransport { network: self.clone(), own }
    }

    /// Takes a node away, as if its process had been killed: what it serves is dropped, its
    /// calls and streams are lost.
    pub fn leave(&self, node: NodeId) {
        let old = self.shared.state.lock().nodes.remove(&node);
        if let Some(old) = old {
            old.gone.cancel();
        }
    }

    /// Changes what happens on the way from one node to another, now and from now on.
    pub fn change(&self, from: NodeId, to: NodeId, change: impl FnOnce(&mut Faults)) {
        change(self.shared.state.lock().faults.entry((from, to)).or_default());
        self.shared.changes.send_replace(());
    }

    /// Cuts two nodes off from each other, both ways.
    pub fn cut(&self, one: NodeId, other: NodeId) {
        self.change(one, other, |faults| faults.is_cut = true);
        self.change(other, one, |faults| faults.is_cut = true);
    }

    /// Cuts a node off from all others.
    pub fn isolate(&self, node: NodeId) {
        let nodes: Vec<_> = self.shared.state.lock().nodes.keys().copied().collect();
        for other in nodes {
            if other != node {
                self.cut(node, other);
            }
        }
    }

    /// Ends all faults.
    pub fn heal(&self) {
        self.shared.state.lock().faults.clear();
        self.shared.changes.send_replace(());
    }

    pub(super) fn faults(&self, from: NodeId, to: NodeId) -> Faults {
        self.shared.state.lock().faults.get(&(from, to)).cloned().unwrap_or_default()
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.shared.changes.subscribe()
    }

    pub(super) fn decide<T>(&self, decide: impl FnOnce(&mut Chance) -> T) -> T {
        decide(&mut self.shared.state.lock().chance)
    }
}

impl MemoryTransport {
    /// This node as others see it.
    #[must_use]
    pub const fn peer(&self) -> Peer {
        self.own.peer
    }

    pub(super) fn path(&self, to: NodeId) -> Result<Path, TransportError> {
        let unreachable =
            |reason: &str| TransportError::Unreachable { node: to, reason: reason.to_owned() };
        if self.own.gone.is_cancelled() {
            return Err(unreachable("this node has left"));
        }
        let node = self.network.shared.state.lock().nodes.get(&to).cloned();
        let node = node.ok_or_else(|| unreachable("it is not there"))?;
        if self.network.faults(self.own.peer.node, to).is_cut {
            return Err(unreachable("it is cut off"));
        }
        Ok(Path { network: self.network.clone(), from: self.own.clone(), to: node })
    }
}

impl Path {
    pub(super) fn back(&self) -> Self {
        let Self { network, from, to } = self.clone();
        Self { network, from: to, to: from }
    }

    pub(super) fn faults(&self) -> Faults {
        self.network.faults(self.from.peer.node, self.to.peer.node)
    }

    pub(super) fn draw_delay(&self) -> Duration {
        let faults = self.faults();
        self.network.decide(|chance| chance.delay(&faults))
    }

    /// Ends when one of the nodes has left.
    pub(super) async fn gone(&self) {
        tokio::select! {
            biased;
            () = self.from.gone.cancelled() => {}
            () = self.to.gone.cancelled() => {}
        }
    }

    /// Ends when one of the nodes has left or the way is cut in either direction.
    pub(super) async fn severed(&self) {
        let cut = async {
            let mut changes = self.network.changes();
            while !self.faults().is_cut && !self.back().faults().is_cut {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            () = self.gone() => {}
            () = cut => {}
        }
    }

    /// Ends when nothing is held on this way.
    pub(super) async fn released(&self) {
        let mut changes = self.network.changes();
        while self.faults().is_held {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Transport for MemoryTransport {
    fn call(&self, to: NodeId, call: Call) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        Box::pin(self.clone().send_call(to, call))
    }

    fn open(&self, to: NodeId, open: Open) -> BoxFuture<'static, Result<Duplex, TransportError>> {
        Box::pin(self.clone().open_stream(to, open))
    }
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state.lock();
        f.debug_struct("MemoryNetwork")
            .field("nodes", &state.nodes.keys())
            .field("faults", &state.faults)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for MemoryTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTransport").field("own", &self.own.peer).finish_non_exhaustive()
    }
}
