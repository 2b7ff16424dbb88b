//! What a client is told when it is made.

use std::sync::Arc;
use std::time::Duration;

use breccia_types::limits::REQUEST_DEADLINE_DEFAULT;

use crate::client::Client;
use crate::cluster::Cluster;
use crate::error::Error;
use crate::node::read_address;

const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);
const TRIES_MAX_DEFAULT: u32 = 100;

#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) deadline: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) tries_max: u32,
}

/// Makes a [`Client`] with other limits than the defaults.
///
/// ```no_run
/// # async fn example() -> Result<(), breccia_client::Error> {
/// use std::time::Duration;
///
/// let client = breccia_client::Client::builder()
///     .deadline(Duration::from_secs(5))
///     .connect(["10.0.0.1:7400", "10.0.0.2:7400"])
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct ClientBuilder(Config);

impl Default for ClientBuilder {
    fn default() -> Self {
        Self(Config {
            deadline: REQUEST_DEADLINE_DEFAULT,
            connect_timeout: CONNECT_TIMEOUT_DEFAULT,
            tries_max: TRIES_MAX_DEFAULT,
        })
    }
}

impl ClientBuilder {
    /// How long a request may take that does not say itself; see
    /// [`Request::deadline`](crate::Request::deadline). 30 s by default.
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.0.deadline = deadline;
        self
    }

    /// How long connecting to a node may take before another is asked; 2 s by default.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.0.connect_timeout = timeout;
        self
    }

    /// How often a request is sent at most, the first time included; 100 by default, which
    /// with the waits between them takes about 45 s. 1 never sends anything again.
    pub const fn tries_max(mut self, tries: u32) -> Self {
        self.0.tries_max = tries;
        self
    }

    /// Asks the nodes at `addresses`, in no order, what the cluster looks like. The others
    /// are found by that; name some more than one, in case one of them is down.
    ///
    /// # Errors
    /// [`Error::NoAddress`], [`Error::InvalidAddress`], or that of the last node asked when
    /// none answers within the deadline.
    pub async fn connect<A: AsRef<str>>(
        self,
        addresses: impl IntoIterator<Item = A>,
    ) -> Result<Client, Error> {
        let given: Result<Vec<_>, _> =
            addresses.into_iter().map(|address| read_address(address.as_ref())).collect();
        let deadline = self.0.deadline;
        let cluster = Arc::new(Cluster::new(self.0, given?));
        cluster.learn(deadline).await?;
        Ok(Client::new(cluster))
    }
}
