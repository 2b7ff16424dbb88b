//! The clients that are connected.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};

use breccia_types::Timestamp;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::command::Kill;
use super::encoder::Protocol;
use super::table;

/// The clients that are connected, by id.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    latest: AtomicU64,
    connected: Mutex<BTreeMap<u64, Arc<Client>>>,
}

/// A client that is connected.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) address: SocketAddr,
    /// Where it connected to.
    pub(crate) local_address: SocketAddr,
    /// Ends the connection after the batch in hand.
    pub(crate) stop: CancellationToken,
    connected_at: Timestamp,
    /// When it last sent something, in microseconds since 1970.
    active_at: AtomicI64,
    /// Its last command, by position in the table.
    command: AtomicUsize,
    protocol: AtomicI64,
    /// Whether it asked where slots are, and so wants to be told when one is elsewhere.
    follows_slots: AtomicBool,
    labels: Mutex<Labels>,
}

/// What a client told of itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Labels {
    pub(crate) name: Bytes,
    pub(crate) library: Bytes,
    pub(crate) library_version: Bytes,
}

/// Takes a client off the list when its connection ends.
#[derive(Debug)]
pub(crate) struct Registration {
    clients: Arc<Clients>,
    pub(crate) client: Arc<Client>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.clients.connected.lock().remove(&self.client.id);
    }
}

impl Clients {
    /// Notes a new connection from one address to another.
    pub(crate) fn register(
        self: &Arc<Self>,
        (address, local_address): (SocketAddr, SocketAddr),
        now: Timestamp,
        stop: CancellationToken,
    ) -> Registration {
        let client = Arc::new(Client {
            id: self.latest.fetch_add(1, Ordering::Relaxed) + 1,
            address,
            local_address,
            stop,
            connected_at: now,
            active_at: AtomicI64::new(now.as_micros()),
            command: AtomicUsize::new(usize::MAX),
            protocol: AtomicI64::new(Protocol::default().number()),
            follows_slots: AtomicBool::new(false),
            labels: Mutex::default(),
        });
        self.connected.lock().insert(client.id, Arc::clone(&client));
        Registration { clients: Arc::clone(self), client }
    }

    pub(crate) fn count(&self) -> usize {
        self.connected.lock().len()
    }

    /// All of them, by id.
    pub(crate) fn all(&self) -> Vec<Arc<Client>> {
        self.connected.lock().values().cloned().collect()
    }

    pub(crate) fn get(&self, id: u64) -> Option<Arc<Client>> {
        self.connected.lock().get(&id).cloned()
    }

    /// Ends connections, and says how many.
    pub(crate) fn kill(&self, kill: &Kill, asking: u64) -> usize {
        let chosen = |client: &Client| {
            let is = |address: SocketAddr, asked: &Option<Bytes>| {
                asked.as_ref().is_none_or(|asked| address.to_string().as_bytes() == asked.as_ref())
            };
            !kill.nobody
                && kill.id.is_none_or(|id| id == client.id)
                && is(client.address, &kill.address)
                && is(client.local_address, &kill.local_address)
                && !(kill.skip_me && client.id == asking)
        };
        let all = self.all();
        let chosen = all.iter().filter(|client| chosen(client));
        chosen.map(|client| client.stop.cancel()).count()
    }
}

impl Client {
    /// Whether commands for slots that another node leads are refused with its address; those
    /// of other clients are forwarded.
    pub(crate) fn follows_slots(&self) -> bool {
        self.follows_slots.load(Ordering::Relaxed)
    }

    /// Notes that the client asked where slots are.
    pub(crate) fn set_follows_slots(&self) {
        self.follows_slots.store(true, Ordering::Relaxed);
    }

    pub(crate) fn labels(&self) -> Labels {
        self.labels.lock().clone()
    }

    pub(crate) fn label(&self, change: impl FnOnce(&mut Labels)) {
        change(&mut self.labels.lock());
    }

    /// Notes that it sent a command, unless that is unknown.
    pub(crate) fn on_command(&self, position: Option<usize>, now: Timestamp) {
        self.active_at.store(now.as_micros(), Ordering::Relaxed);
        self.command.store(position.unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    pub(crate) fn on_protocol(&self, protocol: Protocol) {
        self.protocol.store(protocol.number(), Ordering::Relaxed);
    }

    /// Its line in CLIENT LIST. Fields of Redis that mean nothing here are constant.
    pub(crate) fn line(&self, now: Timestamp) -> String {
        let seconds = |since: i64| now.as_micros().saturating_sub(since).max(0) / 1_000_000;
        let labels = self.labels();
        let text = |label: &Bytes| String::from_utf8_lossy(label).into_owned();
        let command = table::name_at(self.command.load(Ordering::Relaxed)).unwrap_or("NULL");
        let mut line = String::new();
        // Writing to memory does not fail.
        let _ = writeln!(
            line,
            "id={} addr={} laddr={} fd=0 name={} age={} idle={} flags=N db=0 sub=0 psub=0 ssub=0 \
             multi=-1 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 \
             tot-mem=0 events=r cmd={} user=default redir=-1 resp={} lib-name={} lib-ver={}",
            self.id,
            self.address,
            self.local_address,
            text(&labels.name),
            seconds(self.connected_at.as_micros()),
            seconds(self.active_at.load(Ordering::Relaxed)),
            command,
            self.protocol.load(Ordering::Relaxed),
            text(&labels.library),
            text(&labels.library_version),
        );
        line
    }
}
