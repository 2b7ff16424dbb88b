//! The rows of an exported shard as one file: `key | value`, each a `u32` length and bytes.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use breccia_types::ShardId;
use bytes::Bytes;

use crate::error::StoreError;
use crate::export::{ExportKind, FilePlacement, Manifest, io_error};

use super::rows::Rows;

const ROWS: &str = "rows";
const COMPARATOR: &str = "bytes";

pub(super) fn write(shard: ShardId, rows: &Rows, into: &Path) -> Result<(), StoreError> {
    let failed = |error: io::Error| StoreError::from_io(&error, "export a shard");
    fs::create_dir(into).map_err(failed)?;
    write_rows(rows, &into.join(ROWS)).map_err(failed)?;
    let placement = FilePlacement {
        name: ROWS.to_owned(),
        smallest_key: rows.first_key_value().map(|(key, _)| key.clone()).unwrap_or_default(),
        largest_key: rows.last_key_value().map(|(key, _)| key.clone()).unwrap_or_default(),
        entries: u64::try_from(rows.len()).unwrap_or(u64::MAX),
        ..FilePlacement::default()
    };
    Manifest::seal(into, (ExportKind::Memory, shard), COMPARATOR, vec![placement])
}

pub(super) fn read(shard: ShardId, from: &Path) -> Result<Rows, StoreError> {
    let manifest = Manifest::verify(from, (ExportKind::Memory, shard), |manifest| {
        manifest.comparator == COMPARATOR
    })?;
    let mut rows = Rows::new();
    for path in manifest.paths(from) {
        let encoded = fs::read(path).map_err(|error| io_error(&error))?;
        let mut rest = Bytes::from(encoded);
        while !rest.is_empty() {
            let (key, value) = (take(&mut rest)?, take(&mut rest)?);
            rows.insert(key.to_vec(), value);
        }
    }
    Ok(rows)
}

fn write_rows(rows: &Rows, path: &Path) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for (key, value) in rows {
        for bytes in [key.as_slice(), value] {
            let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
            file.write_all(&length.to_be_bytes())?;
            file.write_all(bytes)?;
        }
    }
    file.flush()
}

fn take(rest: &mut Bytes) -> Result<Bytes, StoreError> {
    let malformed = || io_error(&io::Error::from(io::ErrorKind::InvalidData));
    let length = rest.split_first_chunk::<4>().map(|(length, _)| u32::from_be_bytes(*length));
    let length = usize::try_from(length.ok_or_else(malformed)?).map_err(|_| malformed())?;
    let end = 4_usize.saturating_add(length);
    if end > rest.len() {
        return Err(malformed());
    }
    Ok(rest.split_to(end).slice(4..))
}
