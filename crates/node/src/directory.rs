//! A node's data directory: its format, and who the node is.
//!
//! ```text
//! <data>/node.json   {"format":2,"node_id":<u64>,"initialised":<bool>,"incarnation":<u64>,
//!                     "cluster":<32 hexadecimal digits, or null>}
//! <data>/db/         the shards' RocksDB database
//! <data>/log/        the log's RocksDB database
//! <data>/snapshots/  snapshots on their way to and from other nodes
//! ```
//!
//! Format 1 had no log, no incarnation and no cluster: its rows are all in the shards' database.
//! It is read, and becomes format 2 when its log is there; versions that know only format 1
//! refuse it then.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use breccia_types::{ClusterId, NodeId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The format of data directories that this version writes and reads.
const FORMAT: u32 = 2;
/// The oldest format that this version reads.
const FORMAT_MIN: u32 = 1;
const IDENTITY_FILE: &str = "node.json";
const DATABASE_DIRECTORY: &str = "db";
const LOG_DIRECTORY: &str = "log";
const SNAPSHOTS_DIRECTORY: &str = "snapshots";

/// A data directory that belongs to this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) node: NodeId,
    /// Which run of the node this is, once it is started.
    pub(crate) incarnation: u64,
    /// The cluster that the node has begun to join, or belongs to.
    pub(crate) cluster: Option<ClusterId>,
    path: PathBuf,
    pub(crate) database: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) snapshots: PathBuf,
    /// Whether the database was opened before, and so must be there.
    pub(crate) is_initialised: bool,
    /// Whether the log was opened before, and so must be there.
    pub(crate) has_log: bool,
}

/// Why a data directory cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// It cannot be read or written.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It was written by a version that this one does not read.
    #[error(
        "{path} has format {found}, and this version of breccia reads formats {FORMAT_MIN} to {FORMAT}; use the version that wrote it, or choose another data directory"
    )]
    Format {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// Its identity file is damaged.
    #[error(
        "{path} is damaged ({reason}); restore it from a backup, or choose another data directory"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It holds something else.
    #[error(
        "{path} is not empty and is no data directory of breccia; choose an empty or a new one"
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
}

#[derive(Serialize, Deserialize)]
struct Identity {
    format: u32,
    node_id: u64,
    /// Absent in what the first versions wrote.
    #[serde(default)]
    initialised: bool,
    #[serde(default)]
    incarnation: u64,
    #[serde(default)]
    cluster: Option<String>,
}

impl Directory {
    /// Opens a data directory, creating it and drawing an identity if there is none.
    pub(crate) fn open(path: &Path) -> Result<Self, DirectoryError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| DirectoryError::Io { path, source }
        };
        fs::create_dir_all(path).map_err(at(path))?;
        let file = path.join(IDENTITY_FILE);
        let identity = match fs::read(&file) {
            Ok(bytes) => read_identity(path, &file, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if !is_empty(path).map_err(at(path))? {
                    return Err(DirectoryError::Foreign { path: path.to_owned() });
                }
                let identity = Identity {
                    format: FORMAT,
                    node_id: rand::random(),
                    initialised: false,
                    incarnation: 0,
                    cluster: None,
                };
                write_identity(path, &file, &identity).map_err(at(&file))?;
                identity
            }
            Err(source) => return Err(DirectoryError::Io { path: file, source }),
        };
        let cluster = match identity.cluster.as_deref().map(ClusterId::parse) {
            Some(None) => {
                let reason = "its cluster is no cluster's identity".to_owned();
                return Err(DirectoryError::Damaged { path: file, reason });
            }
            known => known.flatten(),
        };
        Ok(Self {
            node: NodeId::new(identity.node_id),
            incarnation: identity.incarnation,
            cluster,
            path: path.to_owned(),
            database: path.join(DATABASE_DIRECTORY),
            log: path.join(LOG_DIRECTORY),
            snapshots: path.join(SNAPSHOTS_DIRECTORY),
            is_initialised: identity.initialised,
            has_log: identity.initialised && identity.format == FORMAT,
        })
    }

    /// Begins another run of the node. To be called when its databases are open, so that no
    /// other process has the directory, and before any other node hears of it.
    pub(crate) fn begin_run(&mut self) -> Result<(), DirectoryError> {
        self.incarnation += 1;
        self.write()
    }

    /// Notes which cluster the node joins: it joins no other from now on.
    pub(crate) fn set_cluster(&mut self, cluster: ClusterId) -> Result<(), DirectoryError> {
        self.cluster = Some(cluster);
        self.write()
    }

    /// Notes that the database and the log are complete: from now on they must be there.
    pub(crate) fn set_initialised(&mut self) -> Result<(), DirectoryError> {
        if self.has_log {
            return Ok(());
        }
        self.is_initialised = true;
        self.has_log = true;
        self.write()
    }

    fn write(&self) -> Result<(), DirectoryError> {
        let file = self.path.join(IDENTITY_FILE);
        let identity = Identity {
            format: FORMAT,
            node_id: self.node.get(),
            initialised: self.is_initialised,
            incarnation: self.incarnation,
            cluster: self.cluster.map(|cluster| cluster.to_string()),
        };
        write_identity(&self.path, &file, &identity)
            .map_err(|source| DirectoryError::Io { path: file, source })
    }
}

fn read_identity(path: &Path, file: &Path, bytes: &[u8]) -> Result<Identity, DirectoryError> {
    let identity: Identity = serde_json::from_slice(bytes).map_err(|error| {
        DirectoryError::Damaged { path: file.to_owned(), reason: error.to_string() }
    })?;
    if !(FORMAT_MIN..=FORMAT).contains(&identity.format) {
        return Err(DirectoryError::Format { path: path.to_owned(), found: identity.format });
    }
    Ok(identity)
}

/// Writes the identity so that a crash leaves either none or all of it.
fn write_identity(path: &Path, file: &Path, identity: &Identity) -> io::Result<()> {
    let unfinished = path.join("node.json.new");
    let mut out = File::create(&unfinished)?;
    out.write_all(&serde_json::to_vec(identity)?)?;
    out.sync_all()?;
    fs::rename(&unfinished, file)?;
    File::open(path)?.sync_all()
}

/// Whether a directory holds nothing but what an interrupted first start leaves.
fn is_empty(path: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if name != "node.json.new" && name != "lost+found" {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_identity() {
        let data = tempfile::tempdir().expect("a directory");
        let first = Directory::open(&data.path().join("new")).expect("opens");
        assert_eq!(Directory::open(&data.path().join("new")).expect("opens"), first);
    }

    #[test]
    fn a_directory_of_another_version_is_refused_by_its_number() {
        let data = tempfile::tempdir().expect("a directory");
        fs::write(data.path().join(IDENTITY_FILE), r#"{"format":7,"node_id":1}"#).expect("writes");
        let error = Directory::open(data.path()).expect_err("another format");
        assert!(matches!(error, DirectoryError::Format { found: 7, .. }), "{error}");
    }

    #[test]
    fn a_directory_that_holds_something_else_is_left_alone() {
        let data = tempfile::tempdir().expect("a directory");
        fs::write(data.path().join("thesis.txt"), "words").expect("writes");
        let error = Directory::open(data.path()).expect_err("foreign");
        assert!(matches!(error, DirectoryError::Foreign { .. }), "{error}");
    }

    #[test]
    fn a_torn_identity_is_named_and_never_replaced() {
        let data = tempfile::tempdir().expect("a directory");
        fs::write(data.path().join(IDENTITY_FILE), "{\"form").expect("writes");
        let error = Directory::open(data.path()).expect_err("damaged");
        assert!(matches!(error, DirectoryError::Damaged { .. }), "{error}");
    }
}
