//! Who leads the shards, for clients that are sent there.
//!
//! A node hears of the leader of a shard that it holds a replica of, and learns of the others
//! when it forwards something. Clients that follow slots give it nothing to forward as long as
//! it sends them away, so that it asks before it sends them where nobody has shown of late
//! that it leads.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use breccia_ring::Role;
use breccia_transport::TransportError;
use breccia_types::{NodeId, ShardId};
use futures::future::join_all;
use tokio::time::Instant;

use crate::control::{Answer, Ask, AskError, ask};
use crate::node::Node;

/// How long a node may take to say what it leads.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// The least time between two rounds of questions.
const ASKED_EVERY: Duration = Duration::from_millis(250);

impl Node {
    /// The node that leads a shard, if that is certain enough to send clients there: it was
    /// heard within the last second, and not missed since. This node otherwise forwards what
    /// it is asked.
    #[must_use]
    pub fn certain_leader(&self, shard: ShardId) -> Option<NodeId> {
        self.0.router.certain_leader(shard)
    }

    /// Asks who leads the shards of which this is not certain, and waits for the answers: half
    /// a second at most for those that do not come. Requests that come together ask once.
    /// Cancel-safe.
    pub async fn find_leaders(&self) {
        if self.stands_alone() || self.holders_to_ask().is_empty() {
            return;
        }
        let mut asked = self.0.finding.lock().await;
        if asked.is_some_and(|at| at.elapsed() < ASKED_EVERY) {
            return;
        }
        let answers = join_all(self.holders_to_ask().into_iter().map(|node| self.led_by(node)));
        // One that was deposed and does not know it is of an earlier term.
        let mut leaders: BTreeMap<ShardId, (u64, NodeId)> = BTreeMap::new();
        for (shard, term, node) in answers.await.into_iter().flatten() {
            let leader = leaders.entry(shard).or_insert((term, node));
            *leader = (*leader).max((term, node));
        }
        for (shard, (_, node)) in leaders {
            self.0.router.on_leader(shard, node);
        }
        *asked = Some(Instant::now());
    }

    /// The nodes of which one may lead a shard whose leader is not certain.
    fn holders_to_ask(&self) -> BTreeSet<NodeId> {
        let placement = self.placement();
        let uncertain = placement.shards().map(|(shard, _)| shard);
        let uncertain = uncertain.filter(|shard| self.certain_leader(*shard).is_none());
        let places = uncertain.flat_map(|shard| placement.replicas(shard));
        let voters = places.filter(|place| place.role == Role::Voter).map(|place| place.node);
        voters.filter(|node| *node != self.0.id).collect()
    }

    /// What a node says that it leads, and in which terms.
    async fn led_by(&self, node: NodeId) -> Vec<(ShardId, u64, NodeId)> {
        match ask(self.0.transport.as_ref(), node, &Ask::Led, ANSWER_WITHIN).await {
            Ok(Answer::Led { shards, .. }) => {
                shards.into_iter().map(|led| (led.shard, led.term, node)).collect()
            }
            Err(AskError::Transport(
                TransportError::Unreachable { .. } | TransportError::TimedOut { .. },
            )) => {
                self.0.router.on_unreachable(node);
                Vec::new()
            }
            Ok(_) | Err(_) => Vec::new(),
        }
    }
}
