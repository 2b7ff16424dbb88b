//! An assignment in the making: every shard's walk, and room made for a shard that found none.
//!
//! Shards come in the order of their places on the circle, and each takes the first nodes of
//! its walk that its zones allow and that have room. Towards the end that may leave a shard
//! short although there is room elsewhere: on a node that it already has, or in a zone that it
//! already uses. Then others make room, as few as possible: it takes a full node, from which
//! another shard moves to its own next node, and so on until there is room.
//!
//! This is the augmenting path of matroid intersection (Schrijver, "Combinatorial
//! Optimization", chapter 41): what the zones allow a shard is one matroid, what the bounds
//! allow the nodes is another. Since everyone getting exactly the fair share is a solution in
//! fractions, there is one in whole replicas, and a shortest path to it always exists. So
//! every shard gets all its replicas, no node exceeds its bound, and no rule is ever relaxed.
//! Nodes below their lower bound are then filled up along the same kind of path.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::HashRing;
use super::share::{Bounds, ZoneRule, bounds};

pub(super) struct Draft<'a> {
    ring: &'a HashRing,
    replicas: usize,
    rule: ZoneRule,
    /// By seat: how many replicas it may hold.
    bounds: Vec<Bounds>,
    /// By seat: how many it holds.
    load: Vec<u32>,
    /// By shard: the seats that hold it.
    rows: Vec<Vec<usize>>,
}

/// A shard takes a seat.
type Take = (u32, usize);

/// A shard that looks for one seat more, after it left one.
#[derive(Clone, Copy)]
struct Search {
    shard: u32,
    /// The take by which another shard drove this one out, if that is why it looks.
    cause: Option<Take>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(ring: &'a HashRing, shards: u32, replicas: usize) -> Self {
        let replicas = replicas.min(ring.seats.len());
        let rule = ZoneRule::new(&ring.seats, ring.zones, replicas);
        let bounds = bounds(&ring.seats, &rule, shards, replicas);
        let load = vec![0; ring.seats.len()];
        let rows = (0..shards).map(|_| Vec::with_capacity(replicas)).collect();
        Self { ring, replicas, rule, bounds, load, rows }
    }

    /// The seats of each shard.
    pub(super) fn fill(mut self) -> Vec<Vec<usize>> {
        let mut order: Vec<u32> = (0..).take(self.rows.len()).collect();
        order.sort_by_cached_key(|shard| self.ring.position(*shard));
        for shard in order {
            self.take_along_walk(shard);
            while self.row(shard).len() < self.replicas && self.make_room(shard) {}
        }
        for seat in 0..self.load.len() {
            while self.load(seat) < self.bounds(seat).min && self.fill_up(seat) {}
        }
        self.rows
    }

    fn take_along_walk(&mut self, shard: u32) {
        for seat in self.ring.walk(shard) {
            if self.row(shard).len() == self.replicas {
                return;
            }
            if self.has_room(seat) && self.may_take(Search { shard, cause: None }, seat) {
                self.seat(shard, seat);
            }
        }
    }

    /// Gives the shard one seat more, by the fewest other shards changing seats; `false` if
    /// there is no way.
    fn make_room(&mut self, shard: u32) -> bool {
        let mut reached_by: BTreeMap<Take, Option<Take>> = BTreeMap::new();
        let mut searches = VecDeque::from([Search { shard, cause: None }]);
        let mut vacated = BTreeSet::new();
        while let Some(search) = searches.pop_front() {
            for seat in self.ring.walk(search.shard) {
                let take = (search.shard, seat);
                if reached_by.contains_key(&take) || !self.may_take(search, seat) {
                    continue;
                }
                reached_by.insert(take, search.cause);
                if self.has_room(seat) {
                    self.follow(&reached_by, take);
                    return true;
                }
                if vacated.insert(seat) {
                    let holders = (0..).zip(&self.rows).filter(|(_, row)| row.contains(&seat));
                    searches.extend(holders.map(|(shard, _)| Search { shard, cause: Some(take) }));
                }
            }
        }
        false
    }

    /// Carries out the takes that lead up to `last`, from last to first.
    fn follow(&mut self, reached_by: &BTreeMap<Take, Option<Take>>, last: Take) {
        let mut next = Some(last);
        while let Some((shard, seat)) = next {
            let cause = reached_by.get(&(shard, seat)).copied().flatten();
            if let Some((_, left)) = cause {
                self.leave(shard, left);
            }
            self.seat(shard, seat);
            next = cause;
        }
    }

    /// Gives the seat one replica more, by the fewest seats handing one on; `false` if there
    /// is no way.
    fn fill_up(&mut self, poor: usize) -> bool {
        let mut taken_for: BTreeMap<usize, Take> = BTreeMap::new();
        let mut seats = VecDeque::from([poor]);
        while let Some(seat) = seats.pop_front() {
            for shard in self.nearest(seat) {
                for left in self.row(shard).to_vec().into_iter().rev() {
                    let search = Search { shard, cause: Some((shard, left)) };
                    let again = left == poor || taken_for.contains_key(&left);
                    if again || !self.may_take(search, seat) {
                        continue;
                    }
                    taken_for.insert(left, (shard, seat));
                    if self.load(left) > self.bounds(left).min {
                        self.hand_on(&taken_for, left);
                        return true;
                    }
                    seats.push_back(left);
                }
            }
        }
        false
    }

    /// Moves a replica from `rich` along the path to the seat that was too poor.
    fn hand_on(&mut self, taken_for: &BTreeMap<usize, Take>, rich: usize) {
        let mut left = rich;
        while let Some((shard, seat)) = taken_for.get(&left).copied() {
            self.leave(shard, left);
            self.seat(shard, seat);
            left = seat;
        }
    }

    /// All shards, those first that meet the seat first.
    fn nearest(&self, seat: usize) -> Vec<u32> {
        let mut shards: Vec<u32> = (0..).take(self.rows.len()).collect();
        shards.sort_by_cached_key(|shard| self.ring.walk(*shard).position(|met| met == seat));
        shards
    }

    /// Whether the zones allow the searching shard this seat.
    fn may_take(&self, search: Search, seat: usize) -> bool {
        let row = self.row(search.shard);
        if row.contains(&seat) {
            return false;
        }
        let left = search.cause.map(|(_, left)| left);
        let others = row.iter().filter(|other| Some(**other) != left);
        let zones: Vec<usize> = others.filter_map(|other| self.zone(*other)).collect();
        self.zone(seat).is_some_and(|zone| self.rule.allows(&zones, zone))
    }

    fn seat(&mut self, shard: u32, seat: usize) {
        if let (Some(row), Some(load)) = (row_mut(&mut self.rows, shard), self.load.get_mut(seat)) {
            row.push(seat);
            *load += 1;
        }
    }

    fn leave(&mut self, shard: u32, seat: usize) {
        if let (Some(row), Some(load)) = (row_mut(&mut self.rows, shard), self.load.get_mut(seat)) {
            row.retain(|other| *other != seat);
            *load = load.saturating_sub(1);
        }
    }

    fn row(&self, shard: u32) -> &[usize] {
        usize::try_from(shard)
            .ok()
            .and_then(|shard| self.rows.get(shard))
            .map_or(&[], Vec::as_slice)
    }

    fn zone(&self, seat: usize) -> Option<usize> {
        self.ring.seats.get(seat).map(|seat| seat.zone)
    }

    fn load(&self, seat: usize) -> u32 {
        self.load.get(seat).copied().unwrap_or(0)
    }

    fn bounds(&self, seat: usize) -> Bounds {
        self.bounds.get(seat).copied().unwrap_or_default()
    }

    fn has_room(&self, seat: usize) -> bool {
        self.load(seat) < self.bounds(seat).max
    }
}

fn row_mut(rows: &mut [Vec<usize>], shard: u32) -> Option<&mut Vec<usize>> {
    rows.get_mut(usize::try_from(shard).ok()?)
}
