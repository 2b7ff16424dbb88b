//! Who may talk to whom over TCP, and what the others are told.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

mod support;

use std::time::Duration;

use breccia_transport::tcp::{Config, DialError, Rejection, Timing};
use breccia_transport::{TcpTransport, Transport, TransportError};
use breccia_types::{ClusterId, NodeId};
use bytes::Bytes;

use support::service::{ECHO, ECHO_STREAM, HELLO, WHO};
use support::tcp::{CLUSTER, OTHER_CLUSTER, TcpNode, config, pair, start};
use support::{A, B, call, eventually, open, peer, soon, until};

/// Why `to` cannot be reached.
async fn reason(transport: &TcpTransport, to: NodeId) -> String {
    match soon(transport.call(to, call(ECHO, ""))).await {
        Err(TransportError::Unreachable { node, reason }) if node == to => reason,
        other => panic!("it should be unreachable: {other:?}"),
    }
}

fn only_rejection(node: &TcpNode) -> Rejection {
    let rejected = node.transport.status().rejected;
    assert_eq!(rejected.len(), 1, "{rejected:?}");
    rejected[0].rejection.clone()
}

fn with_cluster(node: NodeId, cluster: Option<ClusterId>) -> Config {
    Config { cluster, ..config(node, 1) }
}

#[tokio::test]
async fn a_node_of_another_cluster_is_refused_by_name() {
    let a = start(config(A, 1)).await;
    let b = start(with_cluster(B, Some(OTHER_CLUSTER))).await;
    a.transport.peers().set(B, b.address.clone());
    let reason = reason(&a.transport, B).await;
    for name in [CLUSTER.to_string(), OTHER_CLUSTER.to_string(), A.to_string(), B.to_string()] {
        assert!(reason.contains(&name), "{name} in {reason}");
    }
    let rejection = Rejection::OtherCluster {
        dialing: A,
        dialing_cluster: CLUSTER,
        accepting: B,
        accepting_cluster: OTHER_CLUSTER,
    };
    assert_eq!(only_rejection(&a), rejection);
    assert_eq!(only_rejection(&b), rejection);
    assert_eq!(b.service.started(), 0);
}

#[tokio::test]
async fn another_node_at_an_address_is_refused_by_name() {
    let (a, b) = pair(Timing::default()).await;
    let expected = NodeId::new(3);
    a.transport.peers().set(expected, b.address.clone());
    let reason = reason(&a.transport, expected).await;
    assert!(reason.contains("n3 was expected at the address, but n2 is there"), "{reason}");
    assert_eq!(only_rejection(&b), Rejection::OtherNode { expected, found: B });
    assert_eq!(b.service.started(), 0);
}

#[tokio::test]
async fn an_earlier_incarnation_is_refused_by_name() {
    let b = start(config(B, 1)).await;
    let later = start(config(A, 5)).await;
    later.transport.peers().set(B, b.address.clone());
    assert!(soon(later.transport.call(B, call(ECHO, ""))).await.is_ok());
    let earlier = start(config(A, 4)).await;
    earlier.transport.peers().set(B, b.address.clone());
    let reason = reason(&earlier.transport, B).await;
    assert!(reason.contains("incarnation 4 is over"), "{reason}");
    let seen_at = later.address.clone();
    let stale = Rejection::Stale { node: A, incarnation: 4, seen: 5, seen_at };
    assert_eq!(only_rejection(&b), stale);
    assert!(soon(later.transport.call(B, call(ECHO, ""))).await.is_ok());
}

#[tokio::test]
async fn an_earlier_incarnation_is_refused_where_it_is_dialed_too() {
    let a = start(config(A, 1)).await;
    let (later, earlier) = (start(config(B, 9)).await, start(config(B, 8)).await);
    a.transport.peers().set(B, later.address.clone());
    assert!(soon(a.transport.call(B, call(ECHO, ""))).await.is_ok());
    later.transport.shutdown(Duration::ZERO).await;
    a.transport.peers().set(B, earlier.address.clone());
    let reason = eventually(|| async {
        let reason = reason(&a.transport, B).await;
        reason.contains("incarnation 8 is over").then_some(reason)
    })
    .await;
    assert!(reason.contains("seen at") && reason.contains("incarnation 9"), "{reason}");
    assert_eq!(earlier.service.started(), 0);
}

#[tokio::test]
async fn a_later_incarnation_ends_the_connections_of_the_earlier_one() {
    let (a, b) = pair(Timing::default()).await;
    let mut stream = soon(a.transport.open(B, open(ECHO_STREAM))).await.unwrap();
    assert!(soon(stream.receiver.receive()).await.is_some_and(|header| header.is_ok()));
    let mut from_b = soon(b.transport.open(A, open(ECHO_STREAM))).await.unwrap();
    assert!(soon(from_b.receiver.receive()).await.is_some_and(|header| header.is_ok()));
    let restarted = start(config(A, 2)).await;
    restarted.transport.peers().set(B, b.address.clone());
    let who = soon(restarted.transport.call(B, call(WHO, ""))).await;
    assert_eq!(who, Ok(Bytes::from_static(b"n1 2")));
    for (stream, node) in [(&mut stream, B), (&mut from_b, A)] {
        let lost = Some(Err(TransportError::Lost { node }));
        assert_eq!(soon(stream.receiver.receive()).await, lost);
    }
}

#[tokio::test]
async fn two_processes_on_copies_of_one_data_directory_are_named_with_both_addresses() {
    let b = start(config(B, 1)).await;
    let (first, second) = (start(config(A, 3)).await, start(config(A, 3)).await);
    for node in [&first, &second] {
        node.transport.peers().set(B, b.address.clone());
    }
    assert!(soon(first.transport.call(B, call(ECHO, ""))).await.is_ok());
    let reason = reason(&second.transport, B).await;
    let told = format!(
        "n1 runs twice as incarnation 3, at {} and at {}: its data directory was copied",
        first.address, second.address
    );
    assert!(reason.contains(&told), "{reason}");
    assert_eq!(only_rejection(&b).to_string(), told);
    assert!(soon(first.transport.call(B, call(ECHO, ""))).await.is_ok());
}

#[tokio::test]
async fn a_node_that_meets_its_own_copy_says_so() {
    for incarnation in [2, 3, 4] {
        let (own, copy) = (start(config(A, 3)).await, start(config(A, incarnation)).await);
        own.transport.peers().set(A, copy.address.clone());
        let reason = reason(&own.transport, A).await;
        assert!(reason.contains("its data directory was copied"), "{reason}");
    }
}

#[tokio::test]
async fn a_node_may_call_itself() {
    let a = start(config(A, 1)).await;
    a.transport.peers().set(A, a.address.clone());
    let who = soon(a.transport.call(A, call(WHO, ""))).await;
    assert_eq!(who, Ok(Bytes::from_static(b"n1 1")));
}

#[tokio::test]
async fn a_stranger_may_use_what_is_open_to_strangers_until_it_is_a_member() {
    let a = start(with_cluster(A, None)).await;
    let b = start(config(B, 1)).await;
    a.transport.peers().set(B, b.address.clone());
    b.transport.peers().set(A, a.address.clone());
    for (from, to) in [(&a, B), (&b, A)] {
        assert!(soon(from.transport.call(to, call(HELLO, ""))).await.is_ok());
        let refused = Err(TransportError::NotAMember { node: to, method: ECHO });
        assert_eq!(soon(from.transport.call(to, call(ECHO, ""))).await, refused);
        let mut stream = soon(from.transport.open(to, open(ECHO_STREAM))).await.unwrap();
        let refused = TransportError::NotAMember { node: to, method: ECHO_STREAM };
        assert_eq!(soon(stream.receiver.receive()).await, Some(Err(refused)));
    }
    a.transport.adopt(CLUSTER).unwrap();
    for (from, to) in [(&a, B), (&b, A)] {
        eventually(|| async { from.transport.call(to, call(ECHO, "")).await.ok() }).await;
    }
    let error = a.transport.adopt(OTHER_CLUSTER).unwrap_err();
    assert_eq!((error.ours, error.offered), (CLUSTER, OTHER_CLUSTER));
}

#[tokio::test]
async fn a_stranger_cannot_take_a_members_place() {
    let (a, b) = pair(Timing::default()).await;
    let mut stream = soon(a.transport.open(B, open(ECHO_STREAM))).await.unwrap();
    assert!(soon(stream.receiver.receive()).await.is_some_and(|header| header.is_ok()));
    let stranger = start(Config { cluster: None, ..config(A, 99) }).await;
    stranger.transport.peers().set(B, b.address.clone());
    assert!(soon(stranger.transport.call(B, call(HELLO, ""))).await.is_ok());
    soon(stream.sender.send(Bytes::from_static(b"still here"))).await.unwrap();
    let echoed = soon(stream.receiver.receive()).await;
    assert_eq!(echoed, Some(Ok(Bytes::from_static(b"still here"))));
}

#[tokio::test]
async fn whoever_is_at_an_address_can_be_learned() {
    let asking = start(config(A, 1)).await;
    for cluster in [None, Some(CLUSTER), Some(OTHER_CLUSTER)] {
        let there = start(Config { cluster, ..config(B, 7) }).await;
        let dialed = soon(asking.transport.dial(&there.address)).await.unwrap();
        assert_eq!((dialed.peer, dialed.cluster), (peer(B, 7), cluster));
        assert_eq!(dialed.address, there.address);
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = soon(asking.transport.dial(&nobody)).await.unwrap_err();
    assert!(matches!(&error, DialError::Connect { address, .. } if *address == nobody));
}

#[tokio::test]
async fn a_removed_node_is_unreachable_and_its_connection_closed() {
    let (a, b) = pair(Timing::default()).await;
    let mut stream = soon(a.transport.open(B, open(ECHO_STREAM))).await.unwrap();
    assert!(soon(stream.receiver.receive()).await.is_some_and(|header| header.is_ok()));
    a.transport.peers().remove(B);
    let lost = TransportError::Lost { node: B };
    assert_eq!(soon(stream.receiver.receive()).await, Some(Err(lost)));
    assert_eq!(reason(&a.transport, B).await, "its address is not known");
    until("its handler is dropped", || b.service.running() == 0).await;
}
