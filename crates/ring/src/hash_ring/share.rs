//! The fair share of each node, and the bounds that follow from it.
//!
//! Shares are proportional to weights within two limits: a node holds a shard once, so at
//! most all shards; and zones get the counts that [`ZoneRule`] says. Both are the same
//! sum: find the level at which `clamp(level * weight, low, high)` of all add up to what is
//! to be shared ("water filling"), first over the zones, then over the nodes of each.
//!
//! Arithmetic is in integers, parts of a replica, so that every machine finds the same.

use super::Seat;

/// A node holds at most this percentage of its fair share, rounded up. A larger bound moves
/// less when nodes come and go, a smaller one spreads better.
pub const LOAD_PERCENT_MAX: u32 = 125;
/// A node holds at least this percentage of its fair share, rounded down.
pub const LOAD_PERCENT_MIN: u32 = 75;

const _: () = assert!(LOAD_PERCENT_MIN < 100 && 100 < LOAD_PERCENT_MAX);

/// Parts of one replica.
const PARTS: u128 = 1 << 32;
/// More than what shares lose to rounding, less than what matters, in parts.
const TOLERANCE: u128 = PARTS >> 10;

/// How many replicas a node may hold.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bounds {
    pub(super) min: u32,
    pub(super) max: u32,
}

impl Bounds {
    fn of_share(share: u128, shards: u32) -> Self {
        let percent = |percent: u32| share.saturating_mul(u128::from(percent));
        let min = (percent(LOAD_PERCENT_MIN) / 100 + TOLERANCE) / PARTS;
        let max = percent(LOAD_PERCENT_MAX).div_ceil(100 * PARTS);
        let replicas = |count: u128| u32::try_from(count).unwrap_or(u32::MAX).min(shards);
        Self { min: replicas(min), max: replicas(max) }
    }
}

/// How the replicas of one shard are spread over zones: as evenly as the zones' sizes allow.
///
/// A zone gets `base` replicas, and `extra` of the zones that have a node left get one more.
/// With as many zones as replicas or more, `base` is 0 and all are in distinct zones.
#[derive(Debug)]
pub(super) struct ZoneRule {
    zones: Vec<ZoneCount>,
    extra: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct ZoneCount {
    base: usize,
    nodes: usize,
    weight: u32,
}

impl ZoneRule {
    /// The rule for `replicas` replicas of each shard; there must be as many seats.
    pub(super) fn new(seats: &[Seat], zone_count: usize, replicas: usize) -> Self {
        let mut zones = vec![ZoneCount::default(); zone_count];
        for seat in seats {
            if let Some(zone) = zones.get_mut(seat.zone) {
                zone.nodes += 1;
                zone.weight = zone.weight.saturating_add(seat.weight);
            }
        }
        let held = |rounds: usize| zones.iter().map(|zone| zone.nodes.min(rounds)).sum::<usize>();
        let rounds = (0..=replicas).rev().find(|rounds| held(*rounds) <= replicas).unwrap_or(0);
        let extra = replicas.saturating_sub(held(rounds));
        for zone in &mut zones {
            zone.base = zone.nodes.min(rounds);
        }
        Self { zones, extra }
    }

    /// Whether a shard whose replicas are in the zones `held` may have one more in `zone`.
    pub(super) fn allows(&self, held: &[usize], zone: usize) -> bool {
        let here = held.iter().filter(|other| **other == zone).count();
        if here < self.base(zone) {
            return true;
        }
        let more = self.zones.get(zone).is_some_and(|count| count.nodes > count.base);
        more && here == self.base(zone) && self.extras(held) < self.extra
    }

    /// How many of the replicas are beyond the base of their zones.
    fn extras(&self, held: &[usize]) -> usize {
        let beyond = |(position, zone): &(usize, &usize)| {
            let before = held.iter().take(*position).filter(|other| other == zone).count();
            before >= self.base(**zone)
        };
        held.iter().enumerate().filter(beyond).count()
    }

    fn base(&self, zone: usize) -> usize {
        self.zones.get(zone).map_or(0, |count| count.base)
    }
}

/// How many replicas each seat may hold, by seat.
pub(super) fn bounds(seats: &[Seat], rule: &ZoneRule, shards: u32, replicas: usize) -> Vec<Bounds> {
    let all = u128::from(shards) * PARTS;
    let zones: Vec<Vessel> = rule
        .zones
        .iter()
        .map(|zone| {
            let high = zone.nodes.min(zone.base + 1);
            Vessel { weight: zone.weight, low: times(all, zone.base), high: times(all, high) }
        })
        .collect();
    let mut bounds = vec![Bounds::default(); seats.len()];
    for (number, in_zone) in filled(times(all, replicas), &zones).into_iter().enumerate() {
        let mine = || seats.iter().zip(0..).filter(|(seat, _)| seat.zone == number);
        let nodes: Vec<Vessel> =
            mine().map(|(seat, _)| Vessel { weight: seat.weight, low: 0, high: all }).collect();
        for ((_, position), share) in mine().zip(filled(in_zone, &nodes)) {
            if let Some(bound) = bounds.get_mut::<usize>(position) {
                *bound = Bounds::of_share(share, shards);
            }
        }
    }
    bounds
}

fn times(parts: u128, count: usize) -> u128 {
    parts.saturating_mul(u128::try_from(count).unwrap_or(u128::MAX))
}

/// Something that gets a part of a whole: in proportion to `weight`, within `low..=high`.
struct Vessel {
    weight: u32,
    low: u128,
    high: u128,
}

impl Vessel {
    fn at(&self, level: u128) -> u128 {
        level.saturating_mul(u128::from(self.weight)).clamp(self.low, self.high)
    }
}

/// What each vessel gets of `total`, rounded down by less than its weight.
fn filled(total: u128, vessels: &[Vessel]) -> Vec<u128> {
    let fits = |level| vessels.iter().map(|vessel| vessel.at(level)).sum::<u128>() <= total;
    // The weight of a vessel is at least 1, so at this level all that can be full are.
    let (mut low, mut high) = (0, total + 1);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    vessels.iter().map(|vessel| vessel.at(low)).collect()
}
