//! Reads of many rows: one message to each node that leads some of them.

use std::collections::HashMap;

use breccia_api::v1;
use breccia_types::limits::MULTI_GET_KEYS_MAX;
use breccia_types::{RequestError, Slot};
use bytes::Bytes;
use futures::future::try_join_all;

use crate::error::Error;
use crate::request::{Caller, Operation, ReadOperation};
use crate::row::Row;
use crate::topology::Address;

/// The most keys of one message.
const PART_KEYS_MAX: usize = 10_000;
/// The bytes of keys after which a message ends.
const PART_BYTES_MAX: usize = 8 << 20;

/// Reads many rows. Answers one entry per key, in the order of the keys.
#[derive(Debug, Clone)]
pub struct MultiGet {
    pub(crate) table: String,
    pub(crate) keys: Vec<(Slot, Bytes)>,
}

impl ReadOperation for MultiGet {}

impl Operation for MultiGet {
    type Answer = Vec<Option<Row>>;

    async fn run(self, caller: Caller) -> Result<Vec<Option<Row>>, Error> {
        if self.keys.len() > MULTI_GET_KEYS_MAX {
            return Err(Error::refused(&RequestError::TooManyKeys { keys: self.keys.len() }));
        }
        let topology = caller.cluster.topology();
        let mut answer = vec![None; self.keys.len()];
        let parts = split(self.keys, |slot| topology.leader_of(slot));
        let reads = parts.into_iter().map(|part| part.read(&caller, &self.table));
        for (at, row) in try_join_all(reads).await?.into_iter().flatten() {
            if let Some(entry) = answer.get_mut(at) {
                *entry = row;
            }
        }
        Ok(answer)
    }
}

/// The keys of one message.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    /// That of the first key.
    slot: Slot,
    /// Where the keys stand in the request.
    positions: Vec<usize>,
    keys: Vec<Bytes>,
    bytes: usize,
}

impl Part {
    const fn new(slot: Slot) -> Self {
        Self { slot, positions: Vec::new(), keys: Vec::new(), bytes: 0 }
    }

    fn push(&mut self, position: usize, key: Bytes) {
        self.bytes += key.len();
        self.positions.push(position);
        self.keys.push(key);
    }

    fn is_full(&self) -> bool {
        self.keys.len() >= PART_KEYS_MAX || self.bytes >= PART_BYTES_MAX
    }

    /// The rows and where they stand in the request.
    async fn read(self, caller: &Caller, table: &str) -> Result<Vec<(usize, Option<Row>)>, Error> {
        let message = v1::MultiGetRequest { table: table.to_owned(), keys: self.keys };
        let response = caller.read(Some(self.slot), message, |node, request| async move {
            node.key_value().multi_get(request).await
        });
        let entries = response.await?.entries;
        if entries.len() != self.positions.len() {
            return Err(Error::Unreadable { what: "a multi-get of another number of rows" });
        }
        let rows = entries.into_iter().map(|entry| entry.row.map(Row::from));
        Ok(self.positions.into_iter().zip(rows).collect())
    }
}

/// Sorts keys into messages by who leads their slots; those without a known leader go
/// together.
fn split<'a>(
    keys: Vec<(Slot, Bytes)>,
    leader_of: impl Fn(Slot) -> Option<&'a Address>,
) -> Vec<Part> {
    let mut full = Vec::new();
    let mut open: HashMap<Option<&Address>, Part> = HashMap::new();
    for (position, (slot, key)) in keys.into_iter().enumerate() {
        let leader = leader_of(slot);
        let part = open.entry(leader).or_insert_with(|| Part::new(slot));
        part.push(position, key);
        if part.is_full() {
            full.extend(open.remove(&leader));
        }
    }
    full.extend(open.into_values());
    full
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(raw: u16) -> Slot {
        Slot::new(raw).expect("a slot")
    }

    #[test]
    fn keys_go_to_who_leads_them_and_know_where_they_stood() {
        let leaders: [Address; 2] = ["a:1".into(), "b:1".into()];
        let keys = [0, 100, 1, 200, 101].map(|raw| (slot(raw), Bytes::from(raw.to_string())));
        let mut parts = split(keys.to_vec(), |slot| leaders.get(usize::from(slot.get() / 100)));
        parts.sort_by_key(|part| part.slot.get());
        let positions: Vec<_> = parts.iter().map(|part| part.positions.clone()).collect();
        assert_eq!(positions, [vec![0, 2], vec![1, 4], vec![3]]);
        assert_eq!(parts[1].keys, [&b"100"[..], b"101"]);
    }

    #[test]
    fn a_message_ends_before_it_has_too_many_keys_or_bytes() {
        let count = |keys: Vec<Bytes>| {
            let keys = keys.into_iter().map(|key| (slot(0), key)).collect();
            let parts = split(keys, |_| None);
            let positions: usize = parts.iter().map(|part| part.positions.len()).sum();
            (parts.len(), positions)
        };
        assert_eq!(count(vec![Bytes::new(); PART_KEYS_MAX * 2 + 1]), (3, PART_KEYS_MAX * 2 + 1));
        let long = Bytes::from(vec![0; PART_BYTES_MAX / 2]);
        assert_eq!(count(vec![long; 5]), (3, 5));
        assert_eq!(count(Vec::new()), (0, 0));
    }
}
