//! The one way in which the rest of a node sees who else there is.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::view::{Load, View};

/// Who is alive and where, as this node sees it.
#[async_trait]
pub trait Membership: Send + Sync + 'static {
    /// The view, now and whenever it changes. The channel closes when no change will come: the
    /// last handle was dropped, gossip has ended after [`Membership::leave`], or it has failed.
    fn watch(&self) -> watch::Receiver<Arc<View>>;

    /// Tells the others where clients reach this node: by HTTP, and by the Redis protocol.
    fn set_client_addresses(&self, http: Option<SocketAddr>, resp: Option<SocketAddr>);

    /// Tells the others how loaded this node is.
    fn set_load(&self, load: Load);

    /// Tells the others that this process ends, so that they need not find out, and stops.
    /// Returns once they have had time to hear of it: a few gossip intervals. Cancel-safe:
    /// once polled it goes on by itself.
    async fn leave(&self);
}
