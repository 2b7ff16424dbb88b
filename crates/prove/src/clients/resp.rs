//! The Redis protocol.

use std::io;

use async_trait::async_trait;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::code::outcome_of_reply;
use super::{Driver, RequestId, Targets, connect, no_such_node, not_in_protocol};
use crate::history::{Answer, Call, Outcome, Protocol, Value};

/// A client of the Redis protocol.
pub struct RespDriver {
    targets: Targets,
    /// The node it is connected to, and the connection.
    connected: Option<(usize, BufReader<TcpStream>)>,
}

/// What a node replies.
#[derive(Debug, Clone, PartialEq, Eq)]
enum RespReply {
    Status,
    Error(String),
    Number(i64),
    Text(Option<Value>),
}

impl RespDriver {
    /// A client of these nodes.
    #[must_use]
    pub fn new(targets: Targets) -> Self {
        Self { targets, connected: None }
    }

    async fn connection(&mut self, node: usize) -> Result<&mut BufReader<TcpStream>, Outcome> {
        let kept = self.connected.take().filter(|(to, _)| *to == node);
        let connection = match kept {
            Some((_, connection)) => connection,
            None => {
                let Some(address) = self.targets.nodes.get(node) else {
                    return Err(no_such_node(node));
                };
                let dialling = TcpStream::connect(address.resp);
                let stream = connect(self.targets.deadline, dialling).await?;
                // Only speed is lost without it.
                let _ = stream.set_nodelay(true);
                BufReader::new(stream)
            }
        };
        Ok(&mut self.connected.insert((node, connection)).1)
    }
}

#[async_trait]
impl Driver for RespDriver {
    fn protocol(&self) -> Protocol {
        Protocol::Resp
    }

    fn has(&self, call: &Call) -> bool {
        words("", call).is_some()
    }

    async fn ask(&mut self, node: usize, key: &str, call: &Call, _: Option<RequestId>) -> Outcome {
        let Some(words) = words(key, call) else { return not_in_protocol(call) };
        let deadline = self.targets.deadline;
        let connection = match self.connection(node).await {
            Ok(connection) => connection,
            Err(outcome) => return outcome,
        };
        let reply = match timeout(deadline, exchange(connection, &words)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => {
                self.connected = None;
                return Outcome::Unknown(format!("the connection broke: {error}"));
            }
            Err(_) => {
                // A late reply must not be taken for that of the next question.
                self.connected = None;
                return Outcome::Unknown("no reply in time".to_owned());
            }
        };
        read_reply(call, reply)
    }
}

/// The command for a call, if there is one.
fn words(key: &str, call: &Call) -> Option<Vec<String>> {
    let words: Vec<&str> = match call {
        Call::Read => vec!["GET", key],
        Call::Write(value) => vec!["SET", key, value],
        Call::Exchange(value) => vec!["GETSET", key, value],
        Call::CompareAndSet { expected: None, new: Some(value) } => {
            vec!["SET", key, value, "NX"]
        }
        Call::CompareAndSet { .. } => return None,
        Call::Increment(by) => {
            return Some(vec!["INCRBY".to_owned(), key.to_owned(), by.to_string()]);
        }
        Call::Append(text) => vec!["APPEND", key, text],
        Call::Delete => vec!["DEL", key],
    };
    Some(words.into_iter().map(str::to_owned).collect())
}

fn read_reply(call: &Call, reply: RespReply) -> Outcome {
    let answer = match (call, reply) {
        (_, RespReply::Error(error)) => return outcome_of_reply(&error),
        (Call::Read | Call::Exchange(_), RespReply::Text(value)) => Answer::Found(value),
        (Call::Write(_), RespReply::Status) => Answer::Done,
        (Call::CompareAndSet { .. }, RespReply::Status) => {
            Answer::Swapped { swapped: true, instead: None }
        }
        (Call::CompareAndSet { .. }, RespReply::Text(None)) => {
            Answer::Swapped { swapped: false, instead: None }
        }
        (Call::Increment(_), RespReply::Number(number)) => Answer::Number(number),
        (Call::Append(_), RespReply::Number(bytes)) => {
            Answer::Length(u64::try_from(bytes).unwrap_or(u64::MAX))
        }
        (Call::Delete, RespReply::Number(removed)) => Answer::Existed(removed == 1),
        (call, reply) => return Outcome::Unknown(format!("unexpected {reply:?} to {call:?}")),
    };
    Outcome::Answered(answer)
}

async fn exchange(
    connection: &mut BufReader<TcpStream>,
    words: &[String],
) -> io::Result<RespReply> {
    let mut bytes = format!("*{}\r\n", words.len());
    for word in words {
        bytes.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    connection.get_mut().write_all(bytes.as_bytes()).await?;
    let line = read_line(connection).await?;
    let Some((kind, rest)) = line.split_at_checked(1) else { return Err(malformed(&line)) };
    match kind {
        "+" => Ok(RespReply::Status),
        "-" => Ok(RespReply::Error(rest.to_owned())),
        ":" => Ok(RespReply::Number(rest.parse().map_err(|_| malformed(&line))?)),
        "$" if rest == "-1" => Ok(RespReply::Text(None)),
        "$" => {
            let bytes: usize = rest.parse().map_err(|_| malformed(&line))?;
            let mut text = vec![0; bytes + 2];
            connection.read_exact(&mut text).await?;
            text.truncate(bytes);
            Ok(RespReply::Text(Some(String::from_utf8_lossy(&text).into())))
        }
        _ => Err(malformed(&line)),
    }
}

async fn read_line(connection: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    connection.read_line(&mut line).await?;
    match line.strip_suffix("\r\n") {
        Some(line) => Ok(line.to_owned()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn malformed(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed reply {line:?}"))
}
