//! One connection: reads, executes, replies, until its client or the server ends it.

use std::io;

use breccia_types::limits::RESP_PIPELINE_COMMANDS_MAX;
use bytes::BytesMut;
use tokio::net::TcpStream;

use super::clients::Registration;
use super::front::{Front, QueryShare};
use super::limits::{QUERY_BYTES_MAX, READ_BYTES_MAX};
use super::parser::{Batch, Parser, ProtocolError};
use super::pipeline::Pipeline;
use super::socket::Socket;

/// Room for one read of a client that sends little.
const READ_BYTES_MIN: usize = 8 << 10;

/// One connection.
pub(crate) struct Connection {
    front: Front,
    /// On the list of clients for as long as this lives.
    registration: Registration,
    socket: Socket,
    buffer: BytesMut,
    parser: Parser,
    batch: Batch,
    pipeline: Pipeline,
    share: QueryShare,
}

impl Connection {
    pub(crate) fn new(front: Front, stream: TcpStream, registration: Registration) -> Self {
        let client = &registration.client;
        Self {
            socket: Socket::new(stream, client.stop.clone()),
            buffer: BytesMut::new(),
            parser: Parser::default(),
            batch: Batch::default(),
            pipeline: Pipeline::new(front.clone(), client.clone()),
            share: QueryShare::new(front.clone()),
            registration,
            front,
        }
    }

    /// Serves the client until it ends, or is ended.
    pub(crate) async fn run(mut self) {
        let client = self.registration.client.id;
        self.front.metrics.on_connect();
        match self.serve().await {
            Ok(()) => tracing::debug!(client, "connection ended"),
            Err(error) => tracing::debug!(client, %error, "connection broke"),
        }
        self.front.metrics.on_disconnect();
    }

    async fn serve(&mut self) -> io::Result<()> {
        loop {
            self.make_room();
            let received = self.socket.read(&mut self.buffer).await?;
            if received == 0 {
                return Ok(());
            }
            self.front.metrics.on_received(received);
            let parsed = self.execute().await?;
            if self.pipeline.ends() {
                return Ok(());
            }
            let parsed = parsed.and_then(|()| self.check_size());
            if let Err(error) = parsed {
                return self.pipeline.refuse(error, &mut self.socket).await;
            }
        }
    }

    /// Executes every complete command in the buffer.
    async fn execute(&mut self) -> io::Result<Result<(), ProtocolError>> {
        loop {
            let parsed = self.parser.parse(&mut self.buffer, RESP_PIPELINE_COMMANDS_MAX);
            if !self.parser.has_commands() {
                return Ok(parsed);
            }
            let spent = std::mem::take(&mut self.batch);
            self.batch = self.parser.take(&mut self.buffer, spent);
            self.pipeline.run(&self.batch, &mut self.socket).await?;
            self.batch.release();
            if self.pipeline.ends()
                || parsed.is_err()
                || self.registration.client.stop.is_cancelled()
            {
                return Ok(parsed);
            }
        }
    }

    /// Makes room for the next read. A request's announced length is not believed before
    /// about half of it has come.
    fn make_room(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > READ_BYTES_MAX {
            self.buffer = BytesMut::new();
        }
        let room = self.buffer.capacity() - self.buffer.len();
        if room < READ_BYTES_MIN / 2 {
            let believed = self.buffer.len().max(READ_BYTES_MAX);
            let wanted = self.parser.wanted(&self.buffer).min(believed);
            self.buffer.reserve(wanted.max(READ_BYTES_MIN));
        }
    }

    fn check_size(&mut self) -> Result<(), ProtocolError> {
        let bytes = self.buffer.len();
        let held = if bytes > READ_BYTES_MAX { bytes } else { 0 };
        match bytes <= QUERY_BYTES_MAX && self.share.resize(held) {
            true => Ok(()),
            false => Err(ProtocolError::TooManyBytes),
        }
    }
}
