//! Which node leads which slot, and whom to ask. Pure.

use std::sync::Arc;

use breccia_api::v1;
use breccia_types::{ShardId, Slot};

/// A node's `host:port` of gRPC.
pub(crate) type Address = Arc<str>;

/// Whom a request is best sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Any node.
    Anyone,
    /// The node that leads the slot's shard.
    Leader(Slot),
    /// A node that holds a replica of the slot's shard.
    Replica(Slot),
}

/// The cluster as one of its nodes last described it. It may be outdated: any node answers
/// any request, so a wrong guess costs a hop between nodes and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Topology {
    /// The nodes that answered.
    nodes: Vec<Address>,
    /// By first slot.
    shards: Vec<Shard>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Shard {
    slot_first: u32,
    slot_last: u32,
    leader: Option<Address>,
    /// The nodes that hold a replica which is in service.
    replicas: Vec<Address>,
}

impl Topology {
    pub(crate) fn new(nodes: v1::NodesResponse, shards: v1::ShardsResponse) -> Self {
        let is_reachable =
            |node: &v1::NodeSummary| node.unreachable.is_none() && !node.address.is_empty();
        let reachable = nodes.nodes.into_iter().filter(is_reachable);
        let nodes: Vec<(String, Address)> =
            reachable.map(|node| (node.id, node.address.into())).collect();
        let address_of = |id: &str| {
            nodes.iter().find(|(node, _)| node == id).map(|(_, address)| Arc::clone(address))
        };
        let with_slots = shards.shards.iter().filter(|shard| shard.shard != ShardId::META.get());
        let mut shards: Vec<Shard> = with_slots
            .map(|shard| {
                let in_service =
                    shard.replicas.iter().filter(|it| !it.role.is_empty() && it.trouble.is_none());
                Shard {
                    slot_first: shard.slot_first,
                    slot_last: shard.slot_last,
                    leader: address_of(&shard.leader),
                    replicas: in_service.filter_map(|it| address_of(&it.node)).collect(),
                }
            })
            .collect();
        shards.sort_by_key(|shard| shard.slot_first);
        Self { nodes: nodes.into_iter().map(|(_, address)| address).collect(), shards }
    }

    /// The node that leads the shard of a slot, if one is known.
    pub(crate) fn leader_of(&self, slot: Slot) -> Option<&Address> {
        self.shard_of(slot)?.leader.as_ref()
    }

    /// Whether every shard has a leader.
    pub(crate) fn is_whole(&self) -> bool {
        !self.shards.is_empty() && self.shards.iter().all(|shard| shard.leader.is_some())
    }

    pub(crate) fn nodes(&self) -> &[Address] {
        &self.nodes
    }

    /// The node to ask: the target, or else any node, or else one of the addresses that the
    /// client was given. Nodes that `is_doubtful` names come last; `draw` decides among
    /// equals.
    pub(crate) fn choose(
        &self,
        target: Target,
        given: &[Address],
        is_doubtful: impl Fn(&Address) -> bool,
        draw: usize,
    ) -> Option<Address> {
        let is_sound = |address: &&Address| !is_doubtful(address);
        let best = match target {
            Target::Anyone => None,
            Target::Leader(slot) => self.leader_of(slot).filter(is_sound),
            Target::Replica(slot) => {
                let replicas = self.shard_of(slot).map_or(&[][..], |shard| &shard.replicas);
                pick(replicas.iter().filter(is_sound), draw)
            }
        };
        let chosen = best
            .or_else(|| pick(self.nodes.iter().filter(is_sound), draw))
            .or_else(|| pick(given.iter().filter(is_sound), draw))
            .or_else(|| pick(self.nodes.iter().chain(given), draw));
        chosen.map(Arc::clone)
    }

    fn shard_of(&self, slot: Slot) -> Option<&Shard> {
        let slot = u32::from(slot.get());
        let after = self.shards.partition_point(|shard| shard.slot_first <= slot);
        self.shards.get(after.checked_sub(1)?).filter(|shard| slot <= shard.slot_last)
    }
}

fn pick<'a>(
    mut from: impl Iterator<Item = &'a Address> + Clone,
    draw: usize,
) -> Option<&'a Address> {
    let count = from.clone().count();
    from.nth(draw.checked_rem(count)?)
}

#[cfg(test)]
mod tests;
