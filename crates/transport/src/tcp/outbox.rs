//! What waits to be written to a connection, and its one writer.
//!
//! Whoever has a frame to send appends it. The writer takes all that waits, gathers small
//! frames in one buffer, and writes. A write costs far more than a frame, so while several
//! calls or streams are under way the writer lets the tasks that are ready run once before it
//! writes: with 64 calls in flight that quadruples their rate. Alone, a frame is written at
//! once, and no frame ever waits for a timer.
//!
//! What waits is bounded: calls are charged to their peer's budget until they are written,
//! stream messages and replies first wait for [`Outbox::room`], and of the small frames there
//! is at most one of each kind per call, stream, window step or ping. A peer that asks and
//! asks without reading the answers is found by the number of frames.

use std::io;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::frame::{Encoded, Frame, HEAD_BYTES};
use super::limits::{GATHERED_BODY_BYTES_MAX, QUEUE_BYTES_MAX, QUEUE_FRAMES_MAX, WRITE_BYTES};
use super::metrics::Metrics;
use super::reader::Heard;

pub(crate) struct Outbox {
    epoch: u32,
    queue: Mutex<Queue>,
    arrived: Notify,
    room: Semaphore,
}

struct Queue {
    frames: Vec<Queued>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Nothing more comes in; what is there is still written.
    Finishing,
    Closed,
}

struct Queued {
    frame: Encoded,
    /// What it took of the room, in bytes.
    room: u32,
    /// A call's share of its peer's budget.
    _budget: Option<Budget>,
}

/// A call's share of its peer's budget: given back when neither the caller nor the queue
/// holds it any more.
pub(crate) type Budget = Arc<OwnedSemaphorePermit>;

impl Outbox {
    pub(crate) fn new(epoch: u32) -> Self {
        Self {
            epoch,
            queue: Mutex::new(Queue { frames: Vec::new(), state: State::Open }),
            arrived: Notify::new(),
            room: Semaphore::new(QUEUE_BYTES_MAX),
        }
    }

    /// Waits for room for a body of this length. `None`: the connection is closed.
    /// Cancel-safe.
    pub(crate) async fn room(&self, body_bytes: usize) -> Option<SemaphorePermit<'_>> {
        let bytes = (body_bytes + HEAD_BYTES).min(QUEUE_BYTES_MAX);
        self.room.acquire_many(u32::try_from(bytes).unwrap_or(u32::MAX)).await.ok()
    }

    /// Queues a frame that is bounded in another way.
    pub(crate) fn push(&self, frame: Frame) {
        self.queue(Queued { frame: frame.encode(self.epoch), room: 0, _budget: None });
    }

    /// Queues a call, which holds its share of the budget until it is written.
    pub(crate) fn push_call(&self, call: Frame, budget: Budget) {
        self.queue(Queued { frame: call.encode(self.epoch), room: 0, _budget: Some(budget) });
    }

    /// Queues a frame in the room that was waited for.
    pub(crate) fn push_into(&self, room: SemaphorePermit<'_>, frame: Frame) {
        let bytes = u32::try_from(room.num_permits()).unwrap_or(u32::MAX);
        room.forget();
        self.queue(Queued { frame: frame.encode(self.epoch), room: bytes, _budget: None });
    }

    /// Whether more waits than any side that reads its answers would cause.
    pub(crate) fn is_overflowing(&self) -> bool {
        self.queue.lock().frames.len() > QUEUE_FRAMES_MAX
    }

    /// Takes no more frames; the writer ends when it has written those that wait.
    pub(crate) fn finish(&self) {
        let mut queue = self.queue.lock();
        if queue.state == State::Open {
            queue.state = State::Finishing;
        }
        drop(queue);
        self.arrived.notify_one();
    }

    /// Drops what waits.
    pub(crate) fn close(&self) {
        let mut queue = self.queue.lock();
        queue.state = State::Closed;
        queue.frames = Vec::new();
        drop(queue);
        self.room.close();
        self.arrived.notify_one();
    }

    /// Writes what is queued until the outbox has finished or is closed. While `expects_more`
    /// holds, tasks that are ready to run do so first, as they may have more to send.
    ///
    /// The other side is heard, too, when a further piece of a long frame is written: it takes
    /// what came before, and whatever it would answer waits behind the frame.
    pub(crate) async fn write_to(
        &self,
        mut io: impl AsyncWrite + Unpin,
        (heard, metrics): (&Heard, &Metrics),
        expects_more: impl Fn() -> bool,
    ) -> io::Result<()> {
        let mut frames = Vec::new();
        let mut gathered = BytesMut::new();
        while self.take(&mut frames, &expects_more).await {
            for Queued { frame, room, _budget } in frames.drain(..) {
                metrics.frames_sent.increment();
                gathered.put_slice(&frame.head);
                if frame.body.len() <= GATHERED_BODY_BYTES_MAX {
                    gathered.put_slice(&frame.body);
                } else {
                    write(&mut io, &gathered, metrics).await?;
                    gathered.clear();
                    let mut pieces = frame.body.chunks(WRITE_BYTES);
                    if let Some(first) = pieces.next() {
                        write(&mut io, first, metrics).await?;
                    }
                    for piece in pieces {
                        write(&mut io, piece, metrics).await?;
                        heard.mark();
                    }
                }
                if gathered.len() >= WRITE_BYTES {
                    write(&mut io, &gathered, metrics).await?;
                    gathered.clear();
                }
                self.room.add_permits(usize::try_from(room).unwrap_or_default());
            }
            write(&mut io, &gathered, metrics).await?;
            gathered.clear();
        }
        io.shutdown().await
    }

    fn queue(&self, queued: Queued) {
        let mut queue = self.queue.lock();
        if queue.state != State::Open {
            return;
        }
        let was_empty = queue.frames.is_empty();
        queue.frames.push(queued);
        drop(queue);
        if was_empty {
            self.arrived.notify_one();
        }
    }

    /// Swaps all frames that wait into `frames`, which is empty. `false`: there will be none.
    async fn take(&self, frames: &mut Vec<Queued>, expects_more: &impl Fn() -> bool) -> bool {
        // A burst's memory is not kept.
        frames.shrink_to(WRITE_BYTES / HEAD_BYTES);
        loop {
            {
                let mut queue = self.queue.lock();
                if !queue.frames.is_empty() {
                    std::mem::swap(&mut queue.frames, frames);
                    return true;
                }
                if queue.state != State::Open {
                    return false;
                }
            }
            self.arrived.notified().await;
            if expects_more() {
                tokio::task::yield_now().await;
            }
        }
    }
}

async fn write(
    io: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    metrics: &Metrics,
) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    io.write_all(bytes).await?;
    metrics.writes.increment();
    metrics.bytes_sent.add(bytes.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::io::AsyncReadExt;

    use crate::transport::Method;

    use super::*;

    #[tokio::test]
    async fn frames_that_wait_together_share_a_write() {
        let outbox = Outbox::new(1);
        for id in 1..=1_000 {
            let body = Bytes::from_static(b"small");
            outbox.push(Frame::Call { id, method: Method(1), timeout_ms: 1, body });
        }
        outbox.finish();
        let metrics = Metrics::default();
        let (here, mut there) = tokio::io::duplex(1 << 20);
        outbox.write_to(here, (&Heard::now(), &metrics), || false).await.unwrap();
        let mut written = Vec::new();
        there.read_to_end(&mut written).await.unwrap();
        assert_eq!(written.len(), 1_000 * (HEAD_BYTES + 5));
        assert_eq!((metrics.frames_sent.get(), metrics.writes.get()), (1_000, 1));
    }

    #[tokio::test]
    async fn room_is_given_back_once_a_frame_is_written() {
        let outbox = Outbox::new(1);
        let room = outbox.room(QUEUE_BYTES_MAX * 2).await.unwrap();
        outbox.push_into(room, Frame::Ping);
        let waiting = outbox.room(0);
        tokio::pin!(waiting);
        assert!(futures::poll!(&mut waiting).is_pending());
        outbox.finish();
        outbox
            .write_to(tokio::io::sink(), (&Heard::now(), &Metrics::default()), || false)
            .await
            .unwrap();
        assert!(futures::poll!(&mut waiting).is_ready());
    }

    #[tokio::test]
    async fn a_call_holds_its_budget_until_it_is_written() {
        let budget = Arc::new(Semaphore::new(10));
        let share = Arc::new(Arc::clone(&budget).try_acquire_many_owned(7).unwrap());
        let outbox = Outbox::new(1);
        outbox.push_call(Frame::Ping, Arc::clone(&share));
        drop(share);
        assert_eq!(budget.available_permits(), 3);
        outbox.finish();
        outbox
            .write_to(tokio::io::sink(), (&Heard::now(), &Metrics::default()), || false)
            .await
            .unwrap();
        assert_eq!(budget.available_permits(), 10);
    }

    #[test]
    fn more_frames_than_any_reading_side_causes_are_noticed() {
        let outbox = Outbox::new(1);
        for _ in 0..QUEUE_FRAMES_MAX {
            outbox.push(Frame::Pong);
        }
        assert!(!outbox.is_overflowing());
        outbox.push(Frame::Pong);
        assert!(outbox.is_overflowing());
    }

    #[tokio::test]
    async fn a_closed_outbox_gives_no_room_and_keeps_no_frame() {
        let outbox = Outbox::new(1);
        outbox.push(Frame::Ping);
        outbox.close();
        outbox.push(Frame::Ping);
        assert!(outbox.room(1).await.is_none());
        let metrics = Metrics::default();
        outbox.write_to(tokio::io::sink(), (&Heard::now(), &metrics), || false).await.unwrap();
        assert_eq!(metrics.frames_sent.get(), 0);
    }
}
