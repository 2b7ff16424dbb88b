//! The decision where a request runs. Pure: everything that it depends on is an argument.
//!
//! A request starts at the node that took it in. That node asks whom it believes to be the
//! leader; a node that is asked and does not lead says who does, so that the first node
//! learns it and asks again. Only when the first node cannot reach the leader does it ask
//! another replica to pass the request on. A request that is passed on carries the nodes it
//! has visited and never visits one twice, and each node that passes it on takes one from
//! its hops. So views that differ cost a few messages and never a loop.

use std::time::Duration;

use breccia_ring::{ReplicaPlace, Role};
use breccia_types::limits::FORWARD_HOPS_MAX;
use breccia_types::{Epoch, NodeId};

/// What a read must have seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Consistency {
    /// Everything that was acknowledged before it started. The leader may rely on its lease.
    Linearizable,
    /// The same, and no clock is trusted: the leader asks a majority.
    Strict,
    /// Everything that was acknowledged longer than `max` before it. Any replica that has it
    /// answers.
    Stale {
        /// How old the answer may be.
        max: Duration,
    },
}

/// What this node is to a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LocalRole {
    /// It orders the shard's writes.
    Leader,
    /// It holds a replica.
    Follower {
        /// Who leads, as far as the replica knows.
        leader: Option<NodeId>,
    },
    /// It holds no replica.
    Absent,
}

/// Who led a shard when somebody last said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hint {
    /// The leader.
    pub leader: NodeId,
    /// The epoch of the placement of whoever said so.
    pub epoch: Epoch,
}

/// What is known of a shard.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// This node.
    pub node: NodeId,
    /// What it is to the shard.
    pub role: LocalRole,
    /// The epoch of the placement.
    pub epoch: Epoch,
    /// The shard's replicas in the placement.
    pub replicas: &'a [ReplicaPlace],
    /// Who led the shard when somebody last said so.
    pub hint: Option<Hint>,
    /// Nodes that are believed to be unreachable.
    pub suspects: &'a [NodeId],
    /// Nodes that could not help in this round.
    pub tried: &'a [NodeId],
    /// A random number; decides among nodes that are equally good.
    pub draw: usize,
}

/// How a request came to this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Journey {
    /// A client sent it.
    Starts,
    /// Another node sent it.
    Forwarded {
        /// How many more nodes it may be passed on to.
        hops_left: u8,
        /// The nodes that it came through, the sender last.
        visited: Vec<NodeId>,
    },
}

/// Where a request goes from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route {
    /// It runs on this node.
    Here,
    /// Another node is asked.
    Forward {
        /// Which.
        to: NodeId,
        /// How many more nodes it may pass the request on to.
        hops_left: u8,
    },
    /// Nowhere, for now.
    Refuse(Reason),
}

/// Why a request goes nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No node is known to hold the shard.
    Unplaced,
    /// All that might help were asked in this round.
    Exhausted,
    /// Not for this node; the sender is told who it is for.
    NotHere,
}

/// Whether a node in this role answers itself.
#[must_use]
pub const fn serves(role: LocalRole, wanted: Consistency) -> bool {
    matches!(
        (role, wanted),
        (LocalRole::Leader, _) | (LocalRole::Follower { .. }, Consistency::Stale { .. })
    )
}

/// Where a request goes that wants `wanted`; writes want [`Consistency::Linearizable`].
#[must_use]
pub fn route(view: &View<'_>, journey: &Journey, wanted: Consistency) -> Route {
    if serves(view.role, wanted) && !view.tried.contains(&view.node) {
        return Route::Here;
    }
    match (journey, wanted) {
        (Journey::Starts, Consistency::Stale { .. }) => view.any_replica(),
        (Journey::Starts, _) => view.search(),
        (Journey::Forwarded { .. }, Consistency::Stale { .. }) => Route::Refuse(Reason::NotHere),
        (Journey::Forwarded { hops_left, visited }, _) => view.onward(*hops_left, visited),
    }
}

impl View<'_> {
    /// Who leads the shard, best guess first.
    pub fn believed_leaders(&self) -> impl Iterator<Item = NodeId> {
        let own = match self.role {
            LocalRole::Leader => Some(self.node),
            LocalRole::Follower { leader } => leader,
            LocalRole::Absent => None,
        };
        let is_credible = |hint: &Hint| {
            hint.epoch >= self.epoch || self.replicas.iter().any(|place| place.node == hint.leader)
        };
        let told = self.hint.filter(is_credible).map(|hint| hint.leader);
        own.into_iter().chain(told)
    }

    /// The node that a client may be sent to because it leads the shard; `None` if that is
    /// not certain enough, so that this node had better forward what it is asked. `shown` has
    /// shown of late that it leads; `hears_leader` says whether this node's replica hears the
    /// leader that it names.
    ///
    /// A client that is sent somewhere comes back with nothing but an error if nobody is
    /// there, and asks this node again. So what third nodes said does not count here, and two
    /// nodes which have old news of each other do not send a client to and fro.
    pub fn certain_leader(&self, shown: Option<NodeId>, hears_leader: bool) -> Option<NodeId> {
        let told = match self.role {
            LocalRole::Leader => return Some(self.node),
            LocalRole::Follower { leader } => leader.filter(|_| hears_leader),
            LocalRole::Absent => None,
        };
        // This node would have known that it leads.
        let mut leaders = told.into_iter().chain(shown).filter(|leader| *leader != self.node);
        leaders.find(|leader| !self.suspects.contains(leader))
    }

    fn search(&self) -> Route {
        let mut others = self.believed_leaders().filter(|leader| *leader != self.node);
        if let Some(to) = others.find(|leader| self.is_fresh(*leader)) {
            return Route::Forward { to, hops_left: 0 };
        }
        let is_cut_off = self
            .believed_leaders()
            .any(|leader| leader != self.node && self.suspects.contains(&leader));
        let hops_left = if is_cut_off { FORWARD_HOPS_MAX - 1 } else { 0 };
        let others = self.others(Role::Voter).filter(|node| self.is_fresh(*node));
        match pick(others, self.draw) {
            Some(to) => Route::Forward { to, hops_left },
            None => self.as_a_last_resort(),
        }
    }

    fn any_replica(&self) -> Route {
        let fresh = |role| self.others(role).filter(|node| self.is_fresh(*node));
        let to =
            pick(fresh(Role::Voter), self.draw).or_else(|| pick(fresh(Role::Learner), self.draw));
        match to {
            Some(to) => Route::Forward { to, hops_left: 0 },
            None => self.as_a_last_resort(),
        }
    }

    /// A request that another node sent is passed on to the leader or not at all: a search
    /// by every node on its way would multiply the messages.
    fn onward(&self, hops_left: u8, visited: &[NodeId]) -> Route {
        let leader = self.believed_leaders().find(|leader| {
            *leader != self.node && self.is_fresh(*leader) && !visited.contains(leader)
        });
        match (leader, hops_left.checked_sub(1)) {
            (Some(to), Some(hops_left)) => Route::Forward { to, hops_left },
            _ => Route::Refuse(Reason::NotHere),
        }
    }

    /// If there is nobody but nodes that are believed to be unreachable, one of them is
    /// tried all the same, once a round.
    fn as_a_last_resort(&self) -> Route {
        let has_asked = self.tried.iter().any(|node| *node != self.node);
        let leader = self.believed_leaders().find(|leader| *leader != self.node);
        match leader.or_else(|| pick(self.others(Role::Voter), self.draw)) {
            Some(to) if !has_asked => Route::Forward { to, hops_left: 0 },
            None if self.replicas.is_empty() => Route::Refuse(Reason::Unplaced),
            _ => Route::Refuse(Reason::Exhausted),
        }
    }

    fn others(&self, role: Role) -> impl Iterator<Item = NodeId> + Clone {
        let others =
            self.replicas.iter().filter(move |place| place.role == role && place.node != self.node);
        others.map(|place| place.node)
    }

    fn is_fresh(&self, node: NodeId) -> bool {
        !self.tried.contains(&node) && !self.suspects.contains(&node)
    }
}

fn pick(mut nodes: impl Iterator<Item = NodeId> + Clone, draw: usize) -> Option<NodeId> {
    let count = nodes.clone().count();
    nodes.nth(draw.checked_rem(count)?)
}

#[cfg(test)]
mod tests;
