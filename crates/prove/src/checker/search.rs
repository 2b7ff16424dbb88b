//! The search for an order, after Wing and Gong, with Lowe's memory of what was tried.
//!
//! A configuration is which operations have taken effect, and the state that left. Whether the
//! rest can be explained depends on nothing else, so each is looked at once. What keeps the
//! number of configurations small:
//!
//! - Operations of unknown outcome need not take effect at all. So a configuration in which
//!   fewer of them have is at least as good as one in which more have, all else being equal, and
//!   makes the other superfluous. Configurations with few of them are looked at first.
//! - An operation that is right now and whose answer says that it changes nothing, such as a
//!   read, can as well come now: no other order need be tried.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use crate::history::{Answer, Call, Moment};
use crate::register::{self, State};

/// An operation as the search needs it.
#[derive(Debug)]
pub(super) struct Item<'a> {
    /// Where the caller has it.
    pub(super) position: usize,
    pub(super) invoked: Moment,
    /// [`Moment::NEVER`] if the answer is not known.
    pub(super) ended: Moment,
    pub(super) call: &'a Call,
    pub(super) answer: Option<&'a Answer>,
}

/// What the search found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Search {
    /// An order that explains all answers.
    Explained,
    /// There is none; this is the order that explains the most.
    Impossible { longest: Vec<usize> },
    /// There was more to look at than allowed.
    GaveUp,
}

/// Searches for an order.
pub(super) fn search(mut items: Vec<Item<'_>>, configurations_max: usize) -> Search {
    items.sort_by_key(|item| (item.invoked, item.ended));
    Searcher::new(&items, configurations_max).run()
}

/// A set of items by their number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Set(Box<[u64]>);

impl Set {
    fn none_of(items: usize) -> Self {
        Self(vec![0; items.div_ceil(64)].into())
    }

    fn has(&self, item: usize) -> bool {
        self.0.get(item / 64).is_some_and(|word| word >> (item % 64) & 1 == 1)
    }

    fn add(&mut self, item: usize) {
        if let Some(word) = self.0.get_mut(item / 64) {
            *word |= 1 << (item % 64);
        }
    }

    fn is_within(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(own, others)| own & !others == 0)
    }
}

/// What has taken effect, and the number of the state that left.
#[derive(Debug, Clone)]
struct Configuration {
    answered: Set,
    answered_count: usize,
    unknown: Set,
    unknown_count: usize,
    state: usize,
    /// The configuration before, and the item that led here from it.
    by: Option<(usize, usize)>,
}

struct Searcher<'a> {
    items: &'a [Item<'a>],
    configurations_max: usize,
    /// All states seen, numbered.
    states: Vec<State>,
    numbers: HashMap<State, usize>,
    /// All configurations, numbered, and those still to look at: few unknown items first, then
    /// many answered ones.
    configurations: Vec<Configuration>,
    waiting: BinaryHeap<(Reverse<usize>, usize, usize)>,
    /// For each set of answered items and state, the least sets of unknown ones.
    seen: HashMap<(Set, usize), Vec<Set>>,
}

impl<'a> Searcher<'a> {
    fn new(items: &'a [Item<'a>], configurations_max: usize) -> Self {
        let first = Configuration {
            answered: Set::none_of(items.len()),
            answered_count: 0,
            unknown: Set::none_of(items.len()),
            unknown_count: 0,
            state: 0,
            by: None,
        };
        Self {
            items,
            configurations_max,
            states: vec![None],
            numbers: HashMap::from([(None, 0)]),
            configurations: vec![first],
            waiting: BinaryHeap::from([(Reverse(0), 0, 0)]),
            seen: HashMap::new(),
        }
    }

    fn run(mut self) -> Search {
        let answers = self.items.iter().filter(|item| item.answer.is_some()).count();
        let (mut longest, mut longest_count) = (0, 0);
        while let Some((_, answered_count, number)) = self.waiting.pop() {
            if answered_count == answers {
                return Search::Explained;
            }
            if self.configurations.len() > self.configurations_max {
                return Search::GaveUp;
            }
            if answered_count > longest_count {
                (longest, longest_count) = (number, answered_count);
            }
            if let Some(from) = self.configurations.get(number).cloned() {
                self.look_at(&from, number);
            }
        }
        Search::Impossible { longest: self.way_to(longest) }
    }

    /// Adds the configurations that one item leads to.
    fn look_at(&mut self, from: &Configuration, number: usize) {
        let (answered, unknown) = self.candidates(from);
        let steps: Vec<(usize, usize)> = answered
            .into_iter()
            .filter_map(|item| Some((item, self.step(from.state, item)?)))
            .collect();
        let idle = steps.iter().find(|(item, next)| *next == from.state && self.tells_all(*item));
        if let Some((item, next)) = idle {
            self.add(from, number, (*item, *next));
            return;
        }
        for step in steps {
            self.add(from, number, step);
        }
        for item in unknown {
            if let Some(next) = self.step(from.state, item).filter(|next| *next != from.state) {
                self.add(from, number, (item, next));
            }
        }
    }

    /// Whether an item's answer says what it changed. That of a write does not.
    fn tells_all(&self, item: usize) -> bool {
        self.items.get(item).is_some_and(|item| !matches!(item.call, Call::Write(_)))
    }

    /// The items that may take effect next: those that were asked before the first answer
    /// that is still to be explained. Those with an answer, and the others.
    fn candidates(&self, from: &Configuration) -> (Vec<usize>, Vec<usize>) {
        let mut first_answer = Moment::NEVER;
        let (mut answered, mut unknown) = (Vec::new(), Vec::new());
        for (number, item) in self.items.iter().enumerate() {
            if item.invoked > first_answer {
                break;
            }
            if item.answer.is_some() && !from.answered.has(number) {
                first_answer = first_answer.min(item.ended);
                answered.push(number);
            } else if item.answer.is_none() && !from.unknown.has(number) {
                unknown.push(number);
            }
        }
        (answered, unknown)
    }

    /// The number of the state that an item leads to, if its answer agrees.
    fn step(&mut self, state: usize, item: usize) -> Option<usize> {
        let item = self.items.get(item)?;
        let (next, right) = register::apply(self.states.get(state)?, item.call)?;
        if item.answer.is_some_and(|told| !register::agrees(told, &right)) {
            return None;
        }
        let fresh = self.states.len();
        let number = *self.numbers.entry(next.clone()).or_insert(fresh);
        if number == fresh {
            self.states.push(next);
        }
        Some(number)
    }

    /// Adds what an item leads to, unless that or something better was added before.
    fn add(&mut self, from: &Configuration, number: usize, (item, state): (usize, usize)) {
        let mut next = Configuration { state, by: Some((number, item)), ..from.clone() };
        if self.items.get(item).is_some_and(|item| item.answer.is_some()) {
            next.answered.add(item);
            next.answered_count += 1;
        } else {
            next.unknown.add(item);
            next.unknown_count += 1;
        }
        let known = self.seen.entry((next.answered.clone(), state)).or_default();
        if known.iter().any(|better| better.is_within(&next.unknown)) {
            return;
        }
        known.push(next.unknown.clone());
        let place = (Reverse(next.unknown_count), next.answered_count, self.configurations.len());
        self.waiting.push(place);
        self.configurations.push(next);
    }

    /// The items that led to a configuration, in order, by the caller's positions.
    fn way_to(&self, configuration: usize) -> Vec<usize> {
        let mut way = Vec::new();
        let mut at = self.configurations.get(configuration);
        while let Some((before, item)) = at.and_then(|configuration| configuration.by) {
            way.extend(self.items.get(item).map(|item| item.position));
            at = self.configurations.get(before);
        }
        way.reverse();
        way
    }
}
