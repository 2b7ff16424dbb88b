//! The receiving side of a snapshot.

use std::path::{Path, PathBuf};
use std::time::Duration;

use breccia_transport::{Duplex, MessageReceiver, TransportError};
use breccia_types::wire::DecodeError;
use bytes::Bytes;
use openraft::alias::SnapshotOf;
use thiserror::Error;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use super::manifest::{FileEntry, Frame, Manifest, Verdict};
use crate::raft::instance::ShardRaft;
use crate::raft::machine::Position;
use crate::raft::refusal::Refused;
use crate::raft::snapshot::{Folder, Incoming, ShardSnapshot, meta_of};
use crate::raft::types::GroupConfig;

/// How long the sender may be silent.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Error)]
enum ReceiveError {
    #[error("the sender was silent for too long")]
    Silent,
    #[error("the stream was lost: {0}")]
    Lost(#[from] TransportError),
    #[error("the stream ended early")]
    Ended,
    #[error("a frame cannot be read: {0}")]
    Unreadable(#[from] DecodeError),
    #[error("a frame came out of order")]
    OutOfOrder,
    #[error("{name} is damaged")]
    Damaged { name: String },
    #[error("a file cannot be written: {0}")]
    Io(#[from] std::io::Error),
    #[error("the replica stopped: {0}")]
    Stopped(#[from] openraft::errors::Fatal<GroupConfig>),
}

/// Receives a snapshot into a folder of its own and has it installed.
pub(crate) async fn receive(raft: &ShardRaft, folder: PathBuf, duplex: Duplex) {
    let Duplex { sender, mut receiver } = duplex;
    let verdict = match receive_all(raft, folder, &mut receiver).await {
        Ok(verdict) => verdict,
        Err(error) => {
            tracing::warn!(%error, "a snapshot was not received");
            Verdict::Refused(error.to_string())
        }
    };
    // If the sender is gone, it starts again.
    let _ = sender.send(verdict.encode()).await;
}

/// Tells the sender why its snapshot is not taken.
pub(crate) async fn refuse(refused: Refused, duplex: &Duplex) {
    // If the sender is gone, it has no use for a reason.
    let _ = duplex.sender.send(Verdict::Refused(refused.to_string()).encode()).await;
}

async fn receive_all(
    raft: &ShardRaft,
    folder: PathBuf,
    receiver: &mut MessageReceiver,
) -> Result<Verdict, ReceiveError> {
    let Frame::Manifest(Manifest { vote, position, files }) = hear(receiver).await? else {
        return Err(ReceiveError::OutOfOrder);
    };
    let meta = meta_of(&Position::decode(position.clone())?);
    tokio::fs::create_dir_all(&folder).await?;
    let folder = Folder::create(folder)?;
    for file in files {
        receive_file(folder.path(), file, receiver).await?;
    }
    File::open(folder.path()).await?.sync_all().await?;
    let snapshot = ShardSnapshot::Received(Incoming::new(folder, position));
    let snapshot = SnapshotOf::<GroupConfig, _> { meta, snapshot };
    Ok(Verdict::Done(raft.install_full_snapshot(vote, snapshot).await?.vote))
}

async fn receive_file(
    folder: &Path,
    entry: FileEntry,
    receiver: &mut MessageReceiver,
) -> Result<(), ReceiveError> {
    let mut file = File::create_new(folder.join(&entry.name)).await?;
    let (mut size, mut computed) = (0_u64, 0);
    loop {
        match hear(receiver).await? {
            Frame::Chunk(chunk) => {
                size = size.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
                if size > entry.size {
                    return Err(ReceiveError::Damaged { name: entry.name });
                }
                computed = crc32c::crc32c_append(computed, &chunk);
                file.write_all(&chunk).await?;
            }
            Frame::End { checksum } if checksum == computed && size == entry.size => {
                file.flush().await?;
                return Ok(file.sync_all().await?);
            }
            Frame::End { .. } => return Err(ReceiveError::Damaged { name: entry.name }),
            Frame::Manifest(_) => return Err(ReceiveError::OutOfOrder),
        }
    }
}

async fn hear(receiver: &mut MessageReceiver) -> Result<Frame, ReceiveError> {
    let waiting = tokio::time::timeout(PATIENCE, receiver.receive());
    let message: Bytes = match waiting.await {
        Ok(Some(message)) => message?,
        Ok(None) => return Err(ReceiveError::Ended),
        Err(_) => return Err(ReceiveError::Silent),
    };
    Ok(Frame::decode(message)?)
}
