//! The exchange of greetings at the start of a connection.
//!
//! Each side judges the other by itself and tells it the verdict, so that both can name the
//! reason. What was judged is only remembered once the echo has shown that the other side
//! is alive.

use std::io;

use breccia_types::NodeId;
use breccia_types::wire::DecodeError;
use bytes::Bytes;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::greeting::{
    Confirm, Hello, Identity, PROTOCOL_VERSION_MAX, PROTOCOL_VERSION_MIN, Purpose, Rejection,
    Welcome,
};
use super::limits::GREETING_BYTES_MAX;

const MAGIC: [u8; 4] = *b"BRCT";

/// Why a connection did not get past its greetings.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// One side will have nothing to do with the other.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The other side does not speak this protocol.
    #[error("what answers is not a node of Breccia")]
    NotANode,
    /// A greeting is not one.
    #[error("a greeting cannot be read")]
    Malformed(#[from] DecodeError),
    /// A greeting's checksum is wrong.
    #[error("a greeting is corrupted")]
    Corrupted,
    /// The other side answered a greeting that was not sent.
    #[error("the other side answers another greeting")]
    OtherEcho,
    /// The other side took too long.
    #[error("no greeting came in time")]
    TimedOut,
    /// The connection broke.
    #[error("the connection broke during the greetings: {kind}")]
    Io {
        /// How.
        kind: io::ErrorKind,
    },
}

/// What both sides know of each other once the connection stands.
#[derive(Debug, Clone)]
pub(crate) struct Established {
    pub(crate) theirs: Identity,
    pub(crate) standing: Standing,
    pub(crate) epoch: u32,
}

/// What two nodes are to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Members of the same cluster.
    Members,
    /// At least one is a member of no cluster.
    Strangers,
}

/// Whether the other side's incarnation and run fit what was seen of its node before.
pub(crate) trait Judge {
    fn judge(&self, theirs: &Identity) -> Result<(), Rejection>;
}

/// Greets as the side that dialed.
pub(crate) async fn dial<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut S,
    ours: &Identity,
    purpose: Purpose,
    expects: Option<NodeId>,
    judge: &impl Judge,
) -> Result<Established, HandshakeError> {
    let hello = Hello {
        version_min: PROTOCOL_VERSION_MIN,
        version_max: PROTOCOL_VERSION_MAX,
        purpose,
        identity: ours.clone(),
        expects,
        nonce: rand::random(),
    };
    write(socket, &hello.encode()).await?;
    let welcome = Welcome::decode(read(socket).await?)?;
    if welcome.echo != hello.nonce {
        return Err(HandshakeError::OtherEcho);
    }
    if let Some(rejection) = welcome.rejection {
        return Err(rejection.into());
    }
    let theirs = welcome.identity;
    let judged = judge_welcome(&hello, welcome.version, &theirs)
        .and_then(|standing| judge_member(judge, purpose, standing, &theirs).map(|()| standing));
    let rejection = judged.as_ref().err().cloned();
    write(socket, &Confirm { echo: welcome.nonce, rejection }.encode()).await?;
    Ok(Established { theirs, standing: judged?, epoch: welcome.epoch })
}

/// Greets as the side that was dialed.
pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut S,
    ours: &Identity,
    judge: &impl Judge,
) -> Result<(Established, Purpose), HandshakeError> {
    let hello = Hello::decode(read(socket).await?)?;
    let purpose = hello.purpose;
    let theirs = &hello.identity;
    let judged = judge_hello(&hello, ours)
        .and_then(|standing| judge_member(judge, purpose, standing, theirs).map(|()| standing));
    let welcome = Welcome {
        version: hello.version_max.min(PROTOCOL_VERSION_MAX),
        identity: ours.clone(),
        echo: hello.nonce,
        nonce: rand::random(),
        epoch: rand::random(),
        rejection: judged.as_ref().err().cloned(),
    };
    write(socket, &welcome.encode()).await?;
    let standing = judged?;
    let confirm = Confirm::decode(read(socket).await?)?;
    if confirm.echo != welcome.nonce {
        return Err(HandshakeError::OtherEcho);
    }
    if let Some(rejection) = confirm.rejection {
        return Err(rejection.into());
    }
    let theirs = hello.identity;
    Ok((Established { theirs, standing, epoch: welcome.epoch }, purpose))
}

fn judge_hello(hello: &Hello, ours: &Identity) -> Result<Standing, Rejection> {
    let accepting = (PROTOCOL_VERSION_MIN, PROTOCOL_VERSION_MAX);
    let dialing = (hello.version_min, hello.version_max);
    if dialing.0 > accepting.1 || dialing.1 < accepting.0 {
        return Err(Rejection::NoCommonVersion { dialing, accepting });
    }
    if let Some(expected) = hello.expects
        && expected != ours.peer.node
    {
        return Err(Rejection::OtherNode { expected, found: ours.peer.node });
    }
    judge_clusters(hello.purpose, &hello.identity, ours)
}

fn judge_welcome(hello: &Hello, version: u8, theirs: &Identity) -> Result<Standing, Rejection> {
    let dialing = (hello.version_min, hello.version_max);
    if version < dialing.0 || version > dialing.1 {
        return Err(Rejection::NoCommonVersion { dialing, accepting: (version, version) });
    }
    if let Some(expected) = hello.expects
        && expected != theirs.peer.node
    {
        return Err(Rejection::OtherNode { expected, found: theirs.peer.node });
    }
    judge_clusters(hello.purpose, &hello.identity, theirs)
}

fn judge_clusters(
    purpose: Purpose,
    dialing: &Identity,
    accepting: &Identity,
) -> Result<Standing, Rejection> {
    match (dialing.cluster, accepting.cluster) {
        (Some(one), Some(other)) if one == other => Ok(Standing::Members),
        (Some(dialing_cluster), Some(accepting_cluster)) if purpose != Purpose::Probe => {
            Err(Rejection::OtherCluster {
                dialing: dialing.peer.node,
                dialing_cluster,
                accepting: accepting.peer.node,
                accepting_cluster,
            })
        }
        _ => Ok(Standing::Strangers),
    }
}

/// A stranger may call itself what it likes, so what it says is neither judged by what is
/// known of members nor remembered.
fn judge_member(
    judge: &impl Judge,
    purpose: Purpose,
    standing: Standing,
    theirs: &Identity,
) -> Result<(), Rejection> {
    match (standing, purpose) {
        (Standing::Strangers, _) | (_, Purpose::Probe) => Ok(()),
        (Standing::Members, _) => judge.judge(theirs),
    }
}

pub(super) async fn write<S: AsyncWrite + Unpin>(
    socket: &mut S,
    body: &[u8],
) -> Result<(), HandshakeError> {
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
    let mut greeting = Vec::with_capacity(body.len() + 10);
    greeting.extend_from_slice(&MAGIC);
    greeting.extend_from_slice(&length.to_be_bytes());
    greeting.extend_from_slice(&crc32c::crc32c(body).to_be_bytes());
    greeting.extend_from_slice(body);
    socket.write_all(&greeting).await?;
    Ok(())
}

pub(super) async fn read<S: AsyncRead + Unpin>(socket: &mut S) -> Result<Bytes, HandshakeError> {
    let mut magic = [0; MAGIC.len()];
    socket.read_exact(&mut magic).await?;
    if magic != MAGIC {
        return Err(HandshakeError::NotANode);
    }
    let length = usize::from(socket.read_u16().await?);
    let crc = socket.read_u32().await?;
    if length > GREETING_BYTES_MAX {
        return Err(HandshakeError::NotANode);
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await?;
    if crc32c::crc32c(&body) != crc {
        return Err(HandshakeError::Corrupted);
    }
    Ok(body.into())
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        Self::Io { kind: error.kind() }
    }
}
