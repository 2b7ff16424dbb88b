//! What the TCP transport does when peers are dead, slow, flooded or hostile.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests fail by panicking"
)]

mod support;

use std::time::Duration;

use breccia_transport::tcp::limits::{CALL_BYTES_PER_PEER_MAX, FRAME_BODY_BYTES_MAX};
use breccia_transport::tcp::{Config, LinkStatus, Timing};
use breccia_transport::{Call, Lane, Open, Transport, TransportError};
use breccia_types::NodeId;
use bytes::Bytes;
use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use support::proxy::Proxy;
use support::service::{ECHO, ECHO_STREAM, FLOOD_STREAM, LARGE, NEVER, SINK_STREAM, SLOW};
use support::tcp::{config, hasty, pair, start};
use support::{A, B, bytes, call, eventually, open, soon, until};

#[tokio::test]
async fn a_peer_that_accepts_and_never_greets_is_given_up_within_the_handshake_time() {
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let a = start(Config { timing: hasty(), ..config(A, 1) }).await;
    a.transport.peers().set(B, hanging.local_addr().unwrap().to_string());
    let start = Instant::now();
    let outcome = soon(a.transport.call(B, call(ECHO, ""))).await;
    assert!(matches!(outcome, Err(TransportError::Unreachable { .. })), "{outcome:?}");
    assert!(start.elapsed() < Duration::from_secs(2), "after {:?}", start.elapsed());
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_noticed_on_both_sides_and_reached_again_later() {
    let (a, b) = pair(hasty()).await;
    let wire = Proxy::to(b.address.clone()).await;
    a.transport.peers().set(B, wire.address.clone());
    let mut stream = soon(a.transport.open(B, open(ECHO_STREAM))).await.unwrap();
    assert!(soon(stream.receiver.receive()).await.is_some_and(|header| header.is_ok()));
    let waiting = tokio::spawn(a.transport.call(B, call(NEVER, "")));
    until("the call runs", || b.service.running() == 2).await;
    let frozen_at = Instant::now();
    wire.freeze();
    let lost = TransportError::Lost { node: B };
    assert_eq!(soon(stream.receiver.receive()).await, Some(Err(lost.clone())));
    assert_eq!(soon(waiting).await.unwrap(), Err(lost));
    until("the other side notices too", || b.service.running() == 0).await;
    assert!(frozen_at.elapsed() < Duration::from_secs(2), "after {:?}", frozen_at.elapsed());
    for node in [&a, &b] {
        assert_eq!(node.transport.status().counts.silences, 1);
    }
    wire.thaw();
    eventually(|| async { a.transport.call(B, call(ECHO, "")).await.ok() }).await;
    assert_eq!(a.transport.status().counts.reconnects, 1);
}

/// The other side's answers to pings wait behind a frame that is longer on its way than
/// silence may last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_takes_a_long_frame_slowly_is_not_silent() {
    let timing = Timing { silence_max: Duration::from_secs(1), ..hasty() };
    let (a, b) = pair(timing).await;
    let wire = Proxy::to(b.address.clone()).await;
    a.transport.peers().set(B, wire.address.clone());
    wire.slow_down(25e6);
    let long = Call { timeout: Duration::from_secs(30), body: bytes(75 << 20), ..call(SLOW, "") };
    let start = Instant::now();
    let outcome = soon(a.transport.call(B, long)).await;
    assert!(outcome.is_ok(), "{outcome:?} after {:?}", start.elapsed());
    assert!(start.elapsed() > 2 * timing.silence_max, "{:?}", start.elapsed());
    assert_eq!(a.transport.status().counts.silences, 0);
}

#[tokio::test]
async fn a_dead_peer_costs_few_attempts_and_its_callers_no_time() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap().to_string();
    drop(closed);
    let a = start(config(A, 1)).await;
    a.transport.peers().set(B, address);
    let start = Instant::now();
    let mut calls = 0_u64;
    while start.elapsed() < Duration::from_secs(1) {
        for _ in 0..100 {
            let outcome = soon(a.transport.call(B, call(ECHO, ""))).await;
            assert!(matches!(outcome, Err(TransportError::Unreachable { .. })), "{outcome:?}");
            calls += 1;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Pauses of at least 25, 50, 100, 200, 400 and 800 ms lie between the attempts.
    let attempts = a.transport.status().counts.connects_attempted;
    assert!((2..=7).contains(&attempts), "{attempts} attempts");
    assert!(calls > 1_000, "{calls} calls");
    let status = a.transport.status();
    assert!(matches!(status.peers[0].control, LinkStatus::Pausing { .. }), "{status:?}");
}

#[tokio::test]
async fn a_peer_at_a_new_address_is_dialed_at_once() {
    let (a, b) = pair(Timing {
        backoff_min: Duration::from_secs(3_600),
        backoff_max: Duration::from_secs(3_600),
        ..Timing::default()
    })
    .await;
    a.transport.peers().set(NodeId::new(5), "127.0.0.1:1");
    let peers = a.transport.peers();
    peers.remove(B);
    peers.set(B, "127.0.0.1:1");
    assert!(soon(a.transport.call(B, call(ECHO, ""))).await.is_err());
    peers.set(B, b.address.clone());
    assert!(soon(a.transport.call(B, call(ECHO, ""))).await.is_ok());
    assert_eq!(peers.address(B), Some(b.address.clone()));
    assert_eq!(peers.all().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_traffic_does_not_delay_control_calls() {
    let (a, b) = pair(Timing::default()).await;
    let bulk = || Open { lane: Lane::Bulk, ..open(FLOOD_STREAM) };
    let mut down = soon(a.transport.open(B, bulk())).await.unwrap();
    tokio::spawn(async move { while let Some(Ok(_)) = down.receiver.receive().await {} });
    let up = Open { lane: Lane::Bulk, ..open(SINK_STREAM) };
    let up = soon(a.transport.open(B, up)).await.unwrap();
    tokio::spawn(async move { while up.sender.send(bytes(1 << 20)).await.is_ok() {} });
    until("bulk flows", || b.service.taken() > 4).await;
    let mut took = Vec::new();
    for _ in 0..200 {
        let start = Instant::now();
        soon(a.transport.call(B, call(ECHO, "small"))).await.unwrap();
        took.push(start.elapsed());
    }
    took.sort();
    let (median, slowest) = (took[100], took[199]);
    assert!(median < Duration::from_millis(20), "median {median:?}, slowest {slowest:?}");
    assert!(slowest < Duration::from_millis(500), "median {median:?}, slowest {slowest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_small_calls_share_far_fewer_writes() {
    let (a, b) = pair(Timing::default()).await;
    soon(a.transport.call(B, call(ECHO, ""))).await.unwrap();
    let count = 5_000_u64;
    let calls = (0..count).map(|_| a.transport.call(B, call(ECHO, "small")));
    for reply in soon(join_all(calls)).await {
        assert_eq!(reply, Ok(Bytes::from_static(b"small")));
    }
    let (asked, answered) = (a.transport.status().counts, b.transport.status().counts);
    assert!(asked.frames_sent >= count && answered.frames_sent >= count);
    assert!(asked.writes < count / 10, "{asked:?}");
    assert!(answered.writes < count / 4, "{answered:?}");
}

#[tokio::test]
async fn too_much_for_one_peer_is_busy_at_once() {
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let a = start(config(A, 1)).await;
    a.transport.peers().set(B, hanging.local_addr().unwrap().to_string());
    let body = Bytes::from(vec![0; CALL_BYTES_PER_PEER_MAX / 2]);
    let waiting: Vec<_> =
        (0..2).map(|_| tokio::spawn(a.transport.call(B, call(ECHO, body.clone())))).collect();
    let waits = || a.transport.status().peers[0].call_bytes_waiting;
    until("both wait", || waits() == CALL_BYTES_PER_PEER_MAX).await;
    let busy = Err(TransportError::Busy { node: B });
    assert_eq!(soon(a.transport.call(B, call(ECHO, "one more"))).await, busy);
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    until("the room is given back", || waits() == 0).await;
}

#[tokio::test]
async fn what_is_longer_than_a_frame_is_refused_by_name() {
    let (a, _b) = pair(Timing::default()).await;
    let too_large = TransportError::TooLarge { node: B, bytes_max: FRAME_BODY_BYTES_MAX };
    let body = Bytes::from(vec![0; FRAME_BODY_BYTES_MAX + 1]);
    let outcome = soon(a.transport.call(B, call(ECHO, body.clone()))).await;
    assert_eq!(outcome, Err(too_large.clone()));
    let reply = soon(a.transport.call(B, call(LARGE, vec![81]))).await;
    assert_eq!(reply, Err(too_large.clone()));
    let mut stream = soon(a.transport.open(B, open(ECHO_STREAM))).await.unwrap();
    assert!(soon(stream.receiver.receive()).await.is_some_and(|header| header.is_ok()));
    soon(stream.sender.send(body)).await.unwrap();
    assert_eq!(soon(stream.receiver.receive()).await, Some(Err(too_large)));
    assert!(soon(a.transport.call(B, call(ECHO, ""))).await.is_ok());
}

#[tokio::test]
async fn the_largest_value_passes() {
    let (a, _b) = pair(Timing::default()).await;
    let reply = soon(a.transport.call(B, call(LARGE, vec![64]))).await;
    assert_eq!(reply.map(|body| body.len()), Ok(64 << 20));
}

#[tokio::test]
async fn garbage_sent_to_the_port_does_no_harm() {
    let (a, b) = pair(hasty()).await;
    let http = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec();
    let zeros = vec![0; 100_000];
    let lying = [b"BRCT".as_slice(), &[0xff; 6]].concat();
    let corrupted = [b"BRCT".as_slice(), &[0, 3, 1, 2, 3, 4, 9, 9, 9]].concat();
    let cut_short = b"BR".to_vec();
    for garbage in [http, zeros, lying, corrupted, cut_short] {
        let mut socket = TcpStream::connect(&b.address).await.unwrap();
        // It may be closed before all is written.
        let _ = socket.write_all(&garbage).await;
        let mut answer = Vec::new();
        let _ = soon(socket.read_to_end(&mut answer)).await;
        assert!(answer.is_empty(), "{answer:?}");
    }
    assert!(soon(a.transport.call(B, call(ECHO, ""))).await.is_ok());
    let counts = b.transport.status().counts;
    assert_eq!((counts.greetings_failed, counts.rejections), (5, 0));
}

#[tokio::test]
async fn a_shutdown_answers_what_it_has_and_takes_nothing_new() {
    let (a, b) = pair(Timing::default()).await;
    let slow = tokio::spawn(a.transport.call(B, call(SLOW, vec![200])));
    let never = tokio::spawn(a.transport.call(B, call(NEVER, "")));
    until("both run", || b.service.running() == 2).await;
    let stopping = tokio::spawn({
        let transport = b.transport.clone();
        async move { transport.shutdown(Duration::from_millis(500)).await }
    });
    until("nothing new is taken", || a.transport.status().peers[0].control == LinkStatus::Idle)
        .await;
    let new = soon(a.transport.call(B, call(ECHO, ""))).await;
    assert!(matches!(new, Err(TransportError::Unreachable { .. })), "{new:?}");
    assert_eq!(soon(slow).await.unwrap(), Ok(Bytes::from(vec![200])));
    assert_eq!(soon(never).await.unwrap(), Err(TransportError::Lost { node: B }));
    soon(stopping).await.unwrap();
    let own = soon(b.transport.call(A, call(ECHO, ""))).await;
    assert!(matches!(own, Err(TransportError::Unreachable { .. })), "{own:?}");
    assert!(TcpStream::connect(&b.address).await.is_err());
}

#[tokio::test]
async fn an_idle_bulk_connection_is_closed_and_made_again() {
    let (a, _b) = pair(Timing { bulk_idle_max: Duration::from_millis(150), ..hasty() }).await;
    let bulk = || Open { lane: Lane::Bulk, ..open(ECHO_STREAM) };
    let bulk_status = || a.transport.status().peers[0].bulk.clone();
    for _ in 0..2 {
        let stream = soon(a.transport.open(B, bulk())).await.unwrap();
        assert!(matches!(bulk_status(), LinkStatus::Connected { .. }));
        drop(stream);
        until("it is closed", || bulk_status() == LinkStatus::Idle).await;
    }
    assert_eq!(a.transport.status().counts.connects_failed, 0);
}

#[tokio::test]
async fn a_call_during_an_attempt_waits_no_longer_than_its_timeout() {
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let a = start(config(A, 1)).await;
    a.transport.peers().set(B, hanging.local_addr().unwrap().to_string());
    let start = Instant::now();
    let timeout = Duration::from_millis(100);
    let outcome = soon(a.transport.call(B, Call { timeout, ..call(ECHO, "") })).await;
    assert!(matches!(outcome, Err(TransportError::Unreachable { .. })), "{outcome:?}");
    assert!(start.elapsed() < Duration::from_secs(1), "after {:?}", start.elapsed());
}
