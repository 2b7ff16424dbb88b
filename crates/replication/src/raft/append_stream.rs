//! The pipelined way in which a leader's entries reach a replica.
//!
//! Requests are taken from openraft while earlier ones are still on their way; replies come
//! in the same order. Everything happens while the stream of replies is polled, so that a
//! stream that is dropped never takes another request.
//!
//! Requests of more than a few entries' bytes would make the heartbeats of all shards wait, as
//! they share a connection. So a session runs on one lane at a time: a request that belongs on
//! the other waits for the replies to those before it, and the stream is opened anew there.
//!
//! An error is yielded only after a request was taken: openraft pauses between attempts at
//! the place where it hands out a request, so failing earlier would be a busy loop.

use std::collections::VecDeque;
use std::time::Duration;

use breccia_transport::{Duplex, Lane, MessageReceiver, MessageSender, TransportError};
use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt};
use openraft::errors::NetworkError;
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};
use tokio::time::Instant;

use super::network::{Link, RpcError, unreadable};
use super::types::GroupConfig;
use super::wire;

/// Requests that may be on their way to a replica.
const WINDOW_REQUESTS: usize = 64;
/// Bytes of requests after which no further one is taken until a reply comes.
const WINDOW_BYTES: usize = 4 << 20;
/// Requests longer than this, in bytes, go by the bulk connection: twice what openraft is given
/// at once, so only a single entry can be as long.
const CONTROL_REQUEST_BYTES_MAX: usize = 2 << 20;
/// What the way to a replica, and its log, must manage per second at least. A longer request
/// gets as much more time.
const BYTES_PER_SECOND_MIN: usize = 1 << 20;

type Append = AppendEntriesRequest<GroupConfig>;
type Reply = Result<StreamAppendResult<GroupConfig>, RpcError>;

enum State<S> {
    Closed(Link, S),
    Open(Session<S>),
    Ended,
}

struct Session<S> {
    link: Link,
    /// `None` when openraft has no more requests.
    input: Option<S>,
    lane: Lane,
    sender: Option<MessageSender>,
    receiver: MessageReceiver,
    /// The next message, until the transport has taken it.
    message: Option<Bytes>,
    /// A message for the other lane, until all replies have come on this one.
    held: Option<Bytes>,
    window: Window,
}

/// Requests whose replies have not come.
#[derive(Default)]
struct Window {
    requests: VecDeque<Sent>,
    bytes: usize,
}

struct Sent {
    bytes: usize,
    /// When its reply is late, and after how long that is.
    deadline: Instant,
    timeout: Duration,
}

enum Event {
    Replied(Option<Result<Bytes, TransportError>>),
    Requested(Option<Append>),
    Sent { is_open: bool },
    Late,
}

/// The replies to the requests of `input`.
pub(crate) fn pipelined<S>(link: Link, input: S) -> impl Stream<Item = Reply> + Send
where
    S: Stream<Item = Append> + Send + Unpin + 'static,
{
    stream::unfold(State::Closed(link, input), |state| async move {
        let mut session = match state {
            State::Closed(link, input) => match Session::open(link, input).await? {
                Ok(session) => session,
                Err(error) => return Some((Err(error), State::Ended)),
            },
            State::Open(session) => session,
            State::Ended => return None,
        };
        let reply = session.next().await?;
        let state = if matches!(reply, Ok(Ok(_))) { State::Open(session) } else { State::Ended };
        Some((reply, state))
    })
}

impl<S> Session<S>
where
    S: Stream<Item = Append> + Send + Unpin + 'static,
{
    /// Takes the first request, then opens the stream. `None` if there is no request.
    async fn open(link: Link, mut input: S) -> Option<Result<Self, RpcError>> {
        let first = encode(&link, &input.next().await?);
        let lane = lane_of(&first);
        let Duplex { sender, receiver } = match open(&link, lane).await {
            Ok(duplex) => duplex,
            Err(error) => return Some(Err(error)),
        };
        let mut session = Self {
            link,
            input: Some(input),
            lane,
            sender: Some(sender),
            receiver,
            message: None,
            held: None,
            window: Window::default(),
        };
        session.take(first);
        Some(Ok(session))
    }

    fn take(&mut self, message: Bytes) {
        if lane_of(&message) == self.lane {
            self.window.push(message.len(), self.link.timing().reply_timeout());
            self.message = Some(message);
        } else {
            self.held = Some(message);
        }
    }

    /// Sends what was held on the lane it belongs on.
    async fn change_lane(&mut self, message: Bytes) -> Result<(), RpcError> {
        let lane = lane_of(&message);
        let Duplex { sender, receiver } = open(&self.link, lane).await?;
        (self.lane, self.receiver, self.sender) = (lane, receiver, Some(sender));
        self.take(message);
        Ok(())
    }

    async fn next(&mut self) -> Option<Reply> {
        loop {
            if let Some(message) = self.held.take_if(|_| self.window.requests.is_empty())
                && let Err(error) = self.change_lane(message).await
            {
                return Some(Err(error));
            }
            if self.input.is_none() && self.message.is_none() && self.held.is_none() {
                // The other side then ends its replies.
                self.sender = None;
                if self.window.requests.is_empty() {
                    return None;
                }
            }
            match self.event().await {
                Event::Replied(reply) => return self.on_reply(reply),
                Event::Requested(Some(request)) => self.take(encode(&self.link, &request)),
                Event::Requested(None) => self.input = None,
                Event::Sent { is_open } => {
                    self.message = None;
                    if !is_open {
                        // Why comes from the receiver.
                        self.input = None;
                    }
                }
                Event::Late => return Some(Err(self.link.timed_out(self.window.timeout()))),
            }
        }
    }

    async fn event(&mut self) -> Event {
        let deadline = self.window.requests.front().map(|sent| sent.deadline);
        let takes_input = self.message.is_none() && self.held.is_none() && !self.window.is_full();
        let input = self.input.as_mut().filter(|_| takes_input);
        tokio::select! {
            biased;
            reply = self.receiver.receive() => Event::Replied(reply),
            is_open = send(self.sender.as_ref(), self.message.as_ref()) => Event::Sent { is_open },
            request = next_of(input) => Event::Requested(request),
            () = until(deadline) => Event::Late,
        }
    }

    fn on_reply(&mut self, reply: Option<Result<Bytes, TransportError>>) -> Option<Reply> {
        let reply = match reply {
            Some(Ok(reply)) => self.link.take_appended(reply).map_err(|error| unreadable(&error)),
            Some(Err(error)) => Err(self.link.failed(&error, self.window.timeout())),
            None if self.window.requests.is_empty() && self.input.is_none() => return None,
            None => Err(NetworkError::from_string("the other replica ended the stream").into()),
        };
        self.window.pop();
        Some(reply)
    }
}

impl Window {
    fn push(&mut self, bytes: usize, timeout: Duration) {
        let more = bytes / BYTES_PER_SECOND_MIN;
        let timeout = timeout + Duration::from_secs(u64::try_from(more).unwrap_or_default());
        self.bytes += bytes;
        self.requests.push_back(Sent { bytes, deadline: Instant::now() + timeout, timeout });
    }

    fn pop(&mut self) {
        if let Some(sent) = self.requests.pop_front() {
            self.bytes = self.bytes.saturating_sub(sent.bytes);
        }
    }

    /// How long the next reply may take.
    fn timeout(&self) -> Duration {
        self.requests.front().map_or(Duration::ZERO, |sent| sent.timeout)
    }

    fn is_full(&self) -> bool {
        self.requests.len() >= WINDOW_REQUESTS || self.bytes >= WINDOW_BYTES
    }
}

fn encode(link: &Link, request: &Append) -> Bytes {
    wire::encoded(|to| link.put_append(to, request))
}

const fn lane_of(message: &Bytes) -> Lane {
    if message.len() > CONTROL_REQUEST_BYTES_MAX { Lane::Bulk } else { Lane::Control }
}

async fn open(link: &Link, lane: Lane) -> Result<Duplex, RpcError> {
    let timeout = link.timing().reply_timeout();
    let opened = link.open(wire::APPEND_STREAM, lane, timeout).await;
    opened.map_err(|error| link.failed(&error, timeout))
}

/// Whether the stream is still open after sending; pending if there is nothing to send.
async fn send(sender: Option<&MessageSender>, message: Option<&Bytes>) -> bool {
    match (sender, message) {
        (Some(sender), Some(message)) => sender.send(message.clone()).await.is_ok(),
        _ => std::future::pending().await,
    }
}

async fn next_of<S: Stream + Unpin>(input: Option<&mut S>) -> Option<S::Item> {
    match input {
        Some(input) => input.next().await,
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
