//! Nodes for tests: a handler with one method per behaviour, and waiting with a deadline.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod proxy;
pub(crate) mod service;
pub(crate) mod tcp;
pub(crate) mod world;

use std::time::Duration;

use breccia_transport::{Call, Lane, Method, Open, Peer};
use breccia_types::NodeId;
use bytes::Bytes;
use tokio::time::Instant;

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const A: NodeId = NodeId::new(1);
pub(crate) const B: NodeId = NodeId::new(2);

pub(crate) fn peer(node: NodeId, incarnation: u64) -> Peer {
    Peer { node, incarnation }
}

pub(crate) fn call(method: Method, body: impl Into<Bytes>) -> Call {
    Call { method, body: body.into(), timeout: PATIENCE }
}

pub(crate) fn open(method: Method) -> Open {
    Open { method, header: Bytes::from_static(b"header"), lane: Lane::Control }
}

pub(crate) fn bytes(count: usize) -> Bytes {
    (0..count).map(|index| u8::try_from(index % 251).unwrap()).collect::<Vec<_>>().into()
}

/// What `future` gives, which it must soon.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Tries until `attempt` gives something.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    mut attempt: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(Instant::now() < deadline, "it never succeeds");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
