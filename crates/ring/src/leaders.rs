//! Which node should lead each shard: leaders spread evenly, with the fewest transfers.
//!
//! A flow of least cost. Each further leader on a node costs more than the one before, in
//! inverse proportion to the node's weight, so that the cheapest spread is the even one; and
//! each transfer costs something too, but less than any improvement of the spread. Starting
//! from today's leaders, leadership is passed along cycles of negative cost until there is
//! none, which is the optimum (Klein, "A primal method for minimal cost flows", 1967).

use std::collections::{BTreeMap, BTreeSet};

use breccia_types::{NodeId, ShardId};

use crate::hash_ring::Weight;

/// What is to be decided about one shard.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeaderChoice {
    /// The nodes that may lead it: its voters that are alive.
    pub voters: BTreeSet<NodeId>,
    /// The node that leads it now, if any.
    pub leader: Option<NodeId>,
}

/// The node that should lead each shard. Nodes lead in proportion to their weights as far as
/// they have replicas; a node without a weight leads only what nobody else can. A shard that
/// nobody can lead is not in the answer. Where the answer is today's leader, nothing is to be
/// done; no other answer that spreads as well has fewer transfers.
#[must_use]
pub fn spread_leaders(
    shards: &BTreeMap<ShardId, LeaderChoice>,
    weights: &BTreeMap<NodeId, Weight>,
) -> BTreeMap<ShardId, NodeId> {
    let mut spread = Spread { shards, weights, leaders: BTreeMap::new(), load: BTreeMap::new() };
    spread.keep_leaders();
    spread.fill_vacancies();
    while let Some(cycle) = spread.improvement() {
        spread.pass_along(&cycle);
    }
    spread.leaders
}

/// What a leader costs on a node of weight 1, in the smallest unit of spread.
const LEADER_COST: i128 = 1 << 32;
/// What a leader costs on top where there is no weight: more than any spread.
const WEIGHTLESS_COST: i128 = 1 << 80;
/// The smallest unit of spread, in transfers: more than there are shards.
const SPREAD_UNIT: i128 = 1 << 20;

struct Spread<'a> {
    shards: &'a BTreeMap<ShardId, LeaderChoice>,
    weights: &'a BTreeMap<NodeId, Weight>,
    leaders: BTreeMap<ShardId, NodeId>,
    load: BTreeMap<NodeId, i128>,
}

/// Where leadership passes: through nodes, and the hub that closes the cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Vertex {
    Hub,
    Node(NodeId),
}

/// One leadership passes on.
#[derive(Debug, Clone, Copy)]
struct Arc {
    from: Vertex,
    to: Vertex,
    cost: i128,
    /// Which shard's, between nodes.
    shard: Option<ShardId>,
}

impl Spread<'_> {
    fn keep_leaders(&mut self) {
        for (shard, choice) in self.shards {
            if let Some(leader) = choice.leader.filter(|leader| choice.voters.contains(leader)) {
                self.leaders.insert(*shard, leader);
                *self.load.entry(leader).or_default() += 1;
            }
        }
    }

    fn fill_vacancies(&mut self) {
        for (shard, choice) in self.shards {
            if self.leaders.contains_key(shard) {
                continue;
            }
            let cheapest = choice.voters.iter().min_by_key(|node| self.next_cost(**node));
            if let Some(leader) = cheapest.copied() {
                self.leaders.insert(*shard, leader);
                *self.load.entry(leader).or_default() += 1;
            }
        }
    }

    /// What the `count`-th leader on a node costs. The sum over a node grows with the square.
    fn cost(&self, node: NodeId, count: i128) -> i128 {
        let steps = (2 * count - 1) * LEADER_COST;
        let spread = match self.weights.get(&node) {
            Some(weight) => steps / i128::from(weight.get()),
            None => WEIGHTLESS_COST + steps,
        };
        spread * SPREAD_UNIT
    }

    fn next_cost(&self, node: NodeId) -> i128 {
        self.cost(node, self.load.get(&node).copied().unwrap_or(0) + 1)
    }

    /// Every way for a leadership to pass, the cheapest one between any two vertices.
    fn arcs(&self) -> Vec<Arc> {
        let mut cheapest: BTreeMap<(NodeId, NodeId), (i128, ShardId)> = BTreeMap::new();
        let mut nodes: BTreeSet<NodeId> = BTreeSet::new();
        for (shard, choice) in self.shards {
            let Some(leader) = self.leaders.get(shard) else { continue };
            nodes.extend(&choice.voters);
            let today = choice.leader.filter(|leader| choice.voters.contains(leader));
            for node in choice.voters.iter().filter(|node| *node != leader) {
                let transfers =
                    i128::from(today == Some(*leader)) - i128::from(today == Some(*node));
                let arc = cheapest.entry((*leader, *node)).or_insert((transfers, *shard));
                *arc = (*arc).min((transfers, *shard));
            }
        }
        let mut arcs: Vec<Arc> = cheapest
            .into_iter()
            .map(|((from, to), (cost, shard))| Arc {
                from: Vertex::Node(from),
                to: Vertex::Node(to),
                cost,
                shard: Some(shard),
            })
            .collect();
        for node in nodes {
            let load = self.load.get(&node).copied().unwrap_or(0);
            let vertex = Vertex::Node(node);
            let gains = self.cost(node, load + 1);
            arcs.push(Arc { from: vertex, to: Vertex::Hub, cost: gains, shard: None });
            if load > 0 {
                let loses = -self.cost(node, load);
                arcs.push(Arc { from: Vertex::Hub, to: vertex, cost: loses, shard: None });
            }
        }
        arcs
    }

    /// A cycle along which passing leadership costs less than nothing, if there is one: the
    /// method of Bellman and Ford, from everywhere at once.
    fn improvement(&self) -> Option<Vec<Arc>> {
        let arcs = self.arcs();
        let mut costs: BTreeMap<Vertex, i128> = BTreeMap::new();
        let mut reached_by: BTreeMap<Vertex, Arc> = BTreeMap::new();
        loop {
            let mut cheaper = false;
            for arc in &arcs {
                let cost = costs.get(&arc.from).copied().unwrap_or(0) + arc.cost;
                if cost < costs.get(&arc.to).copied().unwrap_or(0) {
                    costs.insert(arc.to, cost);
                    reached_by.insert(arc.to, *arc);
                    cheaper = true;
                }
            }
            if !cheaper {
                return None;
            }
            if let Some(cycle) = cycle_in(&reached_by) {
                return Some(cycle);
            }
        }
    }

    fn pass_along(&mut self, cycle: &[Arc]) {
        for arc in cycle {
            if let (Some(shard), Vertex::Node(from), Vertex::Node(to)) =
                (arc.shard, arc.from, arc.to)
            {
                self.leaders.insert(shard, to);
                *self.load.entry(from).or_default() -= 1;
                *self.load.entry(to).or_default() += 1;
            }
        }
    }
}

/// A cycle of arcs, each the one by which its end was reached. Such a cycle has a negative
/// cost.
fn cycle_in(reached_by: &BTreeMap<Vertex, Arc>) -> Option<Vec<Arc>> {
    let mut seen_from: BTreeMap<Vertex, Vertex> = BTreeMap::new();
    for start in reached_by.keys() {
        let mut at = *start;
        while let Some(arc) = reached_by.get(&at) {
            match seen_from.insert(at, *start) {
                None => at = arc.from,
                Some(walk) if walk == *start => return Some(cycle_through(reached_by, at)),
                Some(_) => break,
            }
        }
    }
    None
}

fn cycle_through(reached_by: &BTreeMap<Vertex, Arc>, start: Vertex) -> Vec<Arc> {
    let mut cycle: Vec<Arc> = Vec::new();
    let mut at = start;
    while let Some(arc) = reached_by.get(&at) {
        cycle.push(*arc);
        at = arc.from;
        if at == start {
            break;
        }
    }
    cycle
}

#[cfg(test)]
mod tests;
