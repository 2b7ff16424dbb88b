//! The frames of a snapshot's stream.
//!
//! ```text
//! manifest  0 | vote | length, position | count, files: (length, name | size varint)
//! chunk     1 | bytes, to the end of the frame
//! end       2 | crc32c u32 BE of the file
//! done      0 | vote of the receiver
//! refused   1 | length, reason
//! ```

use std::path::{Component, Path};

use breccia_types::wire::{DecodeError, Reader, Writer};
use bytes::Bytes;

use crate::raft::codec;
use crate::raft::types::Vote;
use crate::raft::wire::encoded;

/// The most files of a snapshot.
const FILES_MAX: usize = 100_000;

/// What a snapshot consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) vote: Vote,
    pub(super) position: Bytes,
    pub(super) files: Vec<FileEntry>,
}

/// A file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileEntry {
    /// A plain name, without folders.
    pub(super) name: String,
    /// In bytes.
    pub(super) size: u64,
}

/// What the sender says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    Manifest(Manifest),
    Chunk(Bytes),
    End { checksum: u32 },
}

/// What the receiver says at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Done(Vote),
    Refused(String),
}

impl Frame {
    pub(super) fn encode(&self) -> Bytes {
        encoded(|to| match self {
            Self::Manifest(manifest) => {
                to.put_u8(0);
                codec::put_vote(to, &manifest.vote);
                to.put_bytes(&manifest.position);
                to.put_many(&manifest.files, |to, file| {
                    to.put_bytes(file.name.as_bytes());
                    to.put_varint(file.size);
                });
            }
            Self::Chunk(bytes) => {
                to.put_u8(1);
                to.put_array(bytes);
            }
            Self::End { checksum } => {
                to.put_u8(2);
                to.put_array(&checksum.to_be_bytes());
            }
        })
    }

    pub(super) fn decode(message: Bytes) -> Result<Self, DecodeError> {
        let mut from = Reader::new(message.clone());
        let frame = match from.take_u8()? {
            0 => Self::Manifest(take_manifest(&mut from)?),
            1 => return Ok(Self::Chunk(message.slice(from.position()..))),
            2 => Self::End { checksum: u32::from_be_bytes(from.take_array()?) },
            tag => return Err(DecodeError::UnknownTag { at: 0, field: "frame", tag }),
        };
        from.finish()?;
        Ok(frame)
    }
}

fn take_manifest(from: &mut Reader) -> Result<Manifest, DecodeError> {
    let vote = codec::take_vote(from)?;
    let position = from.take_bytes()?;
    let at = from.position();
    let files = from.take_many(2, |from| {
        let at = from.position();
        let name = String::from_utf8(from.take_bytes()?.to_vec());
        let name = name.ok().filter(|name| is_plain(name));
        let size = from.take_varint()?;
        Ok(FileEntry { name: name.ok_or(DecodeError::OutOfRange { at })?, size })
    })?;
    if files.len() > FILES_MAX {
        return Err(DecodeError::OutOfRange { at });
    }
    Ok(Manifest { vote, position, files })
}

/// Whether a name stays in the folder it is put into.
fn is_plain(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let first = components.next();
    matches!(first, Some(Component::Normal(first)) if first == name) && components.next().is_none()
}

impl Verdict {
    pub(super) fn encode(&self) -> Bytes {
        encoded(|to: &mut Writer<'_>| match self {
            Self::Done(vote) => {
                to.put_u8(0);
                codec::put_vote(to, vote);
            }
            Self::Refused(reason) => {
                to.put_u8(1);
                to.put_bytes(reason.as_bytes());
            }
        })
    }

    pub(super) fn decode(message: Bytes) -> Result<Self, DecodeError> {
        let mut from = Reader::new(message);
        let verdict = match from.take_u8()? {
            0 => Self::Done(codec::take_vote(&mut from)?),
            1 => Self::Refused(String::from_utf8_lossy(&from.take_bytes()?).into_owned()),
            tag => return Err(DecodeError::UnknownTag { at: 0, field: "verdict", tag }),
        };
        from.finish()?;
        Ok(verdict)
    }
}

#[cfg(test)]
mod tests {
    use breccia_types::ReplicaId;

    use super::*;

    fn manifest(name: &str) -> Frame {
        Frame::Manifest(Manifest {
            vote: Vote::new_committed(3, ReplicaId::new(4)),
            position: Bytes::from_static(b"position"),
            files: vec![FileEntry { name: name.to_owned(), size: 1 << 33 }],
        })
    }

    #[test]
    fn frames_and_verdicts_come_back() {
        let chunk = Frame::Chunk(Bytes::from_static(b"\x00\x01"));
        for frame in [manifest("000007.sst"), chunk, Frame::End { checksum: 7 }] {
            assert_eq!(Frame::decode(frame.encode()), Ok(frame));
        }
        let vote = Vote::new(1, ReplicaId::new(2));
        for verdict in [Verdict::Done(vote), Verdict::Refused("no room".to_owned())] {
            assert_eq!(Verdict::decode(verdict.encode()), Ok(verdict));
        }
    }

    #[test]
    fn a_name_that_leaves_its_folder_is_refused() {
        for name in ["", ".", "..", "../etc", "/etc/passwd", "a/b", "a/"] {
            assert!(Frame::decode(manifest(name).encode()).is_err(), "{name:?}");
        }
    }
}
