//! From sightings of nodes to who is alive. Pure: time comes in as an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use breccia_types::NodeId;
use tokio::time::Instant;

use crate::view::{Incarnation, MEMBERS_MAX, Member, MemberState, NodeInfo, View};

/// How long silence must last to mean something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// How long a node is suspected before it is dead.
    pub(crate) dead_after: Duration,
    /// How long a dead node is remembered; for ever if there is no limit.
    pub(crate) forget_after: Option<Duration>,
}

/// One run of a node, as it appears at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Sighting {
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) info: NodeInfo,
    pub(crate) presence: Presence,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It is heard of.
    Live,
    /// It is not.
    Silent,
    /// It has said that it leaves.
    Left,
}

#[derive(Debug)]
pub(crate) struct Table {
    local: NodeId,
    patience: Patience,
    view: View,
}

impl Table {
    /// A table in which there is only the local node.
    pub(crate) fn new(local: NodeId, patience: Patience) -> Self {
        Self { local, patience, view: View::default() }
    }

    pub(crate) const fn view(&self) -> &View {
        &self.view
    }

    /// The local node is always alive.
    pub(crate) fn set_local(&mut self, incarnation: Incarnation, info: NodeInfo) {
        let member = Member { incarnation, info, state: MemberState::Alive };
        self.view.members.insert(self.local, member);
    }

    /// A node that ought to be there and has not been seen yet.
    pub(crate) fn expect(&mut self, now: Instant, node: NodeId, info: NodeInfo) {
        let state = MemberState::Suspect { since: now };
        let member = Member { incarnation: Incarnation::default(), info, state };
        self.view.members.entry(node).or_insert(member);
    }

    /// A node that there is no longer.
    pub(crate) fn forget(&mut self, node: NodeId) {
        if node != self.local {
            self.view.members.remove(&node);
        }
    }

    /// Takes in everything that is seen at one moment. Of a node's runs the latest counts
    /// that is heard of; none before the latest that ever was.
    pub(crate) fn observe(&mut self, now: Instant, sightings: Vec<Sighting>) {
        let mut best: BTreeMap<NodeId, Sighting> = BTreeMap::new();
        for sighting in sightings {
            let known = self.view.members.get(&sighting.node);
            let outdated = known.is_some_and(|known| sighting.incarnation < known.incarnation);
            if sighting.presence == Presence::Silent || outdated || sighting.node == self.local {
                continue;
            }
            let rank = |sighting: &Sighting| (sighting.incarnation, sighting.info.peer_addr);
            if best.get(&sighting.node).is_none_or(|other| rank(other) < rank(&sighting)) {
                best.insert(sighting.node, sighting);
            }
        }
        let silent: Vec<NodeId> =
            self.view.members.keys().filter(|node| !best.contains_key(node)).copied().collect();
        for node in silent {
            self.on_silence(now, node);
        }
        for sighting in best.into_values() {
            match sighting.presence {
                Presence::Live => self.on_live(sighting),
                Presence::Left | Presence::Silent => self.on_left(now, &sighting),
            }
        }
    }

    fn on_live(&mut self, sighting: Sighting) {
        let Sighting { node, incarnation, info, .. } = sighting;
        let known = self.view.members.contains_key(&node);
        if known || self.view.members.len() < MEMBERS_MAX || self.forget_longest_dead() {
            let member = Member { incarnation, info, state: MemberState::Alive };
            self.view.members.insert(node, member);
        }
    }

    fn on_left(&mut self, now: Instant, sighting: &Sighting) {
        if let Some(member) = self.view.members.get_mut(&sighting.node) {
            member.incarnation = sighting.incarnation;
            if !matches!(member.state, MemberState::Dead { .. }) {
                member.state = MemberState::Dead { since: now };
            }
        }
    }

    fn on_silence(&mut self, now: Instant, node: NodeId) {
        if node == self.local {
            return;
        }
        let Some(member) = self.view.members.get_mut(&node) else { return };
        match member.state {
            MemberState::Alive => member.state = MemberState::Suspect { since: now },
            MemberState::Suspect { since } => {
                if now.duration_since(since) >= self.patience.dead_after {
                    member.state = MemberState::Dead { since };
                }
            }
            MemberState::Dead { since } => {
                let silent = now.duration_since(since);
                if self.patience.forget_after.is_some_and(|patience| silent >= patience) {
                    self.view.members.remove(&node);
                }
            }
        }
    }

    fn forget_longest_dead(&mut self) -> bool {
        let longest = self.view.dead().min_by_key(|(_, since)| *since);
        longest.is_some_and(|(node, _)| self.view.members.remove(&node).is_some())
    }
}

#[cfg(test)]
mod tests;
