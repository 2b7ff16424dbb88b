//! Messages between nodes: calls with one reply, and streams both ways.
//!
//! Everything that nodes say to each other goes through the [`Transport`] trait: the entries
//! and votes of the shards' logs, snapshots, forwarded requests.

pub mod transport;

pub mod stream;

pub use stream::{Duplex, MessageReceiver, MessageSender, duplex};
pub use transport::{Call, Handler, Lane, Method, Open, Peer, Refusal, Transport, TransportError};
