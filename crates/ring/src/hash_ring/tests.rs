use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn node(id: u64, weight: u32, zone: &str) -> RingNode {
    RingNode {
        id: NodeId::new(id),
        weight: Weight::new(weight).expect("in range"),
        zone: zone.to_owned(),
        intake: Intake::Open,
    }
}

/// Nodes with random identities, equal weights and no zones.
fn plain(seed: u64, count: usize) -> Vec<RingNode> {
    (0..u64::try_from(count).expect("small"))
        .map(|index| node(xxh3_64_with_seed(&index.to_be_bytes(), seed), 100, ""))
        .collect()
}

fn any_nodes() -> impl Strategy<Value = Vec<RingNode>> {
    let weight = prop_oneof![Just(100), 1..=1_000u32];
    let one = (weight, 0..5usize, prop::bool::weighted(0.1));
    prop::collection::btree_map(any::<u64>(), one, 0..12).prop_map(|nodes| {
        let made = nodes.into_iter().map(|(id, (weight, zone, draining))| {
            let intake = if draining { Intake::Draining } else { Intake::Open };
            RingNode { intake, ..node(id, weight, &format!("zone-{zone}")) }
        });
        made.collect()
    })
}

fn open(nodes: &[RingNode]) -> Vec<&RingNode> {
    nodes.iter().filter(|node| node.intake == Intake::Open).collect()
}

/// How many nodes each zone has that may hold replicas.
fn zone_sizes(nodes: &[RingNode]) -> BTreeMap<&str, usize> {
    let mut sizes = BTreeMap::new();
    for node in open(nodes) {
        *sizes.entry(node.zone.as_str()).or_default() += 1;
    }
    sizes
}

fn assigned(nodes: &[RingNode], shards: u32, replicas: usize) -> Assignment {
    HashRing::new(nodes).expect("distinct").assign(shards, replicas)
}

/// How many replicas `after` has on nodes where `before` did not have them.
fn moved(before: &Assignment, after: &Assignment) -> usize {
    before.iter().zip(after.iter()).map(|((_, old), (_, new))| new.difference(old).count()).sum()
}

/// Whether each of `count` equal nodes has 75 % (rounded down) to 125 % (rounded up) of the
/// average.
fn is_even(load: &BTreeMap<NodeId, usize>, shards: u32, count: usize, replicas: usize) -> bool {
    let total = usize::try_from(shards).expect("small") * replicas.min(count);
    let (min, max) = (total * 3 / (count * 4), (total * 5).div_ceil(count * 4));
    let all_have_some = min == 0 || load.len() == count;
    all_have_some && load.values().all(|load| (min..=max).contains(load))
}

#[test]
fn a_node_given_twice_is_refused() {
    let twice = [node(1, 1, ""), node(1, 2, "")];
    let error = HashRing::new(&twice).map(|_| ()).expect_err("given twice");
    assert_eq!(error, RingError::DuplicateNode { node: NodeId::new(1) });
}

#[test]
fn weights_are_1_to_1000() {
    assert_eq!(Weight::new(0), None);
    assert_eq!(Weight::new(1_001), None);
    assert_eq!(Weight::new(1_000), Some(Weight::MAX));
    assert_eq!(Weight::default().get(), 100);
}

#[test]
fn a_custom_hash_decides_every_position() {
    // Node n lies at 1000 n with all its points, shard s at 1000 s + 500.
    let hash: RingHash = |bytes| match bytes {
        [b'n', id @ ..] => u64::from(id[7]) * 1_000,
        [_, shard @ ..] => u64::from(shard[3]) * 1_000 + 500,
        [] => 0,
    };
    let nodes: Vec<_> = (0..6).map(|id| node(id, 100, "")).collect();
    let ring = HashRing::with_hash(&nodes, hash).expect("distinct");
    for (shard, nodes) in ring.assign(6, 2).iter() {
        let next = |by: u64| NodeId::new((u64::from(shard.get()) + by) % 6);
        assert_eq!(nodes, &BTreeSet::from([next(1), next(2)]), "of {shard}");
    }
}

#[test]
fn a_hash_that_tells_nothing_apart_still_gives_every_replica_and_holds_the_bound() {
    let ring = HashRing::with_hash(&plain(1, 5), |_| 7).expect("distinct");
    let assignment = ring.assign(20, 3);
    assert!(assignment.iter().all(|(_, nodes)| nodes.len() == 3));
    assert!(assignment.load().values().all(|load| *load <= 15));
}

#[test]
fn all_nodes_of_a_cluster_whatever_their_build_agree_on_these() {
    let nodes: Vec<_> = (1..=5).map(|id| node(id, 100, ["a", "b"][usize::from(id > 3)])).collect();
    let shown: Vec<String> = assigned(&nodes, 8, 3)
        .iter()
        .map(|(_, nodes)| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        .collect();
    let agreed = [
        "n1 n3 n4", "n1 n4 n5", "n1 n2 n4", "n1 n4 n5", "n2 n3 n5", "n1 n2 n4", "n3 n4 n5",
        "n2 n3 n5",
    ];
    assert_eq!(shown, agreed);
}

proptest! {
    #[test]
    fn every_shard_has_as_many_distinct_nodes_as_wanted_or_as_there_are(
        nodes in any_nodes(), shards in 0..70u32, replicas in 0..8usize,
    ) {
        let assignment = assigned(&nodes, shards, replicas);
        let may: BTreeSet<NodeId> = open(&nodes).iter().map(|node| node.id).collect();
        prop_assert_eq!(assignment.iter().count(), usize::try_from(shards).expect("small"));
        for (_, chosen) in assignment.iter() {
            prop_assert_eq!(chosen.len(), replicas.min(may.len()));
            prop_assert!(chosen.is_subset(&may));
        }
    }

    #[test]
    fn replicas_are_in_distinct_zones_while_there_are_enough_and_else_spread_evenly(
        nodes in any_nodes(), shards in 1..70u32, replicas in 1..8usize,
    ) {
        let zone_of: BTreeMap<_, _> = nodes.iter().map(|node| (node.id, &*node.zone)).collect();
        let sizes = zone_sizes(&nodes);
        for (_, chosen) in assigned(&nodes, shards, replicas).iter() {
            let mut held: BTreeMap<&str, usize> = BTreeMap::new();
            for node in chosen {
                *held.entry(zone_of[node]).or_default() += 1;
            }
            prop_assert_eq!(held.len(), sizes.len().min(chosen.len()));
            // A zone may have two fewer than another only if it has no more nodes.
            let most = held.values().max().copied().unwrap_or(0);
            for (zone, size) in &sizes {
                let here = held.get(zone).copied().unwrap_or(0);
                prop_assert!(here + 1 >= most || here == *size, "{here} of {size}, {most}");
            }
        }
    }

    #[test]
    fn without_zones_every_node_has_75_to_125_percent_of_its_fair_share(
        seed in any::<u64>(), count in 1..30usize, shards in 1..200u32, replicas in 1..6usize,
    ) {
        let load = assigned(&plain(seed, count), shards, replicas).load();
        prop_assert!(is_even(&load, shards, count, replicas), "{load:?}");
    }

    #[test]
    fn with_one_replica_every_node_has_75_to_125_percent_of_its_share_by_weight(
        nodes in any_nodes(), shards in 1..200u32,
    ) {
        let total_weight: u32 = open(&nodes).iter().map(|node| node.weight.get()).sum();
        let load = assigned(&nodes, shards, 1).load();
        for node in open(&nodes) {
            let weighted = shards * node.weight.get();
            let max = (weighted * 5).div_ceil(total_weight * 4);
            let min = weighted * 3 / (total_weight * 4);
            let load = load.get(&node.id).copied().unwrap_or(0);
            prop_assert!((min..=max).contains(&u32::try_from(load).expect("small")), "{load}");
        }
    }

    #[test]
    fn in_zones_of_equal_size_every_node_has_75_to_125_percent_of_its_fair_share(
        seed in any::<u64>(), zones in 1..6usize, each in 1..6usize,
        shards in 1..100u32, replicas in 1..6usize,
    ) {
        let mut nodes = plain(seed, zones * each);
        for (index, node) in nodes.iter_mut().enumerate() {
            node.zone = format!("zone-{}", index % zones);
        }
        let load = assigned(&nodes, shards, replicas).load();
        prop_assert!(is_even(&load, shards, nodes.len(), replicas), "{load:?}");
    }

    #[test]
    fn every_node_keeps_its_bounds_whatever_the_weights_and_zones(
        nodes in any_nodes(), shards in 1..100u32, replicas in 1..6usize,
    ) {
        let ring = HashRing::new(&nodes).expect("distinct");
        let load = ring.assign(shards, replicas).load();
        let replicas = replicas.min(ring.seats.len());
        let rule = share::ZoneRule::new(&ring.seats, ring.zones, replicas);
        let bounds = share::bounds(&ring.seats, &rule, shards, replicas);
        for (seat, bounds) in ring.seats.iter().zip(bounds) {
            let load = load.get(&seat.id).copied().unwrap_or(0);
            let kept = (bounds.min..=bounds.max).contains(&u32::try_from(load).expect("small"));
            prop_assert!(kept, "{load}, {bounds:?}");
        }
    }

    #[test]
    fn the_order_of_the_nodes_does_not_matter(
        (nodes, shuffled) in any_nodes().prop_flat_map(|nodes| {
            (Just(nodes.clone()), Just(nodes).prop_shuffle())
        }),
        shards in 1..40u32,
    ) {
        prop_assert_eq!(assigned(&nodes, shards, 3), assigned(&shuffled, shards, 3));
    }
}

/// What moved when nodes came or went, over many seeds.
#[derive(Default)]
struct Moves {
    moved: usize,
    ideal: usize,
    /// The most that one seed moved, as a multiple of its ideal.
    worst: f64,
}

impl Moves {
    #[allow(clippy::cast_precision_loss)]
    fn count(&mut self, moved: usize, ideal: usize) {
        self.moved += moved;
        self.ideal += ideal;
        self.worst = self.worst.max(moved as f64 / ideal as f64);
    }

    #[allow(clippy::cast_precision_loss)]
    fn mean(&self) -> f64 {
        self.moved as f64 / self.ideal as f64
    }
}

/// The moves when a node joins `count` others, and when it leaves them again, for 100 seeds.
/// Ideal is its fair share; what it held, if it leaves with more.
fn joins_and_leaves(count: usize, shards: u32, replicas: usize) -> [Moves; 2] {
    let [mut join, mut leave] = [Moves::default(), Moves::default()];
    for seed in 0..100 {
        let mut nodes = plain(seed, count);
        let without = assigned(&nodes, shards, replicas);
        nodes.extend(plain(seed + 1_000, 1));
        let with = assigned(&nodes, shards, replicas);
        let load = with.load();
        let share = load.values().sum::<usize>() / nodes.len();
        join.count(moved(&without, &with), share);
        leave.count(moved(&with, &without), share.max(load[&nodes[count].id]));
    }
    [join, leave]
}

/// Measured with three replicas: joining moves 0.99 to 1.09 times the fair share on average,
/// leaving 0.95 to 1.02; the worst seed 1.44 times. With one replica, where few shards make
/// chance large: 1.25 to 1.35 and 1.10 to 1.26, the worst seed 2.42 times.
#[test]
fn a_node_that_joins_or_leaves_moves_little_more_than_its_share() {
    for (count, shards, replicas, mean_max, worst_max) in [
        (3, 64, 3, 1.15, 1.5),
        (5, 64, 3, 1.15, 1.5),
        (9, 64, 3, 1.15, 1.5),
        (9, 256, 3, 1.15, 1.5),
        (20, 256, 3, 1.15, 1.5),
        (5, 64, 1, 1.4, 2.5),
        (20, 256, 1, 1.4, 2.5),
    ] {
        for moves in joins_and_leaves(count, shards, replicas) {
            let (mean, worst) = (moves.mean(), moves.worst);
            println!("{count} nodes, {shards} shards x {replicas}: {mean:.2}, worst {worst:.2}");
            assert!(mean <= mean_max && worst <= worst_max);
        }
    }
}

#[test]
fn a_zone_of_one_node_holds_every_shard_and_the_other_zones_share_the_rest() {
    let zones = ["a", "b", "b", "c", "c"];
    let nodes: Vec<_> = (1..).zip(zones).map(|(id, zone)| node(id, 100, zone)).collect();
    let load = assigned(&nodes, 40, 3).load();
    assert_eq!(load[&NodeId::new(1)], 40);
    assert!((2..=5).all(|id| load[&NodeId::new(id)] <= 25), "{load:?}");
}
