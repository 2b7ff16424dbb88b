//! Takes frames from the bytes of a connection.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;

use super::frame::{Frame, FrameError, HEAD_BYTES, Head};
use super::limits::{READ_BYTES, RESERVED_BYTES_MAX};
use super::metrics::Metrics;

/// When a connection's other side was last heard: any byte counts, also within a long frame,
/// and so does its taking of one.
#[derive(Debug)]
pub(crate) struct Heard {
    start: Instant,
    at_ms: AtomicU64,
}

/// Why there is no further frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("reading failed: {0}")]
    Io(io::ErrorKind),
}

pub(crate) struct FrameReader<'a, R> {
    io: R,
    buffer: BytesMut,
    epoch: u32,
    body_bytes_max: usize,
    heard: &'a Heard,
    metrics: &'a Metrics,
}

impl Heard {
    pub(crate) fn now() -> Self {
        Self { start: Instant::now(), at_ms: AtomicU64::new(0) }
    }

    pub(crate) fn mark(&self) {
        let elapsed = self.start.elapsed().as_millis();
        self.at_ms.store(u64::try_from(elapsed).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long the other side has been silent.
    pub(crate) fn silence(&self) -> Duration {
        let heard = Duration::from_millis(self.at_ms.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(heard)
    }
}

impl<'a, R: AsyncRead + Unpin> FrameReader<'a, R> {
    pub(crate) fn new(
        io: R,
        epoch: u32,
        body_bytes_max: usize,
        (heard, metrics): (&'a Heard, &'a Metrics),
    ) -> Self {
        let buffer = BytesMut::with_capacity(READ_BYTES);
        Self { io, buffer, epoch, body_bytes_max, heard, metrics }
    }

    /// The next frame; `None` at the end of the connection.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, ReadError> {
        while self.buffer.len() < HEAD_BYTES {
            if !self.fill().await? {
                let ended = self.buffer.is_empty();
                return if ended { Ok(None) } else { Err(FrameError::Truncated.into()) };
            }
        }
        let bytes = self.buffer.first_chunk().ok_or(FrameError::Head)?;
        let head = Head::decode(bytes, self.epoch, self.body_bytes_max)?;
        self.buffer.advance(HEAD_BYTES);
        let body = self.body(head.body_bytes).await?;
        let frame = Frame::decode(head, body)?;
        self.metrics.frames_received.increment();
        Ok(Some(frame))
    }

    /// A body gets memory of its own, so that keeping it keeps no buffer alive.
    async fn body(&mut self, bytes: usize) -> Result<Bytes, ReadError> {
        if let Some(body) = self.buffer.get(..bytes) {
            let body = Bytes::copy_from_slice(body);
            self.buffer.advance(bytes);
            return Ok(body);
        }
        let mut body = BytesMut::with_capacity(bytes.min(RESERVED_BYTES_MAX));
        body.extend_from_slice(&self.buffer);
        self.buffer.clear();
        while body.len() < bytes {
            let missing = bytes - body.len();
            let is_believed = body.len() >= RESERVED_BYTES_MAX;
            body.reserve(if is_believed { missing } else { missing.min(RESERVED_BYTES_MAX) });
            let limit = u64::try_from(missing).unwrap_or(u64::MAX);
            let count = (&mut self.io).take(limit).read_buf(&mut body).await;
            if !self.on_read(count)? {
                return Err(FrameError::Truncated.into());
            }
        }
        Ok(body.freeze())
    }

    async fn fill(&mut self) -> Result<bool, ReadError> {
        self.buffer.reserve(READ_BYTES);
        let count = self.io.read_buf(&mut self.buffer).await;
        self.on_read(count)
    }

    fn on_read(&self, count: io::Result<usize>) -> Result<bool, ReadError> {
        let count = count.map_err(|error| ReadError::Io(error.kind()))?;
        self.heard.mark();
        self.metrics.bytes_received.add(count);
        Ok(count > 0)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn frames_come_out_whole_however_their_bytes_arrive() {
        let frames: Vec<_> = [0, 1, 31, 70_000, 3 << 20, 5]
            .into_iter()
            .map(|bytes| Frame::Message { id: 1, body: Bytes::from(vec![7; bytes]) })
            .collect();
        let mut wire = Vec::new();
        for frame in frames.clone() {
            let encoded = frame.encode(1);
            wire.extend_from_slice(&encoded.head);
            wire.extend_from_slice(&encoded.body);
        }
        for piece in [13, 1_000, 1 << 20] {
            let (mut here, there) = tokio::io::duplex(1 << 16);
            let wire = wire.clone();
            tokio::spawn(async move {
                for bytes in wire.chunks(piece) {
                    here.write_all(bytes).await.unwrap();
                }
            });
            let (heard, metrics) = (Heard::now(), Metrics::default());
            let mut reader = FrameReader::new(there, 1, 80 << 20, (&heard, &metrics));
            for frame in &frames {
                assert_eq!(reader.next().await, Ok(Some(frame.clone())), "in {piece}s");
            }
            assert_eq!(reader.next().await, Ok(None));
        }
    }

    #[tokio::test]
    async fn a_connection_that_ends_within_a_frame_is_not_at_its_end() {
        let encoded = Frame::Ping.encode(1);
        let (heard, metrics) = (Heard::now(), Metrics::default());
        let mut reader = FrameReader::new(&encoded.head[..31], 1, 0, (&heard, &metrics));
        assert_eq!(reader.next().await, Err(FrameError::Truncated.into()));
    }
}
