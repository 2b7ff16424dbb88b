//! Clients at work, and what they were told.

mod client;
mod keys;
mod last_look;
mod probe;
mod profile;
mod progress;
mod pulse;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use self::client::Client;
use self::keys::Keys;
pub use self::keys::shard_of;
use self::progress::Progress;
pub use self::progress::{Counts, Gap};
use crate::clients::{Driver, Targets};
use crate::history::{
    Call, ClientId, Histories, Key, Moment, Operation, Outcome, Protocol, RunClock,
};

/// Makes drivers. A test may give the clients something else than nodes to talk to.
pub trait Drivers: Send + Sync {
    /// How many nodes there are.
    fn nodes(&self) -> usize;

    /// A new driver of a protocol, whose questions take at most this long.
    fn driver(&self, protocol: Protocol, deadline: Duration) -> Box<dyn Driver>;
}

impl Drivers for Targets {
    fn nodes(&self) -> usize {
        self.nodes.len()
    }

    fn driver(&self, protocol: Protocol, deadline: Duration) -> Box<dyn Driver> {
        Self { deadline, ..self.clone() }.driver(protocol)
    }
}

/// What clients are to do.
#[derive(Debug, Clone)]
pub struct WorkloadConfig {
    /// Decides what clients ask.
    pub seed: u64,
    /// Clients of each protocol.
    pub clients_per_protocol: u32,
    /// Operations a second, of all clients together; fewer if the nodes are slower.
    pub rate: u32,
    /// Shards of the cluster. There is always a key in use in each.
    pub shards: u32,
    /// Operations after which a key is left alone but for reads.
    pub operations_per_key: u32,
    /// How long a question may take.
    pub deadline: Duration,
}

impl WorkloadConfig {
    /// A moderate load.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            seed,
            clients_per_protocol: 4,
            rate: 400,
            shards: 4,
            operations_per_key: 300,
            deadline: Duration::from_secs(3),
        }
    }
}

/// What all clients share.
struct Shared {
    config: WorkloadConfig,
    drivers: Arc<dyn Drivers>,
    clock: RunClock,
    histories: Histories,
    keys: Keys,
    progress: Progress,
    is_stopping: AtomicBool,
    clients: AtomicU32,
    values: AtomicU64,
}

impl Shared {
    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::SeqCst)
    }

    fn next_client(&self) -> ClientId {
        ClientId(self.clients.fetch_add(1, Ordering::SeqCst))
    }

    /// A number that no value has been made of before.
    fn next_value(&self) -> u64 {
        self.values.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Notes an operation, has it done by `ask`, and notes what became of it.
    async fn noted(
        &self,
        key: &Key,
        about: (ClientId, Protocol, usize),
        call: &Call,
        ask: impl Future<Output = (usize, Outcome)>,
    ) -> Outcome {
        let (client, protocol, node) = about;
        let begun = self.histories.begin(
            key,
            Operation {
                client,
                protocol,
                node,
                call: call.clone(),
                invoked: self.clock.now(),
                ended: Moment::NEVER,
                outcome: Outcome::Unknown("still waiting".to_owned()),
            },
        );
        let (node, outcome) = ask.await;
        let now = self.clock.now();
        self.histories.end(&begun, node, now, outcome.clone());
        let shard = shard_of(key, self.config.shards);
        self.progress.on_outcome(protocol, (call, &outcome), shard, now);
        outcome
    }
}

/// Clients at work.
pub struct Workload {
    shared: Arc<Shared>,
    running: JoinSet<()>,
}

impl Workload {
    /// Starts the clients.
    #[must_use]
    pub fn start(drivers: Arc<dyn Drivers>, config: WorkloadConfig) -> Self {
        let shared = Arc::new(Shared {
            keys: Keys::new(config.seed, config.shards, config.operations_per_key),
            progress: Progress::new(config.shards),
            config,
            drivers,
            clock: RunClock::start(),
            histories: Histories::default(),
            is_stopping: AtomicBool::new(false),
            clients: AtomicU32::new(0),
            values: AtomicU64::new(0),
        });
        let mut running = JoinSet::new();
        for _ in 0..shared.config.clients_per_protocol {
            for protocol in Protocol::ALL {
                running.spawn(Client::new(Arc::clone(&shared), protocol).run());
            }
        }
        for shard in 0..shared.config.shards {
            running.spawn(pulse::pulse(Arc::clone(&shared), shard));
        }
        Self { shared, running }
    }

    /// What was asked and told so far.
    #[must_use]
    pub fn histories(&self) -> &Histories {
        &self.shared.histories
    }

    /// The clock of the histories.
    #[must_use]
    pub fn clock(&self) -> RunClock {
        self.shared.clock
    }

    /// Keys that were written as often as they will be, each told once.
    #[must_use]
    pub fn take_retired(&self) -> Vec<Key> {
        self.shared.keys.take_retired()
    }

    /// How many operations had which outcome.
    #[must_use]
    pub fn counts(&self) -> Vec<(Protocol, Counts)> {
        self.shared.progress.counts()
    }

    /// From now on [`Self::longest_gap`] looks at what happens from now on.
    pub fn forget_gaps(&self) {
        self.shared.progress.forget_gaps(self.shared.clock.now());
    }

    /// The longest time that a shard went without a successful write, since that was last
    /// forgotten.
    #[must_use]
    pub fn longest_gap(&self) -> Gap {
        self.shared.progress.longest_gap(self.shared.clock.now())
    }

    /// Whether every shard has been written to since then.
    #[must_use]
    pub fn is_written_since(&self, since: Moment) -> bool {
        self.shared.progress.is_written_since(since)
    }

    /// Reads the keys in use from one node for a while, by all protocols, with patience: a
    /// node that is stopped meanwhile answers when it goes on.
    pub fn probe(&mut self, node: usize, duration: Duration) {
        for protocol in Protocol::ALL {
            for _ in 0..probe::READERS {
                let shared = Arc::clone(&self.shared);
                self.running.spawn(probe::probe(shared, protocol, node, duration));
            }
        }
    }

    /// Lets the clients end what they have begun.
    pub async fn stop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        while self.running.join_next().await.is_some() {}
    }

    /// Reads every key from every node by every protocol. Returns what could not be read.
    pub async fn look_at_all(&self, within: Duration) -> Vec<String> {
        last_look::look_at_all(&self.shared, within).await
    }
}
