//! When a write counts as done.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

/// When a write is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FsyncPolicy {
    /// When it would survive a loss of power.
    #[default]
    Always,
    /// When the operating system has it; a loss of power loses at most this much time.
    Interval(Duration),
    /// When the operating system has it, which decides when it reaches the disk.
    Never,
}

/// A policy that is none of the known ones.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown fsync policy {text:?}: use always, interval:<milliseconds> or never")]
pub struct UnknownFsyncPolicy {
    text: String,
}

impl fmt::Display for FsyncPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("always"),
            Self::Interval(interval) => write!(f, "interval:{}", interval.as_millis()),
            Self::Never => f.write_str("never"),
        }
    }
}

impl FromStr for FsyncPolicy {
    type Err = UnknownFsyncPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownFsyncPolicy> {
        let unknown = || UnknownFsyncPolicy { text: text.to_owned() };
        match (text, text.strip_prefix("interval:")) {
            ("always", _) => Ok(Self::Always),
            ("never", _) => Ok(Self::Never),
            (_, Some(millis)) => match millis.parse() {
                Ok(millis) if millis > 0 => Ok(Self::Interval(Duration::from_millis(millis))),
                _ => Err(unknown()),
            },
            _ => Err(unknown()),
        }
    }
}
