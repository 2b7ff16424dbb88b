//! A peer that does not keep the rules.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use breccia_types::NodeId;
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::stream::{Duplex, STREAM_WINDOW_MESSAGES};
use crate::transport::{Access, Handler, Method, Peer, Refusal};
use breccia_types::ClusterId;

use super::frame::{Encoded, Frame, HEAD_BYTES, Verdict};
use super::greeting::{Confirm, Hello, Identity, Purpose, Rejection, Welcome};
use super::handshake::{self, Established, HandshakeError, Judge};
use super::limits::{FRAME_BODY_BYTES_MAX, STRANGER_BODY_BYTES_MAX};
use super::{Config, TcpTransport, Timing};

const CLUSTER: ClusterId = ClusterId::new([7; 16]);
const HONEST: NodeId = NodeId::new(1);
const HOSTILE: NodeId = NodeId::new(2);

/// Counts what reaches it, and never answers.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Handler for Counting {
    fn access(&self, _: Method) -> Access {
        Access::Anyone
    }

    fn on_call(&self, _: Peer, _: Method, _: Bytes) -> BoxFuture<'static, Result<Bytes, Refusal>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::pending())
    }

    fn on_open(&self, _: Peer, _: Method, _: Bytes, duplex: Duplex) -> BoxFuture<'static, ()> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            std::future::pending::<()>().await;
            drop(duplex);
        })
    }
}

struct Anyone;

impl Judge for Anyone {
    fn judge(&self, _: &Identity) -> Result<(), Rejection> {
        Ok(())
    }
}

struct Honest {
    transport: TcpTransport,
    handler: Arc<Counting>,
    address: String,
}

/// A connection whose dialing side the test plays.
struct Raw {
    socket: TcpStream,
    established: Established,
}

async fn honest() -> Honest {
    let transport = TcpTransport::new(Config {
        node: HONEST,
        incarnation: 1,
        cluster: Some(CLUSTER),
        address: String::new(),
        timing: Timing { handshake_max: Duration::from_millis(300), ..Timing::default() },
    });
    let handler = Arc::new(Counting::default());
    let serving = Arc::clone(&handler);
    let listener = transport.listen("127.0.0.1:0", serving).await.unwrap();
    let address = listener.local_addr().to_string();
    tokio::spawn(listener.run());
    Honest { transport, handler, address }
}

fn hostile(cluster: Option<ClusterId>) -> Identity {
    let peer = Peer { node: HOSTILE, incarnation: 1 };
    Identity { cluster, peer, run: 1, address: String::new() }
}

async fn dial(honest: &Honest, cluster: Option<ClusterId>) -> Raw {
    let mut socket = TcpStream::connect(&honest.address).await.unwrap();
    let ours = hostile(cluster);
    let greeting = handshake::dial(&mut socket, &ours, Purpose::Control, None, &Anyone);
    let established = greeting.await.unwrap();
    Raw { socket, established }
}

impl Raw {
    async fn send(&mut self, frame: Frame) {
        let Encoded { head, body } = frame.encode(self.established.epoch);
        self.send_bytes(&[&head, &body[..]].concat()).await;
    }

    async fn send_bytes(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
    }

    async fn is_closed(&mut self) {
        let mut rest = Vec::new();
        let reading = self.socket.read_to_end(&mut rest);
        let _ = tokio::time::timeout(Duration::from_secs(10), reading).await.unwrap();
    }
}

/// That the honest node has closed the connection and delivered so much.
async fn closed_after(honest: &Honest, mut raw: Raw, delivered: usize) {
    raw.is_closed().await;
    assert_eq!(honest.handler.0.load(Ordering::SeqCst), delivered);
    assert_eq!(honest.transport.status().counts.frames_invalid, 1);
}

fn a_call() -> Frame {
    let body = Bytes::from_static(b"content");
    Frame::Call { id: 1, method: Method(1), timeout_ms: 1_000, body }
}

#[tokio::test]
async fn a_corrupted_frame_closes_the_connection_and_nothing_of_it_is_delivered() {
    for corrupted in [1, 9, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 6] {
        let honest = honest().await;
        let mut raw = dial(&honest, Some(CLUSTER)).await;
        let Encoded { head, body } = a_call().encode(raw.established.epoch);
        let mut bytes = [&head, &body[..]].concat();
        bytes[corrupted] ^= 0x10;
        raw.send_bytes(&bytes).await;
        closed_after(&honest, raw, 0).await;
    }
}

#[tokio::test]
async fn what_came_before_a_corrupted_frame_is_delivered_and_nothing_after() {
    let honest = honest().await;
    let mut raw = dial(&honest, Some(CLUSTER)).await;
    let mut corrupted = a_call().encode(raw.established.epoch).head;
    corrupted[0] = 9;
    raw.send(a_call()).await;
    raw.send_bytes(&corrupted).await;
    raw.send(a_call()).await;
    raw.is_closed().await;
    // The first call may have been dropped with its connection before it ran.
    assert!(honest.handler.0.load(Ordering::SeqCst) <= 1);
}

#[tokio::test]
async fn a_frame_that_claims_too_much_is_refused_at_its_head() {
    for (cluster, bytes_max) in
        [(Some(CLUSTER), FRAME_BODY_BYTES_MAX), (None, STRANGER_BODY_BYTES_MAX)]
    {
        let honest = honest().await;
        let mut raw = dial(&honest, cluster).await;
        let body = Bytes::from(vec![0; bytes_max + 1]);
        let message = Frame::Message { id: 1, body };
        let head = message.encode(raw.established.epoch).head;
        raw.send_bytes(&head).await;
        closed_after(&honest, raw, 0).await;
    }
}

#[tokio::test]
async fn a_frame_of_an_older_connection_closes_the_new_one() {
    let honest = honest().await;
    let old = dial(&honest, Some(CLUSTER)).await;
    let mut new = dial(&honest, Some(CLUSTER)).await;
    let Encoded { head, body } = a_call().encode(old.established.epoch);
    new.send_bytes(&[&head, &body[..]].concat()).await;
    closed_after(&honest, new, 0).await;
}

#[tokio::test]
async fn a_new_connection_of_a_peer_takes_the_place_of_its_old_one() {
    let honest = honest().await;
    let mut old = dial(&honest, Some(CLUSTER)).await;
    let _new = dial(&honest, Some(CLUSTER)).await;
    old.is_closed().await;
}

#[tokio::test]
async fn more_messages_than_the_window_holds_close_the_connection() {
    let honest = honest().await;
    let mut raw = dial(&honest, Some(CLUSTER)).await;
    raw.send(Frame::Open { id: 1, method: Method(1), header: Bytes::new() }).await;
    while honest.handler.0.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..=STREAM_WINDOW_MESSAGES {
        raw.send(Frame::Message { id: 1, body: Bytes::new() }).await;
    }
    closed_after(&honest, raw, 1).await;
}

#[tokio::test]
async fn frames_out_of_place_close_the_connection() {
    let reply = Frame::Reply { id: 1, verdict: Verdict::Done, body: Bytes::new() };
    let credit = Frame::Credit { id: 1, charge: 1 };
    let open = || Frame::Open { id: 1, method: Method(1), header: Bytes::new() };
    for (before, frame) in
        [(None, reply), (None, Frame::Pong), (Some(open()), credit), (Some(open()), open())]
    {
        let honest = honest().await;
        let mut raw = dial(&honest, Some(CLUSTER)).await;
        for frame in before.into_iter().chain([frame]) {
            raw.send(frame).await;
        }
        raw.is_closed().await;
        assert_eq!(honest.transport.status().counts.frames_invalid, 1);
    }
}

#[tokio::test]
async fn frames_of_streams_and_calls_that_are_over_are_ignored() {
    let honest = honest().await;
    let mut raw = dial(&honest, Some(CLUSTER)).await;
    for frame in [
        Frame::Message { id: 5, body: Bytes::new() },
        Frame::End { id: 5 },
        Frame::Stop { id: 5 },
        Frame::Credit { id: 5, charge: 1 },
        Frame::Cancel { id: 5 },
        Frame::Reset { id: 5, verdict: Verdict::Failed },
        Frame::Ping,
    ] {
        raw.send(frame).await;
    }
    let mut pong = [0; HEAD_BYTES];
    let reading = raw.socket.read_exact(&mut pong);
    tokio::time::timeout(Duration::from_secs(10), reading).await.unwrap().unwrap();
    assert_eq!(pong, Frame::Pong.encode(raw.established.epoch).head);
}

#[tokio::test]
async fn greetings_that_were_recorded_cannot_be_played_back() {
    let honest = honest().await;
    let hello = Hello {
        version_min: 1,
        version_max: 1,
        purpose: Purpose::Control,
        identity: hostile(Some(CLUSTER)),
        expects: None,
        nonce: 5,
    };
    let mut socket = TcpStream::connect(&honest.address).await.unwrap();
    handshake::write(&mut socket, &hello.encode()).await.unwrap();
    let welcome = Welcome::decode(handshake::read(&mut socket).await.unwrap()).unwrap();
    let recorded = Confirm { echo: welcome.nonce, rejection: None }.encode();
    let mut replayed = TcpStream::connect(&honest.address).await.unwrap();
    handshake::write(&mut replayed, &hello.encode()).await.unwrap();
    handshake::write(&mut replayed, &recorded).await.unwrap();
    assert!(handshake::read(&mut replayed).await.is_ok());
    let closed = handshake::read(&mut replayed).await;
    assert!(matches!(closed, Err(HandshakeError::Io { .. })), "{closed:?}");
    assert_eq!(honest.transport.status().counts.greetings_failed, 1);
}

#[tokio::test]
async fn versions_without_overlap_are_refused_by_name() {
    let honest = honest().await;
    let hello = Hello {
        version_min: 8,
        version_max: 9,
        purpose: Purpose::Control,
        identity: hostile(Some(CLUSTER)),
        expects: None,
        nonce: 5,
    };
    let mut socket = TcpStream::connect(&honest.address).await.unwrap();
    handshake::write(&mut socket, &hello.encode()).await.unwrap();
    let welcome = Welcome::decode(handshake::read(&mut socket).await.unwrap()).unwrap();
    let rejection = Rejection::NoCommonVersion { dialing: (8, 9), accepting: (1, 1) };
    assert_eq!(welcome.rejection, Some(rejection));
}

#[tokio::test]
async fn a_welcome_that_answers_another_hello_is_not_believed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let hello = Hello::decode(handshake::read(&mut socket).await.unwrap()).unwrap();
        let identity = hostile(Some(CLUSTER));
        let echo = hello.nonce ^ 1;
        let welcome = Welcome { version: 1, identity, echo, nonce: 1, epoch: 1, rejection: None };
        handshake::write(&mut socket, &welcome.encode()).await.unwrap();
    });
    let mut socket = TcpStream::connect(address).await.unwrap();
    let ours = hostile(Some(CLUSTER));
    let greeted = handshake::dial(&mut socket, &ours, Purpose::Control, None, &Anyone).await;
    assert_eq!(greeted.map(|_| ()), Err(HandshakeError::OtherEcho));
}
