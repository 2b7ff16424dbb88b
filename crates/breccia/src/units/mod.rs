//! The units that people write on the command line and in `breccia.toml`, each read and
//! shown in one place.

mod duration;
mod instant;
mod size;

pub(crate) use duration::{parse_duration, show_duration};
pub(crate) use instant::{parse_instant, show_instant};
pub(crate) use size::{parse_size, show_size};

use thiserror::Error;

/// Why a text is no size, duration or instant.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{text:?} is no {quantity}: write {examples}")]
pub(crate) struct UnitError {
    /// What was written.
    text: String,
    /// What was wanted.
    quantity: &'static str,
    /// How it is written.
    examples: &'static str,
}
