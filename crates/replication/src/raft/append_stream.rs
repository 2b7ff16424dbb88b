//! The pipelined way in which a leader's entries reach a replica.
//!
//! Requests are taken from openraft while earlier ones are still on their way; replies come
//! in the same order. Everything happens while the stream of replies is polled, so that a
//! stream that is dropped never takes another request.
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
    sender: Option<MessageSender>,
    receiver: MessageReceiver,
    /// The next message, until the transport has taken it.
    message: Option<Bytes>,
    window: Window,
}

/// Requests whose replies have not come: when each was taken and its bytes.
#[derive(Default)]
struct Window {
    requests: VecDeque<(Instant, usize)>,
    bytes: usize,
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
        let first = input.next().await?;
        let timeout = link.timing().reply_timeout();
        let opened = link.open(wire::APPEND_STREAM, Lane::Control, timeout).await;
        let Duplex { sender, receiver } = match opened {
            Ok(duplex) => duplex,
            Err(error) => return Some(Err(link.failed(&error, timeout))),
        };
        let mut session = Self {
            link,
            input: Some(input),
            sender: Some(sender),
            receiver,
            message: None,
            window: Window::default(),
        };
        session.take(&first);
        Some(Ok(session))
    }

    fn take(&mut self, request: &Append) {
        let message = wire::encoded(|to| self.link.put_append(to, request));
        self.window.bytes += message.len();
        self.window.requests.push_back((Instant::now(), message.len()));
        self.message = Some(message);
    }

    async fn next(&mut self) -> Option<Reply> {
        loop {
            if self.input.is_none() && self.message.is_none() {
                // The other side then ends its replies.
                self.sender = None;
                if self.window.requests.is_empty() {
                    return None;
                }
            }
            match self.event().await {
                Event::Replied(reply) => return self.on_reply(reply),
                Event::Requested(Some(request)) => self.take(&request),
                Event::Requested(None) => self.input = None,
                Event::Sent { is_open } => {
                    self.message = None;
                    if !is_open {
                        // Why comes from the receiver.
                        self.input = None;
                    }
                }
                Event::Late => return Some(Err(self.link.timed_out(self.timeout()))),
            }
        }
    }

    async fn event(&mut self) -> Event {
        let deadline = self.window.requests.front().map(|(taken, _)| *taken + self.timeout());
        let takes_input = self.message.is_none() && !self.window.is_full();
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
            Some(Err(error)) => Err(self.link.failed(&error, self.timeout())),
            None if self.window.requests.is_empty() && self.input.is_none() => return None,
            None => Err(NetworkError::from_string("the other replica ended the stream").into()),
        };
        if let Some((_, bytes)) = self.window.requests.pop_front() {
            self.window.bytes = self.window.bytes.saturating_sub(bytes);
        }
        Some(reply)
    }

    fn timeout(&self) -> Duration {
        self.link.timing().reply_timeout()
    }
}

impl Window {
    fn is_full(&self) -> bool {
        self.requests.len() >= WINDOW_REQUESTS || self.bytes >= WINDOW_BYTES
    }
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
