//! One connection: what both its sides share, and the task that reads it.
//!
//! The side that dialed sends calls and opens streams, the side that accepted serves them.
//! Between two nodes that talk to each other there is one control connection each way, so
//! neither has to agree with the other on which of two connections to keep.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::transport::{Handler, Lane, Peer};

use super::config::Timing;
use super::frame::Frame;
use super::handshake::{Established, Standing};
use super::limits::{FRAME_BODY_BYTES_MAX, STRANGER_BODY_BYTES_MAX};
use super::metrics::Metrics;
use super::outbox::Outbox;
use super::pending::Pending;
use super::reader::{FrameReader, Heard, ReadError};
use super::served::Served;
use super::streams::{Streams, Violation};

pub(crate) struct Connection {
    pub(crate) peer: Peer,
    pub(crate) lane: Lane,
    pub(crate) standing: Standing,
    pub(crate) side: Side,
    pub(crate) outbox: Outbox,
    pub(crate) pending: Pending,
    pub(crate) served: Served,
    pub(crate) streams: Streams,
    pub(crate) opened_at: Instant,
    epoch: u32,
    last_id: AtomicU64,
    heard: Heard,
    /// The other side takes nothing new on this connection.
    is_draining: AtomicBool,
    closed: CancellationToken,
    end: OnceLock<(Closed, Instant)>,
    context: Context,
}

/// What a connection needs from the transport it belongs to.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) timing: Timing,
    /// Cancelled when the node takes nothing new.
    pub(crate) closing: CancellationToken,
    /// Calls that are being answered.
    pub(crate) working: TaskTracker,
}

/// Which side of a connection this is.
pub(crate) enum Side {
    Dialed,
    Accepted(Arc<dyn Handler>),
}

/// Why a connection is closed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Closed {
    #[error("the other side closed the connection")]
    ByPeer,
    #[error(transparent)]
    Unreadable(ReadError),
    #[error(transparent)]
    Violation(#[from] Violation),
    #[error("writing failed: {0}")]
    Unwritable(std::io::ErrorKind),
    #[error("the other side has been silent for {0:?}")]
    Silent(Duration),
    #[error("incarnation {0} of the node has taken its place")]
    Outlived(u64),
    #[error("the other side made a new connection")]
    Superseded,
    #[error("this node now belongs to a cluster")]
    Adopted,
    #[error("the node's address was removed")]
    Removed,
    #[error("it was idle")]
    Idle,
    #[error("this node shuts down")]
    ShutDown,
}

impl Connection {
    pub(crate) fn new(
        established: &Established,
        lane: Lane,
        side: Side,
        context: Context,
    ) -> Arc<Self> {
        Arc::new(Self {
            peer: established.theirs.peer,
            lane,
            standing: established.standing,
            side,
            outbox: Outbox::new(established.epoch),
            pending: Pending::default(),
            served: Served::default(),
            streams: Streams::default(),
            opened_at: Instant::now(),
            epoch: established.epoch,
            last_id: AtomicU64::new(0),
            heard: Heard::now(),
            is_draining: AtomicBool::new(false),
            closed: CancellationToken::new(),
            end: OnceLock::new(),
            context,
        })
    }

    /// An id for a call or stream: never used before on this connection.
    pub(crate) fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.context.metrics
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.context.closing.is_cancelled()
    }

    /// Kept while a call is answered, so that a shutdown waits for it.
    pub(crate) fn working(&self) -> TaskTrackerToken {
        self.context.working.token()
    }

    /// The longest body that the other side takes, in bytes.
    pub(crate) const fn sent_bytes_max(&self) -> usize {
        match (&self.side, self.standing) {
            (Side::Dialed, Standing::Strangers) => STRANGER_BODY_BYTES_MAX,
            _ => FRAME_BODY_BYTES_MAX,
        }
    }

    /// Whether something new may be sent.
    pub(crate) fn is_usable(&self) -> bool {
        !self.is_draining.load(Ordering::Relaxed) && !self.closed.is_cancelled()
    }

    /// Why and when it was closed, if it was.
    pub(crate) fn end(&self) -> Option<&(Closed, Instant)> {
        self.end.get()
    }

    /// Closes the connection; the first reason given is kept.
    pub(crate) fn close(&self, reason: Closed) {
        let _ = self.end.set((reason, Instant::now()));
        self.closed.cancel();
    }

    /// Tells a dialing side that nothing new is taken here.
    pub(crate) fn say_goodbye(&self) {
        if matches!(self.side, Side::Accepted(_)) {
            self.outbox.push(Frame::Goodbye);
        }
    }

    /// Carries frames until the connection is closed. Then all calls and streams on it have
    /// ended, and what was served for the other side is dropped.
    pub(crate) async fn run(self: Arc<Self>, socket: TcpStream) {
        let (read, write) = socket.into_split();
        let writer = {
            let connection = Arc::clone(&self);
            tokio::spawn(async move {
                let outbox = &connection.outbox;
                let expects_more = || connection.under_way() > 1;
                let seen_by = (&connection.heard, connection.metrics());
                let writing = outbox.write_to(write, seen_by, expects_more);
                if let Some(Err(error)) = connection.closed.run_until_cancelled(writing).await {
                    connection.close(Closed::Unwritable(error.kind()));
                }
            })
        };
        let reason = tokio::select! {
            biased;
            () = self.closed.cancelled() => Closed::ByPeer,
            reason = self.read(read) => reason,
            reason = self.keep_alive() => reason,
        };
        self.close(reason);
        self.outbox.close();
        self.streams.lose_all(self.peer.node);
        self.pending.lose_all();
        self.served.drop_all();
        let _ = writer.await;
        self.report();
    }

    fn report(&self) {
        let Some((reason, _)) = self.end.get() else { return };
        match reason {
            Closed::Unreadable(ReadError::Frame(_)) | Closed::Violation(_) => {
                self.metrics().frames_invalid.increment();
                tracing::warn!(node = %self.peer.node, %reason, "connection closed");
            }
            Closed::Silent(_) => {
                self.metrics().silences.increment();
                tracing::info!(node = %self.peer.node, %reason, "connection closed");
            }
            _ => tracing::debug!(node = %self.peer.node, %reason, "connection closed"),
        }
    }

    async fn read(self: &Arc<Self>, read: OwnedReadHalf) -> Closed {
        let body_bytes_max = match (&self.side, self.standing) {
            (Side::Accepted(_), Standing::Strangers) => STRANGER_BODY_BYTES_MAX,
            _ => FRAME_BODY_BYTES_MAX,
        };
        let seen_by = (&self.heard, self.metrics());
        let mut reader = FrameReader::new(read, self.epoch, body_bytes_max, seen_by);
        loop {
            match reader.next().await {
                Ok(Some(frame)) => {
                    if let Err(violation) = self.on_frame(frame) {
                        return violation.into();
                    }
                    if self.outbox.is_overflowing() {
                        return Violation::Unread.into();
                    }
                }
                Ok(None) => return Closed::ByPeer,
                Err(error) => return Closed::Unreadable(error),
            }
        }
    }

    fn on_frame(self: &Arc<Self>, frame: Frame) -> Result<(), Violation> {
        match (frame, &self.side) {
            (Frame::Call { id, method, timeout_ms, body }, Side::Accepted(handler)) => {
                let timeout = Duration::from_millis(timeout_ms.into());
                self.on_call(id, handler, method, (body, timeout));
            }
            (Frame::Open { id, method, header }, Side::Accepted(handler)) => {
                self.on_open(id, handler, method, header)?;
            }
            (Frame::Cancel { id }, Side::Accepted(_)) => self.served.drop_call(id),
            (Frame::Ping, Side::Accepted(_)) => self.outbox.push(Frame::Pong),
            (Frame::Reply { id, verdict, body }, Side::Dialed) => {
                self.pending.on_reply(id, verdict, body);
            }
            (Frame::Pong, Side::Dialed) => {}
            (Frame::Goodbye, Side::Dialed) => self.is_draining.store(true, Ordering::Relaxed),
            (Frame::Message { id, body }, _) => self.streams.on_message(id, body)?,
            (Frame::End { id }, _) => self.streams.on_end(id),
            (Frame::Stop { id }, _) => self.streams.on_stop(id),
            (Frame::Credit { id, charge }, _) => self.streams.on_credit(id, charge)?,
            (Frame::Reset { id, verdict }, _) => {
                self.streams.on_reset(id, verdict, self.peer.node);
            }
            _ => return Err(Violation::WrongSide),
        }
        Ok(())
    }

    /// Ends when the other side is silent for too long, or nobody needs the connection.
    async fn keep_alive(&self) -> Closed {
        let timing = self.context.timing;
        let mut tick = tokio::time::interval(timing.ping_interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut used_at = Instant::now();
        loop {
            tick.tick().await;
            let silence = self.heard.silence();
            if silence > timing.silence_max {
                return Closed::Silent(silence);
            }
            if matches!(self.side, Side::Dialed) {
                self.outbox.push(Frame::Ping);
            }
            if self.lane == Lane::Control || self.under_way() > 0 {
                used_at = Instant::now();
            }
            if used_at.elapsed() > timing.bulk_idle_max {
                return Closed::Idle;
            }
        }
    }

    /// How many calls and streams there are on it.
    fn under_way(&self) -> usize {
        // Streams that are served count as streams and as served; none is one, still.
        self.pending.count().max(self.served.count()).max(self.streams.count())
    }
}
