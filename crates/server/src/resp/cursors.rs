//! The cursors of SCAN.
//!
//! Redis's cursors are numbers, and those of a scan in key order are keys. So each cursor
//! given out is an entry here: a random number and the last key of its page. Entries stay
//! when they are used, because clients may ask for a page again; the least recently used go
//! first when there are too many.
//!
//! A cursor that is not known (it went, or the node was restarted) is answered with an
//! error. Redis takes any number for a cursor, but here neither alternative is harmless: to
//! say "done" would let a client believe that it saw every key, and to start again would
//! let it turn in circles.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use parking_lot::Mutex;

/// Remembers where scans go on.
#[derive(Debug)]
pub(crate) struct Cursors {
    most: usize,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    entries: HashMap<u64, Entry>,
    /// The cursors by when they were used.
    by_use: BTreeMap<u64, u64>,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    after: Bytes,
    used: u64,
}

impl Cursors {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, known: Mutex::default() }
    }

    /// A cursor that goes on after a key. Never 0.
    pub(crate) fn give_out(&self, after: Bytes) -> u64 {
        let mut known = self.known.lock();
        if known.entries.len() >= self.most
            && let Some((_, cursor)) = known.by_use.pop_first()
        {
            known.entries.remove(&cursor);
        }
        let cursor = loop {
            let cursor = rand::random_range(1..=u64::MAX);
            if !known.entries.contains_key(&cursor) {
                break cursor;
            }
        };
        let used = known.next_use();
        known.by_use.insert(used, cursor);
        known.entries.insert(cursor, Entry { after, used });
        cursor
    }

    /// The key after which a cursor goes on; `None` if it is not known.
    pub(crate) fn look_up(&self, cursor: u64) -> Option<Bytes> {
        let mut known = self.known.lock();
        let used = known.next_use();
        let entry = known.entries.get_mut(&cursor)?;
        let after = entry.after.clone();
        let before = std::mem::replace(&mut entry.used, used);
        known.by_use.remove(&before);
        known.by_use.insert(used, cursor);
        Some(after)
    }
}

impl Known {
    fn next_use(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_cursor_is_forgotten_first() {
        let cursors = Cursors::new(2);
        let a = cursors.give_out(Bytes::from_static(b"a"));
        let b = cursors.give_out(Bytes::from_static(b"b"));
        assert_eq!(cursors.look_up(a).as_deref(), Some(&b"a"[..]));
        let c = cursors.give_out(Bytes::from_static(b"c"));
        assert_eq!(cursors.look_up(b), None);
        assert_eq!(cursors.look_up(a).as_deref(), Some(&b"a"[..]));
        assert_eq!(cursors.look_up(c).as_deref(), Some(&b"c"[..]));
        assert_eq!(cursors.look_up(0), None);
    }
}
