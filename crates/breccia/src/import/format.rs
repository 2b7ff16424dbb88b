//! The formats of files that an import reads.

use clap::ValueEnum;

use super::source::Source;
use crate::exit::Failure;

/// How rows are written in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Comma-separated values with a header.
    Csv,
    /// Tab-separated values with a header.
    Tsv,
    /// One JSON object a line.
    Ndjson,
}

impl Format {
    /// The format that the file's name tells.
    ///
    /// # Errors
    /// [`Failure`] if it tells none.
    pub(crate) fn of(source: &Source) -> Result<Self, Failure> {
        let name = source.uncompressed_name();
        match name.extension().and_then(|end| end.to_str()) {
            Some("csv") => Ok(Self::Csv),
            Some("tsv" | "tab") => Ok(Self::Tsv),
            Some("ndjson" | "jsonl" | "json") => Ok(Self::Ndjson),
            _ => Err(Failure::usage(format!(
                "the name {} does not tell the format: say --format csv, tsv or ndjson",
                name.display()
            ))),
        }
    }

    /// What separates fields; `None` where there are no fields.
    pub(crate) const fn delimiter(self) -> Option<u8> {
        match self {
            Self::Csv => Some(b','),
            Self::Tsv => Some(b'\t'),
            Self::Ndjson => None,
        }
    }
}
