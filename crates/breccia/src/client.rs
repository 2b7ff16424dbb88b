//! The connection of a client command to a node, and what its refusals mean for the exit code.

use std::time::Duration;

use breccia_api::v1::admin_client::AdminClient;
use breccia_api::v1::functions_client::FunctionsClient;
use breccia_api::v1::import_client::ImportClient;
use breccia_api::v1::key_value_client::KeyValueClient;
use breccia_api::v1::sql_client::SqlClient;
use breccia_api::v1::tables_client::TablesClient;
use breccia_api::{ACTOR_METADATA, CODE_METADATA, CONSISTENCY_METADATA};
use breccia_types::limits::HTTP_BODY_BYTES_MAX;
use clap::Args;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::config::HTTP_ADDRESS_DEFAULT;
use crate::exit::{Exit, Failure};
use crate::units::parse_duration;

/// How long connecting may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// How often a silent connection is probed, and how long the answer may take: a node that
/// went away without a word is noticed after both.
const PROBE_EVERY: Duration = Duration::from_secs(10);
const PROBE_DEADLINE: Duration = Duration::from_secs(20);

/// Arguments of every client command.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerArgs {
    /// The node to ask
    #[arg(
        long, global = true, value_name = "HTTP_ADDR", env = "BRECCIA_SERVER",
        default_value = HTTP_ADDRESS_DEFAULT
    )]
    pub(crate) server: String,
    /// Write JSON documents for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// How old the answer of a read may be.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct StalenessArgs {
    /// Let any replica answer that lacks only what is newer than this, such as 5s
    #[arg(long, value_name = "D", value_parser = parse_duration)]
    stale: Option<Duration>,
}

impl StalenessArgs {
    /// A read that may be so old.
    pub(crate) fn request<T>(self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let asked = self.stale.map(|max| format!("stale:{}", max.as_millis()).parse());
        if let Some(Ok(asked)) = asked {
            request.metadata_mut().insert(CONSISTENCY_METADATA, asked);
        }
        request
    }
}

/// A connection to a node.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    channel: Channel,
    address: String,
}

impl Client {
    /// Connects to the node at `address`, `HOST:PORT`.
    ///
    /// # Errors
    /// [`Failure`] if the address is not valid, or no node answers there.
    pub(crate) async fn connect(address: &str) -> Result<Self, Failure> {
        let address = address.strip_prefix("http://").unwrap_or(address).trim_end_matches('/');
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| {
            Failure::usage(format!("--server {address:?} is no address ({error}): use HOST:PORT"))
        })?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_DEADLINE)
            .http2_keep_alive_interval(PROBE_EVERY)
            .keep_alive_timeout(PROBE_DEADLINE)
            .tcp_nodelay(true);
        match endpoint.connect().await {
            Ok(channel) => Ok(Self { channel, address: address.to_owned() }),
            Err(_) => Err(Failure::new(
                Exit::Unreachable,
                format!(
                    "no node answers at {address}: start one with `breccia serve --data DIR`, \
                     or name another with --server",
                ),
            )),
        }
    }

    /// The node's rows.
    pub(crate) fn key_value(&self) -> KeyValueClient<Channel> {
        KeyValueClient::new(self.channel.clone())
            .max_decoding_message_size(HTTP_BODY_BYTES_MAX)
            .max_encoding_message_size(HTTP_BODY_BYTES_MAX)
    }

    /// The node's tables.
    pub(crate) fn functions(&self) -> FunctionsClient<Channel> {
        FunctionsClient::new(self.channel.clone())
            .max_decoding_message_size(HTTP_BODY_BYTES_MAX)
            .max_encoding_message_size(HTTP_BODY_BYTES_MAX)
    }

    pub(crate) fn tables(&self) -> TablesClient<Channel> {
        TablesClient::new(self.channel.clone()).max_decoding_message_size(HTTP_BODY_BYTES_MAX)
    }

    /// Queries.
    pub(crate) fn sql(&self) -> SqlClient<Channel> {
        SqlClient::new(self.channel.clone()).max_decoding_message_size(HTTP_BODY_BYTES_MAX)
    }

    /// Bulk writes.
    pub(crate) fn import(&self) -> ImportClient<Channel> {
        ImportClient::new(self.channel.clone()).max_encoding_message_size(HTTP_BODY_BYTES_MAX)
    }

    /// How the node stands.
    pub(crate) fn admin(&self) -> AdminClient<Channel> {
        AdminClient::new(self.channel.clone()).max_decoding_message_size(HTTP_BODY_BYTES_MAX)
    }

    /// What a call that failed means for the caller.
    pub(crate) fn failed(&self, status: &Status) -> Failure {
        failure_of(status, &self.address)
    }
}

/// Whether the call failed because there is no such table.
pub(crate) fn is_unknown_table(status: &Status) -> bool {
    metadata(status, CODE_METADATA) == Some("unknown-table")
}

fn metadata<'a>(status: &'a Status, name: &str) -> Option<&'a str> {
    status.metadata().get(name).and_then(|value| value.to_str().ok())
}

fn failure_of(status: &Status, address: &str) -> Failure {
    let message = status.message();
    match metadata(status, ACTOR_METADATA) {
        Some("retry") => return Failure::new(Exit::Retry, message),
        Some("fix") => return Failure::new(Exit::Fix, message),
        Some("operator") => return Failure::new(Exit::Operator, message),
        _ => {}
    }
    // No node of ours answered so: the connection broke, or something else listens there.
    match status.code() {
        Code::Unavailable | Code::Unknown | Code::Cancelled => Failure::new(
            Exit::Unreachable,
            format!(
                "the connection to {address} broke ({message}); if it was a write, it may or may \
                 not have been applied",
            ),
        ),
        Code::DeadlineExceeded | Code::ResourceExhausted | Code::Aborted => {
            Failure::new(Exit::Retry, message)
        }
        Code::Unimplemented => Failure::fix(format!(
            "what listens at {address} does not know this call: is it a node of this version? \
             Name another with --server",
        )),
        Code::Internal | Code::DataLoss => Failure::new(Exit::Operator, message),
        _ => Failure::fix(message),
    }
}

#[cfg(test)]
mod tests {
    use tonic::metadata::MetadataMap;

    use super::*;

    #[test]
    fn the_actor_decides_the_exit_code_and_else_the_status_does() {
        for (actor, code, want) in [
            (Some("retry"), Code::ResourceExhausted, Exit::Retry),
            (Some("fix"), Code::ResourceExhausted, Exit::Fix),
            (Some("operator"), Code::Unavailable, Exit::Operator),
            (None, Code::Unavailable, Exit::Unreachable),
            (None, Code::Unimplemented, Exit::Fix),
            (None, Code::DeadlineExceeded, Exit::Retry),
            (None, Code::Internal, Exit::Operator),
        ] {
            let mut map = MetadataMap::new();
            if let Some(actor) = actor {
                map.insert(ACTOR_METADATA, actor.parse().expect("ascii"));
            }
            let status = Status::with_metadata(code, "no", map);
            assert_eq!(failure_of(&status, "here").exit(), want, "{actor:?} {code:?}");
        }
    }
}
