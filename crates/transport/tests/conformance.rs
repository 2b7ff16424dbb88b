//! What every transport does, whatever carries it.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use breccia_transport::{Call, Duplex, Lane, Open, Refusal, Transport, TransportError};
use bytes::Bytes;
use futures::future::join_all;
use tokio::time::Instant;

use support::service::{
    COUNT_STREAM, ECHO, ECHO_STREAM, FLOOD_STREAM, GATED_STREAM, NEVER, PANIC, REFUSE,
    SHORT_STREAM, SLOW, Service, UNKNOWN, WHO,
};
use support::world::{InMemory, OverTcp, World};
use support::{A, B, bytes, call, eventually, open, soon, until};

macro_rules! conformance {
    ($($name:ident,)*) => {
        mod tcp {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name(Pair::<OverTcp>::new().await).await;
                }
            )*
        }

        mod memory {
            use super::*;
            $(
                #[tokio::test(start_paused = true)]
                async fn $name() {
                    super::$name(Pair::<InMemory>::new().await).await;
                }
            )*
        }
    };
}

conformance! {
    a_call_is_answered,
    a_refusal_comes_back_as_it_was_given,
    a_method_that_nobody_serves_is_refused_by_name,
    the_handler_learns_who_calls,
    calls_are_answered_as_they_finish,
    a_call_times_out_and_its_handler_is_dropped,
    a_dropped_caller_drops_its_handler,
    a_handler_that_panics_costs_its_caller_one_lost_call,
    a_node_that_is_not_there_is_unreachable,
    a_large_call_is_answered,
    messages_arrive_in_order_both_ways,
    large_messages_arrive_on_either_lane,
    one_direction_ends_before_the_other,
    a_stream_that_is_dropped_ends_at_the_other_side,
    a_handler_that_returns_ends_its_stream,
    a_receiver_that_does_not_read_holds_its_sender_back,
    a_sender_is_never_far_ahead_in_bytes,
    a_message_longer_than_the_window_passes,
    a_flood_that_is_not_read_leaves_other_streams_alone,
    a_stream_of_an_unserved_method_ends_with_that_error,
    a_stopped_peer_loses_its_streams_and_calls,
    a_restarted_peer_is_reached_again_in_its_new_incarnation,
    what_arrived_of_a_lost_stream_is_its_beginning_in_order,
}

struct Pair<W> {
    world: W,
    a: Arc<dyn Transport>,
    service_a: Service,
    service_b: Service,
    /// Kept, or the node would be gone.
    _b: Arc<dyn Transport>,
}

impl<W: World> Pair<W> {
    async fn new() -> Self {
        let mut world = W::new();
        let (service_a, service_b) = (Service::new(), Service::new());
        let a = world.start(A, 1, service_a.handler()).await;
        let b = world.start(B, 1, service_b.handler()).await;
        Self { world, a, service_a, service_b, _b: b }
    }

    async fn call(&self, call: Call) -> Result<Bytes, TransportError> {
        soon(self.a.call(B, call)).await
    }

    async fn open(&self, open: Open) -> Duplex {
        soon(self.a.open(B, open)).await.unwrap()
    }

    /// A stream whose handler runs.
    async fn opened(&self, open: Open) -> Duplex {
        let running = self.service_b.running();
        let duplex = self.open(open).await;
        until("the handler runs", || self.service_b.running() > running).await;
        duplex
    }
}

async fn next(duplex: &mut Duplex) -> Option<Result<Bytes, TransportError>> {
    soon(duplex.receiver.receive()).await
}

async fn a_call_is_answered<W: World>(pair: Pair<W>) {
    for count in [0, 1, 100, 20_000] {
        assert_eq!(pair.call(call(ECHO, bytes(count))).await, Ok(bytes(count)));
    }
}

async fn a_refusal_comes_back_as_it_was_given<W: World>(pair: Pair<W>) {
    let refusal = Refusal(Bytes::from_static(b"not me"));
    let refused = TransportError::Refused { node: B, refusal };
    assert_eq!(pair.call(call(REFUSE, "not me")).await, Err(refused));
}

async fn a_method_that_nobody_serves_is_refused_by_name<W: World>(pair: Pair<W>) {
    let refused = TransportError::NotServed { node: B, method: UNKNOWN };
    assert_eq!(pair.call(call(UNKNOWN, "")).await, Err(refused));
    assert_eq!(pair.service_b.started(), 0);
}

async fn the_handler_learns_who_calls<W: World>(pair: Pair<W>) {
    assert_eq!(pair.call(call(WHO, "")).await, Ok(Bytes::from_static(b"n1 1")));
}

async fn calls_are_answered_as_they_finish<W: World>(pair: Pair<W>) {
    let start = Instant::now();
    let wait = |ms: u8| {
        let reply = pair.a.call(B, call(SLOW, vec![ms]));
        async move {
            assert_eq!(reply.await, Ok(Bytes::from(vec![ms])));
            (ms, start.elapsed())
        }
    };
    let replies = soon(join_all([250, 5, 120].map(wait))).await;
    let took = |at: usize| replies[at].1;
    assert!(took(1) < took(2) && took(2) < took(0), "{replies:?}");
    assert!(took(0) < Duration::from_millis(370), "one after the other: {replies:?}");
}

async fn a_call_times_out_and_its_handler_is_dropped<W: World>(pair: Pair<W>) {
    let start = Instant::now();
    let timeout = Duration::from_millis(150);
    let outcome = pair.call(Call { timeout, ..call(NEVER, "") }).await;
    assert_eq!(outcome, Err(TransportError::TimedOut { node: B }));
    assert!(start.elapsed() >= timeout);
    assert_eq!(pair.service_b.started(), 1);
    until("its handler is dropped", || pair.service_b.running() == 0).await;
}

async fn a_dropped_caller_drops_its_handler<W: World>(pair: Pair<W>) {
    let calling = tokio::spawn(pair.a.call(B, call(NEVER, "")));
    until("the handler runs", || pair.service_b.running() == 1).await;
    calling.abort();
    until("the handler is dropped", || pair.service_b.running() == 0).await;
    assert!(pair.call(call(ECHO, "still there")).await.is_ok());
}

async fn a_handler_that_panics_costs_its_caller_one_lost_call<W: World>(pair: Pair<W>) {
    let lost = Err(TransportError::Lost { node: B });
    assert_eq!(pair.call(call(PANIC, "")).await, lost);
    assert!(pair.call(call(ECHO, "still there")).await.is_ok());
}

async fn a_node_that_is_not_there_is_unreachable<W: World>(pair: Pair<W>) {
    let nowhere = breccia_types::NodeId::new(77);
    let called = soon(pair.a.call(nowhere, call(ECHO, ""))).await;
    let opened = soon(pair.a.open(nowhere, open(ECHO_STREAM))).await;
    for error in [called.unwrap_err(), opened.unwrap_err()] {
        assert!(
            matches!(&error, TransportError::Unreachable { node, .. } if *node == nowhere),
            "{error:?}"
        );
    }
}

async fn a_large_call_is_answered<W: World>(pair: Pair<W>) {
    let large = bytes(24 << 20);
    assert_eq!(pair.call(call(ECHO, large.clone())).await, Ok(large));
}

async fn messages_arrive_in_order_both_ways<W: World>(pair: Pair<W>) {
    let Duplex { sender, mut receiver } = pair.open(open(ECHO_STREAM)).await;
    let count = 2_000_u32;
    let sending = tokio::spawn(async move {
        for index in 0..count {
            sender.send(Bytes::copy_from_slice(&index.to_be_bytes())).await.unwrap();
        }
    });
    assert_eq!(soon(receiver.receive()).await, Some(Ok(Bytes::from_static(b"header"))));
    for index in 0..count {
        let message = soon(receiver.receive()).await;
        assert_eq!(message, Some(Ok(Bytes::copy_from_slice(&index.to_be_bytes()))));
    }
    assert_eq!(soon(receiver.receive()).await, None);
    soon(sending).await.unwrap();
}

async fn large_messages_arrive_on_either_lane<W: World>(pair: Pair<W>) {
    for lane in [Lane::Control, Lane::Bulk] {
        let Duplex { sender, mut receiver } = pair.open(Open { lane, ..open(ECHO_STREAM) }).await;
        let sizes = [0, 1, 65_536, 1_000_000, 5_000_000, 3];
        tokio::spawn(async move {
            for size in sizes {
                sender.send(bytes(size)).await.unwrap();
            }
        });
        assert!(soon(receiver.receive()).await.is_some());
        for size in sizes {
            assert_eq!(soon(receiver.receive()).await, Some(Ok(bytes(size))), "{lane:?} {size}");
        }
        assert_eq!(soon(receiver.receive()).await, None);
    }
}

async fn one_direction_ends_before_the_other<W: World>(pair: Pair<W>) {
    let Duplex { sender, mut receiver } = pair.open(open(COUNT_STREAM)).await;
    for _ in 0..1_000 {
        soon(sender.send(Bytes::from_static(b"one"))).await.unwrap();
    }
    let clone = sender.clone();
    drop(sender);
    soon(clone.send(Bytes::from_static(b"and one"))).await.unwrap();
    drop(clone);
    assert_eq!(soon(receiver.receive()).await, Some(Ok(Bytes::from_static(b"1001"))));
    assert_eq!(soon(receiver.receive()).await, None);
}

async fn a_stream_that_is_dropped_ends_at_the_other_side<W: World>(pair: Pair<W>) {
    for method in [ECHO_STREAM, FLOOD_STREAM] {
        drop(pair.opened(open(method)).await);
        until("the handler ends", || pair.service_b.running() == 0).await;
    }
}

async fn a_handler_that_returns_ends_its_stream<W: World>(pair: Pair<W>) {
    let mut duplex = pair.open(open(SHORT_STREAM)).await;
    assert_eq!(next(&mut duplex).await, None);
    soon(async { while duplex.sender.send(Bytes::new()).await.is_ok() {} }).await;
}

async fn a_receiver_that_does_not_read_holds_its_sender_back<W: World>(pair: Pair<W>) {
    let Duplex { sender, receiver: _receiver } = pair.opened(open(GATED_STREAM)).await;
    let quiet = Duration::from_millis(200);
    let send = || tokio::time::timeout(quiet, sender.send(Bytes::from_static(b"small")));
    let mut sent = 0;
    while let Ok(outcome) = send().await {
        outcome.unwrap();
        sent += 1;
    }
    assert_eq!(sent, 64);
    pair.service_b.takes().add_permits(1_000);
    for _ in 0..500 {
        soon(sender.send(Bytes::from_static(b"small"))).await.unwrap();
    }
    until("all have arrived", || pair.service_b.taken() == 564).await;
}

async fn a_sender_is_never_far_ahead_in_bytes<W: World>(pair: Pair<W>) {
    let Duplex { sender, receiver: _receiver } = pair.opened(open(GATED_STREAM)).await;
    let quiet = Duration::from_millis(200);
    let send = || tokio::time::timeout(quiet, sender.send(bytes(1 << 20)));
    let mut sent = 0;
    while send().await.is_ok() {
        sent += 1;
    }
    assert_eq!(sent, 4, "a window has 4 MiB");
}

async fn a_message_longer_than_the_window_passes<W: World>(pair: Pair<W>) {
    let Duplex { sender, mut receiver } = pair.open(open(ECHO_STREAM)).await;
    assert!(soon(receiver.receive()).await.is_some());
    for _ in 0..3 {
        soon(sender.send(bytes(9 << 20))).await.unwrap();
        let echoed = soon(receiver.receive()).await.unwrap().unwrap();
        assert_eq!(echoed.len(), 9 << 20);
    }
}

async fn a_flood_that_is_not_read_leaves_other_streams_alone<W: World>(pair: Pair<W>) {
    let _unread = pair.opened(open(FLOOD_STREAM)).await;
    let mut duplex = pair.open(open(ECHO_STREAM)).await;
    assert!(next(&mut duplex).await.is_some());
    for _ in 0..100 {
        soon(duplex.sender.send(bytes(100_000))).await.unwrap();
        assert_eq!(next(&mut duplex).await, Some(Ok(bytes(100_000))));
        assert!(pair.call(call(ECHO, "small")).await.is_ok());
    }
}

async fn a_stream_of_an_unserved_method_ends_with_that_error<W: World>(pair: Pair<W>) {
    let mut duplex = pair.open(open(UNKNOWN)).await;
    let refused = TransportError::NotServed { node: B, method: UNKNOWN };
    assert_eq!(next(&mut duplex).await, Some(Err(refused)));
    assert_eq!(next(&mut duplex).await, None);
    assert!(duplex.sender.send(Bytes::new()).await.is_err());
}

async fn a_stopped_peer_loses_its_streams_and_calls<W: World>(mut pair: Pair<W>) {
    let mut duplex = pair.opened(open(ECHO_STREAM)).await;
    assert!(next(&mut duplex).await.is_some());
    let back = soon(pair._b.open(A, open(ECHO_STREAM))).await.unwrap();
    until("the stream back runs", || pair.service_a.running() == 1).await;
    let waiting = tokio::spawn(pair.a.call(B, call(NEVER, "")));
    until("the call runs", || pair.service_b.running() == 2).await;
    soon(pair.world.stop(B)).await;
    let lost = TransportError::Lost { node: B };
    assert_eq!(next(&mut duplex).await, Some(Err(lost.clone())));
    assert_eq!(next(&mut duplex).await, None);
    assert!(duplex.sender.send(Bytes::new()).await.is_err());
    assert_eq!(soon(waiting).await.unwrap(), Err(lost));
    until("handlers are dropped on both sides", || {
        pair.service_a.running() + pair.service_b.running() == 0
    })
    .await;
    drop(back);
    let after = pair.call(call(ECHO, "")).await;
    assert!(matches!(after, Err(TransportError::Unreachable { .. })), "{after:?}");
}

async fn a_restarted_peer_is_reached_again_in_its_new_incarnation<W: World>(mut pair: Pair<W>) {
    assert!(pair.call(call(ECHO, "before")).await.is_ok());
    let mut duplex = pair.opened(open(ECHO_STREAM)).await;
    pair.world.stop(B).await;
    let service = Service::new();
    let b = pair.world.start(B, 2, service.handler()).await;
    assert!(next(&mut duplex).await.is_some_and(|header| header.is_ok()));
    assert_eq!(next(&mut duplex).await, Some(Err(TransportError::Lost { node: B })));
    let reply = eventually(|| async { pair.call(call(ECHO, "after")).await.ok() }).await;
    assert_eq!(reply, Bytes::from_static(b"after"));
    let who = soon(b.call(A, call(WHO, ""))).await;
    assert_eq!(who, Ok(Bytes::from_static(b"n2 2")));
}

async fn what_arrived_of_a_lost_stream_is_its_beginning_in_order<W: World>(mut pair: Pair<W>) {
    for incarnation in 2..6 {
        let opened = eventually(|| async { pair.a.open(B, open(ECHO_STREAM)).await.ok() }).await;
        let Duplex { sender, mut receiver } = opened;
        let sending = tokio::spawn(async move {
            let mut index = 0_u32;
            while sender.send(Bytes::copy_from_slice(&index.to_be_bytes())).await.is_ok() {
                index += 1;
            }
            index
        });
        assert_eq!(soon(receiver.receive()).await, Some(Ok(Bytes::from_static(b"header"))));
        let mut arrived = 0_u32;
        let end = loop {
            if arrived == 100 * incarnation {
                pair.world.stop(B).await;
            }
            match soon(receiver.receive()).await {
                Some(Ok(message)) => {
                    assert_eq!(message, arrived.to_be_bytes().as_slice());
                    arrived += 1;
                }
                end => break end,
            }
        };
        assert_eq!(end, Some(Err(TransportError::Lost { node: B })));
        assert!(arrived <= soon(sending).await.unwrap());
        let service = Service::new();
        pair._b = pair.world.start(B, incarnation.into(), service.handler()).await;
    }
}
