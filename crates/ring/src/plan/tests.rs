use breccia_types::Epoch;
use proptest::prelude::*;

use super::*;
use crate::hash_ring::{HashRing, Intake, RingNode, Weight};

const SHARDS: u32 = 6;

fn set(nodes: impl IntoIterator<Item = u64>) -> BTreeSet<NodeId> {
    nodes.into_iter().map(NodeId::new).collect()
}

/// A cluster as the one who plans sees it. Node 1 founded it.
#[derive(Debug, Clone)]
struct World {
    placement: Placement,
    replicas: usize,
    nodes: BTreeSet<NodeId>,
    lost: BTreeSet<NodeId>,
    draining: BTreeSet<NodeId>,
    damaged: BTreeSet<ReplicaId>,
}

impl World {
    fn new(shards: u32, replicas: usize) -> Self {
        let founder = NodeId::new(1);
        Self {
            placement: Placement::founded_by(founder, Epoch::new(1), shards).expect("in range"),
            replicas,
            nodes: BTreeSet::from([founder]),
            lost: BTreeSet::new(),
            draining: BTreeSet::new(),
            damaged: BTreeSet::new(),
        }
    }

    fn join(&mut self) {
        let next = self.nodes.last().map_or(1, |node| node.get() + 1);
        self.nodes.insert(NodeId::new(next));
    }

    fn is_live(&self, node: NodeId) -> bool {
        !self.lost.contains(&node) && !self.draining.contains(&node)
    }

    fn wanted(&self) -> Assignment {
        let node = |id: &NodeId| RingNode {
            id: *id,
            weight: Weight::default(),
            zone: String::new(),
            intake: if self.is_live(*id) { Intake::Open } else { Intake::Draining },
        };
        let nodes: Vec<RingNode> = self.nodes.iter().map(node).collect();
        let shards = u32::try_from(self.placement.shard_count()).expect("small");
        HashRing::new(&nodes).expect("distinct").assign(shards, self.replicas)
    }

    fn with_goal<T>(&self, then: impl FnOnce(&Placement, Goal<'_>) -> T) -> T {
        let wanted = self.wanted();
        let (lost, draining, damaged) = (&self.lost, &self.draining, &self.damaged);
        let absent = &BTreeSet::new();
        let goal = Goal { wanted: &wanted, lost, absent, draining, damaged };
        then(&self.placement, goal)
    }

    fn plan(&self) -> Plan {
        self.with_goal(Plan::next)
    }

    fn take(&mut self, step: &Step) {
        self.placement = self.placement.after(step).expect("a planned step is possible");
    }

    /// Takes steps until there are none, and shows them.
    fn settle(&mut self) -> Vec<String> {
        let plan = self.with_goal(Plan::whole);
        plan.steps.iter().for_each(|step| self.take(step));
        assert_eq!(self.plan().steps, [], "nothing is left");
        plan.steps.iter().map(ToString::to_string).collect()
    }

    fn voters(&self, shard: ShardId) -> BTreeSet<NodeId> {
        self.placement.voters(shard).collect()
    }

    fn holders(&self, shard: ShardId) -> BTreeSet<NodeId> {
        self.placement.replicas(shard).iter().map(|place| place.node).collect()
    }

    /// How many more voters may die before the shard stops; negative if it has stopped.
    fn tolerance(&self, shard: ShardId) -> i64 {
        let count = |nodes: BTreeSet<NodeId>| i64::try_from(nodes.len()).expect("small");
        let voters = self.voters(shard);
        let live = voters.difference(&self.lost).copied().collect();
        count(live) - count(voters) / 2 - 1
    }
}

#[test]
fn a_cluster_that_grows_has_one_voter_then_a_second_copy_then_three_voters() {
    let mut world = World::new(1, 3);
    assert_eq!(world.settle(), [""; 0]);
    world.join();
    assert_eq!(world.settle(), ["s0: copy to n2"]);
    world.join();
    assert_eq!(world.settle(), ["s0: copy to n3", "s0: promote r2 r3"]);
}

#[test]
fn a_lost_voter_stays_until_a_live_node_is_free_for_it() {
    let mut world = World::new(1, 3);
    world.join();
    world.join();
    world.settle();
    world.lost = set([2]);
    assert_eq!(world.plan(), Plan::default());
    world.join();
    assert_eq!(world.settle(), ["s0: copy to n4", "s0: replace r2 by r4"]);
}

#[test]
fn a_shard_that_has_lost_its_majority_is_named_and_left_alone() {
    let mut world = World::new(1, 3);
    world.join();
    world.join();
    world.settle();
    world.join();
    world.lost = set([2, 3]);
    let stuck = vec![(ShardId::new(0), Stuck::MajorityLost)];
    assert_eq!(world.plan(), Plan { steps: vec![], stuck });
}

#[test]
fn of_two_nodes_the_lost_one_with_the_learner_changes_nothing() {
    let mut world = World::new(1, 3);
    world.join();
    world.settle();
    world.lost = set([2]);
    assert_eq!(world.plan(), Plan::default());
    world.join();
    assert_eq!(world.settle(), ["s0: copy to n3"]);
}

#[test]
fn a_drained_node_is_emptied_even_if_two_are_left_and_never_before_others_have_its_data() {
    let mut world = World::new(1, 3);
    world.join();
    world.join();
    world.settle();
    world.draining = set([1]);
    assert_eq!(world.settle(), ["s0: demote r1 r3", "s0: remove r1"]);
    world.join();
    assert_eq!(world.settle(), ["s0: copy to n4", "s0: promote r3 r4"]);
    world.draining = set([1, 2]);
    world.join();
    assert_eq!(world.settle(), ["s0: copy to n5", "s0: replace r2 by r5"]);
}

#[test]
fn a_node_that_is_lost_and_draining_is_given_up() {
    let mut world = World::new(1, 3);
    world.join();
    world.join();
    world.settle();
    world.lost = set([1]);
    world.draining = set([1]);
    assert_eq!(world.settle(), ["s0: demote r1 r3", "s0: remove r1"]);
}

#[test]
fn when_all_nodes_drain_the_data_stays_where_it_is() {
    let mut world = World::new(1, 3);
    world.draining = set([1]);
    let stuck = vec![(ShardId::new(0), Stuck::NowhereToGo)];
    assert_eq!(world.plan(), Plan { steps: vec![], stuck });
}

#[test]
fn a_node_that_is_merely_missing_from_the_wish_keeps_what_it_has_until_it_is_replaced() {
    let mut world = World::new(1, 3);
    world.join();
    world.join();
    world.settle();
    for (wish, steps) in [(vec![], 0), (vec![2], 0), (vec![1, 2], 0), (vec![1, 2, 4], 1)] {
        let wanted = Assignment::new(3, vec![set(wish)]);
        let goal = Goal {
            wanted: &wanted,
            lost: &set([]),
            absent: &set([]),
            draining: &set([]),
            damaged: &BTreeSet::new(),
        };
        assert_eq!(Plan::next(&world.placement, goal).steps.len(), steps);
    }
}

/// A node that ended while it joined kept all that came later from a copy.
#[test]
fn a_copy_on_a_node_that_does_not_answer_is_not_waited_for() {
    let founded = Placement::founded_by(NodeId::new(1), Epoch::new(1), 1).expect("in range");
    let shard = ShardId::new(0);
    let add = |node| Step::AddLearner { shard, node: NodeId::new(node) };
    let placement = [add(2), add(3)]
        .iter()
        .fold(founded, |placement, step| placement.after(step).expect("possible"));
    let wanted = Assignment::new(5, vec![set([1, 2, 3, 4])]);
    let goal = Goal {
        wanted: &wanted,
        lost: &set([]),
        absent: &set([2]),
        draining: &set([]),
        damaged: &BTreeSet::new(),
    };
    assert_eq!(Plan::next(&placement, goal).steps, [add(4)]);
    let placement = placement.after(&add(4)).expect("possible");
    let steps = Plan::next(&placement, goal).steps;
    assert!(!matches!(steps.first(), Some(Step::Promote { .. })), "{steps:?}");
}

#[test]
fn an_unfounded_shard_is_named() {
    let mut world = World::new(1, 3);
    world.placement = Placement::even(Epoch::new(1), 1).expect("in range");
    assert_eq!(world.plan().stuck, [(ShardId::new(0), Stuck::NoVoter)]);
}

#[test]
fn repairs_come_before_the_emptying_of_nodes_and_that_before_evening_out() {
    let founded = Placement::founded_by(NodeId::new(1), Epoch::new(1), 3).expect("in range");
    let add =
        |shard, node| Step::AddLearner { shard: ShardId::new(shard), node: NodeId::new(node) };
    let placement = [add(1, 2), add(2, 3)]
        .iter()
        .fold(founded, |placement, step| placement.after(step).expect("possible"));
    let wanted = Assignment::new(2, vec![set([1, 4]), set([1, 4]), set([1, 4])]);
    let goal = Goal {
        wanted: &wanted,
        lost: &set([3]),
        absent: &set([]),
        draining: &set([2]),
        damaged: &BTreeSet::new(),
    };
    let shards: Vec<u32> =
        Plan::next(&placement, goal).steps.iter().map(|step| step.shard().get()).collect();
    assert_eq!(shards, [2, 1, 0]);
}

#[derive(Debug, Clone)]
enum Event {
    Join,
    Lose(prop::sample::Index),
    Drain(prop::sample::Index),
    /// Takes some of the planned steps.
    Steps(Vec<bool>),
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Join),
        1 => any::<prop::sample::Index>().prop_map(Event::Lose),
        1 => any::<prop::sample::Index>().prop_map(Event::Drain),
        8 => prop::collection::vec(any::<bool>(), 6).prop_map(Event::Steps),
    ]
}

/// Takes a planned step and checks what must hold between any two steps.
fn take_safely(world: &mut World, step: &Step) -> Result<(), TestCaseError> {
    let shard = step.shard();
    let before = world.clone();
    world.take(step);
    let (old, new) = (before.voters(shard), world.voters(shard));
    prop_assert_eq!(new.len() % 2, 1, "an even number of voters rests");
    prop_assert!(world.tolerance(shard) >= 0, "{} stops {:?}", step, before);
    if let Step::Demote { .. } = step {
        let nodes = world.wanted().nodes(shard).map_or(0, BTreeSet::len);
        prop_assert!(new.len() + 1 >= nodes.min(world.replicas), "too few voters");
        let leaving = old.iter().any(|node| world.draining.contains(node));
        prop_assert!(leaving, "only an operator's wish lowers the number of voters");
    } else {
        prop_assert!(new.len() >= old.len());
        prop_assert!(world.tolerance(shard) >= before.tolerance(shard), "less is tolerated");
    }
    Ok(())
}

fn take_planned(world: &mut World, chosen: &[bool]) -> Result<usize, TestCaseError> {
    let plan = world.plan();
    let shards: BTreeSet<ShardId> = plan.steps.iter().map(Step::shard).collect();
    prop_assert_eq!(shards.len(), plan.steps.len(), "two changes of one shard at once");
    let taken = plan.steps.iter().zip(chosen).filter(|(_, chosen)| **chosen);
    taken.clone().try_for_each(|(step, _)| take_safely(world, step))?;
    Ok(taken.count())
}

/// What must hold of a shard when nothing is left to be done.
fn check_rest(world: &World, shard: ShardId) -> Result<(), TestCaseError> {
    let wanted = world.wanted().nodes(shard).cloned().unwrap_or_default();
    let (holders, voters) = (world.holders(shard), world.voters(shard));
    prop_assert!(wanted.is_subset(&holders));
    prop_assert!(holders.is_disjoint(&world.draining), "a draining node is emptied");
    let others: BTreeSet<_> = holders.difference(&wanted).copied().collect();
    prop_assert!(others.is_subset(&world.lost), "only lost replicas may be kept");
    prop_assert!(holders.len() <= world.replicas);
    let counted = wanted.len() + others.intersection(&voters).count();
    prop_assert_eq!(voters.len(), counted - (counted + 1) % 2, "as many voters as may be");
    Ok(())
}

proptest! {
    #[test]
    fn whatever_happens_the_steps_are_safe_one_by_one_and_end_at_the_wanted_placement(
        replicas in 1..=5usize, events in prop::collection::vec(any_event(), 0..40),
    ) {
        let mut world = World::new(SHARDS, replicas);
        for event in events {
            let nodes: Vec<NodeId> = world.nodes.iter().copied().collect();
            match event {
                Event::Join => world.join(),
                Event::Lose(at) => drop(world.lost.insert(*at.get(&nodes))),
                Event::Drain(at) => drop(world.draining.insert(*at.get(&nodes))),
                Event::Steps(chosen) => drop(take_planned(&mut world, &chosen)?),
            }
        }
        let mut rounds = 0;
        while take_planned(&mut world, &[true; 6])? > 0 {
            rounds += 1;
            prop_assert!(rounds <= 4 * (replicas + 1), "the plan does not end");
        }
        let stuck: BTreeSet<ShardId> = world.plan().stuck.iter().map(|(shard, _)| *shard).collect();
        for (shard, _) in world.placement.shards().filter(|(shard, _)| !stuck.contains(shard)) {
            check_rest(&world, shard)?;
        }
    }

    #[test]
    fn a_whole_plan_copies_only_what_is_not_where_it_should_be(
        replicas in 1..=5usize, before in 1..7usize, joins in 0..4usize, drained in 0..3usize,
    ) {
        let mut world = World::new(SHARDS, replicas);
        (1..before).for_each(|_| world.join());
        world.settle();
        (0..joins).for_each(|_| world.join());
        world.draining = world.nodes.iter().take(drained.min(world.nodes.len() - 1)).copied().collect();
        let missing: usize = world
            .wanted()
            .iter()
            .map(|(shard, nodes)| nodes.difference(&world.holders(shard)).count())
            .sum();
        let plan = world.with_goal(Plan::whole);
        prop_assert_eq!(plan.copies(), missing);
        world.settle();
        prop_assert_eq!(world.with_goal(Plan::whole), Plan::default());
    }
}

#[test]
fn a_damaged_replica_goes_first_and_is_made_anew_on_its_node() {
    let mut world = World::new(1, 3);
    world.join();
    world.join();
    world.settle();
    world.damaged = BTreeSet::from([ReplicaId::new(2)]);
    let steps = world.settle();
    assert_eq!(steps, ["s0: remove r2", "s0: copy to n2", "s0: promote r4"]);
    assert_eq!(world.voters(ShardId::new(0)), set([1, 2, 3]));
}

#[test]
fn a_damaged_replica_stays_if_the_others_could_not_do_without_it() {
    let mut world = World::new(1, 3);
    world.damaged = BTreeSet::from([ReplicaId::new(1)]);
    assert_eq!(world.plan().stuck, [(ShardId::new(0), Stuck::Damaged)], "it is the only one");
    world.join();
    world.join();
    world.damaged.clear();
    world.settle();
    world.damaged = BTreeSet::from([ReplicaId::new(2)]);
    world.lost = set([3]);
    let plan = world.plan();
    assert_eq!((plan.steps, plan.stuck), (vec![], vec![(ShardId::new(0), Stuck::Damaged)]));
}

#[test]
fn voters_are_not_taken_from_draining_nodes_if_only_lost_ones_would_be_left() {
    let mut world = World::new(1, 3);
    world.join();
    world.join();
    world.settle();
    world.lost = set([2]);
    world.draining = set([1, 3]);
    let plan = world.plan();
    assert_eq!((plan.steps, plan.stuck), (vec![], vec![(ShardId::new(0), Stuck::NowhereToGo)]));
}

#[test]
fn a_lost_learner_goes_if_its_node_is_to_be_emptied_too() {
    let mut world = World::new(1, 3);
    world.join();
    world.settle();
    (world.lost, world.draining) = (set([2]), set([2]));
    assert_eq!(world.settle(), ["s0: remove r2"]);
}
