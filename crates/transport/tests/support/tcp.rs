//! Nodes that speak TCP on loopback.

use std::time::Duration;

use breccia_transport::TcpTransport;
use breccia_transport::tcp::{Config, Timing};
use breccia_types::{ClusterId, NodeId};

use super::service::Service;

pub(crate) const CLUSTER: ClusterId = ClusterId::new([0xc1; 16]);
pub(crate) const OTHER_CLUSTER: ClusterId = ClusterId::new([0x0d; 16]);

pub(crate) struct TcpNode {
    pub(crate) transport: TcpTransport,
    pub(crate) service: Service,
    pub(crate) address: String,
}

pub(crate) fn config(node: NodeId, incarnation: u64) -> Config {
    Config {
        node,
        incarnation,
        cluster: Some(CLUSTER),
        address: String::new(),
        timing: Timing::default(),
    }
}

/// Timing under which silence is noticed fast.
pub(crate) fn hasty() -> Timing {
    Timing {
        handshake_max: Duration::from_millis(300),
        ping_interval: Duration::from_millis(100),
        silence_max: Duration::from_millis(400),
        ..Timing::default()
    }
}

pub(crate) async fn start(config: Config) -> TcpNode {
    let service = Service::new();
    let transport = TcpTransport::new(config);
    let listener = transport.listen("127.0.0.1:0", service.handler()).await.unwrap();
    let address = listener.local_addr().to_string();
    tokio::spawn(listener.run());
    TcpNode { transport, service, address }
}

/// Two members of one cluster that know each other.
pub(crate) async fn pair(timing: Timing) -> (TcpNode, TcpNode) {
    let a = start(Config { timing, ..config(super::A, 1) }).await;
    let b = start(Config { timing, ..config(super::B, 1) }).await;
    a.transport.peers().set(super::B, b.address.clone());
    b.transport.peers().set(super::A, a.address.clone());
    (a, b)
}
