//! Round trips of small calls between two nodes on loopback.
//!
//! `cargo run --release -p breccia-transport --example round_trips [seconds]`

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use breccia_transport::tcp::{Config, Timing};
use breccia_transport::{
    Call, Duplex, Handler, Lane, Method, Open, Peer, Refusal, TcpTransport, Transport,
};
use breccia_types::{ClusterId, NodeId};
use bytes::Bytes;
use futures::future::{BoxFuture, join_all};

const BODY_BYTES: usize = 128;
const SERVER: NodeId = NodeId::new(2);

struct Echo;

impl Handler for Echo {
    fn on_call(
        &self,
        _: Peer,
        _: Method,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, Refusal>> {
        Box::pin(async move { Ok(body) })
    }

    fn on_open(&self, _: Peer, _: Method, _: Bytes, mut duplex: Duplex) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            while let Some(Ok(message)) = duplex.receiver.receive().await {
                if duplex.sender.send(message).await.is_err() {
                    return;
                }
            }
        })
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let seconds = std::env::args().nth(1).map_or(Ok(3), |text| text.parse())?;
    let duration = Duration::from_secs(seconds);
    let server = node(SERVER);
    let listener = server.listen("127.0.0.1:0", Arc::new(Echo)).await?;
    let address = listener.local_addr().to_string();
    tokio::spawn(listener.run());
    let client = node(NodeId::new(1));
    client.peers().set(SERVER, address);

    for in_flight in [1, 8, 64, 512] {
        let before = client.status().counts;
        let start = Instant::now();
        let callers = (0..in_flight).map(|_| tokio::spawn(calls(client.clone(), duration)));
        let mut took = Vec::new();
        for caller in join_all(callers).await {
            took.extend(caller??);
        }
        let after = client.status().counts;
        let frames_per_write =
            (after.frames_sent - before.frames_sent) / (after.writes - before.writes).max(1);
        report(&format!("calls, {in_flight:>3} in flight"), start.elapsed(), took);
        println!("  {frames_per_write} frames per write of the caller");
    }
    for in_flight in [1, 32] {
        let start = Instant::now();
        let took = tokio::spawn(messages(client.clone(), in_flight, duration)).await??;
        report(&format!("one stream, {in_flight:>3} in flight"), start.elapsed(), took);
    }
    Ok(())
}

fn node(node: NodeId) -> TcpTransport {
    TcpTransport::new(Config {
        node,
        incarnation: 1,
        cluster: Some(ClusterId::new([1; 16])),
        address: String::new(),
        timing: Timing::default(),
    })
}

async fn calls(client: TcpTransport, duration: Duration) -> anyhow::Result<Vec<Duration>> {
    let body = Bytes::from(vec![7; BODY_BYTES]);
    let end = Instant::now() + duration;
    let mut took = Vec::new();
    while Instant::now() < end {
        let start = Instant::now();
        let timeout = Duration::from_secs(5);
        client.call(SERVER, Call { method: Method(1), body: body.clone(), timeout }).await?;
        took.push(start.elapsed());
    }
    Ok(took)
}

async fn messages(
    client: TcpTransport,
    in_flight: usize,
    duration: Duration,
) -> anyhow::Result<Vec<Duration>> {
    let open = Open { method: Method(2), header: Bytes::new(), lane: Lane::Control };
    let mut duplex = client.open(SERVER, open).await?;
    let body = Bytes::from(vec![7; BODY_BYTES]);
    let end = Instant::now() + duration;
    let mut sent = std::collections::VecDeque::new();
    let mut took = Vec::new();
    while Instant::now() < end {
        while sent.len() < in_flight {
            sent.push_back(Instant::now());
            duplex.sender.send(body.clone()).await?;
        }
        duplex.receiver.receive().await.context("the stream ended")??;
        took.extend(sent.pop_front().map(|at| at.elapsed()));
    }
    Ok(took)
}

fn report(what: &str, elapsed: Duration, mut took: Vec<Duration>) {
    took.sort();
    let rate = f64::from(u32::try_from(took.len()).unwrap_or(u32::MAX)) / elapsed.as_secs_f64();
    let at = |share: usize| took.get(took.len() * share / 1_000).copied().unwrap_or_default();
    println!(
        "{what}: {rate:.0} round trips/s, p50 {:?}, p99 {:?}, p99.9 {:?}",
        at(500),
        at(990),
        at(999)
    );
}
