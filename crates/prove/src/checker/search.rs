//! The search for an order, after Wing and Gong, with Lowe's memory of what was tried.
//!
//! A configuration is which operations have taken effect, and the state that left. Whether the
//! rest can be explained depends on nothing else, so each is looked at once. Operations with an
//! unknown outcome need not take effect at all: a configuration in which fewer of them have is
//! at least as good as one in which more have, all else being equal, and makes the other
//! superfluous. Without that, each unknown write would double the work.

use std::collections::HashMap;

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

    fn toggle(&mut self, item: usize) {
        if let Some(word) = self.0.get_mut(item / 64) {
            *word ^= 1 << (item % 64);
        }
    }

    fn is_within(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(own, others)| own & !others == 0)
    }
}

/// A configuration on the way, and what to try from it.
struct Frame {
    /// The item that led here, and the state before it.
    by: Option<(usize, usize)>,
    /// Items that may come next, and how many of them were tried.
    candidates: Vec<usize>,
    tried: usize,
}

struct Searcher<'a> {
    items: &'a [Item<'a>],
    configurations_left: usize,
    /// All states seen, numbered.
    states: Vec<State>,
    numbers: HashMap<State, usize>,
    /// Items that have taken effect: those with an answer, and the others.
    answered: Set,
    unknown: Set,
    /// The number of the present state.
    state: usize,
    answers_left: usize,
    /// For each set of answered items and state, the least sets of unknown ones.
    seen: HashMap<(Set, usize), Vec<Set>>,
    longest: Vec<usize>,
    longest_left: usize,
}

impl<'a> Searcher<'a> {
    fn new(items: &'a [Item<'a>], configurations_max: usize) -> Self {
        let answers = items.iter().filter(|item| item.answer.is_some()).count();
        Self {
            items,
            configurations_left: configurations_max,
            states: vec![None],
            numbers: HashMap::from([(None, 0)]),
            answered: Set::none_of(items.len()),
            unknown: Set::none_of(items.len()),
            state: 0,
            answers_left: answers,
            seen: HashMap::new(),
            longest: Vec::new(),
            longest_left: answers + 1,
        }
    }

    fn run(mut self) -> Search {
        let mut way = vec![Frame { by: None, candidates: self.candidates(), tried: 0 }];
        while self.answers_left > 0 {
            self.remember_if_longest(&way);
            let Some(frame) = way.last_mut() else {
                return Search::Impossible { longest: self.longest };
            };
            let Some(item) = frame.candidates.get(frame.tried).copied() else {
                if let Some((item, state)) = way.pop().and_then(|frame| frame.by) {
                    self.toggle(item);
                    self.state = state;
                }
                continue;
            };
            frame.tried += 1;
            let Some(next) = self.step(item) else { continue };
            self.toggle(item);
            if !self.is_new(next) {
                self.toggle(item);
                continue;
            }
            if self.configurations_left == 0 {
                return Search::GaveUp;
            }
            self.configurations_left -= 1;
            let before = std::mem::replace(&mut self.state, next);
            let candidates = self.candidates();
            way.push(Frame { by: Some((item, before)), candidates, tried: 0 });
        }
        Search::Explained
    }

    fn remember_if_longest(&mut self, way: &[Frame]) {
        if self.answers_left < self.longest_left {
            self.longest_left = self.answers_left;
            let items = way.iter().filter_map(|frame| frame.by);
            let positions = items.filter_map(|(item, _)| self.items.get(item));
            self.longest = positions.map(|item| item.position).collect();
        }
    }

    /// Has an item take effect, or takes that back.
    fn toggle(&mut self, item: usize) {
        if !self.is_answered(item) {
            self.unknown.toggle(item);
            return;
        }
        self.answered.toggle(item);
        match self.answered.has(item) {
            true => self.answers_left -= 1,
            false => self.answers_left += 1,
        }
    }

    fn is_answered(&self, item: usize) -> bool {
        self.items.get(item).is_some_and(|item| item.answer.is_some())
    }

    /// The items that may take effect next: those that were asked before the first answer
    /// that is still to be explained. Answered ones first, as they have to come anyway.
    fn candidates(&self) -> Vec<usize> {
        let mut first_answer = Moment::NEVER;
        let (mut answered, mut unknown) = (Vec::new(), Vec::new());
        for (number, item) in self.items.iter().enumerate() {
            if item.invoked > first_answer {
                break;
            }
            if item.answer.is_some() && !self.answered.has(number) {
                first_answer = first_answer.min(item.ended);
                answered.push(number);
            } else if item.answer.is_none() && !self.unknown.has(number) {
                unknown.push(number);
            }
        }
        answered.append(&mut unknown);
        answered
    }

    /// The number of the state that an item leads to, if its answer agrees.
    fn step(&mut self, number: usize) -> Option<usize> {
        let item = self.items.get(number)?;
        let (next, right) = register::apply(self.states.get(self.state)?, item.call)?;
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

    /// Whether the present sets with this state were not looked at, nor anything better.
    fn is_new(&mut self, state: usize) -> bool {
        let known = self.seen.entry((self.answered.clone(), state)).or_default();
        if known.iter().any(|better| better.is_within(&self.unknown)) {
            return false;
        }
        known.push(self.unknown.clone());
        true
    }
}
