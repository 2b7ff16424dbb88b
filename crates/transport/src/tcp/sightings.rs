//! Which run of each node was seen, and the connections to it.
//!
//! A node's incarnation grows at every start of its process, so of two incarnations the
//! lower one is over. If it is not over, its data directory was copied and both copies run;
//! which of them is right, only a person can say. Until then the higher one is listened to.
//! Two processes with the same incarnation are copies for certain: the first one seen is
//! listened to.

use std::collections::BTreeMap;
use std::sync::Arc;

use breccia_types::NodeId;
use parking_lot::Mutex;

use crate::transport::Lane;

use super::connection::{Closed, Connection, Side};
use super::greeting::{Identity, Rejection};
use super::handshake::Judge;
use super::limits::NODES_SEEN_MAX;

pub(crate) struct Sightings {
    /// This process.
    own: Mutex<Seen>,
    nodes: Mutex<BTreeMap<NodeId, Sighting>>,
}

/// A run of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) node: NodeId,
    pub(crate) incarnation: u64,
    pub(crate) run: u64,
    pub(crate) address: String,
}

struct Sighting {
    seen: Seen,
    live: Vec<Arc<Connection>>,
}

/// The judgement of a connection from where its other side was found.
pub(crate) struct At<'a> {
    pub(crate) sightings: &'a Sightings,
    pub(crate) found_at: &'a str,
}

impl Judge for At<'_> {
    fn judge(&self, theirs: &Identity) -> Result<(), Rejection> {
        let found = Seen::of(theirs, self.found_at);
        self.sightings.own.lock().admit_self(&found)?;
        let nodes = self.sightings.nodes.lock();
        nodes.get(&found.node).map_or(Ok(()), |sighting| sighting.seen.admit(&found))
    }
}

impl Seen {
    pub(crate) fn of(identity: &Identity, found_at: &str) -> Self {
        let told = &identity.address;
        Self {
            node: identity.peer.node,
            incarnation: identity.peer.incarnation,
            run: identity.run,
            address: if told.is_empty() { found_at.to_owned() } else { told.clone() },
        }
    }

    /// Whether `found` may be listened to after `self` was seen of the same node.
    fn admit(&self, found: &Self) -> Result<(), Rejection> {
        if found.incarnation < self.incarnation {
            return Err(Rejection::Stale {
                node: found.node,
                incarnation: found.incarnation,
                seen: self.incarnation,
                seen_at: self.address.clone(),
            });
        }
        if found.incarnation == self.incarnation && found.run != self.run {
            return Err(self.twin(found));
        }
        Ok(())
    }

    /// The same where `self` is this very process: that runs, so another one of the same
    /// node is its copy, whatever its incarnation.
    fn admit_self(&self, found: &Self) -> Result<(), Rejection> {
        let is_copy = found.node == self.node && found.run != self.run;
        if is_copy { Err(self.twin(found)) } else { Ok(()) }
    }

    fn twin(&self, found: &Self) -> Rejection {
        Rejection::Twin {
            node: found.node,
            incarnation: found.incarnation,
            seen_at: self.address.clone(),
            found_at: found.address.clone(),
        }
    }
}

impl Sightings {
    pub(crate) fn new(own: Seen) -> Self {
        Self { own: Mutex::new(own), nodes: Mutex::default() }
    }

    /// Where this process can be reached, once that is known.
    pub(crate) fn set_own_address(&self, address: &str) {
        address.clone_into(&mut self.own.lock().address);
    }

    /// Remembers a member's connection. Closes those of the node's earlier incarnations, and
    /// the one that a new connection from the node replaces.
    pub(crate) fn admit(&self, found: Seen, connection: &Arc<Connection>) -> Result<(), Rejection> {
        self.own.lock().admit_self(&found)?;
        let mut nodes = self.nodes.lock();
        let mut live = match nodes.get_mut(&found.node) {
            None => {
                make_room(&mut nodes);
                Vec::new()
            }
            Some(sighting) => {
                sighting.seen.admit(&found)?;
                std::mem::take(&mut sighting.live)
            }
        };
        live.retain(|other| {
            let reason = if other.peer.incarnation < found.incarnation {
                Closed::Outlived(found.incarnation)
            } else if is_replaced(other, connection) {
                Closed::Superseded
            } else {
                return other.end().is_none();
            };
            other.close(reason);
            false
        });
        live.push(Arc::clone(connection));
        nodes.insert(found.node, Sighting { seen: found, live });
        Ok(())
    }

    /// Forgets a connection that is closed; its node's incarnation stays known.
    pub(crate) fn forget(&self, connection: &Arc<Connection>) {
        let mut nodes = self.nodes.lock();
        if let Some(sighting) = nodes.get_mut(&connection.peer.node) {
            sighting.live.retain(|other| !Arc::ptr_eq(other, connection));
        }
    }
}

/// The node makes a new connection on a lane only when it has given up the old one.
fn is_replaced(old: &Connection, new: &Connection) -> bool {
    let accepted = |connection: &Connection| -> Option<Lane> {
        matches!(connection.side, Side::Accepted(_)).then_some(connection.lane)
    };
    accepted(old).is_some() && accepted(old) == accepted(new)
}

fn make_room(nodes: &mut BTreeMap<NodeId, Sighting>) {
    if nodes.len() < NODES_SEEN_MAX {
        return;
    }
    let idle = nodes.iter().find(|(_, sighting)| sighting.live.is_empty());
    if let Some(node) = idle.map(|(node, _)| *node) {
        nodes.remove(&node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(incarnation: u64, run: u64) -> Seen {
        let address = format!("host:{run}");
        Seen { node: NodeId::new(1), incarnation, run, address }
    }

    #[test]
    fn the_higher_incarnation_wins_and_equal_ones_are_copies() {
        let known = seen(5, 50);
        assert_eq!(known.admit(&seen(5, 50)), Ok(()));
        assert_eq!(known.admit(&seen(6, 60)), Ok(()));
        let stale = known.admit(&seen(4, 40)).unwrap_err();
        let told = "n1 was seen at host:50 as incarnation 5; incarnation 4 is over, or runs on a \
                    copy of the node's data directory";
        assert_eq!(stale.to_string(), told);
        let twin = known.admit(&seen(5, 51)).unwrap_err();
        let told = "n1 runs twice as incarnation 5, at host:50 and at host:51: its data \
                    directory was copied";
        assert_eq!(twin.to_string(), told);
    }

    #[test]
    fn another_process_of_this_node_is_a_copy_whatever_its_incarnation() {
        let own = seen(5, 50);
        assert_eq!(own.admit_self(&seen(5, 50)), Ok(()));
        for incarnation in 4..=6 {
            let rejection = own.admit_self(&seen(incarnation, 51));
            assert!(matches!(rejection, Err(Rejection::Twin { .. })), "{rejection:?}");
        }
        let other = Seen { node: NodeId::new(2), ..seen(1, 51) };
        assert_eq!(own.admit_self(&other), Ok(()));
    }
}
