//! What an embedder chooses.

use std::net::SocketAddr;

use breccia_types::limits::CONNECTIONS_MAX;

use crate::Extensions;

/// Where the Redis protocol is served.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 for any free one.
    pub address: SocketAddr,
    /// The most connections at a time; one more gets an error and is closed.
    pub connections_max: usize,
    /// What the node was opened with for its front ends.
    pub extensions: Extensions,
}

impl Config {
    /// The defaults, at this address.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        let extensions = Extensions::default();
        Self { address, connections_max: CONNECTIONS_MAX, extensions }
    }
}
