//! What an embedder chooses.

use std::net::SocketAddr;

use breccia_types::limits::CONNECTIONS_MAX;

/// Where the Redis protocol is served.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 for any free one.
    pub address: SocketAddr,
    /// The most connections at a time; one more gets an error and is closed.
    pub connections_max: usize,
}

impl Config {
    /// The defaults, at this address.
    #[must_use]
    pub const fn new(address: SocketAddr) -> Self {
        Self { address, connections_max: CONNECTIONS_MAX }
    }
}
