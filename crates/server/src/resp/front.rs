//! What all connections share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use breccia_node::Node;
use breccia_types::limits::RESP_CURSORS_MAX;
use breccia_types::{Slot, Table};
use tokio::sync::Semaphore;

use super::clients::Clients;
use super::cursors::Cursors;
use super::limits::QUERY_BYTES_TOTAL_MAX;
use super::metrics::Metrics;
use super::settings::Settings;
use crate::Extensions;

/// What all connections share.
#[derive(Clone)]
pub(crate) struct Front(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) node: Node,
    /// The table whose rows are the Redis keys.
    pub(crate) table: Arc<Table>,
    #[cfg(feature = "functions")]
    pub(crate) functions: breccia_functions::Functions,
    pub(crate) clients: Arc<Clients>,
    pub(crate) cursors: Cursors,
    pub(crate) metrics: Metrics,
    pub(crate) settings: Settings,
    /// Held by the one LCS that runs.
    pub(crate) lcs: Semaphore,
    /// Bytes of incomplete requests that connections hold.
    pub(crate) query_bytes: AtomicUsize,
}

impl std::ops::Deref for Front {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Front {
    pub(crate) fn new(node: Node, extensions: &Extensions) -> Self {
        #[cfg(not(feature = "functions"))]
        let _ = extensions;
        let fsync = node.status().fsync;
        Self(Arc::new(Shared {
            table: Arc::clone(node.redis_table()),
            #[cfg(feature = "functions")]
            functions: extensions.functions(node.clone()),
            node,
            clients: Arc::default(),
            cursors: Cursors::new(RESP_CURSORS_MAX),
            metrics: Metrics::default(),
            settings: Settings::new(&fsync),
            lcs: Semaphore::new(1),
            query_bytes: AtomicUsize::new(0),
        }))
    }
}

impl Front {
    /// Where clients reach the node that leads a slot, if that is another one and certain; if
    /// not, this node had better forward. With `or_replica`, a replica on this node will do.
    pub(crate) async fn elsewhere(&self, slot: Slot, or_replica: bool) -> Option<String> {
        let placement = self.node.placement();
        let shard = placement.shard_of(slot);
        if self.node.leads(shard)
            || (or_replica && placement.replica_on(shard, self.node.id()).is_some())
        {
            return None;
        }
        let mut leader = self.node.certain_leader(shard);
        if leader.is_none() {
            self.node.find_leaders().await;
            leader = self.node.certain_leader(shard);
        }
        let leader = leader.filter(|leader| *leader != self.node.id())?;
        let address = self.node.member(leader)?.resp;
        (!address.is_empty()).then_some(address)
    }
}

/// A connection's share of the memory for incomplete requests.
pub(crate) struct QueryShare {
    front: Front,
    bytes: usize,
}

impl QueryShare {
    pub(crate) const fn new(front: Front) -> Self {
        Self { front, bytes: 0 }
    }

    /// Changes the share to so many bytes; `false` if that is too much with all others.
    pub(crate) fn resize(&mut self, bytes: usize) -> bool {
        let all = &self.front.query_bytes;
        if bytes <= self.bytes {
            all.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        } else {
            let more = bytes - self.bytes;
            let before = all.fetch_add(more, Ordering::Relaxed);
            if before.saturating_add(more) > QUERY_BYTES_TOTAL_MAX {
                all.fetch_sub(more, Ordering::Relaxed);
                return false;
            }
        }
        self.bytes = bytes;
        true
    }
}

impl Drop for QueryShare {
    fn drop(&mut self) {
        self.resize(0);
    }
}
