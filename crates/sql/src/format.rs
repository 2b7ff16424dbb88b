//! Answers as bytes: JSON lines, CSV and Arrow.

use std::str::FromStr;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv::WriterBuilder;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::arrow::json::WriterBuilder as JsonWriterBuilder;
use datafusion::arrow::json::writer::LineDelimited;
use thiserror::Error;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One JSON object per line; a column that is null is there as `null`.
    #[default]
    Ndjson,
    /// With a line of names at the top.
    Csv,
    /// An Arrow IPC stream.
    Arrow,
}

/// There is no such format.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no format {0:?}: use ndjson, csv or arrow")]
pub struct UnknownFormat(String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        match text {
            "ndjson" => Ok(Self::Ndjson),
            "csv" => Ok(Self::Csv),
            "arrow" => Ok(Self::Arrow),
            _ => Err(UnknownFormat(text.to_owned())),
        }
    }
}

/// Writes batches one after the other.
pub struct Encoder(Writer);

enum Writer {
    Ndjson,
    Csv { is_begun: bool },
    Arrow(Box<StreamWriter<Vec<u8>>>),
}

impl Encoder {
    /// For batches of this schema.
    ///
    /// # Errors
    /// If the format has no way to write the schema.
    pub fn new(format: Format, schema: &Schema) -> Result<Self, ArrowError> {
        Ok(Self(match format {
            Format::Ndjson => Writer::Ndjson,
            Format::Csv => Writer::Csv { is_begun: false },
            Format::Arrow => Writer::Arrow(Box::new(StreamWriter::try_new(Vec::new(), schema)?)),
        }))
    }

    /// The bytes of some more rows.
    ///
    /// # Errors
    /// If the format has no way to write a type of theirs.
    pub fn encode(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        match &mut self.0 {
            Writer::Ndjson => {
                let builder = JsonWriterBuilder::new().with_explicit_nulls(true);
                let mut writer = builder.build::<_, LineDelimited>(Vec::new());
                writer.write(batch)?;
                writer.finish()?;
                Ok(writer.into_inner())
            }
            Writer::Csv { is_begun } => {
                let mut out = Vec::new();
                let builder = WriterBuilder::new().with_header(!*is_begun);
                builder.build(&mut out).write(batch)?;
                *is_begun = true;
                Ok(out)
            }
            Writer::Arrow(writer) => {
                writer.write(batch)?;
                Ok(std::mem::take(writer.get_mut()))
            }
        }
    }

    /// The bytes that come after the last rows.
    ///
    /// # Errors
    /// If the format has no way to write the schema.
    pub fn finish(self, schema: &Schema) -> Result<Vec<u8>, ArrowError> {
        match self.0 {
            Writer::Ndjson => Ok(Vec::new()),
            Writer::Csv { is_begun: true } => Ok(Vec::new()),
            // Without rows there are still names.
            Writer::Csv { is_begun: false } => {
                let mut out = Vec::new();
                let empty = RecordBatch::new_empty(schema.clone().into());
                WriterBuilder::new().with_header(true).build(&mut out).write(&empty)?;
                Ok(out)
            }
            Writer::Arrow(writer) => writer.into_inner(),
        }
    }
}
