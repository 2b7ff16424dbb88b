//! What the conformance suite needs of a transport: nodes that can be started and stopped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use breccia_transport::{Handler, MemoryNetwork, TcpTransport, Transport};
use breccia_types::NodeId;

use super::{peer, tcp};

pub(crate) trait World {
    fn new() -> Self;

    /// Starts a node, which knows all others and is known to them.
    fn start(
        &mut self,
        node: NodeId,
        incarnation: u64,
        handler: Arc<dyn Handler>,
    ) -> impl Future<Output = Arc<dyn Transport>>;

    fn stop(&mut self, node: NodeId) -> impl Future<Output = ()>;
}

pub(crate) struct InMemory(MemoryNetwork);

impl World for InMemory {
    fn new() -> Self {
        Self(MemoryNetwork::new(1))
    }

    async fn start(
        &mut self,
        node: NodeId,
        incarnation: u64,
        handler: Arc<dyn Handler>,
    ) -> Arc<dyn Transport> {
        Arc::new(self.0.join(peer(node, incarnation), handler))
    }

    async fn stop(&mut self, node: NodeId) {
        self.0.leave(node);
    }
}

#[derive(Default)]
pub(crate) struct OverTcp(BTreeMap<NodeId, (TcpTransport, String)>);

impl World for OverTcp {
    fn new() -> Self {
        Self::default()
    }

    async fn start(
        &mut self,
        node: NodeId,
        incarnation: u64,
        handler: Arc<dyn Handler>,
    ) -> Arc<dyn Transport> {
        let transport = TcpTransport::new(tcp::config(node, incarnation));
        let listener = transport.listen("127.0.0.1:0", handler).await.unwrap();
        let address = listener.local_addr().to_string();
        tokio::spawn(listener.run());
        for (other, (known, other_address)) in &self.0 {
            known.peers().set(node, address.clone());
            transport.peers().set(*other, other_address.clone());
        }
        self.0.insert(node, (transport.clone(), address));
        Arc::new(transport)
    }

    async fn stop(&mut self, node: NodeId) {
        if let Some((transport, _)) = self.0.remove(&node) {
            transport.shutdown(Duration::ZERO).await;
        }
    }
}
