//! The bytes of an export's manifest.

use breccia_types::ShardId;

use crate::error::StoreError;

use super::{ExportFault, ExportKind, ExportedFile, FilePlacement, MANIFEST, Manifest, bad};

const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 4;

impl Manifest {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, self.kind.to_byte()];
        out.extend_from_slice(&self.shard.get().to_be_bytes());
        put_bytes(&mut out, self.comparator.as_bytes());
        out.extend_from_slice(&length(self.files.len()).to_be_bytes());
        for ExportedFile { placement, bytes, crc32c } in &self.files {
            put_bytes(&mut out, placement.name.as_bytes());
            out.extend_from_slice(&bytes.to_be_bytes());
            out.extend_from_slice(&crc32c.to_be_bytes());
            out.push(placement.level);
            put_bytes(&mut out, &placement.smallest_key);
            put_bytes(&mut out, &placement.largest_key);
            let FilePlacement { smallest_sequence, largest_sequence, .. } = placement;
            for number in
                [*smallest_sequence, *largest_sequence, placement.entries, placement.deletions]
            {
                out.extend_from_slice(&number.to_be_bytes());
            }
        }
        let checksum = crc32c::crc32c(&out);
        out.extend_from_slice(&checksum.to_be_bytes());
        out
    }

    /// Reads a manifest. Its version comes first, so that later ones may be laid out anew.
    pub(super) fn decode(encoded: &[u8]) -> Result<Self, StoreError> {
        let found = encoded.first().copied().unwrap_or(0);
        if found != VERSION && found != 0 {
            return Err(StoreError::UnknownFormat { what: "an export", found, known: VERSION });
        }
        let (body, checksum) = encoded
            .split_last_chunk::<CHECKSUM_BYTES>()
            .ok_or_else(|| bad(MANIFEST, ExportFault::Malformed))?;
        if crc32c::crc32c(body) != u32::from_be_bytes(*checksum) {
            return Err(bad(MANIFEST, ExportFault::Checksum));
        }
        Fields(body.get(1..).unwrap_or_default())
            .manifest()
            .ok_or_else(|| bad(MANIFEST, ExportFault::Malformed))
    }
}

impl ExportKind {
    const fn to_byte(self) -> u8 {
        match self {
            Self::Rocks => 1,
            Self::Memory => 2,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Rocks),
            2 => Some(Self::Memory),
            _ => None,
        }
    }
}

/// What is left to read. Every method is `None` if the bytes do not fit.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn manifest(mut self) -> Option<Manifest> {
        let kind = ExportKind::from_byte(self.u8()?)?;
        let shard = ShardId::new(self.u32()?);
        let comparator = self.name()?;
        let count = self.u32()?;
        // Not allocated ahead: the count has not proven itself yet.
        let files = (0..count).map(|_| self.file()).collect::<Option<_>>()?;
        self.0.is_empty().then_some(Manifest { kind, shard, comparator, files })
    }

    fn file(&mut self) -> Option<ExportedFile> {
        let name = self.name()?;
        let (bytes, crc32c, level) = (self.u64()?, self.u32()?, self.u8()?);
        let (smallest_key, largest_key) = (self.bytes()?.to_vec(), self.bytes()?.to_vec());
        let (smallest_sequence, largest_sequence) = (self.u64()?, self.u64()?);
        let (entries, deletions) = (self.u64()?, self.u64()?);
        let placement = FilePlacement {
            name,
            level,
            smallest_key,
            largest_key,
            smallest_sequence,
            largest_sequence,
            entries,
            deletions,
        };
        Some(ExportedFile { placement, bytes, crc32c })
    }

    /// A name that cannot lead out of the export's directory.
    fn name(&mut self) -> Option<String> {
        let name = std::str::from_utf8(self.bytes()?).ok()?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let fits = name.bytes().all(is_plain) && !name.is_empty() && !name.starts_with('.');
        fits.then(|| name.to_owned())
    }

    fn bytes(&mut self) -> Option<&[u8]> {
        let count = usize::try_from(self.u32()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&length(bytes.len()).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Lengths and counts come from files that RocksDB wrote: none is near 4 GiB.
fn length(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let placement = FilePlacement {
            name: "000012.sst".to_owned(),
            level: 6,
            smallest_key: b"a".to_vec(),
            largest_key: b"\xff\0".to_vec(),
            smallest_sequence: 1,
            largest_sequence: 2,
            entries: 3,
            deletions: 4,
        };
        Manifest {
            kind: ExportKind::Rocks,
            shard: ShardId::new(7),
            comparator: "bytes".to_owned(),
            files: vec![ExportedFile { placement, bytes: 5, crc32c: 6 }],
        }
    }

    /// `encoded` with another checksum, so that only its fields can be at fault.
    fn resealed(body: &[u8]) -> Vec<u8> {
        [body, &crc32c::crc32c(body).to_be_bytes()].concat()
    }

    #[test]
    fn the_bytes_of_version_one_stay_what_they_are() {
        let fixture = include_bytes!("../../testdata/export-v1.manifest");
        assert_eq!(manifest().encode(), fixture);
        assert_eq!(Manifest::decode(fixture), Ok(manifest()));
    }

    #[test]
    fn a_manifest_that_is_cut_or_changed_anywhere_is_refused() {
        let encoded = manifest().encode();
        for at in 0..encoded.len() {
            assert!(Manifest::decode(&encoded[..at]).is_err(), "cut at {at}");
            let mut changed = encoded.clone();
            changed[at] ^= 0x40;
            assert!(Manifest::decode(&changed).is_err(), "changed at {at}");
            if at + CHECKSUM_BYTES < encoded.len() {
                assert!(Manifest::decode(&resealed(&encoded[..at])).is_err(), "resealed at {at}");
            }
        }
        let body = &encoded[..encoded.len() - CHECKSUM_BYTES];
        assert!(Manifest::decode(&resealed(&[body, b"x"].concat())).is_err());
    }

    #[test]
    fn a_file_name_cannot_lead_out_of_the_directory() {
        for name in ["", "/etc/passwd", "../up.sst", "a/b", ".hidden", "nul\0"] {
            let mut manifest = manifest();
            manifest.files[0].placement.name = name.to_owned();
            assert_eq!(
                Manifest::decode(&manifest.encode()),
                Err(bad(MANIFEST, ExportFault::Malformed)),
                "{name:?}"
            );
        }
    }

    #[test]
    fn a_manifest_of_another_version_says_so() {
        let mut encoded = manifest().encode();
        encoded[0] = 2;
        assert!(matches!(
            Manifest::decode(&encoded),
            Err(StoreError::UnknownFormat { found: 2, known: 1, .. })
        ));
    }
}
