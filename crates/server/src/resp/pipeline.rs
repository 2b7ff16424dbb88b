//! The commands of one connection, executed together and replied to in order.
//!
//! Writes are gathered and handed to the node together, at the end of a batch at the latest.
//! A read goes ahead at once unless it is of a key that a gathered write is about; what
//! needs all keys waits for every write. So the commands on one key happen in the order in
//! which they were sent, and a batch of writes costs one wait for the log.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use breccia_node::{Consistency, Node, StringsInFlight};
use breccia_types::RequestError;
use breccia_types::strings::{StringReply, StringWrite};
use bytes::Bytes;

use super::answer::session::Next;
use super::answer::{beyond, query, read, session, visit, write};
use super::arguments::Arguments;
use super::clients::Client;
use super::command::{Beyond, Command, Decoded, Read, ReadFrom, ReplyMode, Session};
use super::decode::slots;
use super::error::ReplyError;
use super::front::Front;
use super::limits::{
    REPLY_BYTES_HELD_MAX, STALENESS_MAX, VALUES_READ_TOGETHER_MAX, WRITE_BYTES_GATHERED_MAX,
};
use super::parser::{Batch, ProtocolError};
use super::replies::Replies;
use super::socket::Socket;
use super::table;

/// The commands of one connection in flight.
pub(crate) struct Pipeline {
    front: Front,
    client: Arc<Client>,
    replies: Replies,
    gathered: Vec<StringWrite>,
    gathered_bytes: usize,
    in_flight: Vec<Launched>,
    written: WrittenKeys,
    calls: Calls,
    mode: ReplyMode,
    /// The node as this connection reads it.
    reader: Node,
    read_from: ReadFrom,
    ends: bool,
}

/// Writes that were handed to the node together.
enum Launched {
    Going(StringsInFlight),
    Done(Vec<Result<StringReply, RequestError>>),
}

/// The keys that writes in flight are about. Noted only when a read asks.
#[derive(Default)]
struct WrittenKeys {
    keys: HashSet<Bytes>,
    /// How many of the gathered writes are noted.
    noted: usize,
    /// A write is about all keys.
    all: bool,
}

/// Calls of the same command in a row, counted together.
#[derive(Default)]
struct Calls {
    position: Option<usize>,
    count: u64,
}

impl Pipeline {
    pub(crate) fn new(front: Front, client: Arc<Client>) -> Self {
        Self {
            replies: Replies::new(front.metrics.clone()),
            reader: front.node.clone(),
            read_from: ReadFrom::Leaders,
            front,
            client,
            gathered: Vec::new(),
            gathered_bytes: 0,
            in_flight: Vec::new(),
            written: WrittenKeys::default(),
            calls: Calls::default(),
            mode: ReplyMode::default(),
            ends: false,
        }
    }

    /// Whether the connection ends: its client asked for it.
    pub(crate) const fn ends(&self) -> bool {
        self.ends
    }

    /// Executes a batch, and sends all its replies.
    ///
    /// # Errors
    /// If the client cannot be written to, or a reply that was sent in part cannot be
    /// completed.
    pub(crate) async fn run(&mut self, batch: &Batch, socket: &mut Socket) -> io::Result<()> {
        for arguments in batch.commands() {
            self.step(arguments, socket).await?;
            if self.ends {
                break;
            }
            if self.replies.len() > REPLY_BYTES_HELD_MAX {
                self.settle().await;
                self.send(socket).await?;
            }
        }
        self.settle().await;
        self.client.on_command(self.calls.position, self.front.node.clock().now());
        self.count_calls(None);
        self.send(socket).await
    }

    /// Says why the connection ends.
    ///
    /// # Errors
    /// If the client cannot be written to.
    pub(crate) async fn refuse(
        &mut self,
        error: ProtocolError,
        socket: &mut Socket,
    ) -> io::Result<()> {
        tracing::debug!(client = self.client.id, %error, "not the Redis protocol");
        self.replies.error(&error);
        self.send(socket).await
    }

    async fn step(&mut self, arguments: Arguments<'_>, socket: &mut Socket) -> io::Result<()> {
        let found = table::find(arguments.get(0));
        let position = found.map(|(position, _)| position);
        if self.calls.position != position {
            self.count_calls(position);
        }
        self.calls.count += 1;
        let decoded = match found {
            Some((_, spec)) => spec.decode(arguments, self.front.node.clock()),
            None if is_http(arguments) => {
                self.ends = true;
                return Ok(());
            }
            None => Err(ReplyError::unknown_command(arguments)),
        };
        let muted = self.is_muted();
        let decoded = match decoded {
            Ok(command) => self.redirect(command).await,
            refused => refused,
        };
        match decoded {
            Ok(Command::Write(write, _)) if muted => {
                self.gather([write]).await;
                self.replies.expect_nothing(1);
            }
            Ok(Command::Write(write, shown)) => {
                self.gather([write]).await;
                self.replies.expect(shown);
            }
            Ok(Command::WriteScattered(writes)) => {
                let count = writes.len();
                self.gather(writes).await;
                match muted {
                    true => self.replies.expect_nothing(count),
                    false => self.replies.expect_sum(count),
                }
            }
            Ok(Command::Session(session)) => self.session(&session, muted).await,
            Ok(Command::Beyond(beyond)) => self.beyond(beyond, muted).await,
            _ if muted => {}
            Ok(Command::Read(read)) => return self.read(&read, socket).await,
            Ok(Command::Visit(visit)) => {
                self.settle().await;
                let result = visit::answer(&self.front, &visit, self.replies.place()).await;
                self.placed(result);
            }
            Ok(Command::Query(query)) => {
                let encoder = self.replies.place();
                let result = query::answer(&self.front, &self.client, &query, encoder).await;
                self.placed(result);
            }
            Ok(Command::Fixed(fixed)) => {
                self.replies.encode(|encoder| write::encode_fixed(encoder, &fixed));
            }
            Err(error) => self.replies.error(&error),
        }
        Ok(())
    }

    /// Tells a client that follows slots where the slot of a command is led, if elsewhere.
    async fn redirect(&mut self, command: Command) -> Decoded {
        if !self.client.follows_slots() {
            return Ok(command);
        }
        let key = match &command {
            Command::Write(write, _) => write.first_key(),
            Command::Read(read) => read.keys().next(),
            #[cfg(feature = "functions")]
            Command::Beyond(Beyond::Call { keys, .. }) => keys.first(),
            _ => None,
        };
        let Some(key) = key else { return Ok(command) };
        let slot = slots::of(key);
        let is_read = matches!(command, Command::Read(_));
        let or_replica = is_read && self.read_from == ReadFrom::Replicas;
        match self.front.elsewhere(slot, or_replica).await {
            Some(address) => Err(ReplyError::Moved { slot: slot.get(), address }),
            None => Ok(command),
        }
    }

    /// Lets leaders or replicas answer reads from now on.
    fn read_from(&mut self, from: ReadFrom) {
        self.read_from = from;
        self.reader = match from {
            ReadFrom::Leaders => self.front.node.clone(),
            ReadFrom::Replicas => {
                self.front.node.reading(Consistency::Stale { max: STALENESS_MAX })
            }
        };
    }

    /// Whether this command is not replied to.
    fn is_muted(&mut self) -> bool {
        match self.mode {
            ReplyMode::On => false,
            ReplyMode::Off => true,
            ReplyMode::SkipNext => {
                self.mode = ReplyMode::On;
                true
            }
        }
    }

    fn placed(&mut self, result: Result<(), ReplyError>) {
        match result {
            Ok(()) => self.replies.placed(),
            Err(error) => self.replies.error(&error),
        }
    }

    async fn gather(&mut self, writes: impl IntoIterator<Item = StringWrite>) {
        for write in writes {
            self.written.all |= matches!(write, StringWrite::Flush);
            self.gathered_bytes += write.bytes();
            self.gathered.push(write);
        }
        if self.gathered_bytes > WRITE_BYTES_GATHERED_MAX {
            self.written.note(&self.gathered);
            self.launch().await;
        }
    }

    /// Hands the gathered writes to the node, after those before them: at once if these have
    /// their place in this node's logs, else when they are done.
    async fn launch(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        if let Some(last) = self.in_flight.last_mut()
            && let Launched::Going(before) = last
        {
            if before.is_queued() {
                before.on_followed();
            } else {
                *last = Launched::Done(before.await);
            }
        }
        let writes = std::mem::take(&mut self.gathered);
        self.in_flight.push(Launched::Going(self.front.node.write_strings(writes)));
        self.gathered_bytes = 0;
        self.written.noted = 0;
    }

    /// Waits for every write, so that all replies up to here can be sent.
    async fn settle(&mut self) {
        if !self.replies.is_expecting() {
            return;
        }
        self.launch().await;
        let mut outcomes = Vec::new();
        for writes in self.in_flight.drain(..) {
            let some = match writes {
                Launched::Going(writes) => writes.await,
                Launched::Done(outcomes) => outcomes,
            };
            if outcomes.is_empty() {
                outcomes = some;
            } else {
                outcomes.extend(some);
            }
        }
        self.replies.settle(outcomes);
        self.written.clear();
    }

    /// Answers what may concern any key, when all writes are done.
    async fn beyond(&mut self, command: Beyond, muted: bool) {
        self.settle().await;
        let encoder = self.replies.place();
        let start = encoder.len();
        let result = beyond::answer(&self.front, &self.reader, command, encoder).await;
        self.placed(result);
        if muted {
            self.replies.place().truncate(start);
        }
    }

    async fn read(&mut self, read: &Read, socket: &mut Socket) -> io::Result<()> {
        let values = match read {
            Read::Values { keys } => Some(keys),
            _ => None,
        };
        if self.replies.is_expecting() {
            self.written.note(&self.gathered);
            if values.is_some() || read.keys().any(|key| self.written.has(key)) {
                self.settle().await;
            }
        }
        match values {
            Some(keys) => self.values(keys, socket).await,
            None => {
                let result =
                    read::answer(&self.front, &self.reader, read, self.replies.place()).await;
                self.placed(result);
                Ok(())
            }
        }
    }

    /// Replies many values, and sends them as they come: together they may be more than
    /// fits in memory. No write is in flight.
    async fn values(&mut self, keys: &[Bytes], socket: &mut Socket) -> io::Result<()> {
        let start = self.replies.ready().len();
        let mut sent = false;
        self.replies.encode(|encoder| encoder.array(keys.len()));
        let mut rest = keys;
        while !rest.is_empty() {
            let some = rest.get(..VALUES_READ_TOGETHER_MAX).unwrap_or(rest);
            match read::multi_get(&self.front, &self.reader, some).await {
                Ok(rows) => {
                    for row in &rows {
                        self.replies.encode(|encoder| match row {
                            Some(row) => encoder.bulk(&row.value),
                            None => encoder.null(),
                        });
                    }
                    rest = rest.get(rows.len()..).unwrap_or_default();
                }
                Err(error) if sent => return Err(io::Error::other(error)),
                Err(error) => {
                    self.replies.place().truncate(start);
                    self.replies.error(&ReplyError::from(error));
                    return Ok(());
                }
            }
            if self.replies.len() > REPLY_BYTES_HELD_MAX {
                self.send(socket).await?;
                sent = true;
            }
        }
        Ok(())
    }

    /// Connection commands see every write before them done, and change how the replies
    /// after them are encoded.
    async fn session(&mut self, session: &Session, muted: bool) {
        self.settle().await;
        self.client.on_command(self.calls.position, self.front.node.clock().now());
        match session {
            Session::ReadFrom(from) => self.read_from(*from),
            Session::Reset => self.read_from(ReadFrom::Leaders),
            _ => {}
        }
        let encoder = self.replies.place();
        let start = encoder.len();
        let muted = muted && !matches!(session, Session::Reply(ReplyMode::On));
        let answered = session::answer(&self.front, &self.client, session, encoder);
        match answered {
            Ok(Next::GoesOn) => {}
            Ok(Next::Replies(ReplyMode::SkipNext)) if self.mode == ReplyMode::Off => {}
            Ok(Next::Replies(mode)) => self.mode = mode,
            Ok(Next::Ends) => self.ends = true,
            Err(error) => self.replies.error(&error),
        }
        if muted {
            self.replies.place().truncate(start);
        }
        self.replies.align_protocols();
    }

    async fn send(&mut self, socket: &mut Socket) -> io::Result<()> {
        if self.replies.ready().is_empty() {
            return Ok(());
        }
        socket.write_all(self.replies.ready().bytes()).await?;
        self.replies.sent();
        Ok(())
    }

    fn count_calls(&mut self, next: Option<usize>) {
        if self.calls.count > 0 {
            self.front.metrics.on_commands(self.calls.position, self.calls.count);
        }
        self.calls = Calls { position: next, count: 0 };
    }
}

impl WrittenKeys {
    fn note(&mut self, gathered: &[StringWrite]) {
        for write in gathered.iter().skip(self.noted) {
            self.keys.extend(write.keys().cloned());
        }
        self.noted = gathered.len();
    }

    fn has(&self, key: &Bytes) -> bool {
        self.all || self.keys.contains(key)
    }

    fn clear(&mut self) {
        self.keys.clear();
        self.noted = 0;
        self.all = false;
    }
}

/// A browser that was lured into posting to this port: it must not get through to commands
/// in the body of its request.
fn is_http(arguments: Arguments<'_>) -> bool {
    arguments.is(0, "POST") || arguments.is(0, "Host:")
}
