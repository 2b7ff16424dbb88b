//! What clients asked, and what they were told.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A row's value. All values that clients write are text.
pub type Value = Arc<str>;

/// A row's key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// The key with this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A client: one that asks one question at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u32);

/// How a client talks to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// The Redis protocol.
    Resp,
    /// gRPC.
    Grpc,
    /// JSON over HTTP.
    Rest,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Resp, Self::Grpc, Self::Rest];
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Resp => "resp",
            Self::Grpc => "grpc",
            Self::Rest => "rest",
        })
    }
}

/// An instant of a run, by its one monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    /// Later than everything that happens.
    pub const NEVER: Self = Self(u64::MAX);

    /// Nanoseconds since the run began, as a duration.
    #[must_use]
    pub const fn since_start(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NEVER => f.pad("never"),
            moment => f.pad(&format!("{:.6}", moment.since_start().as_secs_f64())),
        }
    }
}

/// The clock of a run.
#[derive(Debug, Clone, Copy)]
pub struct RunClock(Instant);

impl RunClock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Now.
    #[must_use]
    pub fn now(self) -> Moment {
        Moment(u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX - 1))
    }
}

/// What a client asks of a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Call {
    /// The value.
    Read,
    /// To be this value.
    Write(Value),
    /// To be this value; the answer is the old one.
    Exchange(Value),
    /// To be `new` if it is `expected`; `None` is an absent row.
    CompareAndSet {
        /// What must be there.
        expected: Option<Value>,
        /// What shall be there.
        new: Option<Value>,
    },
    /// To be a number larger by so much.
    Increment(i64),
    /// To be longer by this text.
    Append(Value),
    /// To be absent.
    Delete,
}

/// What a client was told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It was written.
    Done,
    /// The value that was there.
    Found(Option<Value>),
    /// Whether it was swapped, and the value found instead if the protocol tells.
    Swapped {
        /// Whether it was.
        swapped: bool,
        /// What was there instead, if the protocol tells.
        instead: Option<Option<Value>>,
    },
    /// The number it is now.
    Number(i64),
    /// The bytes it has now.
    Length(u64),
    /// Whether there was a row.
    Existed(bool),
}

/// What became of an operation, as far as its client knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was done, and this is the answer.
    Answered(Answer),
    /// It was certainly not done, and never will be.
    Refused(String),
    /// It may have been done, may be done yet, or never.
    Unknown(String),
}

/// One question of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Who asked.
    pub client: ClientId,
    /// How.
    pub protocol: Protocol,
    /// Which node, by its number. The last one, if it was sent to several.
    pub node: usize,
    /// What.
    pub call: Call,
    /// Right before it was sent.
    pub invoked: Moment,
    /// Right after the answer had come; [`Moment::NEVER`] while it has not.
    pub ended: Moment,
    /// What became of it.
    pub outcome: Outcome,
}

/// Names an operation that was begun.
#[derive(Debug, Clone)]
pub struct Begun {
    key: Key,
    position: usize,
}

/// The histories of all keys. What was begun and has not ended is an unknown outcome, so that
/// a history can be judged at any time.
#[derive(Debug, Default)]
pub struct Histories(Mutex<BTreeMap<Key, Vec<Operation>>>);

impl Histories {
    /// Notes an operation that is about to be sent.
    pub fn begin(&self, key: &Key, operation: Operation) -> Begun {
        let mut keys = self.0.lock();
        let operations = keys.entry(key.clone()).or_default();
        operations.push(operation);
        Begun { key: key.clone(), position: operations.len() - 1 }
    }

    /// Notes what became of it.
    pub fn end(&self, begun: &Begun, node: usize, ended: Moment, outcome: Outcome) {
        let mut keys = self.0.lock();
        let operation = keys.get_mut(&begun.key).and_then(|all| all.get_mut(begun.position));
        if let Some(operation) = operation {
            operation.node = node;
            operation.ended = ended;
            operation.outcome = outcome;
        }
    }

    /// All keys.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        self.0.lock().keys().cloned().collect()
    }

    /// A key's operations so far.
    #[must_use]
    pub fn of(&self, key: &Key) -> Vec<Operation> {
        self.0.lock().get(key).cloned().unwrap_or_default()
    }
}
