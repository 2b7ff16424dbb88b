//! What goes wrong on the way from one node to another.

use std::ops::RangeInclusive;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// What happens to that which travels from one node to another. By default nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Faults {
    /// Nothing passes. Calls and streams fail at once, and streams that stand are lost. A
    /// call in the other direction is answered, but its reply is lost at once.
    pub is_cut: bool,
    /// Nothing passes until this is false again; then it all does, in order. Nobody is told.
    pub is_held: bool,
    /// How long each message travels, by chance. Calls may overtake each other, messages of
    /// a stream do not.
    pub delay: RangeInclusive<Duration>,
    /// How many of the calls in this direction, 0 to 1, never arrive. Nobody is told.
    pub lost_requests: f64,
    /// How many of the calls in this direction, 0 to 1, arrive, but their replies never do.
    /// Nobody is told.
    pub lost_replies: f64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            is_cut: false,
            is_held: false,
            delay: Duration::ZERO..=Duration::ZERO,
            lost_requests: 0.0,
            lost_replies: 0.0,
        }
    }
}

/// What chance decides. Nothing is drawn for a fault that is not there, so that adding a
/// fault in one place does not change the others.
pub(crate) struct Chance(StdRng);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    pub(crate) fn delay(&mut self, faults: &Faults) -> Duration {
        let (least, most) = (*faults.delay.start(), *faults.delay.end());
        if most <= least {
            return least;
        }
        least + (most - least).mul_f64(self.0.random_range(0.0..=1.0))
    }

    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.0.random_bool(probability.min(1.0))
    }
}
