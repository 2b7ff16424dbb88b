use proptest::prelude::*;

use super::*;

fn set(nodes: impl IntoIterator<Item = u64>) -> BTreeSet<NodeId> {
    nodes.into_iter().map(NodeId::new).collect()
}

fn weights(weights: &[u32]) -> BTreeMap<NodeId, Weight> {
    let weight = |raw: &u32| Weight::new(*raw).expect("in range");
    (1..).map(NodeId::new).zip(weights.iter().map(weight)).collect()
}

fn shards(choices: Vec<LeaderChoice>) -> BTreeMap<ShardId, LeaderChoice> {
    (0..).map(ShardId::new).zip(choices).collect()
}

fn transfers(
    shards: &BTreeMap<ShardId, LeaderChoice>,
    leaders: &BTreeMap<ShardId, NodeId>,
) -> usize {
    leaders
        .iter()
        .filter(|(shard, leader)| {
            let choice = &shards[*shard];
            choice.leader.is_some_and(|now| choice.voters.contains(&now) && now != **leader)
        })
        .count()
}

fn load(leaders: &BTreeMap<ShardId, NodeId>) -> BTreeMap<NodeId, u64> {
    let mut load = BTreeMap::new();
    for leader in leaders.values() {
        *load.entry(*leader).or_default() += 1;
    }
    load
}

/// How uneven the leaders are: the sum of squares, each over the node's weight.
fn unevenness(leaders: &BTreeMap<ShardId, NodeId>, weights: &BTreeMap<NodeId, Weight>) -> u64 {
    // A multiple of every weight that the tests give.
    let scale = 12;
    let node = |(node, load): (NodeId, u64)| load * load * scale / u64::from(weights[&node].get());
    load(leaders).into_iter().map(node).sum()
}

/// Every way of choosing leaders.
fn every_choice(shards: &BTreeMap<ShardId, LeaderChoice>) -> Vec<BTreeMap<ShardId, NodeId>> {
    let mut all = vec![BTreeMap::new()];
    for (shard, choice) in shards {
        all = all
            .iter()
            .flat_map(|leaders| {
                choice.voters.iter().map(move |node| {
                    let mut leaders = leaders.clone();
                    leaders.insert(*shard, *node);
                    leaders
                })
            })
            .collect();
    }
    all
}

fn any_choice(nodes: u64) -> impl Strategy<Value = LeaderChoice> {
    let voters = prop::collection::btree_set(1..=nodes, 1..=3);
    (voters, prop::option::weighted(0.9, 1..=nodes)).prop_map(|(voters, leader)| LeaderChoice {
        voters: set(voters),
        leader: leader.map(NodeId::new),
    })
}

#[test]
fn a_node_without_a_weight_leads_only_what_nobody_else_can() {
    let choice = |nodes: &[u64]| LeaderChoice {
        voters: set(nodes.iter().copied()),
        leader: Some(NodeId::new(3)),
    };
    let shards = shards(vec![choice(&[1, 3]), choice(&[2, 3]), choice(&[3]), choice(&[])]);
    let leaders = spread_leaders(&shards, &weights(&[1, 1]));
    let wanted = [1, 2, 3].map(NodeId::new);
    assert_eq!(leaders.into_values().collect::<Vec<_>>(), wanted);
}

#[test]
fn leadership_passes_through_a_third_node_if_there_is_no_other_way() {
    let choice = |voters: [u64; 2], leader| LeaderChoice {
        voters: set(voters),
        leader: Some(NodeId::new(leader)),
    };
    let shards = shards(vec![choice([1, 2], 1), choice([1, 2], 1), choice([2, 3], 2)]);
    let leaders = spread_leaders(&shards, &weights(&[1, 1, 1]));
    assert_eq!(load(&leaders).into_values().collect::<Vec<_>>(), [1, 1, 1]);
    assert_eq!(transfers(&shards, &leaders), 2);
}

#[test]
fn a_thousand_shards_led_by_one_of_fifty_nodes_are_spread() {
    let voters = |shard: u64| set([shard % 50 + 1, (shard / 7 + 1) % 50 + 1, 50]);
    let all = |shard| LeaderChoice { voters: voters(shard), leader: Some(NodeId::new(50)) };
    let shards = shards((0..1_000).map(all).collect());
    let leaders = spread_leaders(&shards, &weights(&[100; 50]));
    let load = load(&leaders);
    assert!(load.values().all(|load| *load == 20), "{load:?}");
    assert_eq!(transfers(&shards, &leaders), 980);
}

proptest! {
    #[test]
    fn where_every_node_votes_on_every_shard_leaders_differ_by_at_most_one(
        nodes in 1..8u64, now in prop::collection::vec(prop::option::of(1..12u64), 0..60),
    ) {
        let choice = |leader: &Option<u64>| LeaderChoice {
            voters: set(1..=nodes),
            leader: leader.map(NodeId::new),
        };
        let shards = shards(now.iter().map(choice).collect());
        let weights = weights(&vec![100; usize::try_from(nodes).expect("small")]);
        let leaders = spread_leaders(&shards, &weights);
        prop_assert_eq!(leaders.len(), shards.len());
        let load = load(&leaders);
        let most = load.values().max().copied().unwrap_or(0);
        prop_assert!((1..=nodes).all(|node| {
            load.get(&NodeId::new(node)).copied().unwrap_or(0) + 1 >= most
        }), "{load:?}");
        // There, nothing is left to be done.
        let again = leaders.iter().map(|(shard, leader)| {
            (*shard, LeaderChoice { leader: Some(*leader), ..shards[shard].clone() })
        });
        let again = again.collect();
        prop_assert_eq!(spread_leaders(&again, &weights), leaders);
    }

    #[test]
    fn no_choice_is_more_even_and_none_as_even_has_fewer_transfers(
        choices in prop::collection::vec(any_choice(4), 0..7),
        raw in prop::collection::vec(1..=4u32, 4),
    ) {
        let (shards, weights) = (shards(choices), weights(&raw));
        let leaders = spread_leaders(&shards, &weights);
        for (shard, leader) in &leaders {
            prop_assert!(shards[shard].voters.contains(leader));
        }
        let rank = |leaders: &BTreeMap<ShardId, NodeId>| {
            (unevenness(leaders, &weights), transfers(&shards, leaders))
        };
        let best = every_choice(&shards).iter().map(rank).min();
        prop_assert_eq!(Some(rank(&leaders)), best);
    }
}
