//! A connection that speaks the Redis protocol (RESP2), to Breccia or to a real Redis.

use std::time::Instant;

use anyhow::{Result, bail};
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::target::{Done, Outcome};
use super::workload::{Operation, OperationKind};

/// The longest reply, in bytes; a longer one is not from a server of this protocol.
const REPLY_BYTES_MAX: usize = 512 << 20;

/// A connection.
pub(crate) struct RespConnection {
    stream: TcpStream,
    out: Vec<u8>,
    incoming: BytesMut,
    /// Whether each write waits until a replica has it.
    waits: bool,
}

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// `+OK` and other short texts, and integers as text.
    Simple(String),
    /// An error.
    Error(String),
    /// A value.
    Bulk(Bytes),
    /// No value.
    Null,
    /// Several replies follow.
    Array(usize),
}

impl RespConnection {
    /// Connects to `HOST:PORT`.
    ///
    /// # Errors
    /// If nobody listens there.
    pub(crate) async fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let incoming = BytesMut::with_capacity(64 << 10);
        Ok(Self { stream, out: Vec::new(), incoming, waits: false })
    }

    /// The same, with writes that wait until one replica has them.
    pub(crate) const fn waiting(mut self) -> Self {
        self.waits = true;
        self
    }

    /// Carries out the operations of a batch in one round trip, two if some of them read
    /// before they write.
    ///
    /// # Errors
    /// If the connection breaks.
    pub(crate) async fn execute(
        &mut self,
        batch: &[Operation],
        done: &mut Vec<Done>,
    ) -> Result<()> {
        self.send(batch).await?;
        self.receive(batch, done).await?;
        let second = |operation: &&Operation| operation.kind == OperationKind::ReadModifyWrite;
        for operation in batch.iter().filter(second) {
            self.write(operation);
        }
        self.flush().await?;
        for (operation, done) in batch.iter().zip(done.iter_mut()) {
            if second(&operation) {
                let outcome = self.written().await?;
                let first = std::mem::replace(&mut done.outcome, Outcome::Done);
                *done = Done { at: Instant::now(), outcome: first.and(outcome) };
            }
        }
        Ok(())
    }

    /// Sends operations, of those that read before they write the read.
    ///
    /// # Errors
    /// If the connection breaks.
    pub(crate) async fn send(&mut self, batch: &[Operation]) -> Result<()> {
        for operation in batch {
            match operation.kind {
                OperationKind::Read | OperationKind::ReadModifyWrite => {
                    self.command(&[b"GET", &operation.key]);
                }
                OperationKind::Update | OperationKind::Insert => self.write(operation),
                OperationKind::Scan => bail!("the Redis protocol has no scan in key order"),
            }
        }
        self.flush().await
    }

    /// Receives the outcomes of operations that were sent.
    ///
    /// # Errors
    /// If the connection breaks.
    pub(crate) async fn receive(
        &mut self,
        batch: &[Operation],
        done: &mut Vec<Done>,
    ) -> Result<()> {
        for operation in batch {
            let outcome = match operation.kind {
                OperationKind::Update | OperationKind::Insert => self.written().await?,
                _ => outcome_of(self.reply().await?),
            };
            done.push(Done { at: Instant::now(), outcome });
        }
        Ok(())
    }

    fn write(&mut self, operation: &Operation) {
        self.command(&[b"SET", &operation.key, &operation.value]);
        if self.waits {
            self.command(&[b"WAIT", b"1", b"0"]);
        }
    }

    async fn written(&mut self) -> Result<Outcome> {
        let outcome = outcome_of(self.reply().await?);
        if !self.waits {
            return Ok(outcome);
        }
        let waited = match self.reply().await? {
            Reply::Simple(replicas) if replicas == "0" => Outcome::Failed("on no replica".into()),
            reply => outcome_of(reply),
        };
        Ok(outcome.and(waited))
    }

    /// Asks which node leads which slots: the first and last slot, and its address.
    ///
    /// # Errors
    /// If the connection breaks, or the server is no cluster.
    pub(crate) async fn slots(&mut self) -> Result<Vec<(u16, u16, String)>> {
        self.command(&[b"CLUSTER", b"SLOTS"]);
        self.flush().await?;
        let mut slots = Vec::new();
        for _ in 0..self.array().await? {
            let fields = self.array().await?;
            let (first, last) = (self.text().await?.parse()?, self.text().await?.parse()?);
            for at in 2..fields {
                let parts = self.array().await?;
                let (host, port) = (self.text().await?, self.text().await?);
                for _ in 2..parts {
                    self.skip().await?;
                }
                if at == 2 {
                    slots.push((first, last, format!("{host}:{port}")));
                }
            }
        }
        Ok(slots)
    }

    async fn array(&mut self) -> Result<usize> {
        match self.reply().await? {
            Reply::Array(count) => Ok(count),
            reply => bail!("CLUSTER SLOTS answered {reply:?}"),
        }
    }

    async fn text(&mut self) -> Result<String> {
        match self.reply().await? {
            Reply::Simple(text) => Ok(text),
            Reply::Bulk(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            reply => bail!("CLUSTER SLOTS answered {reply:?}"),
        }
    }

    /// Takes a reply that may be an array, and leaves it.
    async fn skip(&mut self) -> Result<()> {
        let mut left = 1;
        while left > 0 {
            left -= 1;
            if let Reply::Array(count) = self.reply().await? {
                left += count;
            }
        }
        Ok(())
    }

    /// Asks for one line of `INFO server` or `CONFIG GET`, for the report.
    pub(crate) async fn describe(&mut self) -> Result<String> {
        self.command(&[b"INFO", b"server"]);
        self.command(&[b"CONFIG", b"GET", b"appendfsync"]);
        self.flush().await?;
        let mut said = Vec::new();
        if let Reply::Bulk(info) = self.reply().await? {
            let info = String::from_utf8_lossy(&info).into_owned();
            let lines = info.lines();
            said.extend(lines.filter(|line| is_telling(line)).map(str::to_owned));
        }
        if let Reply::Array(count) = self.reply().await? {
            let mut pair = Vec::new();
            for _ in 0..count {
                if let Reply::Bulk(text) = self.reply().await? {
                    pair.push(String::from_utf8_lossy(&text).into_owned());
                }
            }
            if !pair.is_empty() {
                said.push(pair.join(":"));
            }
        }
        Ok(said.join(" "))
    }

    fn command(&mut self, arguments: &[&[u8]]) {
        self.out.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
        for argument in arguments {
            self.out.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            self.out.extend_from_slice(argument);
            self.out.extend_from_slice(b"\r\n");
        }
    }

    async fn flush(&mut self) -> Result<()> {
        if !self.out.is_empty() {
            self.stream.write_all(&self.out).await?;
            self.out.clear();
        }
        Ok(())
    }

    async fn reply(&mut self) -> Result<Reply> {
        loop {
            if let Some(reply) = decode(&mut self.incoming)? {
                return Ok(reply);
            }
            if self.stream.read_buf(&mut self.incoming).await? == 0 {
                bail!("the server closed the connection");
            }
        }
    }
}

fn is_telling(line: &str) -> bool {
    line.starts_with("redis_version:") || line.starts_with("breccia_version:")
}

fn outcome_of(reply: Reply) -> Outcome {
    match reply {
        Reply::Null => Outcome::Missing,
        Reply::Error(message) => Outcome::Failed(message),
        Reply::Simple(_) | Reply::Bulk(_) | Reply::Array(_) => Outcome::Done,
    }
}

/// Takes one reply from the front of what came in; `None` if it is not all there yet.
fn decode(incoming: &mut BytesMut) -> Result<Option<Reply>> {
    let Some(end) = incoming.windows(2).position(|pair| pair == b"\r\n") else {
        return Ok(None);
    };
    let (Some(kind), Some(line)) = (incoming.first().copied(), incoming.get(1..end)) else {
        bail!("the server sent an empty line");
    };
    let line = String::from_utf8_lossy(line).into_owned();
    let after = end + 2;
    let reply = match kind {
        b'+' | b':' => Reply::Simple(line),
        b'-' => Reply::Error(line),
        b'_' => Reply::Null,
        b'$' | b'*' if line == "-1" => Reply::Null,
        b'*' => Reply::Array(line.parse()?),
        b'$' => {
            let length: usize = line.parse()?;
            if length > REPLY_BYTES_MAX {
                bail!("the server announces a reply of {length} bytes");
            }
            if incoming.len() < after + length + 2 {
                incoming.reserve(length + 2);
                return Ok(None);
            }
            incoming.advance(after);
            let value = incoming.split_to(length).freeze();
            incoming.advance(2);
            return Ok(Some(Reply::Bulk(value)));
        }
        other => bail!("the server does not speak the Redis protocol (byte {other:#04x})"),
    };
    incoming.advance(after);
    Ok(Some(reply))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_taken_when_they_are_all_there() {
        let text = b"+OK\r\n$3\r\nabc\r\n$-1\r\n:5\r\n-ERR no\r\n*2\r\n$0\r\n\r\n";
        let mut incoming = BytesMut::new();
        let mut replies = Vec::new();
        for byte in text {
            incoming.extend_from_slice(&[*byte]);
            replies.extend(decode(&mut incoming).expect("valid"));
        }
        assert_eq!(
            replies,
            [
                Reply::Simple("OK".into()),
                Reply::Bulk(Bytes::from_static(b"abc")),
                Reply::Null,
                Reply::Simple("5".into()),
                Reply::Error("ERR no".into()),
                Reply::Array(2),
                Reply::Bulk(Bytes::new()),
            ]
        );
        assert!(incoming.is_empty());
    }

    #[test]
    fn another_protocol_is_an_error() {
        assert!(decode(&mut BytesMut::from(&b"HTTP/1.1 400\r\n"[..])).is_err());
        assert!(decode(&mut BytesMut::from(&b"$99999999999\r\n"[..])).is_err());
    }
}
