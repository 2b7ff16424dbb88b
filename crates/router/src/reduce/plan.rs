//! Who asks whom for its part of a reduction. Pure.

use breccia_types::{NodeId, ShardId};

/// The shards that one node reduces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) node: NodeId,
    pub(crate) shards: Vec<ShardId>,
}

/// What is asked of one node: its own task, and the tasks of nodes that it asks in turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Branch {
    pub(crate) head: Task,
    pub(crate) rest: Vec<Task>,
}

impl Branch {
    /// Every shard of the branch.
    pub(crate) fn shards(&self) -> impl Iterator<Item = ShardId> {
        let tasks = std::iter::once(&self.head).chain(&self.rest);
        tasks.flat_map(|task| task.shards.iter().copied())
    }
}

/// Divides tasks among at most `fan_in` branches, as evenly as can be. Each task is in one of
/// them, and each branch is smaller than all together by its head, so asking on ends.
pub(crate) fn branches(tasks: Vec<Task>, fan_in: usize) -> Vec<Branch> {
    let count = fan_in.clamp(1, tasks.len().max(1));
    let mut left = tasks.len();
    let mut tasks = tasks.into_iter();
    let mut branches = Vec::with_capacity(count);
    for divisor in (1..=count).rev() {
        let length = left.div_ceil(divisor);
        left -= length;
        let mut group = tasks.by_ref().take(length);
        if let Some(head) = group.next() {
            branches.push(Branch { head, rest: group.collect() });
        }
    }
    branches
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn task(node: u64) -> Task {
        let shard = u32::try_from(node).expect("few nodes") * 2;
        let shards = vec![ShardId::new(shard), ShardId::new(shard + 1)];
        Task { node: NodeId::new(node), shards }
    }

    /// How many messages the farthest node is away.
    fn depth(tasks: Vec<Task>, fan_in: usize) -> usize {
        let below = branches(tasks, fan_in).into_iter();
        below.map(|branch| 1 + depth(branch.rest, fan_in)).max().unwrap_or(0)
    }

    fn visited(tasks: Vec<Task>, fan_in: usize, into: &mut Vec<Task>) {
        for branch in branches(tasks, fan_in) {
            into.push(branch.head);
            visited(branch.rest, fan_in, into);
        }
    }

    #[test]
    fn eight_nodes_are_asked_by_one_and_seventy_two_by_it_and_those() {
        let tasks = |count| (0..count).map(task).collect::<Vec<_>>();
        for (count, fan_in, expected) in
            [(0, 8, 0), (1, 8, 1), (8, 8, 1), (9, 8, 2), (72, 8, 2), (73, 8, 3), (5, 1, 5)]
        {
            assert_eq!(depth(tasks(count), fan_in), expected, "{count} nodes by {fan_in}");
        }
        let shards: Vec<_> =
            branches(tasks(3), 1).iter().flat_map(|branch| branch.shards()).collect();
        assert_eq!(shards, (0..6).map(ShardId::new).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn every_node_is_asked_once_and_none_asks_more_than_the_fan_in(
            count in 0_u64..200,
            fan_in in 1_usize..10,
        ) {
            let tasks: Vec<_> = (0..count).map(task).collect();
            prop_assert!(branches(tasks.clone(), fan_in).len() <= fan_in);
            let mut asked = Vec::new();
            visited(tasks.clone(), fan_in, &mut asked);
            prop_assert_eq!(asked.len(), tasks.len());
            let distinct: BTreeSet<_> = asked.iter().map(|task| task.node).collect();
            prop_assert_eq!(distinct.len(), tasks.len());
        }
    }
}
