//! The transport between processes: frames of our own over TCP.
//!
//! ```text
//!  call, open ─► link ─► connection: pending calls, streams ─► outbox ─► one write
//!                                                                          │ TCP
//!  handler ◄─ served calls, streams ◄─ connection ◄─ frames ◄─ reader ◄────┘
//! ```
//!
//! A node makes one *control* connection to each peer it has something to say to, which
//! carries all its calls and small streams, and a *bulk* connection while there is bulk.
//! The peer answers on the connection that it was asked on. `greeting` says how the two get
//! to know each other, `frame` what they say then, `limits` how much of it.

pub mod config;
pub mod limits;
pub mod status;

mod connection;
mod frame;
mod greeting;
mod handshake;
mod link;
mod listener;
mod metrics;
mod outbox;
mod peers;
mod pending;
mod reader;
mod served;
mod shared;
mod sightings;
mod streams;
mod transport;

#[cfg(test)]
mod tests;

pub use config::{Config, Timing};
pub use greeting::Rejection;
pub use handshake::HandshakeError;
pub use listener::{ListenError, Listener};
pub use metrics::Counts;
pub use peers::Peers;
pub use shared::DialError;
pub use status::{LinkStatus, PeerStatus, RejectedConnection, Status};
pub use transport::{AnotherCluster, Dialed, TcpTransport};
