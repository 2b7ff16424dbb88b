//! The faults of the in-process transport, on a paused clock.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

mod support;

use std::time::Duration;

use breccia_transport::{
    Call, Faults, MemoryNetwork, MemoryTransport, Method, Transport, TransportError,
};
use bytes::Bytes;
use futures::future::join_all;
use tokio::time::Instant;

use support::service::{ECHO, ECHO_STREAM, NEVER, Service};
use support::{A, B, call, open, peer, soon, until};

const SECOND: Duration = Duration::from_secs(1);

struct Net {
    network: MemoryNetwork,
    a: MemoryTransport,
    service: Service,
    _b: MemoryTransport,
}

fn net(seed: u64) -> Net {
    let network = MemoryNetwork::new(seed);
    let service = Service::new();
    let a = network.join(peer(A, 1), Service::new().handler());
    let b = network.join(peer(B, 1), service.handler());
    Net { network, a, service, _b: b }
}

impl Net {
    async fn call(&self, method: Method) -> Result<Bytes, TransportError> {
        self.a.call(B, Call { timeout: SECOND, ..call(method, "") }).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_fails_calls_at_once_and_loses_streams_on_both_sides() {
    let net = net(1);
    let mut stream = soon(net.a.open(B, open(ECHO_STREAM))).await.unwrap();
    assert!(soon(stream.receiver.receive()).await.is_some_and(|header| header.is_ok()));
    net.network.cut(A, B);
    let lost = TransportError::Lost { node: B };
    assert_eq!(soon(stream.receiver.receive()).await, Some(Err(lost)));
    until("the handler is dropped", || net.service.running() == 0).await;
    let outcome = net.call(ECHO).await;
    assert!(matches!(outcome, Err(TransportError::Unreachable { .. })), "{outcome:?}");
    assert!(net.a.open(B, open(ECHO_STREAM)).await.is_err());
    net.network.heal();
    assert!(net.call(ECHO).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_cut_on_the_way_back_loses_the_reply_only() {
    let net = net(1);
    net.network.change(B, A, |faults| faults.is_cut = true);
    assert_eq!(net.call(ECHO).await, Err(TransportError::Lost { node: B }));
    assert_eq!(net.service.started(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_request_never_arrives_and_a_lost_reply_comes_after_the_deed() {
    let net = net(1);
    let timed_out = Err(TransportError::TimedOut { node: B });
    net.network.change(A, B, |faults| faults.lost_requests = 1.0);
    assert_eq!(net.call(ECHO).await, timed_out);
    assert_eq!(net.service.started(), 0);
    net.network.change(A, B, |faults| {
        *faults = Faults { lost_replies: 1.0, ..Faults::default() };
    });
    assert_eq!(net.call(ECHO).await, timed_out);
    assert_eq!(net.service.started(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_arrives_in_order_once_it_is_released() {
    let net = net(1);
    let mut stream = soon(net.a.open(B, open(ECHO_STREAM))).await.unwrap();
    assert!(soon(stream.receiver.receive()).await.is_some_and(|header| header.is_ok()));
    net.network.change(A, B, |faults| faults.is_held = true);
    for index in 0..10 {
        stream.sender.send(Bytes::from(vec![index])).await.unwrap();
    }
    assert_eq!(net.call(ECHO).await, Err(TransportError::TimedOut { node: B }));
    assert_eq!(net.service.taken(), 0);
    net.network.change(A, B, |faults| faults.is_held = false);
    for index in 0..10 {
        assert_eq!(soon(stream.receiver.receive()).await, Some(Ok(Bytes::from(vec![index]))));
    }
}

#[tokio::test(start_paused = true)]
async fn delays_add_up_both_ways_and_keep_a_streams_order() {
    let net = net(1);
    let (least, most) = (Duration::from_millis(10), Duration::from_millis(30));
    for (from, to) in [(A, B), (B, A)] {
        net.network.change(from, to, |faults| faults.delay = least..=most);
    }
    let start = Instant::now();
    assert!(net.call(ECHO).await.is_ok());
    let took = start.elapsed();
    assert!(took >= 2 * least && took <= 2 * most + Duration::from_millis(4), "{took:?}");
    let mut stream = soon(net.a.open(B, open(ECHO_STREAM))).await.unwrap();
    assert!(soon(stream.receiver.receive()).await.is_some_and(|header| header.is_ok()));
    for index in 0..50 {
        stream.sender.send(Bytes::from(vec![index])).await.unwrap();
    }
    let start = Instant::now();
    for index in 0..50 {
        assert_eq!(soon(stream.receiver.receive()).await, Some(Ok(Bytes::from(vec![index]))));
    }
    assert!(start.elapsed() < 4 * most, "one after the other: {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_in_the_middle_of_a_call_loses_it() {
    let net = net(1);
    let waiting = tokio::spawn(net.a.call(B, call(NEVER, "")));
    until("it runs", || net.service.running() == 1).await;
    net.network.leave(B);
    assert_eq!(soon(waiting).await.unwrap(), Err(TransportError::Lost { node: B }));
    until("its handler is dropped", || net.service.running() == 0).await;
}

#[test]
fn one_seed_gives_one_run_and_another_seed_another() {
    let run = |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let net = net(seed);
            for (from, to) in [(A, B), (B, A)] {
                net.network.change(from, to, |faults| {
                    faults.delay = Duration::ZERO..=Duration::from_millis(200);
                    faults.lost_requests = 0.2;
                    faults.lost_replies = 0.2;
                });
            }
            let start = Instant::now();
            let timed = (0..100).map(|_| async {
                let outcome = net.call(ECHO).await.is_ok();
                (outcome, start.elapsed())
            });
            join_all(timed).await
        })
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
