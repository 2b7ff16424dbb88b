//! Numbers that are counted up while a cluster changes, and readers that notice when one is
//! lost, goes back or is not there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use breccia_node::{Consistency, Node};
use breccia_types::{Actor, NodeId, RequestError, RequestId, Table};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::task::JoinHandle;

const KEYS: usize = 24;
const WRITERS: usize = 2;
const READERS: usize = 4;
/// How old an answer may be to the readers that take old ones.
const STALE: Duration = Duration::from_secs(1);
/// Between two requests of one client, so that the machine has time for the cluster.
const PACE: Duration = Duration::from_millis(2);

/// Clients that count numbers up and read them, each through any node.
pub(crate) struct Counting {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

/// What the clients did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Reads that had to be right, by the node that was asked.
    pub(crate) reads: BTreeMap<NodeId, usize>,
    /// Reads that might be a second old and were answered.
    pub(crate) stale_reads: usize,
    pub(crate) writes: usize,
    /// Requests that were answered with "try again".
    pub(crate) errors: Vec<RequestError>,
    /// What the slowest write took, with all its tries.
    pub(crate) longest: Duration,
}

struct Shared {
    table: Table,
    nodes: RwLock<Vec<Node>>,
    counters: Vec<Counter>,
    tally: Mutex<Tally>,
    stop: AtomicBool,
}

/// What is known of one number.
#[derive(Default)]
struct Counter {
    /// The last one that its writer began to write.
    begun: AtomicU64,
    /// Those that were acknowledged, and when.
    acknowledged: Mutex<Vec<(Instant, u64)>>,
    /// The greatest that a read has returned: every later read must see at least that.
    seen: AtomicU64,
}

impl Counter {
    /// What a read that begins now must see at least.
    fn floor(&self) -> u64 {
        let acknowledged = self.acknowledged.lock().last().map_or(0, |(_, number)| *number);
        acknowledged.max(self.seen.load(Ordering::SeqCst))
    }

    /// What had been acknowledged at an instant.
    fn floor_at(&self, instant: Instant) -> u64 {
        let acknowledged = self.acknowledged.lock();
        let then = acknowledged.iter().rev().find(|(at, _)| *at <= instant);
        then.map_or(0, |(_, number)| *number)
    }
}

fn key(at: usize) -> Bytes {
    format!("counter-{at}").into()
}

impl Counting {
    /// Starts the clients, once each number has its first value.
    pub(crate) async fn start(table: &Table, nodes: &[Node]) -> Self {
        let shared = Arc::new(Shared {
            table: table.clone(),
            nodes: RwLock::new(nodes.to_vec()),
            counters: (0..KEYS).map(|_| Counter::default()).collect(),
            tally: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        for at in 0..KEYS {
            shared.write(at, 1).await;
        }
        let mut clients = Vec::new();
        for writer in 0..WRITERS {
            clients.push(tokio::spawn(Arc::clone(&shared).count_up(writer)));
        }
        for reader in 0..READERS {
            clients.push(tokio::spawn(Arc::clone(&shared).check(reader)));
        }
        Self { shared, clients }
    }

    /// Asks this node, too, from now on.
    pub(crate) fn enter_by(&self, node: &Node) {
        self.shared.nodes.write().push(node.clone());
    }

    /// Asks this node no more.
    pub(crate) fn leave(&self, node: NodeId) {
        self.shared.nodes.write().retain(|entrance| entrance.id() != node);
    }

    pub(crate) fn tally(&self) -> Tally {
        self.shared.tally.lock().clone()
    }

    /// Ends it; what a read of each number must return from now on, by key.
    ///
    /// # Panics
    /// If a client was answered wrongly.
    pub(crate) async fn end(self) -> (Vec<(Bytes, u64)>, Tally) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.await.expect("a client was answered wrongly");
        }
        let last = |(at, counter): (usize, &Counter)| {
            let begun = counter.begun.load(Ordering::SeqCst);
            assert_eq!(counter.floor(), begun, "the last write of each number was finished");
            (key(at), begun)
        };
        let last = self.shared.counters.iter().enumerate().map(last).collect();
        let tally = self.shared.tally.lock().clone();
        (last, tally)
    }
}

impl Shared {
    async fn count_up(self: Arc<Self>, writer: usize) {
        for number in 2.. {
            for at in (writer..KEYS).step_by(WRITERS) {
                if self.stop.load(Ordering::SeqCst) {
                    return;
                }
                self.write(at, number).await;
                tokio::time::sleep(PACE).await;
            }
        }
    }

    /// Writes a number until that is acknowledged.
    async fn write(&self, at: usize, number: u64) {
        let counter = &self.counters[at];
        counter.begun.store(number, Ordering::SeqCst);
        let (id, began) = (RequestId::new(rand::random()), Instant::now());
        let write = self.table.put(key(at), Bytes::from(number.to_string()));
        loop {
            let node = self.any_node();
            match node.write(&self.table, write.clone(), Some(id)).await {
                Ok(_) => break,
                Err(error) => self.note(error),
            }
            drop(node);
            assert!(began.elapsed() < Duration::from_secs(40), "no write goes through any more");
            tokio::time::sleep(PACE).await;
        }
        counter.acknowledged.lock().push((Instant::now(), number));
        let mut tally = self.tally.lock();
        tally.writes += 1;
        tally.longest = tally.longest.max(began.elapsed());
    }

    async fn check(self: Arc<Self>, reader: usize) {
        while !self.stop.load(Ordering::SeqCst) {
            let at = usize::from(rand::random::<u16>()) % KEYS;
            if reader % 2 == 0 {
                self.read_stale(at).await;
            } else {
                self.read(at).await;
            }
            tokio::time::sleep(PACE).await;
        }
    }

    async fn read(&self, at: usize) {
        let (node, counter) = (self.any_node(), &self.counters[at]);
        let floor = counter.floor();
        match self.get(&node, at).await {
            Ok(found) => {
                let found = found.expect("a row that was acknowledged is there");
                assert!(found >= floor, "{} says {found} after {floor}, key {at}", node.id());
                assert!(found <= counter.begun.load(Ordering::SeqCst));
                counter.seen.fetch_max(found, Ordering::SeqCst);
                *self.tally.lock().reads.entry(node.id()).or_default() += 1;
            }
            Err(error) => self.note(error),
        }
    }

    async fn read_stale(&self, at: usize) {
        // Often through the node that came last, which has the least.
        let node = if rand::random() { self.any_node() } else { self.last_node() };
        let counter = &self.counters[at];
        let now = Instant::now();
        let floor = counter.floor_at(now.checked_sub(STALE).unwrap_or(now));
        match self.get(&node.reading(Consistency::Stale { max: STALE }), at).await {
            // It may be so old that the row was not there yet.
            Ok(found) => {
                let found = found.unwrap_or(0);
                assert!(found >= floor, "{} says {found}, long after {floor}", node.id());
                self.tally.lock().stale_reads += 1;
            }
            Err(error) => self.note(error),
        }
    }

    async fn get(&self, node: &Node, at: usize) -> Result<Option<u64>, RequestError> {
        let row = node.get(&self.table, &key(at)).await?;
        let number = |value: &[u8]| std::str::from_utf8(value).ok()?.parse().ok();
        Ok(row.map(|row| number(&row.value).expect("a number")))
    }

    fn any_node(&self) -> Node {
        let nodes = self.nodes.read();
        let at = usize::from(rand::random::<u16>()) % nodes.len();
        nodes[at].clone()
    }

    fn last_node(&self) -> Node {
        self.nodes.read().last().expect("a node").clone()
    }

    /// A node may always say "try again", and nothing else.
    fn note(&self, error: RequestError) {
        assert_eq!(error.actor(), Actor::Retry, "{error}");
        self.tally.lock().errors.push(error);
    }
}
