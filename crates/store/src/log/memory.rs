//! The in-memory twin of the log's database, which can lose power, fail and stand still.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use super::{LogOp, LogRow, LogStore, ScanLimits};
use crate::engine::{Bounds, Durability, Usage};
use crate::error::StoreError;

type Rows = BTreeMap<Vec<u8>, Bytes>;

/// A log in memory, for tests and simulations.
///
/// It knows which writes were synced: [`MemoryLog::crash`] is a loss of power.
#[derive(Debug, Default)]
pub struct MemoryLog {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    rows: Rows,
    synced: Rows,
    unsynced: Vec<Vec<LogOp>>,
    fault: Option<StoreError>,
    is_held: bool,
    /// Whether it was opened on a full disk and has found no room since.
    lacks_room: bool,
    waiting: usize,
}

impl MemoryLog {
    /// The power fails: what a restart finds. Of the writes that were not synced the first
    /// `kept` survive, because the operating system may have written some by itself. This
    /// instance fails every write from now on.
    #[must_use]
    pub fn crash(&self, kept: usize) -> Self {
        let mut state = self.state.lock();
        let mut rows = state.synced.clone();
        for ops in state.unsynced.iter().take(kept) {
            apply(&mut rows, ops);
        }
        state.fault = Some(StoreError::Io { operation: "write", detail: "no power".to_owned() });
        state.is_held = false;
        self.changed.notify_all();
        let state = State { synced: rows.clone(), rows, ..State::default() };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// How many writes a loss of power may lose.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.state.lock().unsynced.len()
    }

    /// As a log that was opened on a full disk: it writes, from its reserve, and
    /// [lacks room](LogStore::lacks_room) until it recovers.
    #[must_use]
    pub fn without_room() -> Self {
        let state = State { lacks_room: true, ..State::default() };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Every write and sync fails from now on. What a failing write holds is not visible and
    /// not synced.
    pub fn fail(&self, error: StoreError) {
        self.state.lock().fault = Some(error);
    }

    /// Writes and syncs succeed again.
    pub fn mend(&self) {
        self.state.lock().fault = None;
    }

    /// Writes and syncs stand still from now on.
    pub fn hold(&self) {
        self.state.lock().is_held = true;
    }

    /// Writes and syncs go on.
    pub fn release(&self) {
        self.state.lock().is_held = false;
        self.changed.notify_all();
    }

    /// How many writes and syncs stand still.
    #[must_use]
    pub fn held(&self) -> usize {
        self.state.lock().waiting
    }

    fn change(&self, change: impl FnOnce(&mut State)) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        state.waiting += 1;
        self.changed.wait_while(&mut state, |state| state.is_held);
        state.waiting -= 1;
        if let Some(fault) = &state.fault {
            return Err(fault.clone());
        }
        change(&mut state);
        Ok(())
    }
}

impl State {
    fn sync(&mut self) {
        for ops in std::mem::take(&mut self.unsynced) {
            apply(&mut self.synced, &ops);
        }
    }

    fn range(&self, bounds: &Bounds) -> impl DoubleEndedIterator<Item = (&Vec<u8>, &Bytes)> {
        range(&self.rows, bounds)
    }
}

impl LogStore for MemoryLog {
    fn write(&self, ops: &[LogOp], durability: Durability) -> Result<(), StoreError> {
        self.change(|state| {
            apply(&mut state.rows, ops);
            state.unsynced.push(ops.to_vec());
            if durability == Durability::Synced {
                state.sync();
            }
        })
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.change(State::sync)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.state.lock().rows.get(key).cloned())
    }

    fn scan(&self, bounds: &Bounds, limits: ScanLimits) -> Result<Vec<LogRow>, StoreError> {
        let state = self.state.lock();
        let mut rows = Vec::new();
        let mut bytes = 0;
        for (key, value) in state.range(bounds).take(limits.rows_max) {
            bytes += key.len() + value.len();
            if bytes > limits.bytes_max && !rows.is_empty() {
                break;
            }
            rows.push(LogRow { key: key.clone(), value: value.clone() });
        }
        Ok(rows)
    }

    fn last_key(&self, bounds: &Bounds) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state.lock().range(bounds).next_back().map(|(key, _)| key.clone()))
    }

    fn range_bytes(&self, bounds: &Bounds) -> Result<u64, StoreError> {
        Ok(bytes_of(self.state.lock().range(bounds)))
    }

    fn recover(&self) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if let Some(fault) = &state.fault {
            return Err(fault.clone());
        }
        state.lacks_room = false;
        Ok(())
    }

    fn lacks_room(&self) -> bool {
        self.state.lock().lacks_room
    }

    fn usage(&self) -> Usage {
        let state = self.state.lock();
        Usage {
            keys_estimate: u64::try_from(state.rows.len()).unwrap_or(u64::MAX),
            disk_bytes: 0,
            memory_bytes: bytes_of(state.rows.iter()),
        }
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.sync()
    }
}

fn apply(rows: &mut Rows, ops: &[LogOp]) {
    for op in ops {
        match op {
            LogOp::Put { key, value } => {
                rows.insert(key.clone(), Bytes::copy_from_slice(value));
            }
            LogOp::Delete { key } => {
                rows.remove(key);
            }
            LogOp::DeleteRange(bounds) => {
                let keys: Vec<_> = range(rows, bounds).map(|(key, _)| key.clone()).collect();
                for key in keys {
                    rows.remove(&key);
                }
            }
        }
    }
}

fn range<'a>(
    rows: &'a Rows,
    bounds: &Bounds,
) -> impl DoubleEndedIterator<Item = (&'a Vec<u8>, &'a Bytes)> {
    let upper = bounds.upper.as_slice().max(&bounds.lower);
    rows.range::<[u8], _>((Bound::Included(bounds.lower.as_slice()), Bound::Excluded(upper)))
}

fn bytes_of<'a>(rows: impl Iterator<Item = (&'a Vec<u8>, &'a Bytes)>) -> u64 {
    let bytes: usize = rows.map(|(key, value)| key.len() + value.len()).sum();
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
