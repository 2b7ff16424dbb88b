//! A connection to one node.

use std::time::Duration;

use breccia_api::v1::admin_client::AdminClient;
use breccia_api::v1::key_value_client::KeyValueClient;
use breccia_api::v1::tables_client::TablesClient;
use breccia_types::limits::HTTP_BODY_BYTES_MAX;
use tonic::transport::{Channel, Endpoint};

use crate::error::Error;
use crate::topology::Address;

/// How often a connection is probed on which an answer is awaited, and how long the probe
/// may take: a node that went away without a word is noticed after both.
const PROBE_EVERY: Duration = Duration::from_secs(3);
const PROBE_DEADLINE: Duration = Duration::from_secs(3);
/// Bytes of a stream that may be on their way: no more than a page of a scan.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// A node, connected to when it is first asked, and again after the connection broke.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) address: Address,
    channel: Channel,
}

impl Node {
    pub(crate) fn new(address: Address, connect_timeout: Duration) -> Result<Self, Error> {
        let channel = endpoint(&address)?
            .connect_timeout(connect_timeout)
            .http2_keep_alive_interval(PROBE_EVERY)
            .keep_alive_timeout(PROBE_DEADLINE)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .tcp_nodelay(true)
            .connect_lazy();
        Ok(Self { address, channel })
    }

    pub(crate) fn key_value(&self) -> KeyValueClient<Channel> {
        KeyValueClient::new(self.channel.clone())
            .max_decoding_message_size(HTTP_BODY_BYTES_MAX)
            .max_encoding_message_size(HTTP_BODY_BYTES_MAX)
    }

    pub(crate) fn tables(&self) -> TablesClient<Channel> {
        TablesClient::new(self.channel.clone()).max_decoding_message_size(HTTP_BODY_BYTES_MAX)
    }

    pub(crate) fn admin(&self) -> AdminClient<Channel> {
        AdminClient::new(self.channel.clone()).max_decoding_message_size(HTTP_BODY_BYTES_MAX)
    }
}

/// Reads `host:port`, with or without `http://`.
///
/// # Errors
/// [`Error::InvalidAddress`].
pub(crate) fn read_address(text: &str) -> Result<Address, Error> {
    let address = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    endpoint(address)?;
    Ok(address.into())
}

fn endpoint(address: &str) -> Result<Endpoint, Error> {
    Endpoint::from_shared(format!("http://{address}"))
        .map_err(|source| Error::InvalidAddress { address: address.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_and_without_their_scheme() {
        for text in ["localhost:7400", "http://localhost:7400", "http://localhost:7400/"] {
            assert_eq!(read_address(text).ok().as_deref(), Some("localhost:7400"), "{text}");
        }
        for text in ["", "local host:7400"] {
            assert!(matches!(read_address(text), Err(Error::InvalidAddress { .. })), "{text}");
        }
    }
}
