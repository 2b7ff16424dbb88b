//! chitchat's messages through a UDP socket that its owner has bound.
//!
//! chitchat binds by itself. A node must bind first, to learn the port or to be told that it
//! is taken, and serves peers by TCP on the same number.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use chitchat::transport::{Socket, Transport};
use chitchat::{ChitchatMessage, Deserializable, Serializable};
use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::time::sleep;
use tracing::{debug, warn};

/// The largest payload of a UDP datagram over IPv4, in bytes.
const DATAGRAM_BYTES_MAX: usize = 65_507;
/// Failures in a row after which the socket is taken for broken.
const FAILURES_MAX: u32 = 100;
/// How long to wait after a failure.
const FAILURE_PAUSE: Duration = Duration::from_millis(100);

/// Hands out its socket to the first who asks.
pub(super) struct BoundUdp(Mutex<Option<UdpSocket>>);

impl BoundUdp {
    pub(super) const fn new(socket: UdpSocket) -> Self {
        Self(Mutex::new(Some(socket)))
    }
}

#[async_trait]
impl Transport for BoundUdp {
    async fn open(&self, _: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let socket = self.0.lock().take();
        let socket = socket.ok_or_else(|| anyhow::anyhow!("the socket is already in use"))?;
        let received = vec![0; DATAGRAM_BYTES_MAX].into_boxed_slice();
        Ok(Box::new(GossipSocket { socket, received, failures: 0 }))
    }
}

struct GossipSocket {
    socket: UdpSocket,
    received: Box<[u8]>,
    failures: u32,
}

#[async_trait]
impl Socket for GossipSocket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        self.socket.send_to(&message.serialize_to_vec(), to).await?;
        Ok(())
    }

    /// Cancel-safe: a datagram is taken and decoded in one poll.
    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        loop {
            let (length, from) = match self.socket.recv_from(&mut self.received).await {
                Ok(received) => received,
                Err(error) if self.failures < FAILURES_MAX => {
                    self.failures += 1;
                    debug!(%error, "receiving gossip failed");
                    sleep(FAILURE_PAUSE).await;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            self.failures = 0;
            let mut bytes = self.received.get(..length).unwrap_or_default();
            match ChitchatMessage::deserialize(&mut bytes) {
                Ok(message) => return Ok((from, message)),
                Err(error) => warn!(%from, length, %error, "not gossip"),
            }
        }
    }
}
