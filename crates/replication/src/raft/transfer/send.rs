//! The sending side of a snapshot.

use std::path::PathBuf;
use std::time::Duration;

use breccia_transport::{Duplex, Lane, MessageSender};
use bytes::Bytes;
use openraft::errors::{NetworkError, Unreachable};
use openraft::raft::SnapshotResponse;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use super::manifest::{FileEntry, Frame, Manifest, Verdict};
use crate::raft::network::{Link, RpcError, unreadable};
use crate::raft::snapshot::Export;
use crate::raft::types::{GroupConfig, Vote};
use crate::raft::wire;

/// Bytes of a chunk.
const CHUNK_BYTES: usize = 256 << 10;
/// How long the receiver may take for a window of chunks.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to install what it has received.
const INSTALL_PATIENCE: Duration = Duration::from_secs(300);

/// Sends an export and waits until it is installed.
pub(crate) async fn send(
    link: &Link,
    vote: Vote,
    export: &Export,
) -> Result<SnapshotResponse<GroupConfig>, RpcError> {
    let _permit = link.traffic().start_sending().await;
    let files = list(export).await.map_err(|error| unreadable_file(&error))?;
    let opened = link.open(wire::SNAPSHOT, Lane::Bulk, link.timing().reply_timeout()).await;
    let Duplex { sender, mut receiver } =
        opened.map_err(|error| link.failed(&error, link.timing().reply_timeout()))?;
    link.traffic().on_begun();
    let manifest = Manifest { vote, position: export.position().clone(), files };
    let verdict = tokio::select! {
        biased;
        // A verdict before the end is a refusal.
        verdict = receiver.receive() => verdict,
        sent = send_all(link, &sender, export, manifest) => {
            sent?;
            let waiting = tokio::time::timeout(INSTALL_PATIENCE, receiver.receive());
            waiting.await.map_err(|_| link.timed_out(INSTALL_PATIENCE))?
        }
    };
    match verdict {
        Some(Ok(verdict)) => match Verdict::decode(verdict).map_err(|e| unreadable(&e))? {
            Verdict::Done(vote) => Ok(SnapshotResponse::new(vote)),
            Verdict::Refused(reason) => Err(Unreachable::from_string(reason).into()),
        },
        Some(Err(error)) => Err(link.failed(&error, PATIENCE)),
        None => Err(NetworkError::from_string("the receiver went away").into()),
    }
}

async fn send_all(
    link: &Link,
    sender: &MessageSender,
    export: &Export,
    manifest: Manifest,
) -> Result<(), RpcError> {
    let files = manifest.files.clone();
    say(link, sender, &Frame::Manifest(manifest)).await?;
    for file in files {
        send_file(link, sender, export.folder().join(&file.name)).await?;
    }
    Ok(())
}

async fn send_file(link: &Link, sender: &MessageSender, path: PathBuf) -> Result<(), RpcError> {
    let mut file = File::open(path).await.map_err(|error| unreadable_file(&error))?;
    let mut checksum = 0;
    loop {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        let limit = u64::try_from(CHUNK_BYTES).unwrap_or(u64::MAX);
        (&mut file)
            .take(limit)
            .read_to_end(&mut chunk)
            .await
            .map_err(|error| unreadable_file(&error))?;
        if chunk.is_empty() {
            return say(link, sender, &Frame::End { checksum }).await;
        }
        checksum = crc32c::crc32c_append(checksum, &chunk);
        link.traffic().pace(chunk.len()).await;
        say(link, sender, &Frame::Chunk(Bytes::from(chunk))).await?;
    }
}

async fn say(link: &Link, sender: &MessageSender, frame: &Frame) -> Result<(), RpcError> {
    let sending = tokio::time::timeout(PATIENCE, sender.send(frame.encode()));
    match sending.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(closed)) => Err(NetworkError::new(&closed).into()),
        Err(_) => Err(link.timed_out(PATIENCE)),
    }
}

async fn list(export: &Export) -> std::io::Result<Vec<FileEntry>> {
    let mut files = Vec::new();
    let mut entries = tokio::fs::read_dir(export.folder()).await?;
    while let Some(entry) = entries.next_entry().await? {
        let name = entry.file_name().into_string();
        let name = name.map_err(|_| std::io::Error::other("a file's name is not text"))?;
        files.push(FileEntry { name, size: entry.metadata().await?.len() });
    }
    files.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}

fn unreadable_file(error: &std::io::Error) -> RpcError {
    tracing::warn!(%error, "a snapshot cannot be read");
    Unreachable::from_string(error).into()
}
