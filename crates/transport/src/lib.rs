//! Messages between nodes: calls with one reply, and streams both ways.
//!
//! Everything that nodes say to each other goes through the [`Transport`] trait: the entries
//! and votes of the shards' logs, snapshots, forwarded requests. There are two transports:
//! [`tcp`] between processes, and [`memory`] between nodes of one process, whose faults are
//! chosen by a test.

pub mod transport;

pub mod stream;

pub mod methods;

pub mod memory;
pub mod tcp;

pub use memory::{Faults, MemoryNetwork, MemoryTransport};
pub use methods::MethodTable;
pub use stream::{Duplex, MessageReceiver, MessageSender, duplex};
pub use tcp::TcpTransport;
pub use transport::{
    Access, Call, Handler, Lane, Method, Open, Peer, Refusal, Transport, TransportError,
};
