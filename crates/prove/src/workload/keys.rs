//! Which keys are in use. Histories stay short because keys are left alone after a while.

use std::collections::VecDeque;

use breccia_ring::slot::crc16;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::profile::Profile;
use crate::history::{Key, Value};

const SLOTS: u32 = 16_384;
/// Of a hundred operations, how many look back at a key that is no longer in use.
const LOOKS_BACK_PERCENT: u32 = 3;

/// The shard that a key is in, if shards share the slots evenly.
#[must_use]
pub fn shard_of(key: &Key, shards: u32) -> u32 {
    let slot = u32::from(crc16(key.as_str().as_bytes())) % SLOTS;
    slot * shards / SLOTS
}

/// The first key in a shard, of so many, that is named by this number or a later one.
pub(super) fn key_in_shard(name: &str, number: u64, (shard, shards): (u32, u32)) -> Key {
    let keys = (0..).map(|more: u64| Key::new(&format!("{name}-{number}-{more}")));
    let mut there = keys.filter(|key| shard_of(key, shards) == shard % shards);
    there.next().unwrap_or_else(|| Key::new(name))
}

/// A key to work on.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    pub(super) key: Key,
    /// What to ask of it; `None` if it is only to be read.
    pub(super) profile: Option<Profile>,
    /// A value that it had lately.
    pub(super) seen: Option<Value>,
}

struct InUse {
    key: Key,
    profile: Profile,
    seen: Option<Value>,
    operations_left: u32,
}

struct State {
    random: StdRng,
    made: u64,
    in_use: Vec<InUse>,
    /// No longer in use.
    old: Vec<Key>,
    /// Of these, those not told yet.
    untold: VecDeque<Key>,
}

/// The keys of a run.
pub(super) struct Keys {
    shards: u32,
    operations_per_key: u32,
    state: Mutex<State>,
}

impl Keys {
    pub(super) fn new(seed: u64, shards: u32, operations_per_key: u32) -> Self {
        let random = StdRng::seed_from_u64(seed);
        let state =
            State { random, made: 0, in_use: Vec::new(), old: Vec::new(), untold: VecDeque::new() };
        let keys = Self { shards, operations_per_key, state: Mutex::new(state) };
        for place in 0..shards.max(4) {
            let fresh = keys.fresh(&mut keys.state.lock(), place);
            keys.state.lock().in_use.push(fresh);
        }
        keys
    }

    /// A new key in the shard that has this place.
    fn fresh(&self, state: &mut State, place: u32) -> InUse {
        let profile = Profile::any(&mut state.random);
        state.made += 1;
        let key = key_in_shard(profile.name(), state.made, (place, self.shards));
        InUse { key, profile, seen: None, operations_left: self.operations_per_key }
    }

    /// A key for one operation.
    pub(super) fn choose(&self) -> Chosen {
        let mut state = self.state.lock();
        let old = state.old.len();
        if old > 0 && state.random.random_range(0..100) < LOOKS_BACK_PERCENT {
            let position = state.random.random_range(0..old);
            if let Some(key) = state.old.get(position).cloned() {
                return Chosen { key, profile: None, seen: None };
            }
        }
        let places = state.in_use.len();
        let place = state.random.random_range(0..places);
        if state.in_use.get(place).is_some_and(|key| key.operations_left == 0) {
            let number = u32::try_from(place).unwrap_or(0);
            let fresh = self.fresh(&mut state, number);
            if let Some(used) = state.in_use.get_mut(place) {
                let left = std::mem::replace(used, fresh).key;
                state.old.push(left.clone());
                state.untold.push_back(left);
            }
        }
        match state.in_use.get_mut(place) {
            Some(used) => {
                used.operations_left = used.operations_left.saturating_sub(1);
                let InUse { key, profile, seen, .. } = used;
                Chosen { key: key.clone(), profile: Some(*profile), seen: seen.clone() }
            }
            // There always is one.
            None => Chosen { key: Key::new("none"), profile: None, seen: None },
        }
    }

    /// Notes a value that a key had.
    pub(super) fn saw(&self, key: &Key, value: Option<&Value>) {
        let mut state = self.state.lock();
        if let Some(used) = state.in_use.iter_mut().find(|used| used.key == *key) {
            used.seen = value.cloned();
        }
    }

    /// The keys in use.
    pub(super) fn in_use(&self) -> Vec<Key> {
        self.state.lock().in_use.iter().map(|used| used.key.clone()).collect()
    }

    pub(super) fn take_retired(&self) -> Vec<Key> {
        self.state.lock().untold.drain(..).collect()
    }
}
