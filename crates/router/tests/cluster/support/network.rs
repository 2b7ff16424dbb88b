//! A transport between routers in one process.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use breccia_router::Router;
use breccia_transport::{Call, Duplex, Handler, Open, Peer, Transport, TransportError};
use breccia_types::NodeId;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The node cannot be reached.
    Unreachable,
    /// Too much waits for the node.
    Busy,
    /// The connection is lost before the message arrives; the caller cannot tell.
    LoseRequest,
    /// The connection is lost after the message was handled.
    LoseReply,
    /// Nothing arrives and nothing is said.
    Silence,
    /// It takes so long to arrive.
    Delay(Duration),
}

#[derive(Default)]
pub(crate) struct Network {
    pub(crate) routers: Mutex<BTreeMap<NodeId, Router>>,
    always: Mutex<BTreeMap<(NodeId, NodeId), Fault>>,
    once: Mutex<BTreeMap<(NodeId, NodeId), Fault>>,
    calls: Mutex<Vec<(u64, u64)>>,
}

impl Network {
    pub(crate) fn always(&self, from: NodeId, to: NodeId, fault: Fault) {
        self.always.lock().insert((from, to), fault);
    }

    pub(crate) fn once(&self, from: NodeId, to: NodeId, fault: Fault) {
        self.once.lock().insert((from, to), fault);
    }

    pub(crate) fn heal(&self) {
        self.always.lock().clear();
        self.once.lock().clear();
    }

    /// Who called whom since the last time that this was asked.
    pub(crate) fn calls(&self) -> Vec<(u64, u64)> {
        std::mem::take(&mut *self.calls.lock())
    }

    fn fault(&self, way: (NodeId, NodeId)) -> Option<Fault> {
        self.once.lock().remove(&way).or_else(|| self.always.lock().get(&way).copied())
    }
}

/// One node's side of the network. Weak, because the network holds the routers.
pub(crate) struct FakeTransport {
    pub(crate) node: NodeId,
    pub(crate) network: Weak<Network>,
}

impl Transport for FakeTransport {
    fn call(&self, to: NodeId, call: Call) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let (from, network) = (self.node, self.network.upgrade().expect("the world is there"));
        network.calls.lock().push((from.get(), to.get()));
        let fault = network.fault((from, to));
        carry(network, from, to, call, fault).boxed()
    }

    fn open(&self, to: NodeId, _: Open) -> BoxFuture<'static, Result<Duplex, TransportError>> {
        let error = TransportError::Busy { node: to };
        futures::future::ready(Err(error)).boxed()
    }
}

async fn carry(
    network: Arc<Network>,
    from: NodeId,
    node: NodeId,
    call: Call,
    fault: Option<Fault>,
) -> Result<Bytes, TransportError> {
    let lost = TransportError::Lost { node };
    match fault {
        Some(Fault::Unreachable) => {
            return Err(TransportError::Unreachable { node, reason: "down".to_owned() });
        }
        Some(Fault::Busy) => return Err(TransportError::Busy { node }),
        Some(Fault::LoseRequest) => return Err(lost),
        _ => {}
    }
    let router = network.routers.lock().get(&node).cloned().expect("a node");
    let handled = async {
        match fault {
            Some(Fault::Silence) => std::future::pending().await,
            Some(Fault::Delay(delay)) => sleep(delay).await,
            _ => {}
        }
        let peer = Peer { node: from, incarnation: 1 };
        router.on_call(peer, call.method, call.body).await
    };
    match timeout(call.timeout, handled).await {
        Err(_) => Err(TransportError::TimedOut { node }),
        Ok(_) if fault == Some(Fault::LoseReply) => Err(lost),
        Ok(replied) => replied.map_err(|refusal| TransportError::Refused { node, refusal }),
    }
}
