//! The connection that this node makes to a peer on one lane, and makes again.
//!
//! A connection is made when somebody wants to send. While attempts fail there is a growing
//! pause after each, and who wants to send during a pause is told so at once: however much
//! is to be sent to a dead peer, it costs one attempt per pause.

use std::sync::Arc;
use std::time::Duration;

use breccia_types::NodeId;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::transport::{Lane, TransportError};

use super::config::Timing;
use super::connection::{Closed, Connection};
use super::limits::CONNECTIONS_PER_CALL_MAX;
use super::shared::Shared;
use super::status::LinkStatus;

pub(crate) struct Link {
    pub(crate) node: NodeId,
    pub(crate) lane: Lane,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    /// Attempts in a row that gave no connection that lasted.
    failures: u32,
    had_connection: bool,
    /// The peer was removed from the address book.
    is_removed: bool,
}

enum Phase {
    Idle,
    /// The sender is dropped when the attempt has ended.
    Connecting(watch::Receiver<()>),
    Connected(Arc<Connection>),
    Pausing {
        until: Instant,
        reason: Arc<str>,
    },
}

enum Look {
    Connected(Arc<Connection>),
    Connecting(watch::Receiver<()>),
    Pausing(Arc<str>),
    Start(watch::Sender<()>, watch::Receiver<()>),
}

impl Link {
    pub(crate) fn new(node: NodeId, lane: Lane) -> Arc<Self> {
        let state =
            State { phase: Phase::Idle, failures: 0, had_connection: false, is_removed: false };
        Arc::new(Self { node, lane, state: Mutex::new(state) })
    }

    /// The connection, once there is one. Fails at once while attempts pause.
    pub(crate) async fn connection(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        deadline: Instant,
    ) -> Result<Arc<Connection>, TransportError> {
        let timing = shared.config.timing;
        for _ in 0..CONNECTIONS_PER_CALL_MAX {
            let look = self.state.lock().look(&timing);
            let mut attempt = match look {
                Look::Connected(connection) => return Ok(connection),
                Look::Pausing(reason) => return Err(self.unreachable(&reason)),
                Look::Connecting(attempt) => attempt,
                Look::Start(ends, attempt) => {
                    let (link, dialing) = (Arc::clone(self), Arc::clone(shared));
                    shared.tasks.spawn(async move { link.attempt(&dialing, ends).await });
                    attempt
                }
            };
            if tokio::time::timeout_at(deadline, attempt.changed()).await.is_err() {
                return Err(self.unreachable("there was no connection in time"));
            }
        }
        Err(self.unreachable("connections to it break as soon as they are made"))
    }

    pub(crate) fn unreachable(&self, reason: &str) -> TransportError {
        TransportError::Unreachable { node: self.node, reason: reason.to_owned() }
    }

    /// Tries again at once, as the peer may be somewhere else now.
    pub(crate) fn end_pause(&self) {
        let mut state = self.state.lock();
        state.failures = 0;
        if matches!(state.phase, Phase::Pausing { .. }) {
            state.phase = Phase::Idle;
        }
    }

    /// Closes the connection for good.
    pub(crate) fn remove(&self) {
        let mut state = self.state.lock();
        state.is_removed = true;
        if let Phase::Connected(connection) = &state.phase {
            connection.close(Closed::Removed);
        }
    }

    pub(crate) fn status(&self) -> LinkStatus {
        let now = Instant::now();
        match &self.state.lock().phase {
            Phase::Connected(connection) if connection.is_usable() => LinkStatus::Connected {
                incarnation: connection.peer.incarnation,
                since: now.saturating_duration_since(connection.opened_at),
            },
            Phase::Connecting(_) => LinkStatus::Connecting,
            Phase::Pausing { until, reason } => LinkStatus::Pausing {
                left: until.saturating_duration_since(now),
                reason: reason.to_string(),
            },
            Phase::Idle | Phase::Connected(_) => LinkStatus::Idle,
        }
    }

    async fn attempt(&self, shared: &Arc<Shared>, ends: watch::Sender<()>) {
        let outcome = shared.connect(self.node, self.lane).await;
        let mut state = self.state.lock();
        match outcome {
            Ok(connection) if state.is_removed => connection.close(Closed::Removed),
            Ok(connection) => {
                if std::mem::replace(&mut state.had_connection, true) {
                    shared.metrics.reconnects.increment();
                }
                state.phase = Phase::Connected(connection);
            }
            Err(error) => {
                shared.metrics.connects_failed.increment();
                tracing::debug!(node = %self.node, %error, "no connection");
                let timing = shared.config.timing;
                state.pause(&timing, Instant::now(), error.to_string().into());
            }
        }
        drop(state);
        drop(ends);
    }
}

impl State {
    fn look(&mut self, timing: &Timing) -> Look {
        let now = Instant::now();
        if let Phase::Connected(connection) = &self.phase
            && let Some((reason, at)) = connection.end().cloned()
        {
            let lasted = at.saturating_duration_since(connection.opened_at);
            self.on_closed(timing, &reason, (at, lasted));
        }
        match &self.phase {
            Phase::Connected(connection) if connection.is_usable() => {
                return Look::Connected(Arc::clone(connection));
            }
            Phase::Connecting(attempt) => return Look::Connecting(attempt.clone()),
            Phase::Pausing { until, reason } if now < *until => {
                return Look::Pausing(Arc::clone(reason));
            }
            _ => {}
        }
        let (ends, attempt) = watch::channel(());
        self.phase = Phase::Connecting(attempt.clone());
        Look::Start(ends, attempt)
    }

    /// A connection that did not last counts as a failed attempt, or a peer that closes
    /// every connection at once would be dialed without a pause.
    fn on_closed(&mut self, timing: &Timing, reason: &Closed, (at, lasted): (Instant, Duration)) {
        let is_ours = matches!(reason, Closed::Adopted | Closed::Idle | Closed::Outlived(_));
        if is_ours || lasted >= timing.backoff_max {
            self.failures = 0;
            self.phase = Phase::Idle;
        } else {
            self.pause(timing, at, reason.to_string().into());
        }
    }

    fn pause(&mut self, timing: &Timing, from: Instant, reason: Arc<str>) {
        self.failures = self.failures.saturating_add(1);
        let until = from + timing.backoff(self.failures, rand::random());
        self.phase = Phase::Pausing { until, reason };
    }
}
