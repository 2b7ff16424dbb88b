//! What happens next: decided by a seed alone.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::fault::Fault;

/// Whom it happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// This node.
    Node(usize),
    /// The node that leads the shard of this number then.
    LeaderOf(usize),
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// How long all is well before it.
    pub calm: Duration,
    /// What happens.
    pub fault: Fault,
    /// To whom.
    pub victim: Victim,
    /// How long it lasts.
    pub hold: Duration,
    /// Chooses between the forms that the fault has.
    pub form: u32,
}

/// Decides what happens.
#[derive(Debug)]
pub struct Planner {
    random: StdRng,
    faults: Vec<Fault>,
    nodes: usize,
    shards: usize,
}

impl Planner {
    /// A planner of these faults.
    #[must_use]
    pub fn new(seed: u64, faults: Vec<Fault>, nodes: usize, shards: usize) -> Self {
        Self { random: StdRng::seed_from_u64(seed), faults, nodes, shards }
    }

    /// The next fault, or `None` if there are none.
    pub fn next_step(&mut self) -> Option<Step> {
        if self.faults.is_empty() {
            return None;
        }
        let random = &mut self.random;
        let fault = *self.faults.get(random.random_range(0..self.faults.len()))?;
        // Leaders suffer more often than chance has it: that is where it hurts.
        let victim = match random.random_bool(0.6) {
            true => Victim::LeaderOf(random.random_range(0..self.shards.max(1))),
            false => Victim::Node(random.random_range(0..self.nodes.max(1))),
        };
        let calm = Duration::from_millis(random.random_range(500..3_000));
        let hold = Duration::from_millis(match fault {
            Fault::Kill | Fault::KillAll | Fault::Terminate => random.random_range(0..3_000),
            Fault::Wipe => random.random_range(0..1_000),
            Fault::Slow | Fault::Disk | Fault::Disks => random.random_range(2_000..5_000),
            Fault::Pause | Fault::Partition | Fault::OneWay | Fault::Link => {
                random.random_range(3_000..8_000)
            }
        });
        Some(Step { calm, fault, victim, hold, form: random.random_range(0..12) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_decides_the_same_faults_again() {
        let steps = |seed| {
            let mut planner = Planner::new(seed, Fault::survivable(3), 3, 4);
            (0..50).filter_map(|_| planner.next_step()).collect::<Vec<_>>()
        };
        assert_eq!(steps(7), steps(7));
        assert_ne!(steps(7), steps(8));
    }

    #[test]
    fn a_lone_node_suffers_nothing_that_it_cannot_survive() {
        assert!(!Fault::survivable(1).contains(&Fault::Wipe));
        assert!(Fault::survivable(3).contains(&Fault::Wipe));
        assert_eq!("one-way".parse(), Ok(Fault::OneWay));
        assert!("meteor".parse::<Fault>().is_err());
    }
}
