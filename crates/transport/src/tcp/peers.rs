//! The address book: where each node is dialed.

use std::fmt;
use std::sync::Arc;

use breccia_types::NodeId;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::transport::Lane;

use super::limits::CALL_BYTES_PER_PEER_MAX;
use super::link::Link;
use super::shared::Shared;
use super::status::PeerStatus;

/// A cheap handle on a transport's address book. Changes hold from the next connection on.
#[derive(Clone)]
pub struct Peers {
    pub(crate) shared: Arc<Shared>,
}

/// A node that can be dialed.
pub(crate) struct Remote {
    address: Mutex<String>,
    control: Arc<Link>,
    bulk: Arc<Link>,
    /// Room for bodies of calls that wait for replies, in bytes.
    pub(crate) budget: Arc<Semaphore>,
}

impl Peers {
    /// Says where a node is: `host:port`, resolved whenever it is dialed. A node at a new
    /// address is dialed at once when it is wanted, even if attempts at the old one pause;
    /// a connection that stands is kept.
    pub fn set(&self, node: NodeId, address: impl Into<String>) {
        let address = address.into();
        let mut remotes = self.shared.remotes.lock();
        let remote = remotes.entry(node).or_insert_with(|| Remote::new(node));
        let old = std::mem::replace(&mut *remote.address.lock(), address.clone());
        if old != address {
            remote.control.end_pause();
            remote.bulk.end_pause();
        }
    }

    /// Forgets a node, and closes this node's connections to it.
    pub fn remove(&self, node: NodeId) {
        let removed = self.shared.remotes.lock().remove(&node);
        if let Some(remote) = removed {
            remote.control.remove();
            remote.bulk.remove();
        }
    }

    /// Where a node is dialed.
    #[must_use]
    pub fn address(&self, node: NodeId) -> Option<String> {
        self.shared.remotes.lock().get(&node).map(|remote| remote.address())
    }

    /// All nodes and where they are dialed, by node.
    #[must_use]
    pub fn all(&self) -> Vec<(NodeId, String)> {
        let remotes = self.shared.remotes.lock();
        remotes.iter().map(|(node, remote)| (*node, remote.address())).collect()
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.all()).finish()
    }
}

impl Remote {
    fn new(node: NodeId) -> Arc<Self> {
        Arc::new(Self {
            address: Mutex::default(),
            control: Link::new(node, Lane::Control),
            bulk: Link::new(node, Lane::Bulk),
            budget: Arc::new(Semaphore::new(CALL_BYTES_PER_PEER_MAX)),
        })
    }

    pub(crate) fn address(&self) -> String {
        self.address.lock().clone()
    }

    pub(crate) fn link(&self, lane: Lane) -> &Arc<Link> {
        match lane {
            Lane::Control => &self.control,
            Lane::Bulk => &self.bulk,
        }
    }

    pub(crate) fn status(&self) -> PeerStatus {
        PeerStatus {
            node: self.control.node,
            address: self.address(),
            control: self.control.status(),
            bulk: self.bulk.status(),
            call_bytes_waiting: CALL_BYTES_PER_PEER_MAX
                .saturating_sub(self.budget.available_permits()),
        }
    }
}
