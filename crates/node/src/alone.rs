//! The transport of a node that has no peers.

use breccia_transport::{Call, Duplex, Open, Transport, TransportError};
use breccia_types::NodeId;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;

/// Reaches nobody.
pub(crate) struct Alone;

impl Transport for Alone {
    fn call(&self, to: NodeId, _call: Call) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        futures::future::ready(Err(unreachable(to))).boxed()
    }

    fn open(&self, to: NodeId, _open: Open) -> BoxFuture<'static, Result<Duplex, TransportError>> {
        futures::future::ready(Err(unreachable(to))).boxed()
    }
}

fn unreachable(node: NodeId) -> TransportError {
    TransportError::Unreachable { node, reason: "this node stands alone".to_owned() }
}
