//! What a client knows of its cluster, and how it keeps that fresh: a request that finds it
//! old has it learned anew in the background. A client that is not used asks nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use breccia_api::v1;
use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use crate::call::{Call, send_until_answered};
use crate::config::Config;
use crate::error::Error;
use crate::failure::Failure;
use crate::node::Node;
use crate::retry::Repetition;
use crate::topology::{Address, Target, Topology};

/// How old what is known may be before it is learned anew.
const FRESH_FOR: Duration = Duration::from_secs(10);
/// The same while a shard has no leader, or after a node did not answer as it should.
const FRESH_FOR_IN_TROUBLE: Duration = Duration::from_secs(1);
/// How long learning may take in the background. Nodes wait two seconds for each other.
const LEARN_DEADLINE: Duration = Duration::from_secs(5);
/// How long a node that could not be reached is asked only if there is no other. Doubles each
/// time that it could not be reached again.
const DOUBT_FIRST: Duration = Duration::from_secs(2);
/// How often it doubles: 32 s is the longest.
const DOUBT_DOUBLINGS_MAX: u32 = 4;

#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) config: Config,
    given: Vec<Address>,
    known: RwLock<Known>,
    /// At most one per address of `known` and `given`.
    contacts: Mutex<HashMap<Address, Contact>>,
    is_learning: AtomicBool,
}

#[derive(Debug)]
struct Known {
    topology: Arc<Topology>,
    learned_at: Instant,
    is_in_doubt: bool,
}

#[derive(Debug)]
struct Contact {
    node: Node,
    doubt: Option<Doubt>,
}

/// That a node could not be reached.
#[derive(Debug, Clone, Copy)]
struct Doubt {
    since: Instant,
    /// How often it could not be reached, one time after the other.
    failures: u32,
}

impl Doubt {
    fn holds(self) -> bool {
        let doublings = self.failures.saturating_sub(1).min(DOUBT_DOUBLINGS_MAX);
        self.since.elapsed() < DOUBT_FIRST * 2u32.pow(doublings)
    }

    /// The doubt after one more failure. What fails while a doubt holds is a consequence of it.
    fn after(earlier: Option<Self>) -> Self {
        match earlier {
            Some(doubt) if doubt.holds() => doubt,
            earlier => {
                let failures = earlier.map_or(0, |doubt| doubt.failures);
                Self { since: Instant::now(), failures: failures.saturating_add(1) }
            }
        }
    }
}

impl Cluster {
    /// A cluster of which nothing is known but addresses of nodes. To be followed by
    /// [`Cluster::learn`].
    pub(crate) fn new(config: Config, given: Vec<Address>) -> Self {
        let known =
            Known { topology: Arc::default(), learned_at: Instant::now(), is_in_doubt: false };
        Self {
            config,
            given,
            known: RwLock::new(known),
            contacts: Mutex::default(),
            is_learning: AtomicBool::new(true),
        }
    }

    pub(crate) fn topology(&self) -> Arc<Topology> {
        Arc::clone(&self.known.read().topology)
    }

    /// The node to ask. `avoid` is asked only if there is no other.
    pub(crate) fn node_for(
        self: &Arc<Self>,
        target: Target,
        avoid: Option<&Address>,
    ) -> Result<Node, Error> {
        self.learn_if_old();
        let topology = self.topology();
        let mut contacts = self.contacts.lock();
        let is_doubtful = |address: &Address| {
            let doubt = contacts.get(address).and_then(|contact| contact.doubt);
            avoid == Some(address) || doubt.is_some_and(Doubt::holds)
        };
        let address = topology
            .choose(target, &self.given, is_doubtful, rand::random_range(0..usize::MAX))
            .ok_or(Error::NoAddress)?;
        if let Some(contact) = contacts.get(&address) {
            return Ok(contact.node.clone());
        }
        let node = Node::new(Arc::clone(&address), self.config.connect_timeout)?;
        contacts.insert(address, Contact { node: node.clone(), doubt: None });
        Ok(node)
    }

    /// Remembers that a node answered.
    pub(crate) fn trust(&self, node: &Node) {
        if let Some(contact) = self.contacts.lock().get_mut(&node.address) {
            contact.doubt = None;
        }
    }

    /// Remembers what a failure says about a node, and about what is known of the cluster.
    pub(crate) fn note(&self, node: &Node, failure: &Failure) {
        if failure.is_of_the_node()
            && let Some(contact) = self.contacts.lock().get_mut(&node.address)
        {
            contact.doubt = Some(Doubt::after(contact.doubt));
        }
        if failure.is_of_the_leader() {
            self.known.write().is_in_doubt = true;
        }
    }

    /// Has the cluster learned anew in the background if what is known is old.
    fn learn_if_old(self: &Arc<Self>) {
        if !self.is_old() || self.is_learning.swap(true, Ordering::AcqRel) {
            return;
        }
        let cluster = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = cluster.learn(LEARN_DEADLINE).await {
                // What is known stays, and a later request tries again.
                tracing::debug!(%error, "the cluster could not be learned anew");
            }
        });
    }

    fn is_old(&self) -> bool {
        let known = self.known.read();
        let is_in_trouble = known.is_in_doubt || !known.topology.is_whole();
        let fresh_for = if is_in_trouble { FRESH_FOR_IN_TROUBLE } else { FRESH_FOR };
        known.learned_at.elapsed() > fresh_for
    }

    /// Asks a node who leads what. One at a time: `is_learning` is set, and reset at the end.
    pub(crate) async fn learn(self: &Arc<Self>, deadline: Duration) -> Result<(), Error> {
        let learned = self.ask(deadline).await;
        let result = self.take_over(learned);
        self.is_learning.store(false, Ordering::Release);
        result
    }

    fn take_over(&self, learned: Result<Topology, Error>) -> Result<(), Error> {
        let mut known = self.known.write();
        known.learned_at = Instant::now();
        known.is_in_doubt = learned.is_err();
        known.topology = Arc::new(learned?);
        let is_known = |address: &Address| {
            known.topology.nodes().contains(address) || self.given.contains(address)
        };
        self.contacts.lock().retain(|address, _| is_known(address));
        Ok(())
    }

    async fn ask(self: &Arc<Self>, deadline: Duration) -> Result<Topology, Error> {
        let call = Call {
            target: Target::Anyone,
            repetition: Repetition::Harmless,
            deadline,
            consistency: None,
        };
        let nodes = v1::NodesRequest {};
        let nodes = send_until_answered(self, &call, nodes, |node, request| async move {
            node.admin().nodes(request).await
        });
        let shards = v1::ShardsRequest {};
        let shards = send_until_answered(self, &call, shards, |node, request| async move {
            node.admin().shards(request).await
        });
        let (nodes, shards) = futures::try_join!(nodes, shards)?;
        Ok(Topology::new(nodes, shards))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_node_that_cannot_be_reached_again_and_again_is_doubted_for_longer() {
        let mut doubt = Doubt::after(None);
        for seconds in [2, 4, 8, 16, 32, 32] {
            tokio::time::advance(Duration::from_secs(seconds - 1)).await;
            assert!(doubt.holds(), "{seconds}");
            let meanwhile = Doubt::after(Some(doubt));
            assert_eq!(meanwhile.failures, doubt.failures, "requests that failed together");
            tokio::time::advance(Duration::from_secs(1)).await;
            assert!(!doubt.holds(), "{seconds}");
            doubt = Doubt::after(Some(doubt));
        }
    }
}
